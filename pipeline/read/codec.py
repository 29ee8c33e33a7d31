"""Codec: what a file format must answer, so that one loop walks, reads and mends all of them.

In:   raw bytes by offset (`ByteWindow`), and an offset at which a member should start.
Out:  `Attempt`: where the member ends, what is wrong with it, and its plain bytes if wanted.
The formats are in compressed.py (gzip, zstd) and plain_records.py (WARC, ARC); the loop that is
the same for all of them is in members.py.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import SEEK_END
from typing import BinaryIO, Final, Protocol

from pipeline.problem import Problem
from schemas.verdict import Reason

BLOCK: Final = 1 << 20  # bytes read ahead at once
SEARCHED: Final = 1 << 20  # bytes of one step of a search
TRIAL: Final = 512  # compressed bytes at the start of a candidate that a trial decodes
_SHORTEST_HEADER: Final = 40  # bytes: even an ARC line has an address, a date, a type, a length
DAMAGE: Final = Problem(reason=Reason.DAMAGED_RECORD)

# How a record opens; a true member may have blank lines before it.
WARC_OPENING: Final = re.compile(rb"WARC/\d\.\d{1,2}\r?\n[!-9;-~]+[ \t]*:")
# URL, IP address, date, media type, length; in version 2 behind the type a status, a checksum, a
# redirect, an offset and a file name
_ARC_START: Final = rb"[A-Za-z][A-Za-z0-9+.-]{0,20}:[^\n]{1,8192} \S+ \d{8,20} \S+"
_ARC_MORE: Final = rb" (?:\d{3}|-) \S+ \S+ \d+ \S+"
ARC_LINE: Final = re.compile(_ARC_START + rb"(?:" + _ARC_MORE + rb")? (\d{1,15})\r?\n")
_ARC_2: Final = re.compile(rb"(" + _ARC_START + rb")" + _ARC_MORE + rb"( \d+\r?\n)")
ARC_OPENING: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]{0,20}:[^\n]{8,}")


class ByteWindow:
    """The raw bytes of a stream by offset, with one block of them in memory.

    `end` is where reading ahead stops, so that nothing behind a part is fetched without need; a
    look behind it is still answered, unless `exact` makes it the last byte.
    """

    def __init__(self, stream: BinaryIO, *, end: int | None = None, exact: bool = False) -> None:
        self._stream = stream
        self._end = end
        self._last = end if exact else None
        self._block = b""
        self._start = 0
        self.failed = False  # the stream raised: a disk's or a network's fault, not the bytes'

    def at(self, offset: int, size: int) -> bytes:
        """The bytes [offset, offset + size), fewer only at the end of the stream."""
        if self._last is not None:
            size = max(0, min(size, self._last - offset))
        low = offset - self._start
        if low < 0 or low + size > len(self._block):
            if not self._fill(offset, size):
                return b""
            low = 0
        return self._block[low : low + size]

    def some(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes, at least one; not across `end`."""
        if self._end is not None and offset < self._end:
            size = min(size, self._end - offset)
        return self.at(offset, size)

    def size(self) -> int:
        if self._last is not None:
            return self._last
        with self._watched():
            return self._stream.seek(0, SEEK_END)

    def ended(self, offset: int) -> bool:
        """Whether there is no byte at `offset`."""
        return not self.at(offset, 1)

    def _fill(self, offset: int, size: int) -> bool:
        """Hold the bytes from `offset` on; False where there are none."""
        wanted = size
        if self._end is None or offset < self._end:
            ahead = BLOCK if self._end is None else min(BLOCK, self._end - offset)
            wanted = max(size, ahead)
        low = offset - self._start
        kept = self._block[low:] if 0 <= low < len(self._block) else b""
        block = kept + self._read(offset + len(kept), wanted - len(kept))
        if block:  # a look behind the end of the stream leaves the block that is held
            self._block, self._start = block, offset
        return bool(block)

    def _read(self, offset: int, size: int) -> bytes:
        with self._watched():
            try:
                self._stream.seek(offset)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                return b""  # farther than a file reaches on this file system
            pieces = []
            while size > 0 and (piece := self._stream.read(size)):
                pieces.append(piece)
                size -= len(piece)
            return b"".join(pieces)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.failed = True
            raise


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """What reading a member at an offset gave.

    `end` is where the next member starts, None where that must be searched; `reached` is how far
    the bytes were understood; `opens` is False for a member that continues the record of the one
    before; `short` marks a plain record whose header is readable and whose body ends before its
    declared length; `silent` one that holds no record (a skippable frame, blank lines); `work` is
    bytes read plus bytes decoded.
    """

    end: int | None
    reached: int
    problem: Problem | None = None
    data: bytes | None = None
    size: int = 0
    opens: bool = True
    short: bool = False
    silent: bool = False
    work: int = 0

    @property
    def damaged(self) -> bool:
        damage = (Reason.DAMAGED_RECORD, Reason.UNREADABLE_RECORD)
        return self.problem is not None and self.problem.reason in damage

    @property
    def whole(self) -> bool:
        """The end is known, and the checksum, where the format has one, is right."""
        return self.end is not None and not self.damaged


