"""Orientation: how an image is turned before it is shown, as its EXIF says.

In:   a Pillow image; one that a decoder made of the same bytes.
Out:  1 to 8 as EXIF counts; the image as a browser shows it.
Here, since sides and hashes at rest are those of the image as it is shown: the pipeline writes them
and the trainer plans by them, and both have only schemas/ in common. Pillow is imported at the
first turn, so that whoever reads schemas/ needs no Pillow.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from PIL.Image import Image

TAG: Final = 0x0112  # of EXIF
UPRIGHT: Final = 1
TURNS: Final = {  # names of PIL.Image.Transpose
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
# What Pillow raises on bytes that are not what they should be. Of 31,000 broken files whose pixels
# are whole, EXIF gave SyntaxError (no TIFF header), struct.error (cut short) and ValueError (not
# hexadecimal). Errors left out mean something else: no memory, or an error of ours.
BROKEN: Final = (
    SyntaxError, struct.error, OSError, ValueError, TypeError, LookupError, ArithmeticError,
)  # fmt: skip


def orientation(image: Image) -> int:
    """1 to 8 as EXIF counts; 1, as a browser does it, where EXIF is absent, broken or nonsense."""
    try:
        value = image.getexif().get(TAG)
    except BROKEN:  # the pixels are whole
        return UPRIGHT
    return value if isinstance(value, int) and value in TURNS else UPRIGHT


def turned(image: Image, orientation: int) -> Image:
    """The image as a browser shows it."""
    if orientation not in TURNS:
        return image
    from PIL.Image import Transpose  # noqa: PLC0415

    return image.transpose(Transpose[TURNS[orientation]])
