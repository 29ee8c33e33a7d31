"""Images: encoded bytes in, the patches that the model sees out, to the pixel those of Idefics2.

Shape suffixes: K patches of an image, row after row; C bytes of a patch (3 x 14 x 14, channels
first); H and W pixels, R and Q rows and columns of patches.

In:      bytes of a shard's image member; the sides that an index tells, to plan by.
Out:     uint8 patches (K x C), normalised only in the model, and their places in its position
         table. No pixel is padding: a patch counts only when all its pixels are real, so sides are
         cut to multiples of 14.
Refused: what does not decode to its last pixel, another format than shards hold, more pixels or a
         longer side than the limits (known before anything is decoded): ValueError, a counted
         broken image. The largest picture takes 0.8 GB.
See it:  interloom-train data DIR --step 1 (the pictures as the model sees them), and
         python tests/bench/bench_images.py (ours against transformers' processor, same tars)

Sources: Idefics2 (arXiv 2405.02246, section 3): the longest side at most 980 pixels with the aspect
kept, then both sides at least 378; 384 in its first stage, where the shorter side stretches. Places
are fractions of the image, 70 bins an axis (NaViT, arXiv 2307.06304). Equal to transformers'
Idefics2ImageProcessorPil and Idefics2VisionEmbeddings on every real photo and every grid tried.

JPEGs are decoded by simplejpeg (the same libjpeg-turbo as Pillow's: equal pixels), a third faster;
one that it would not read without a warning is Pillow's to judge, so Pillow says what is broken.
Left out: decoding at a reduced size (off by up to a quarter of the range); four bytes a pixel,
which saves two copies and loses more in the resampling.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
import simplejpeg  # type: ignore[import-untyped]
import torch
from PIL import Image, UnidentifiedImageError

from schemas.orientation import orientation, turned
from training.data.tokens import Ints

Bytes = npt.NDArray[np.uint8]
Patches = tuple[Bytes, Ints]  # and each patch's place in the position table

PATCH: Final = 14  # pixels of a patch's side: SigLIP-SO400M/14, in every shape
FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF")  # what shards hold; no other decoder is reached
PIXELS: Final = 89_478_485  # of one image: Pillow's own limit, a quarter of a GiB as RGB
SIDE: Final = 65_535  # pixels of a side, as many as JPEG and GIF have; Pillow needs 8 bytes a row
STRIP: Final = 256  # rows that are put on white at a time


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageRule:
    """How pictures become patches; `table` is the side of the model's position table."""

    longest: int  # pixels of the longest side, at most
    shortest: int  # pixels of the shortest side, at least
    table: int
    image_tokens: int  # visual tokens of an image

    def __post_init__(self) -> None:
        if not PATCH <= self.shortest <= self.longest or self.longest // PATCH > self.table:
            raise ValueError(
                f"images of {self.shortest} to {self.longest} pixels a side: choose from {PATCH}, "
                f"one patch, to {self.table * PATCH + PATCH - 1}, what the model has places for"
            )

    def patches_of(self, data: bytes) -> Patches:
        """As the function of this name."""
        return patches_of(data, longest=self.longest, shortest=self.shortest, table=self.table)


def resized(width: int, height: int, *, longest: int, shortest: int) -> tuple[int, int]:
    """Width and height after Idefics2's rule, which may stretch the shorter side."""
    if min(width, height) < 1:
        raise ValueError(f"an image of {width} x {height} pixels: sides must be 1 or more")
    if not PATCH <= shortest <= longest:
        raise ValueError(
            f"longest is {longest} and shortest {shortest} pixels: choose shortest from "
            f"{PATCH} (one patch) to longest"
        )
    aspect = width / height  # rounded as transformers does, in floating point
    if width >= height and width > longest:
        width, height = longest, int(longest / aspect)
    elif height > width and height > longest:
        width, height = int(longest * aspect), longest
    return max(width, shortest), max(height, shortest)


def patch_grid(
    width: int, height: int, *, longest: int, shortest: int, patch: int = PATCH
) -> tuple[int, int]:
    """Rows and columns of whole patches of an image that is displayed at these sides."""
    wide, high = resized(width, height, longest=longest, shortest=shortest)
    return high // patch, wide // patch


