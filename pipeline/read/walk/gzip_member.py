"""gzip members, through zlib's raw deflate with our own check of CRC and length.

In:      raw bytes and the offset of a member.
Out:     its exact end, its plain bytes if wanted, or what is wrong with it.
Why raw: zlib's own gzip mode raises on a wrong CRC and loses the place. Here a bit that flipped
         inside a stored block still leaves the end of the member known.
Refused: a bad header, deflate that breaks off or does not decode, a wrong CRC or length:
         DAMAGED_RECORD; more plain bytes than the limit: RECORD_TOO_LARGE, read to its end.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipeline.read.walk.codec import TRIAL, Found, Plain, Sink, damaged, opens_record, search
from pipeline.read.walk.window import Window

MAGIC: Final = b"\x1f\x8b\x08"
_FIRST, _STEP = 8 << 10, 64 << 10  # compressed bytes fed at once, counted from the member's start
_PIECE: Final = 1 << 20  # plain bytes taken at once: a bomb costs time, never memory
_NAME: Final = 4096  # the longest file name or comment that a header may hold
_RATIO: Final = 1032  # deflate shortens no further
_SPARE: Final = 0.9  # and lengthens by less than this, header and trailer of a record included
_LONGEST: Final = 64 << 20  # plain bytes of a record that are believed without proof
_LEAST: Final = 18  # bytes of header and trailer alone
_BLOCK: Final = 65_535  # bytes of a stored block at most
_HEAD: Final = 1 << 6
_CANDIDATE: Final = re.compile(rb"\x1f\x8b\x08[\x00-\x1f]")


@dataclass(slots=True)
class _Summed(Plain):
    """Plain bytes with the sum that gzip's trailer must tell."""

    crc: int = 0

    def take(self, piece: bytes) -> None:
        Plain.take(self, piece)
        self.crc = zlib.crc32(piece, self.crc)

    def trailer(self) -> bytes:
        return struct.pack("<II", self.crc, self.size & 0xFFFFFFFF)


class GzipMembers:
    kind = "gzip"

    def read(
        self, window: Window, offset: int, *, keep: bool, max_bytes: int, sink: Sink | None = None
    ) -> Found:
        body = _body(window, offset)
        if body is None:
            return damaged(offset + 1)
        plain = _Summed(keep=keep, limit=max_bytes, sink=sink)
        end, reached = _inflate(window, body, plain)
        work = reached - offset + plain.size
        if end is None:
            return damaged(reached, work=work)
        trailer = window.at(end, 8)
        end += len(trailer)
        if trailer == plain.trailer():
            return plain.found(end=end, work=work)
        # a wrong sum: the end stands if a member, or the end of the file, follows
        stands = len(trailer) == 8 and (window.ended(end) or self.trial(window, end))
        return damaged(end, end=end if stands else None, work=work)

    def candidates(self, window: Window, offset: int) -> Iterator[int]:
        return search(window, _CANDIDATE, offset, longest=4)

    def trial(self, window: Window, offset: int) -> bool:
        body = _body(window, offset)
        if body is None:
            return False
        try:
            plain = zlib.decompressobj(-zlib.MAX_WBITS).decompress(window.at(body, TRIAL), TRIAL)
        except zlib.error:
            return False
        return bool(plain) and opens_record(plain)

    def closes(self, window: Window, offset: int, place: int, *, whole: int) -> bool:
        """A true end tells the plain length; what lies before a planted member hardly can.

        Where the end was cut off: a member stands in deflate as it is only in a stored block, whose
        head tells its length twice. Without such a head, one whole member at `place` is enough.
        """
        length = place - offset
        if length >= _LEAST:
            told = int.from_bytes(window.at(place - 4, 4), "little")
            if _SPARE * length <= told <= min(_RATIO * length, _LONGEST):
                return True
        return whole > 0 and not _stored(window, offset, place)


def _stored(window: Window, offset: int, place: int) -> bool:
    """Whether the bytes between look as if `place` lay in a stored block (RFC 1951, 3.2.4)."""
    start = max(offset, place - _BLOCK - 5)
    read = np.frombuffer(window.at(start, place - start), dtype=np.uint8).astype(np.uint32)
    if len(read) < 5:
        return False
    words = read[:-1] | read[1:] << 8
    head, length, complement = read[:-4], words[1:-2], words[3:]
    # above the block's three bits its head is filled with zeros
    found = (head < _HEAD) & (length ^ complement == 0xFFFF)
    reach = np.arange(len(head)) + 5 + length
    return bool((found & (reach > len(read))).any())


def _body(window: Window, offset: int) -> int | None:
    """Where deflate starts behind a sound gzip header."""
    head = window.at(offset, 12)
    if len(head) < 10 or head[:3] != MAGIC or head[3] & 0xE0:
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


def _inflate(window: Window, body: int, plain: Plain) -> tuple[int | None, int]:
    """(where deflate ends or None, how far it was understood)."""
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    at, step = body, _FIRST
    while not engine.eof:
        chunk = window.some(at, step)
        if not chunk:
            return None, at
        try:
            _feed(engine, chunk, plain)
        except zlib.error:
            return None, _breaking_point(window, body, at)
        at, step = at + len(chunk), _STEP
    end = at - len(engine.unused_data)
    return end, end


def _feed(engine: zlib._Decompress, chunk: bytes, plain: Plain | None) -> None:
    while True:
        piece = engine.decompress(chunk, _PIECE)
        if plain is not None:
            plain.take(piece)
        chunk = engine.unconsumed_tail
        if engine.eof or (not chunk and len(piece) < _PIECE):
            return


def _breaking_point(window: Window, body: int, failed: int) -> int:
    """The byte at which deflate fails inside the chunk at `failed`; zlib does not tell."""
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    at, step = body, _FIRST
    while at < failed:
        chunk = window.some(at, step)
        _feed(engine, chunk, None)
        at, step = at + len(chunk), _STEP
    for place, byte in enumerate(window.some(failed, step)):
        try:
            _feed(engine, bytes((byte,)), None)
        except zlib.error:
            return failed + place + 1
    raise AssertionError("deflate failed in this chunk a moment ago")
