"""zstd frames: ends told by block headers alone, content decoded block by block.

In:      raw bytes and the offset of a frame; a dictionary may stand in a skippable frame at the
         very start of the file (https://iipc.github.io/warc-specifications/specifications/warc-zstd),
         itself possibly compressed, and is read from there whatever part is wanted.
Out:     the frame's exact end, its plain bytes if wanted.
Refused: a broken frame: DAMAGED_RECORD, its end still known where its blocks' sizes are sound; more
         plain bytes than the limit: RECORD_TOO_LARGE. No block gives more than 128 KiB, so a bomb
         costs time, never memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import zstandard

from pipeline.read.walk.codec import Found, Plain, Sink, damaged, opens_record, search
from pipeline.read.walk.window import Window

MAGIC: Final = b"\x28\xb5\x2f\xfd"
_SKIPPABLE: Final = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")
_DICTIONARY: Final = b"\x5d\x2a\x4d\x18"
_CANDIDATE: Final = re.compile(rb"\x28\xb5\x2f\xfd")
_BLOCK: Final = 128 << 10
_MAX_DICTIONARY: Final = 64 << 20
_MAX_WINDOW: Final = 128 << 20  # what zstd itself allows without being told otherwise


@dataclass(frozen=True, kw_only=True, slots=True)
class _Frame:
    """`blocks` are the frame's pieces as (start, end), header first; `end` None where it breaks."""

    pieces: tuple[tuple[int, int], ...]
    end: int | None
    reached: int


class ZstdFrames:
    kind = "zstd"

    def __init__(self, window: Window) -> None:
        # one for all frames: to make it takes far longer than to look into a frame
        self._decompressor = zstandard.ZstdDecompressor(
            dict_data=_dictionary(window), max_window_size=_MAX_WINDOW
        )

    def read(
        self, window: Window, offset: int, *, keep: bool, max_bytes: int, sink: Sink | None = None
    ) -> Found:
        head = window.at(offset, 8)
        if len(head) == 8 and _SKIPPABLE.match(head):
            end = offset + 8 + int.from_bytes(head[4:], "little")
            whole = not window.ended(end - 1)
            return Found(end=end, reached=end, silent=True) if whole else damaged(offset + 1)
        frame = _frame(window, offset)
        if frame.end is None:
            return damaged(frame.reached)
        follows = window.ended(frame.end) or opens_frame(window.at(frame.end, 4))
        if follows and not keep and sink is None:
            return self._walked(window, frame, frame.end)
        plain = Plain(keep=keep, limit=max_bytes, sink=sink)
        sound = self._decode(window, frame, plain)
        work = frame.end - offset + plain.size
        if sound:
            return plain.found(end=frame.end, work=work)
        # if nothing that we know follows, the sizes of the blocks cannot be trusted either
        return damaged(frame.end, end=frame.end if follows else None, work=work)

    def candidates(self, window: Window, offset: int) -> Iterator[int]:
        return search(window, _CANDIDATE, offset, longest=4)

    def trial(self, window: Window, offset: int) -> bool:
        """Structure of the first block, and what it says: at most 128 KiB are decoded."""
        if _SKIPPABLE.match(window.at(offset, 4)):
            return True
        frame = _frame(window, offset, blocks=1)
        return len(frame.pieces) > 1 and opens_record(self._first(window, frame))

    def closes(self, window: Window, offset: int, place: int, *, whole: int) -> bool:  # noqa: ARG002
        return True  # no mark to look for; a zstd crawl inside a zstd crawl is hardly ever met

    def _walked(self, window: Window, frame: _Frame, end: int) -> Found:
        opens = opens_record(self._first(window, frame))
        return Found(end=end, reached=end, opens=opens, work=end - frame.pieces[0][0])

    def _first(self, window: Window, frame: _Frame) -> bytes:
        engine = self._decompressor.decompressobj()
        plain = b""
        try:
            for start, end in frame.pieces[:2]:
                plain += engine.decompress(window.at(start, end - start))
        except zstandard.ZstdError:
            return b"\0"
        return plain

    def _decode(self, window: Window, frame: _Frame, plain: Plain) -> bool:
        engine = self._decompressor.decompressobj()
        try:
            for start, end in frame.pieces:
                plain.take(engine.decompress(window.at(start, end - start)))
        except zstandard.ZstdError:
            return False
        return bool(engine.eof)


def opens_frame(head: bytes) -> bool:
    return head == MAGIC or _SKIPPABLE.match(head) is not None


def _dictionary(window: Window) -> zstandard.ZstdCompressionDict | None:
    """The dictionary that stands first in the file; None where there is none that can be used.

    Frames that need one which is damaged do not decode then: each is a loss that is counted.
    """
    head = window.at(0, 8)
    size = int.from_bytes(head[4:], "little")
    if head[:4] != _DICTIONARY or size > _MAX_DICTIONARY:
        return None
    stored = window.at(8, size)
    try:
        if stored[:4] == MAGIC:
            engine = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW)
            stored = engine.stream_reader(stored).read(_MAX_DICTIONARY)
        dictionary = zstandard.ZstdCompressionDict(stored)
        zstandard.ZstdDecompressor(dict_data=dictionary).decompressobj()  # looks into it
    except zstandard.ZstdError:
        return None
    return dictionary


def _frame(window: Window, offset: int, *, blocks: int | None = None) -> _Frame:
    """Walk a frame by its block headers, as far as they are sound (RFC 8878, 3.1.1)."""
    head = window.at(offset, 18)
    if len(head) < 6 or head[:4] != MAGIC or head[4] & 0x08:
        return _Frame(pieces=(), end=None, reached=offset + 1)
    flags = head[4]
    single = flags >> 5 & 1
    at = offset + 5 + (1 - single) + (0, 1, 2, 4)[flags & 3]
    at += (single, 2, 4, 8)[flags >> 6]
    pieces = [(offset, at)]
    while blocks is None or len(pieces) <= blocks:
        header = int.from_bytes(window.at(at, 3), "little")
        kind, size = header >> 1 & 3, header >> 3
        end = at + 3 + (1 if kind == 1 else size)
        if kind == 3 or size > _BLOCK or window.ended(end - 1):
            return _Frame(pieces=tuple(pieces), end=None, reached=at + 3)
        pieces.append((at, end))
        at = end
        if header & 1:
            break
    else:
        return _Frame(pieces=tuple(pieces), end=None, reached=at)
    if flags >> 2 & 1:
        pieces.append((at, at + 4))
        at += 4
        if window.ended(at - 1):
            return _Frame(pieces=tuple(pieces[:-1]), end=None, reached=at)
    return _Frame(pieces=tuple(pieces), end=at, reached=at)