def damaged(
    reached: int, *, end: int | None = None, work: int = 0, problem: Problem | None = None
) -> Attempt:
    return Attempt(end=end, reached=reached, problem=problem or DAMAGE, work=work)


@dataclass(kw_only=True, slots=True)
class Plain:
    """The plain bytes of a member: always counted, kept or passed on only up to the limit."""

    limit: int
    keep: bool = False
    sink: BinaryIO | None = None
    size: int = 0
    head: bytes = b""
    pieces: list[bytes] = field(default_factory=list)

    @property
    def wanted(self) -> bool:
        return self.keep or self.sink is not None

    def take(self, piece: bytes) -> None:
        self.size += len(piece)
        if len(self.head) < TRIAL:
            self.head += piece[:TRIAL]
        if self.size > self.limit:
            self.pieces.clear()
        elif self.sink is not None:
            self.sink.write(piece)
        elif self.keep:
            self.pieces.append(piece)

    def attempt(self, *, end: int, work: int) -> Attempt:
        """A sound member that ends at `end`."""
        problem = None
        if self.size > self.limit:
            problem = Problem(reason=Reason.RECORD_TOO_LARGE, value=self.size, limit=self.limit)
        return Attempt(
            end=end,
            reached=end,
            problem=problem,
            data=b"".join(self.pieces) if self.keep and problem is None else None,
            size=self.size,
            opens=not self.head.lstrip(b"\r\n") or opens_record(self.head),
            silent=not self.size,
            work=work,
        )


class Codec(Protocol):
    @property
    def kind(self) -> str: ...

    def read(self, window: ByteWindow, offset: int, plain: Plain) -> Attempt:
        """Read the member at `offset`; it is decoded whole if its plain bytes are wanted."""
        ...

    def candidates(self, window: ByteWindow, offset: int) -> Iterator[int]:
        """Offsets from `offset` on where a member may start, by its magic alone."""
        ...

    def trial(self, window: ByteWindow, offset: int) -> bool:
        """Whether a member that opens a record seems to start here, for bounded work."""
        ...


def opens_record(plain: bytes) -> bool:
    """Whether plain bytes (perhaps only the first of a record) begin a WARC or ARC record."""
    head = plain.lstrip(b"\r\n")
    if head.startswith(b"WARC/") or (len(head) < len(b"WARC/") and b"WARC/".startswith(head)):
        return True
    if b"\n" in head:
        return ARC_LINE.match(head) is not None
    return ARC_OPENING.match(head) is not None


def surely_opens_record(plain: bytes) -> bool:
    """The same for a candidate: a few bytes that might become a record's are no sign there."""
    return len(plain.lstrip(b"\r\n")) >= _SHORTEST_HEADER and opens_record(plain)


def as_arc_1(line: bytes) -> bytes:
    """A header line of an ARC of either version as version 1 has it, which warcio can read."""
    second = _ARC_2.match(line)
    return line if second is None else second[1] + second[2]


def search(
    window: ByteWindow, pattern: re.Pattern[bytes], offset: int, *, longest: int
) -> Iterator[int]:
    """Offsets where `pattern` matches. `longest` bounds a match, so that a match across two steps
    of the search is seen, and seen once."""
    while True:
        block = window.at(offset, SEARCHED)
        last = len(block) < SEARCHED
        stop = len(block) if last else SEARCHED - longest
        for match in pattern.finditer(block):
            if match.start() >= stop:
                break
            yield offset + match.start(match.lastindex or 0)
        if last:
            return
        offset += stop
