"""Perceptual hash: a decoded image in, one 64-bit integer out, close for pictures that look alike.

In:   a Pillow image of any mode that converts to RGB; of an animation, the frame it stands at.
Out:  the bits of imagehash.phash (hash_size 8, highfreq_factor 4), the first bit the highest, so
      that a distance is one XOR and one count. Half of them are set, but for flat pictures.
      What is hashed is the picture as a page shows it: turned by its EXIF orientation, what is
      transparent laid over white (else the colours hidden under it would decide), palettes and
      CMYK by way of RGB, 16-bit greys by their high byte; ICC profiles are not applied.
See it: python tests/bench/bench_algorithms.py phash

Left out: JPEG draft mode. It is three times as fast, but gave the same bits for 14 of 24 photos,
and that a file is cut short shows only in a full decode, which is half of the time.
"""

from __future__ import annotations

import struct
from typing import Final

import imagehash
import numpy as np
from PIL import Image

ORIENTATION: Final = 0x0112  # EXIF tag
TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
STRIP: Final = 1 << 20  # pixels that are made grey at a time
SIDEWAYS: Final = frozenset({5, 6, 7, 8})  # width and height change places
# what Pillow raises on bytes that are not what they should be. Of 31,000 broken files whose pixels
# are whole, EXIF gave SyntaxError (no TIFF header), struct.error (cut short) and ValueError (not
# hexadecimal). What is left out says something else: no memory, or an error of ours
BROKEN: Final = (
    SyntaxError, struct.error, OSError, ValueError, TypeError, LookupError, ArithmeticError,
)  # fmt: skip


def orientation(image: Image.Image) -> int:
    """1 to 8 as EXIF counts; 1, as a browser does it, where EXIF is absent, broken or nonsense."""
    try:
        value = image.getexif().get(ORIENTATION)
    except BROKEN:  # the pixels are whole
        return 1
    return value if isinstance(value, int) and value in TURNS else 1


def phash(image: Image.Image) -> int:
    """imagehash.phash of the picture as it is shown, as an integer."""
    shown = turned(_grey(image), orientation(image))  # each pixel alone, so grey goes first
    bits = imagehash.phash(shown).hash
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """The image as a browser shows it."""
    turn = TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def _grey(image: Image.Image) -> Image.Image:
    """The picture in grey, strip by strip: the steps in between take up to 8 bytes a pixel."""
    width, height = image.size
    rows = max(1, STRIP // width)
    if rows >= height:
        return _grey_strip(image)
    grey = Image.new("L", image.size)
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(top + rows, height)))
        grey.paste(_grey_strip(strip), (0, top))
    return grey


def _grey_strip(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        coloured = image.convert("RGBA")
        paper = Image.new("RGB", image.size, "white")
        paper.paste(coloured, mask=coloured.getchannel("A"))
        return paper.convert("L")
    if image.mode.startswith("I;16"):
        return image.convert("I").point(lambda value: value / 256).convert("L")
    plain = image if image.mode in {"L", "RGB"} else image.convert("RGB")  # a copy costs 1.6 ms
    return plain.convert("L")
