"""Photos: the pictures that benchmarks decode, those of ../shared/data, or of noise without it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageOps

SHARED: Final = Path(__file__).resolve().parents[3] / "shared" / "data" / "images"


def photos(longest: int = 512) -> list[bytes]:
    """JPEGs whose longer side is so many pixels."""
    found = []
    for path in [*sorted(SHARED.rglob("*.png")), *sorted(SHARED.rglob("*.jpg"))]:
        try:
            with Image.open(path) as image:
                found.append(_jpeg(image.convert("RGBA").convert("RGB"), longest))
        except OSError:
            continue  # broken on purpose
    if found:
        return found
    seeds = (np.random.default_rng(seed) for seed in range(24))
    noise = (seed.integers(0, 256, (40, 60, 3), np.uint8) for seed in seeds)
    return [_jpeg(Image.fromarray(pixels), longest) for pixels in noise]


def _jpeg(image: Image.Image, longest: int) -> bytes:
    held = io.BytesIO()
    ImageOps.contain(image, (longest, longest)).save(held, "JPEG", quality=85)
    return held.getvalue()
