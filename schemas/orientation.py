"""Orientation: how an image is turned before it is shown, as its EXIF says.

In:   a Pillow image; one that a decoder made of the same bytes.
Out:  1 to 8 as EXIF counts; the image as a browser shows it.
Here, since sides and hashes at rest are those of the image as it is shown: the pipeline writes them
and the trainer plans by them, and both have only schemas/ in common. Nothing is imported of Pillow,
so that whoever reads schemas/ needs none.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final, Protocol, Self, TypeVar

TAG: Final = 0x0112  # of EXIF
UPRIGHT: Final = 1
TURNS: Final = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # numbers of PIL.Image.Transpose
# What Pillow raises on bytes that are not what they should be. Of 31,000 broken files whose pixels
# are whole, EXIF gave SyntaxError (no TIFF header), struct.error (cut short) and ValueError (not
# hexadecimal). Errors left out mean something else: no memory, or an error of ours.
BROKEN: Final = (
    SyntaxError, struct.error, OSError, ValueError, TypeError, LookupError, ArithmeticError,
)  # fmt: skip


class PillowImage(Protocol):
    """What is used of PIL.Image.Image."""

    def getexif(self) -> Mapping[int, object]: ...

    def transpose(self, method: Any) -> Self: ...  # noqa: ANN401  # PIL.Image.Transpose


I = TypeVar("I", bound=PillowImage)  # noqa: E741


def orientation(image: PillowImage) -> int:
    """1 to 8 as EXIF counts; 1, as a browser does it, where EXIF is absent, broken or nonsense."""
    try:
        value = image.getexif().get(TAG)
    except BROKEN:  # the pixels are whole
        return UPRIGHT
    return value if isinstance(value, int) and value in TURNS else UPRIGHT


def turned(image: I, orientation: int) -> I:
    """The image as a browser shows it."""
    return image.transpose(TURNS[orientation]) if orientation in TURNS else image
