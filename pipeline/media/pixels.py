"""Pixels: what is made of an image that decode.py has opened: its hash, or smaller bytes of it.

In:   a Pillow image of any mode that converts to RGB; of an animation, the frame it stands at.
Hash: the bits of imagehash.phash (hash_size 8, highfreq_factor 4), the first bit the highest, so
      that a distance is one XOR and one count. Half of them are set, but for flat pictures.
      What is hashed is the picture as a page shows it: turned by its EXIF orientation, what is
      transparent laid over white (else the colours hidden under it would decide), palettes and
      CMYK by way of RGB, 16-bit greys by their high byte; ICC profiles are not applied.
      JPEG draft mode is left out. It is three times as fast, but gave the same bits for 14 of 24
      photos, and only a full decode, which is half of the time, shows that a file is cut short.
Smaller bytes: of one frame, upright and without metadata, of the longest side, format and quality
      that the user chose for fetched images. By default a run keeps original bytes. Images of more
      than 8 bits stay as they came. Transparency stays where the format has it, else it is white.
See it: python tests/bench/bench_algorithms.py phash
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Final

import imagehash
import numpy as np
from PIL import Image

from schemas.orientation import orientation, turned

FORMATS: Final = {"jpeg": "JPEG", "png": "PNG", "webp": "WEBP"}  # written; Pillow's names
QUALITY: Final = 90
DEEP: Final = "IF"  # first letters of modes of 16 bits and more, which these formats do not hold
MODES: Final = {"jpeg": ("L", "RGB"), "png": ("L", "RGB", "RGBA"), "webp": ("RGB", "RGBA")}
STRIP: Final = 1 << 20  # pixels that are made grey at a time


def phash(image: Image.Image) -> int:
    """imagehash.phash of the picture as it is shown, as an integer."""
    shown = turned(_grey(image), orientation(image))  # each pixel alone, so grey goes first
    bits = imagehash.phash(shown).hash
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoding:
    """How fetched images are written; `format` "" keeps each one's own, where it is in FORMATS."""

    format: str = ""
    longest_side: int | None = None  # pixels; None: as it is
    quality: int = QUALITY  # 1 to 100, of jpeg and webp

    def __post_init__(self) -> None:
        if self.format and self.format not in FORMATS:
            raise ValueError(f"image format is {self.format!r}: choose {', '.join(FORMATS)}")
        if self.longest_side is not None and self.longest_side < 1:
            raise ValueError(f"longest side is {self.longest_side} pixels: choose 1 or more")
        if not 1 <= self.quality <= 100:
            raise ValueError(f"image quality is {self.quality}: choose 1 to 100")
        if not self.format and self.longest_side is None:
            raise ValueError(f"image quality is {self.quality}, but nothing is encoded anew: give "
                             "--image-format or --longest-side beside it")  # fmt: skip

    def format_for(self, name: str, *, width: int, height: int) -> str | None:
        """The format to write an image in; None where its own bytes are as wanted already."""
        too_long = self.longest_side is not None and max(width, height) > self.longest_side
        wanted = self.format or (name if name in FORMATS else "png")
        if not too_long and (wanted == name or not self.format):
            return None
        return wanted


def encoded(image: Image.Image, name: str, encoding: Encoding) -> bytes | None:
    """The image as bytes of a format in FORMATS; None for one of more than 8 bits."""
    if image.mode[:1] in DEEP:
        return None
    image.load()  # a PNG may hold EXIF behind its pixels
    shown = _in_mode(turned(image, orientation(image)), name)
    if (most := encoding.longest_side) is not None:
        shown.thumbnail((most, most), Image.Resampling.LANCZOS)
    shown.info.clear()  # comments and profiles, which would be written again
    out = io.BytesIO()
    shown.save(out, FORMATS[name], quality=encoding.quality, optimize=name == "png")
    return out.getvalue()


def _in_mode(image: Image.Image, name: str) -> Image.Image:
    """A copy in a mode that the format holds; a single colour may be transparent, too."""
    if not image.has_transparency_data:
        return image.copy() if image.mode in MODES[name] else image.convert("RGB")
    clear = image.convert("RGBA")
    if "RGBA" in MODES[name]:
        return clear
    white = Image.new("RGBA", clear.size, "white")
    return Image.alpha_composite(white, clear).convert("RGB")
