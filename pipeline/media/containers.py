"""Walks over the containers of image files: what a file says of itself without being decoded.

In:   the bytes of a file whose format is known; they may be cut, corrupt or hostile.
Out:  scans of a JPEG, whether a GIF moves, how long a WebP or AVIF says that it is.
Each walk goes forward only, so it costs at most the file's length.
"""

from __future__ import annotations

import re
from typing import Final

START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9
# not data (FF 00), not without a segment (restarts, FF 01), not a fill byte
JPEG_MARKER: Final = re.compile(rb"\xff([^\x00\x01\xd0-\xd7\xff])", re.DOTALL)
GIF_IMAGE, GIF_EXTENSION, GIF_END = b",!;"


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


def told_length(name: str, data: bytes) -> int:
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
