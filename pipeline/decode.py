"""Decode one image file under limits: its bytes in, what it shows or why it cannot be used out.

In:   bytes from a crawl or a host, by anybody, of any kind; the format is told by the content,
      never by a name or a header.
Out:  ImageLook: format, sides as displayed, whether it moves, sha256 and phash.
Refused, as a Problem: what is none of the formats that pages show (SVG, HTML, netpbm ...), bytes
      and pixels over the limits, known before anything is decoded, and what does not decode to
      its last pixel (of an animation, its first frame).
Hostile files: Pillow is given the one decoder that belongs to the magic, so no PostScript runs
      and nothing weak or written in Python (FLI, SGI, PSD, BLP ...) is reached. Work is bounded
      by bytes, pixels and, since a scan of 20 bytes costs as much as the whole picture, by the
      scans of a JPEG; nothing here depends on a clock.
Warnings: Pillow's bomb warning is a refusal. All others are silenced: they concern metadata (EXIF,
      TIFF tags, MPO index), and what is wrong with pixels raises. libtiff writes to stderr by
      itself.
See it: python tests/bench/bench_algorithms.py phash
"""

from __future__ import annotations

import hashlib
import io
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageFile

from pipeline.phash import SIDEWAYS, orientation, phash
from pipeline.problem import Problem
from schemas.verdict import Reason

# name by content -> Pillow's decoder; a name that is absent here is never opened
DECODERS: Final = {
    "jpeg": "JPEG",
    "png": "PNG",
    "webp": "WEBP",
    "gif": "GIF",
    "bmp": "BMP",
    "tiff": "TIFF",
    "avif": "AVIF",
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
    # known, so that the ledger says an image was met, but not opened
    (b"\x00\x00\x01\x00", "ico"),
    (b"8BPS", "psd"),
    (b"\x00\x00\x00\x0cjP  ", "jp2"),
    (b"\xff\x4f\xff\x51", "jp2"),
    (b"\x00\x00\x00\x0cJXL ", "jxl"),
)
BMP_HEADERS: Final = frozenset({12, 16, 40, 52, 56, 64, 108, 124})  # "BM" alone begins prose too
BMP_RUN_LENGTHS: Final = frozenset({1, 2})
AVIF_BRANDS: Final = frozenset({b"avif", b"avis"})
HEIF_BRANDS: Final = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"mif1", b"msf1"})
START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9
JPEG_MARKER: Final = re.compile(rb"\xff([^\x00\x01\xd0-\xd7\xff])", re.DOTALL)
PIXELS_OF_BOMB: Final = re.compile(r"\((\d+) pixels\)")


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageLimits:
    """What a file may ask for; each limit itself passes."""

    # Common Crawl cuts payloads at 5 MiB; the slowest file known (a GIF of comments, quadratic in
    # Pillow) costs 12 s at this size
    bytes: int = 16 << 20
    pixels: int = 89_478_485  # Pillow's own: a quarter of a GiB as RGB
    scans: int = 64  # of a JPEG; encoders write about 10, and each costs 1 ns a pixel

    def __post_init__(self) -> None:
        for name in ("bytes", "pixels", "scans"):
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


def look_at(data: bytes, *, limits: ImageLimits = ImageLimits()) -> ImageLook | Problem:
    """Decode in full, and say what is seen or why nothing can be."""
    name = sniff(data)
    if name is None:
        return Problem(reason=Reason.NOT_AN_IMAGE)
    if len(data) > limits.bytes:
        return Problem(reason=Reason.IMAGE_BYTES, value=len(data), limit=limits.bytes)
    refused = _refused_unopened(name, data, limits)
    if refused is not None:
        return refused
    try:
        with _pillow(limits), Image.open(io.BytesIO(data), formats=[DECODERS[name]]) as image:
            return _look(image, name, data)
    except Exception as error:  # noqa: BLE001  # decoders raise anything on hostile bytes (SyntaxError,
        # struct.error, IndexError; MemoryError for an absurd header, as pixels are bounded)
        return _problem(error, limits)


def _look(image: Image.Image, name: str, data: bytes) -> ImageLook:
    animated = name not in {"jpeg", "tiff"} and bool(getattr(image, "is_animated", False))
    image.load()
    width, height = image.size
    if orientation(image) in SIDEWAYS:  # after load: a PNG may hold EXIF behind its pixels
        width, height = height, width
    return ImageLook(
        format=name,
        width=width,
        height=height,
        animated=animated,
        sha256=hashlib.sha256(data).hexdigest(),
        phash=phash(image),
    )


def _refused_unopened(name: str, data: bytes, limits: ImageLimits) -> Problem | None:
    """What the bytes tell before a decoder sees them."""
    if name not in DECODERS:
        return Problem(reason=Reason.UNDECODABLE)
    if name == "jpeg":
        scans = _count_scans(data, enough=limits.scans + 1)
        if scans > limits.scans:
            return Problem(reason=Reason.UNDECODABLE, value=scans, limit=limits.scans)
    if name == "webp":  # its error, and that of AVIF, would not tell cut from corrupt
        told = 8 + int.from_bytes(data[4:8], "little")
        if told > len(data) + 1:  # the last padding byte is left out by some encoders
            return Problem(reason=Reason.TRUNCATED_IMAGE, value=len(data), limit=told)
    if name == "avif":
        told = _end_of_boxes(data)
        if told > len(data):
            return Problem(reason=Reason.TRUNCATED_IMAGE, value=len(data), limit=told)
    if name == "bmp" and int.from_bytes(data[30:34], "little") in BMP_RUN_LENGTHS:
        # its decoder is a loop in Python, and six bytes of it can ask for 255 rows more
        return Problem(reason=Reason.UNDECODABLE)
    return None


def _count_scans(data: bytes, *, enough: int) -> int:
    """Scans of a JPEG up to its end of image, as libjpeg walks it; stops counting at `enough`."""
    scans, place = 0, 2
    while scans < enough and (marker := JPEG_MARKER.search(data, place)):
        code = marker[1][0]
        if code == END_OF_IMAGE:
            break
        scans += code == START_OF_SCAN
        place = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return scans


def _end_of_boxes(data: bytes) -> int:
    """Where the last top-level box of an ISO media file says it ends."""
    place = 0
    while place + 8 <= len(data):
        size = int.from_bytes(data[place : place + 4], "big")
        if size == 1:  # 64-bit size behind the type
            size = int.from_bytes(data[place + 8 : place + 16], "big")
        if size < 8:  # 0: to the end of the file; less is nonsense, for the decoder to say
            return len(data)
        place += size
    return place


def _sniff_brands(data: bytes) -> str | None:
    size = min(int.from_bytes(data[:4], "big"), 256)
    brands = {data[8:12], *(data[at : at + 4] for at in range(16, size, 4))}
    if brands & AVIF_BRANDS:
        return "avif"
    return "heif" if brands & HEIF_BRANDS else None


def _problem(error: Exception, limits: ImageLimits) -> Problem:
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        told = PIXELS_OF_BOMB.search(str(error))
        value = float(told[1]) if told else None
        return Problem(reason=Reason.TOO_MANY_PIXELS, value=value, limit=limits.pixels)
    if "truncated" in str(error).lower():  # Pillow's word in every decoder; it has no type for it
        return Problem(reason=Reason.TRUNCATED_IMAGE)
    return Problem(reason=Reason.UNDECODABLE)


_GLOBALS = threading.Lock()


@contextmanager
def _pillow(limits: ImageLimits) -> Iterator[None]:
    """Pillow's guards, and Python's warning filters, are globals: set and put back under a lock."""
    with _GLOBALS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = limits.pixels, False
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = before
