"""Decode one image file under limits: its bytes in, what it shows or why it cannot be used out.

`opened` is the one way by which bytes from outside become pixels here: crawled and fetched images,
those that are made smaller, and the report's thumbnails of either.

In:   bytes from a crawl or a host, by anybody, of any kind; the format is read off the content,
      never by a name or a header.
Out:  ImageLook: format, sides as displayed, whether it moves, sha256 and phash.
Refused, as a Problem: what is none of the formats that pages show (SVG, HTML, netpbm ...), bytes,
      sides, pixels and memory over the limits, known before anything is decoded, and what does
      not decode to its last pixel (of an animation, its first frame).
Hostile files: Pillow is given the one decoder that belongs to the magic, so no PostScript runs
      and nothing weak or written in Python (FLI, SGI, PSD, BLP ...) is reached. Work is bounded
      by bytes, by pixels and by bombs.py; nothing here depends on a clock.
Warnings: Pillow's bomb warning is a refusal. All others are silenced: they concern metadata (EXIF,
      TIFF tags, MPO index), and what is wrong with pixels raises. What is logged, and what
      libtiff would write to stderr by itself, is silenced for the same reason.
See it: python tests/bench/bench_algorithms.py phash
"""

from __future__ import annotations

import ctypes
import hashlib
import io
import logging
import math
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from PIL import AvifImagePlugin, Image, ImageFile, TiffImagePlugin, _imaging

from pipeline.media import bombs
from pipeline.media.pixels import Encoding, encoded, phash
from pipeline.problem import Problem
from schemas.orientation import orientation
from schemas.verdict import OK, Reason

# name by content -> Pillow's decoder; a name that is absent here is never opened
DECODERS: Final = {
    name: name.upper() for name in ("jpeg", "png", "webp", "gif", "bmp", "tiff", "avif")
}
MAGICS: Final = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"II+\x00", "tiff"),  # BigTIFF
    (b"MM\x00+", "tiff"),
    # known, so that the ledger counts an image there, but not opened
    (b"\x00\x00\x01\x00", "ico"),
    (b"8BPS", "psd"),
    (b"\x00\x00\x00\x0cjP  ", "jp2"),
    (b"\xff\x4f\xff\x51", "jp2"),
    (b"\x00\x00\x00\x0cJXL ", "jxl"),
)
BMP_HEADERS: Final = frozenset({12, 16, 40, 52, 56, 64, 108, 124})  # "BM" alone begins prose too
SIDEWAYS: Final = frozenset({5, 6, 7, 8})  # orientations in which the sides change places
AVIF_BRANDS: Final = frozenset({b"avif", b"avis"})
HEIF_BRANDS: Final = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"mif1", b"msf1"})
METERED: Final = frozenset({"gif", "tiff"})  # opening them can cost the square of what is read
PIXELS_OF_BOMB: Final = re.compile(r"\((\d+) pixels\)")


# bytes that decoding and hashing hold for each pixel, where they are more than 11 (Pillow 12.3): a
# JPEG has its coefficients beside its pixels where it is progressive (RGB 10.1, CMYK 12.2), a WebP
# two canvases (16.6), an AVIF planes of up to 16 bits (9.5 where they have 8)
BYTES_A_PIXEL: Final = {("jpeg", "CMYK"): 13, ("webp", "RGB"): 17, ("webp", "RGBA"): 17,
                        ("avif", "RGB"): 17, ("avif", "RGBA"): 17}  # fmt: skip
