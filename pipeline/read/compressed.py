"""Compressed members: gzip members and zstd frames, their exact ends and their plain bytes.

In:      raw bytes and the offset of a member. For zstd, a dictionary may stand in a skippable frame
         at the very start of the file, itself possibly compressed; it is read from there whatever
         part is wanted (https://iipc.github.io/warc-specifications/specifications/warc-zstd).
Out:     `Attempt`s.
Refused: a bad header, data that breaks off or does not decode, a wrong checksum or length:
         DAMAGED_RECORD; more plain bytes than the limit: RECORD_TOO_LARGE, read to its end. A bomb
         costs time, never memory: plain bytes come in pieces of a MiB (gzip) or 128 KiB (zstd).

gzip goes through zlib's raw deflate with our own check of CRC and length: zlib's gzip mode raises
on a wrong CRC and loses the place, while a bit that flipped inside a stored block leaves the end of
the member known. zstd ends are read from block headers alone, and known even where a block does
not decode.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import zstandard

from pipeline.read.codec import (
    TRIAL,
    Attempt,
    ByteWindow,
    Plain,
    damaged,
    opens_record,
    search,
    surely_opens_record,
)
from pipeline.read.payload import inflated

GZIP_MAGIC: Final = b"\x1f\x8b\x08"
_GZIP_CANDIDATE: Final = re.compile(rb"\x1f\x8b\x08[\x00-\x1f]")
_FIRST, _STEP = 8 << 10, 64 << 10  # compressed bytes fed at once, counted from the member's start
_NAME: Final = 4096  # the longest file name or comment that a gzip header may hold

ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_ZSTD_CANDIDATE: Final = re.compile(rb"\x28\xb5\x2f\xfd")
_SKIPPABLE: Final = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")
_DICTIONARY: Final = b"\x5d\x2a\x4d\x18"
_BLOCK: Final = 128 << 10
_MAX_DICTIONARY: Final = 64 << 20
_MAX_WINDOW: Final = 128 << 20  # the most that zstd itself allows by default


class GzipMembers:
    kind = "gzip"

    def read(self, window: ByteWindow, offset: int, plain: Plain) -> Attempt:
        at = _deflate_start(window, offset)
        if at is None:
            return damaged(offset + 1)
        engine, crc, step = zlib.decompressobj(-zlib.MAX_WBITS), 0, _FIRST
        while not engine.eof:
            before, chunk = engine.copy(), window.some(at, step)
            try:
                for piece in inflated(engine, chunk):
                    plain.take(piece)
                    crc = zlib.crc32(piece, crc)
            except zlib.error:
                reached = at + _understood(before, chunk)
                return damaged(reached, work=reached - offset + plain.size)
            if not chunk:
                return damaged(at, work=at - offset + plain.size)
            at, step = at + len(chunk), _STEP
        end = at - len(engine.unused_data)
        work = end - offset + plain.size
        trailer = window.at(end, 8)
        end += len(trailer)
        if trailer == struct.pack("<II", crc, plain.size & 0xFFFFFFFF):
            return plain.attempt(end=end, work=work)
        # a wrong checksum: the end stands if a member, or the end of the file, follows
        stands = len(trailer) == 8 and (window.ended(end) or self.trial(window, end))
        return damaged(end, end=end if stands else None, work=work)

    def candidates(self, window: ByteWindow, offset: int) -> Iterator[int]:
        return search(window, _GZIP_CANDIDATE, offset, longest=4)

    def trial(self, window: ByteWindow, offset: int) -> bool:
        body = _deflate_start(window, offset)
        if body is None:
            return False
        try:
            plain = zlib.decompressobj(-zlib.MAX_WBITS).decompress(window.at(body, TRIAL), TRIAL)
        except zlib.error:
            return False
        return surely_opens_record(plain)


def _deflate_start(window: ByteWindow, offset: int) -> int | None:
    """Where deflate starts behind a sound gzip header."""
    head = window.at(offset, 12)
    if len(head) < 10 or head[:3] != GZIP_MAGIC or head[3] & 0xE0:
        return None
    flags, at = head[3], offset + 10
    if flags & 4:
        at += 2 + int.from_bytes(head[10:12], "little")
    for flag in (8, 16):  # name, comment
        if flags & flag:
            zero = window.at(at, _NAME).find(b"\0")
            if zero < 0:
                return None
            at += zero + 1
    return at + 2 if flags & 2 else at


def _understood(engine: zlib._Decompress, chunk: bytes) -> int:
    """How many bytes of a chunk deflate takes, the one at which it fails included."""
    for index, byte in enumerate(chunk):
        try:
            list(inflated(engine, bytes((byte,))))
        except zlib.error:
            return index + 1
    raise AssertionError("deflate failed in this chunk a moment ago")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Frame:
    """`pieces` are a frame's header and blocks as (start, end); `end` None where it breaks."""

    pieces: tuple[tuple[int, int], ...]
    end: int | None
    reached: int


