"""Reencode: a fetched picture smaller, in place of the bytes that its server gave.

In:   bytes that decode.py has found usable; the longest side, format and quality that the user
      chose. By default nothing of it is done: a run keeps original bytes.
Out:  other bytes, upright, of one frame, without metadata; or None where they are as small and of
      that format already, so that nothing is lost for nothing.
What is deeper than 8 bits, or cannot be written so, stays as it came. Transparency stays where the
format has it; in a JPEG it lies on white.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageOps

from pipeline.media.decode import DECODERS, ImageLook

FORMATS: Final = ("jpeg", "png", "webp")
QUALITY: Final = 90
_DEEP: Final = "IF"  # modes of 16 bits and more, which these formats do not hold as such
_KEPT: Final = {"jpeg": ("L", "RGB"), "png": ("L", "RGB", "RGBA"), "webp": ("RGB", "RGBA")}


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoding:
    """What pictures are made; `format` "" is each one's own, if it is one that is written here."""

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


def reencoded(data: bytes, look: ImageLook, encoding: Encoding) -> bytes | None:
    """The bytes of the picture as it is wanted; None where they are so already."""
    most = encoding.longest_side
    large = most is not None and max(look.width, look.height) > most
    name = encoding.format or (look.format if look.format in FORMATS else "png")
    if not large and (name == look.format or not encoding.format):
        return None
    try:
        return _written(data, look, name, encoding)
    except Exception:  # noqa: BLE001  # whatever a plugin of Pillow's raises for its own limits
        return None


def _written(data: bytes, look: ImageLook, name: str, encoding: Encoding) -> bytes | None:
    with Image.open(io.BytesIO(data), formats=[DECODERS[look.format]]) as image:
        if image.mode[:1] in _DEEP:
            return None
        shown = _in_mode(ImageOps.exif_transpose(image), name)
    if (most := encoding.longest_side) is not None:
        shown.thumbnail((most, most), Image.Resampling.LANCZOS)
    shown.info.clear()  # comments and profiles, which would be written again
    out = io.BytesIO()
    shown.save(out, DECODERS[name], quality=encoding.quality, optimize=name == "png")
    return out.getvalue()


def _in_mode(image: Image.Image, name: str) -> Image.Image:
    """In a mode that the format holds; what is transparent may be so by a colour, too."""
    if not image.has_transparency_data:
        return image.copy() if image.mode in _KEPT[name] else image.convert("RGB")
    clear = image.convert("RGBA")
    if "RGBA" in _KEPT[name]:
        return clear
    white = Image.new("RGBA", clear.size, "white")
    return Image.alpha_composite(white, clear).convert("RGB")
