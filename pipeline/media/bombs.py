"""What the bytes of an image file say without being decoded, and what makes a small file cost much.

In:   the bytes of a file whose format is known; they may be cut, corrupt or hostile.
Out:  what the file asks for against a limit, where that is more than any honest file asks for;
      whether a GIF moves; how long a WebP or AVIF says that it is. Each walk over a file goes
      forward only, so it costs at most the file's length.
Why:  pixels are bounded elsewhere; each rule here stands for a file that was built and timed with
      Pillow 12.3, all of at most 16 MiB:

      JPEG, the last scan (20 bytes) repeated     each costs as much as the picture: hours
      GIF, 3 million comments                     410 s, quadratic
      TIFF, 3 million strips of a few bytes       34 s and 800 MB
      JPEG, 1.3 million EXIF segments             over 30 s, quadratic
      PNG, 15,000 colour profiles                 39 s, each inflates to 1 MB
      BMP, run-length encoded                     decoded in Python; 6 bytes can ask for 255 rows

      With them the slowest takes some 8 s (64 scans of 88 million pixels, or 2.5 million comments
      in a JPEG).
"""

from __future__ import annotations

import io
import re
from typing import Final

from pipeline.problem import Problem
from schemas.verdict import Reason

JPEG_SCANS: Final = 64  # progressive encoders write about 10
JPEG_EXIFS: Final = 256  # one is usual; so many full segments are 16 MiB
PNG_PROFILES: Final = 8  # one is allowed; four given bytes are in 16 MiB of noise by chance of .004
HEADER_BYTES: Final = 1 << 19  # of a GIF or TIFF: what is read before the first pixel

BMP_RUN_LENGTHS: Final = frozenset({1, 2})
START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9
# not data (FF 00), not without a segment (restarts, FF 01), not a fill byte
JPEG_MARKER: Final = re.compile(rb"\xff([^\x00\x01\xd0-\xd7\xff])", re.DOTALL)
GIF_IMAGE, GIF_EXTENSION, GIF_END = b",!;"


class RefusedImageError(Exception):
    """An image that is not decoded, and why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem = problem


class Metered(io.BytesIO):
    """A file that stops its reader behind HEADER_BYTES, until it is `opened`.

    It counts what the decoder reads, since a walk of our own could be led another way than
    Pillow's by a file that is not quite to the standard.
    """

    opened = False
    spent = 0

    def read(self, size: int | None = -1, /) -> bytes:
        block = super().read(size)
        if not self.opened:
            self.spent += len(block)
            if self.spent > HEADER_BYTES:
                raise RefusedImageError(_undecodable(self.spent, HEADER_BYTES))
        return block


def excess(name: str, data: bytes) -> Problem | None:
    """What the bytes alone show to be too much."""
    value, limit = 0, 0
    if name == "jpeg":
        value, limit = data.count(b"Exif\0\0"), JPEG_EXIFS
        if value <= limit:
            value, limit = count_scans(data, enough=JPEG_SCANS + 1), JPEG_SCANS
    elif name == "png":
        value, limit = data.count(b"iCCP"), PNG_PROFILES
    elif name == "bmp":
        value, limit = int(int.from_bytes(data[30:34], "little") in BMP_RUN_LENGTHS), 0
    return _undecodable(value, limit) if value > limit else None


def _undecodable(value: int, limit: int) -> Problem:
    return Problem(reason=Reason.UNDECODABLE, value=value, limit=limit)


def count_scans(data: bytes, *, enough: int) -> int:
    """Scans of a JPEG up to its end of image, as libjpeg walks it; stops counting at `enough`.

    Segments are stepped over, so the scans of thumbnails and of what is appended do not count.
    """
    scans, place = 0, 2
    while scans < enough and (marker := JPEG_MARKER.search(data, place)):
        code = marker[1][0]
        if code == END_OF_IMAGE:
            break
        scans += code == START_OF_SCAN
        place = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return scans


def has_second_frame(data: bytes) -> bool:
    """Whether a GIF holds two images before its end."""
    if len(data) < 13:
        return False
    place, images = 13 + _palette(data[10]), 0
    while place + 10 < len(data) and data[place] != GIF_END:
        if data[place] == GIF_IMAGE:
            images += 1
            if images == 2:
                return True
            place = _past_blocks(data, place + 11 + _palette(data[place + 9]))
        elif data[place] == GIF_EXTENSION:
            place = _past_blocks(data, place + 2)
        else:
            place += 1  # padding, as decoders skip it
    return False


def stated_length(name: str, data: bytes) -> int:
    """The least bytes the whole file has by its own word; 0 where its format has no such word."""
    if name == "webp":  # some encoders count the last byte of padding and leave it out
        return 7 + int.from_bytes(data[4:8], "little")
    return _end_of_boxes(data) if name == "avif" else 0


def _palette(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 128 else 0


def _past_blocks(data: bytes, place: int) -> int:
    while place < len(data) and data[place]:
        place += data[place] + 1
    return place + 1


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