class ZstdFrames:
    kind = "zstd"

    def __init__(self, window: ByteWindow) -> None:
        # one for all frames: to make it takes far longer than to look into a frame
        self._decompressor = zstandard.ZstdDecompressor(
            dict_data=_dictionary(window), max_window_size=_MAX_WINDOW
        )

    def read(self, window: ByteWindow, offset: int, plain: Plain) -> Attempt:
        head = window.at(offset, 8)
        if len(head) == 8 and _SKIPPABLE.match(head):
            end = offset + 8 + int.from_bytes(head[4:], "little")
            whole = not window.ended(end - 1)
            return Attempt(end=end, reached=end, silent=True) if whole else damaged(offset + 1)
        frame = _frame(window, offset)
        if frame.end is None:
            return damaged(frame.reached)
        follows = window.ended(frame.end) or opens_frame(window.at(frame.end, 4))
        work = frame.end - offset
        if follows and not plain.wanted:  # a walk: what the block headers say is enough
            opens = opens_record(self._first_block(window, frame))
            return Attempt(end=frame.end, reached=frame.end, opens=opens, work=work)
        sound = self._decode(window, frame, plain)
        work += plain.size
        if sound:
            return plain.attempt(end=frame.end, work=work)
        # if nothing that we know follows, the sizes of the blocks cannot be trusted either
        return damaged(frame.end, end=frame.end if follows else None, work=work)

    def candidates(self, window: ByteWindow, offset: int) -> Iterator[int]:
        return search(window, _ZSTD_CANDIDATE, offset, longest=4)

    def trial(self, window: ByteWindow, offset: int) -> bool:
        """Whether the first block is sound and opens a record: at most 128 KiB are decoded."""
        frame = _frame(window, offset, blocks=1)
        return len(frame.pieces) > 1 and surely_opens_record(self._first_block(window, frame))

    def _first_block(self, window: ByteWindow, frame: _Frame) -> bytes:
        engine = self._decompressor.decompressobj()
        plain = b""
        try:
            for start, end in frame.pieces[:2]:
                plain += engine.decompress(window.at(start, end - start))
        except zstandard.ZstdError:
            return b"\0"
        return plain

    def _decode(self, window: ByteWindow, frame: _Frame, plain: Plain) -> bool:
        engine = self._decompressor.decompressobj()
        try:
            for start, end in frame.pieces:
                plain.take(engine.decompress(window.at(start, end - start)))
        except zstandard.ZstdError:
            return False
        return bool(engine.eof)


def opens_frame(head: bytes) -> bool:
    return head == ZSTD_MAGIC or _SKIPPABLE.match(head) is not None


def _dictionary(window: ByteWindow) -> zstandard.ZstdCompressionDict | None:
    """The dictionary that stands first in the file; None where there is none that can be used.

    Frames that need one which is damaged do not decode then: each is a loss that is counted.
    """
    head = window.at(0, 8)
    size = int.from_bytes(head[4:], "little")
    if head[:4] != _DICTIONARY or size > _MAX_DICTIONARY:
        return None
    stored = window.at(8, size)
    try:
        if stored[:4] == ZSTD_MAGIC:
            engine = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW)
            stored = engine.stream_reader(stored).read(_MAX_DICTIONARY)
        dictionary = zstandard.ZstdCompressionDict(stored)
        zstandard.ZstdDecompressor(dict_data=dictionary).decompressobj()  # raises if it is none
    except zstandard.ZstdError:
        return None
    return dictionary


def _frame(window: ByteWindow, offset: int, *, blocks: int | None = None) -> _Frame:
    """Walk a frame by its block headers, as far as they are sound (RFC 8878, 3.1.1)."""
    head = window.at(offset, 18)
    if len(head) < 6 or head[:4] != ZSTD_MAGIC or head[4] & 0x08:
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
