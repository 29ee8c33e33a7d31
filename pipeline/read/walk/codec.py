"""Codec: what a file format must tell so that one loop can walk it, read it and mend it.

In:   a window of raw bytes and an offset where a member should start.
Out:  `Found`: where the member ends, what is wrong with it, and its plain bytes if asked for.
Then: members.py does the rest, the same for gzip, zstd, plain WARC and ARC.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

from pipeline.problem import Fault, Problem, fault_of
from pipeline.read.walk.window import Window
from schemas.verdict import Reason

SEARCHED: Final = 1 << 20  # bytes of one step of a search
TRIAL: Final = 512  # compressed bytes that a candidate may show itself with

# How a record opens; a true member may have blank lines before it.
WARC_OPENING: Final = re.compile(rb"WARC/\d\.\d{1,2}\r?\n[!-9;-~]+[ \t]*:")
# URL, IP address, date, media type, length; in version 2 behind the type a status, a checksum, a
# redirect, an offset and a file name
_ARC_START: Final = rb"[A-Za-z][A-Za-z0-9+.-]{0,20}:[^\n]{1,8192} \S+ \d{8,20} \S+"
_ARC_MORE: Final = rb" (?:\d{3}|-) \S+ \S+ \d+ \S+"
ARC_LINE: Final = re.compile(_ARC_START + rb"(?:" + _ARC_MORE + rb")? (\d{1,15})\r?\n")
_ARC_2: Final = re.compile(rb"(" + _ARC_START + rb")" + _ARC_MORE + rb"( \d+\r?\n)")
ARC_OPENING: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]{0,20}:[^\n]{8,}")


class Sink(Protocol):
    def write(self, data: bytes, /) -> object: ...


@dataclass(slots=True)
class Plain:
    """The plain bytes of a member: counted always, kept or passed on only up to the limit."""

    keep: bool
    limit: int
    sink: Sink | None = None
    size: int = 0
    head: bytes = b""
    pieces: list[bytes] = field(default_factory=list)

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

    def found(self, *, end: int, work: int) -> Found:
        """A sound member that ends at `end`."""
        problem = None
        if self.size > self.limit:
            problem = Problem(reason=Reason.RECORD_TOO_LARGE, value=self.size, limit=self.limit)
        held = self.keep and self.sink is None and problem is None
        return Found(
            end=end,
            reached=end,
            problem=problem,
            data=b"".join(self.pieces) if held else None,
            size=self.size,
            opens=not self.head.lstrip(b"\r\n") or opens_record(self.head),
            silent=not self.size,
            work=work,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What lies at an offset.

    `end` is where the next member starts, None where that must be searched; `reached` is how far
    the bytes were understood; `opens` is False for a member that goes on with the one before;
    `short` marks a plain record that is readable but ends before its told length; `silent` one
    that holds no record (a skippable frame, blank lines). `work` is bytes taken in and given out.
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


class Codec(Protocol):
    @property
    def kind(self) -> str: ...

    def read(
        self, window: Window, offset: int, *, keep: bool, max_bytes: int, sink: Sink | None = None
    ) -> Found:
        """What starts at `offset`; a sink takes the plain bytes up to the limit instead of us."""
        ...

    def candidates(self, window: Window, offset: int) -> Iterator[int]:
        """Offsets from `offset` on where a member may start, told by a pattern alone."""
        ...

    def trial(self, window: Window, offset: int) -> bool:
        """Whether a member starts here, by a bounded look."""
        ...

    def closes(self, window: Window, offset: int, place: int, *, whole: int) -> bool:
        """Whether what lies before `place` shows that a member begun at `offset` ended there.

        `whole` sound members stand from `place` on.
        """
        ...


@dataclass(frozen=True, slots=True)
class Shielded:
    """A codec that never raises for the sake of the bytes, so that no fault of ours ends a file.

    What the stream raises (a disk, a network) is raised.
    """

    codec: Codec

    @property
    def kind(self) -> str:
        return self.codec.kind

    def read(
        self, window: Window, offset: int, *, keep: bool, max_bytes: int, sink: Sink | None = None
    ) -> Found:
        try:
            return self.codec.read(window, offset, keep=keep, max_bytes=max_bytes, sink=sink)
        except BaseException as error:  # noqa: BLE001  # told, or raised again
            return damaged(offset + 1, problem=_fault_of(error, window))

    def candidates(self, window: Window, offset: int) -> Iterator[int]:
        return self.codec.candidates(window, offset)

    def trial(self, window: Window, offset: int) -> bool:
        try:
            return self.codec.trial(window, offset)
        except BaseException as error:  # noqa: BLE001  # told, or raised again
            _fault_of(error, window)
            return False

    def closes(self, window: Window, offset: int, place: int, *, whole: int) -> bool:
        return self.codec.closes(window, offset, place, whole=whole)


def _fault_of(error: BaseException, window: Window) -> Fault:
    if window.failed:
        raise error
    return fault_of(error)


def opens_record(plain: bytes) -> bool:
    """Whether plain bytes (perhaps only the first of a record) begin a WARC or ARC record."""
    head = plain.lstrip(b"\r\n")
    if head.startswith(b"WARC/") or (len(head) < len(b"WARC/") and b"WARC/".startswith(head)):
        return True
    if b"\n" in head:
        return ARC_LINE.match(head) is not None
    return ARC_OPENING.match(head) is not None


def as_arc_1(line: bytes) -> bytes:
    """A header line of an ARC of either version as version 1 has it, which is all others read."""
    found = _ARC_2.match(line)
    return line if found is None else found[1] + found[2]


def damaged(
    reached: int, *, end: int | None = None, work: int = 0, problem: Problem | None = None
) -> Found:
    why = problem or Problem(reason=Reason.DAMAGED_RECORD)
    return Found(end=end, reached=reached, problem=why, work=work)


def search(
    window: Window, pattern: re.Pattern[bytes], offset: int, *, longest: int
) -> Iterator[int]:
    """Offsets where `pattern` matches; `longest` bounds a match, so none is lost at a joint."""
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
