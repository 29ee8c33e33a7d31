"""Pictures: what a stored file shows, by Pillow and imagehash alone, against its row of images/.

In:   the bytes of a member of a pack.
Out:  Shown: format and sides of every file, by its header; the hash of those that are drawn.
Drawn: decoding costs 3 to 15 ms, a header 0.2 ms. All are decoded in a run of up to DECODED files;
      of a larger one those whose sha256 begins low enough that DECODED are expected: a fair draw
      that nobody chooses and that is the same at every look. Were one file in 300 wrong, it would
      be missed once in 28 times; one in 100, once in 23,000.
The rules are those of schemas/README.md: sides and hash as displayed, EXIF applied, what is
transparent laid over white; 16-bit greys by their high byte.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import Final

import imagehash
from PIL import Image

from pipeline.media.decode import quiet_decoders

DECODED: Final = 1_000
ORIENTATION: Final = 0x0112
TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# where a PNG may say how it is turned: it is read to its end only if it holds one of them
PNG_TURNED: Final = (b"eXIf", b"Raw profile type", b"XML:com.adobe.xmp")
NAMES: Final = {"MPO": "jpeg"}  # what Pillow calls a JPEG of several views
OPENED: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """What one file shows; `phash` is None where it was not drawn."""

    format: str
    width: int
    height: int
    phash: int | None


def is_drawn(sha256: str, *, files: int) -> bool:
    """Whether this file is decoded in a run of so many."""
    return int(sha256[:15], 16) * files < DECODED << 60


def look(data: bytes, *, decode: bool) -> Shown | str:
    """What a file shows, or why it shows nothing now although it did when it came in."""
    quiet_decoders()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=OPENED) as image:
                return _shown(image, data, decode=decode)
    except Exception as error:  # noqa: BLE001  # decoders raise anything, and each is a finding
        return f"{type(error).__name__}: {error}"


def _shown(image: Image.Image, data: bytes, *, decode: bool) -> Shown:
    width, height = image.size
    format_ = NAMES.get(image.format or "", (image.format or "").lower())
    turn = TURNS.get(_orientation(image, data))
    if turn is not None and turn in list(TURNS.values())[3:]:
        width, height = height, width
    phash = _phash(image, turn) if decode else None
    return Shown(format=format_, width=width, height=height, phash=phash)


def _orientation(image: Image.Image, data: bytes) -> int:
    if image.format == "PNG" and not any(one in data for one in PNG_TURNED):
        return 1
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # noqa: BLE001  # broken EXIF turns nothing; what it raises is anybody's guess
        return 1


def _phash(image: Image.Image, turn: Image.Transpose | None) -> int:
    shown: Image.Image = image if turn is None else image.transpose(turn)
    if shown.has_transparency_data:
        coloured = shown.convert("RGBA")
        shown = Image.new("RGB", coloured.size, "white")
        shown.paste(coloured, mask=coloured.getchannel("A"))
    elif shown.mode.startswith("I;16"):
        shown = shown.convert("I").point(lambda value: value / 256).convert("L")
    elif shown.mode not in {"L", "RGB"}:
        shown = shown.convert("RGB")
    return int(str(imagehash.phash(shown)), 16)
