"""Thumbnail: an image's bytes in, a small JPEG as a data: URI out, the same wherever it is made.

In:      bytes that the pipeline has decoded once already, under its limits.
Out:     Thumbnail: the URI, its sides.
Refused: what cannot be decoded to pixels again: None, and the report says so at its place.
"""

from __future__ import annotations

import base64
import io
from typing import Final, NamedTuple

from PIL import Image

from pipeline.media.decode import opened
from pipeline.media.pixels import orientation, turned

SIDE: Final = 320  # pixels at most; shown at half of it on a dense screen
QUALITY: Final = 72
PAPER: Final = (255, 255, 255)  # behind what is transparent


class Thumbnail(NamedTuple):
    uri: str
    width: int
    height: int


def thumbnail(data: bytes, *, side: int = SIDE) -> Thumbnail | None:
    try:
        with opened(data) as (_, image):
            small = _shrink(image, side)
    except MemoryError:
        raise  # a gap that the report of another machine would not have
    except Exception:  # noqa: BLE001  # a decoder raises what it likes (AVIF RuntimeError, PNG
        # SyntaxError); these bytes were decoded once, so this is rare, and the report shows a gap
        return None
    out = io.BytesIO()
    small.save(out, "JPEG", quality=QUALITY, optimize=True)
    uri = "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()
    return Thumbnail(uri, *small.size)


def _shrink(image: Image.Image, side: int) -> Image.Image:
    image.draft("RGB", (2 * side, 2 * side))  # of a JPEG: decode no more pixels than needed
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    upright = turned(image, orientation(image))
    if upright.mode in {"RGB", "L"}:
        return upright.convert("RGB")
    seen = upright.convert("RGBA")
    paper = Image.new("RGBA", seen.size, (*PAPER, 255))
    return Image.alpha_composite(paper, seen).convert("RGB")