TILE_SIDES: Final = (TiffImagePlugin.TILEWIDTH, TiffImagePlugin.TILELENGTH)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageLimits:
    """What a file may ask for; each limit itself passes."""

    bytes: int = 16 << 20  # Common Crawl cuts payloads at 5 MiB; phones write 3 to 12 MB
    pixels: int = 89_478_485  # Pillow's own: a quarter of a GiB as RGB
    side: int = 65_535  # pixels; no JPEG has a longer one, and resizing a line of 10^8 takes 3 GB
    memory: int = 1_000_000_000  # bytes that decoding may take

    def __post_init__(self) -> None:
        for name in ("bytes", "pixels", "side", "memory"):
            if getattr(self, name) < 1:
                raise ValueError(f"image {name} limit is {getattr(self, name)}: choose 1 or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageLook:
    """What one decoded file shows."""

    format: str  # a key of DECODERS
    width: int  # pixels, as displayed: EXIF orientation applied
    height: int
    animated: bool  # more than one frame; the pages of a TIFF and the views of an MPO are none
    sha256: str  # hex, of the bytes
    phash: int  # unsigned, of the first frame

    def columns(self, *, size: int) -> dict[str, Any]:
        """Of a row of images/, for a file of so many bytes that shows this."""
        return {"status": OK, "sha256": self.sha256, "phash": self.phash, "width": self.width,
                "height": self.height, "format": self.format, "bytes": size}  # fmt: skip


def sniff(data: bytes) -> str | None:
    """The image format that the first bytes tell, None where they tell none. Cheap."""
    for magic, name in MAGICS:
        if data.startswith(magic):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[4:8] == b"ftyp":
        return _sniff_brands(data)
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in BMP_HEADERS:
        return "bmp"
    return None


@contextmanager
def opened(
    data: bytes, *, limits: ImageLimits = ImageLimits()
) -> Iterator[tuple[str, Image.Image]]:
    """The format, and an image whose pixels may be decoded in the block.

    Raises:
        RefusedImageError: for what is no image, or over a limit. Decoders raise anything else.
    """
    quiet_decoders()
    name = sniff(data)
    if name is None:
        raise bombs.RefusedImageError(Problem(reason=Reason.NOT_AN_IMAGE))
    if (problem := _unopened(name, data, limits)) is not None:
        raise bombs.RefusedImageError(problem)
    file = bombs.Metered(data) if name in METERED else io.BytesIO(data)
    with _pillow(limits), Image.open(file, formats=[DECODERS[name]]) as image:
        if isinstance(file, bombs.Metered):
            file.opened = True
        if (problem := _too_large(image, name, limits)) is not None:
            raise bombs.RefusedImageError(problem)
        yield name, image


def look_at(data: bytes, *, limits: ImageLimits = ImageLimits()) -> ImageLook | Problem:
    """Decode in full, and say what is seen or why nothing can be."""
    try:
        with opened(data, limits=limits) as (name, image):
            return _look(image, name, data)
    except bombs.RefusedImageError as error:
        return error.problem
    except Exception as error:  # noqa: BLE001  # decoders raise anything on hostile bytes (SyntaxError,
        # struct.error, IndexError; MemoryError for an absurd header, as pixels are bounded)
        return _problem(error, limits)


def reencode(data: bytes, look: ImageLook, encoding: Encoding) -> bytes | None:
    """Other bytes of an image that looks so; None where it stays as it came: its bytes are as
    wanted already, or it cannot be written so.
    """
    name = encoding.format_for(look.format, width=look.width, height=look.height)
    if name is None:
        return None
    try:
        with opened(data) as (_, image):
            return encoded(image, name, encoding)
    except Exception:  # noqa: BLE001  # whatever a plugin of Pillow's raises for its own limits
        return None


def _too_large(image: Image.Image, name: str, limits: ImageLimits) -> Problem | None:
    """What the header asks for that is too much, before a pixel is decoded."""
    side, pixels = max(image.size), max(image.width * image.height, _tile_pixels(image))
    if side > limits.side:
        return Problem(reason=Reason.SIDE_TOO_LONG, value=side, limit=limits.side)
    cost = BYTES_A_PIXEL.get((name, image.mode), 1)
    most = min(limits.pixels, limits.memory // cost)
    if pixels > most:
        return Problem(reason=Reason.TOO_MANY_PIXELS, value=pixels, limit=most)
    return None


def _tile_pixels(image: Image.Image) -> int:
    """Of a TIFF in tiles, which are decoded whole, however small the picture is."""
    tags = getattr(image, "tag_v2", {})
    return math.prod(side for tag in TILE_SIDES if isinstance(side := tags.get(tag), int))


def _look(image: Image.Image, name: str, data: bytes) -> ImageLook:
    image.load()
    width, height = image.size
    if orientation(image) in SIDEWAYS:  # after load: a PNG may hold EXIF behind its pixels
        width, height = height, width
    return ImageLook(format=name, width=width, height=height, animated=_moves(image, name, data),
                     sha256=hashlib.sha256(data).hexdigest(), phash=phash(image))  # fmt: skip


def _moves(image: Image.Image, name: str, data: bytes) -> bool:
    if name == "gif":  # Pillow would read on to the second frame, comments and all: see bombs.py
        return bombs.has_second_frame(data)
    return name not in {"jpeg", "tiff"} and bool(getattr(image, "is_animated", False))


def _unopened(name: str, data: bytes, limits: ImageLimits) -> Problem | None:
    """What is wrong with the bytes before a decoder sees them."""
    if len(data) > limits.bytes:
        return Problem(reason=Reason.IMAGE_BYTES, value=len(data), limit=limits.bytes)
    if name not in DECODERS:
        return Problem(reason=Reason.UNDECODABLE)
    if (problem := bombs.excess(name, data)) is not None:
        return problem
    stated = bombs.stated_length(name, data)
    if stated > len(data):  # the decoder's error would not tell cut from corrupt
        return Problem(reason=Reason.TRUNCATED_IMAGE, value=len(data), limit=stated)
    return None


def _sniff_brands(data: bytes) -> str | None:
    size = min(int.from_bytes(data[:4], "big"), 256)
    brands = {data[8:12], *(data[at : at + 4] for at in range(16, size, 4))}
    if brands & AVIF_BRANDS:
        return "avif"
    return "heif" if brands & HEIF_BRANDS else None


def _problem(error: Exception, limits: ImageLimits) -> Problem:
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        pixels = PIXELS_OF_BOMB.search(str(error))
        value = float(pixels[1]) if pixels else None
        return Problem(reason=Reason.TOO_MANY_PIXELS, value=value, limit=limits.pixels)
    if "truncated" in str(error).lower():  # Pillow's word in every decoder; it has no type for it
        return Problem(reason=Reason.TRUNCATED_IMAGE)
    return Problem(reason=Reason.UNDECODABLE)


@cache
def quiet_decoders() -> None:
    """Once a process: what Pillow logs and libtiff prints of broken files, Pillow raises as well.

    Pillow has no call for libtiff's handlers, but its own module leads to the library that it was
    linked with. Where the functions are not found there, libtiff's lines stay.
    """
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    linked = ctypes.CDLL(_imaging.__file__)
    for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
        if (set_handler := getattr(linked, name, None)) is not None:
            set_handler(None)


_GLOBALS = threading.Lock()


@contextmanager
def _pillow(limits: ImageLimits) -> Iterator[None]:
    """Pillow's guards, and Python's warning filters, are globals: set and put back under a lock."""
    with _GLOBALS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
        threads = AvifImagePlugin.DEFAULT_MAX_THREADS
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = limits.pixels, False
        AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # each takes memory: one on every machine
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = before
            AvifImagePlugin.DEFAULT_MAX_THREADS = threads