def patches_of(
    data: bytes, *, longest: int, shortest: int, table: int, pixels: int = PIXELS
) -> Patches:
    """Patches and places of one encoded image; `table` is the side of the position table."""
    image = decoded(data, pixels=pixels)
    sides = resized(*image.size, longest=longest, shortest=shortest)
    pixels_HWc = np.asarray(image.resize(sides, Image.Resampling.BILINEAR))
    rows, columns = sides[1] // PATCH, sides[0] // PATCH
    return patchified(pixels_HWc), places(rows, columns, table=table)


def decoded(data: bytes, *, pixels: int = PIXELS) -> Image.Image:
    """The picture as displayed, in RGB, what is transparent on white.

    So does transformers' image processor, but its Processor drops the transparency before.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of metadata; what is wrong with pixels raises
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                if image.width * image.height > pixels:
                    sides = f"{image.width} x {image.height}"
                    raise ValueError(f"it has {sides} pixels, over the limit of {pixels:,}")
                if max(image.size) > SIDE:
                    raise ValueError(f"a side has {max(image.size):,} pixels, over {SIDE:,}")
                return _displayed(image, data)
    except UnidentifiedImageError as error:  # its own text tells an address in memory
        raise ValueError(
            f"image of {len(data):,} bytes does not decode: it is none of {', '.join(FORMATS)}"
        ) from error
    except Exception as error:  # decoders raise anything on hostile bytes
        raise ValueError(f"image of {len(data):,} bytes does not decode: {error}") from error


def patchified(pixels_HWc: Bytes) -> Bytes:
    """Whole patches of an image, row after row, channels first within each (one copy)."""
    rows, columns = pixels_HWc.shape[0] // PATCH, pixels_HWc.shape[1] // PATCH
    whole_HWc = pixels_HWc[: rows * PATCH, : columns * PATCH]
    grid_RpQpc = whole_HWc.reshape(rows, PATCH, columns, PATCH, 3)
    return grid_RpQpc.transpose(0, 2, 4, 1, 3).reshape(rows * columns, 3 * PATCH * PATCH)


def assembled(patches_KC: Bytes, *, rows: int, columns: int) -> Bytes:
    """The picture that patches were cut from: the inverse of `patchified`, for people to see."""
    grid_RQcpp = patches_KC.reshape(rows, columns, 3, PATCH, PATCH)
    return grid_RQcpp.transpose(0, 3, 1, 4, 2).reshape(rows * PATCH, columns * PATCH, 3)


@lru_cache(maxsize=4096)
def places(rows: int, columns: int, *, table: int) -> Ints:
    """Each patch's place in a table x table position table, row * table + column."""
    flat = (_bins(rows, table)[:, None] * table + _bins(columns, table)).reshape(-1)
    flat.setflags(write=False)
    return flat


def _bins(patches: int, table: int) -> Ints:
    """Bin of each patch along one axis; in float32 as the model was trained, not by integers.

    70 * i // n differs at n = 25, 49, 50 and 55.
    """
    edges = torch.arange(1 / table, 1.0, 1 / table)  # numpy's rounds otherwise
    fractions = torch.arange(patches, dtype=torch.float32) * (1.0 / torch.tensor(patches))
    bins: Ints = torch.bucketize(fractions.clamp(max=1.0 - 1e-6), edges, right=True).numpy()
    return bins


def _displayed(image: Image.Image, data: bytes) -> Image.Image:
    shown = _by_simplejpeg(image, data)
    if shown is None:
        image.load()  # first: a PNG may hold EXIF behind its pixels
        shown = _rgb(image)
    return turned(shown, orientation(image))


def _by_simplejpeg(image: Image.Image, data: bytes) -> Image.Image | None:
    if image.format not in {"JPEG", "MPO"} or image.mode not in {"RGB", "L"}:
        return None
    try:
        return Image.fromarray(simplejpeg.decode_jpeg(data, colorspace="RGB"))
    except ValueError:  # a warning of libjpeg is enough for it: Pillow decides what is broken
        return None


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image.copy()
    if not image.has_transparency_data:
        return image.convert("RGB")
    shown = Image.new("RGB", image.size)
    for top in range(0, image.height, STRIP):  # as a whole it would be in memory four times
        box = (0, top, image.width, min(top + STRIP, image.height))
        seen = image.crop(box).convert("RGBA")
        white = Image.new("RGBA", seen.size, (255, 255, 255, 255))
        shown.paste(Image.alpha_composite(white, seen).convert("RGB"), box)
    return shown
