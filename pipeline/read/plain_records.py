"""Plain records: WARC by Content-Length, ARC by the length in its header line.

In:      raw bytes and the offset where a record should start.
Out:     its end, blank lines behind it included, and its bytes if wanted.
Refused: what does not open like a record, a header without length or without an end up to the
         limit: DAMAGED_RECORD, and the next record is searched. A record whose body ends before
         its declared length is `short`, since its header can be read; records.py counts it as
         TRUNCATED_PAYLOAD.

The same rules split what a compressed member holds, so a member may hold several records, and a
WARC inside a record is only a payload: it lies within the declared length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pipeline.problem import Problem
from pipeline.read.codec import (
    ARC_LINE,
    ARC_OPENING,
    WARC_OPENING,
    Attempt,
    ByteWindow,
    Plain,
    damaged,
    opens_record,
    search,
)
from pipeline.read.payload import HEADER_BYTES
from schemas.verdict import Reason

HEADER: Final = 256 << 10  # bytes in which the end of a WARC header is looked for
LINE: Final = 8 << 10  # the longest ARC header line
_PEEK: Final = 8 << 10
_EMPTY_LINE: Final = re.compile(rb"\n\r?\n")
_LINE: Final = re.compile(rb"\n")
_LENGTH: Final = re.compile(rb"(?im)^content-length[ \t]*:[ \t]*(\d{1,15})[ \t]*\r?$")
_WARC: Final = re.compile(rb"WARC/\d\.\d{1,2}\r?\n")  # anywhere: a cut record has no line end
# what comes first: an empty line, or the next record where it cuts the header off
_HEADER_END: Final = re.compile(rb"\n\r?\n|(" + _WARC.pattern + rb")")
_LOOKED: Final = 1 << 20  # bytes in which the size of a header that is too long is looked for
# how a header opens, what ends it, how long it may be
_WARC_HEADER: Final = (WARC_OPENING, _HEADER_END, HEADER_BYTES)
_ARC_HEADER: Final = (ARC_OPENING, _LINE, LINE)
_ARC: Final = re.compile(
    rb"(?<![^\n])(" + ARC_LINE.pattern.replace(b"(\\d{1,15})", b"\\d{1,15}") + rb")"
)
_DAMAGED: Final = Reason.DAMAGED_RECORD


@dataclass(frozen=True, kw_only=True, slots=True)
class PlainRecords:
    """`kind` is warc or arc: an ARC line in the payload of a damaged WARC is not a record."""

    kind: str

    def read(self, window: ByteWindow, offset: int, plain: Plain) -> Attempt:
        assert plain.sink is None  # its bytes are the file's own: nothing to unpack
        start = skip_blank(window, offset)
        if start > offset and window.ended(start):
            return Attempt(end=start, reached=start, silent=True)
        header = self._header(window, start)
        if header is None:
            return damaged(start + 1, problem=self._too_long(window, start))
        body, length = header
        body_end = body + length
        large = body_end - offset > plain.limit
        if plain.keep and not large:
            window.at(offset, body_end - offset + 64)  # one block from here on: no step back below
        end = self._next(window, body_end)
        short = length > 0 and window.ended(body_end - 1)
        if end is None or short:
            return Attempt(end=None, reached=body_end, short=True, work=body - start)
        problem, data = None, None
        if large:
            size = body_end - offset
            problem = Problem(reason=Reason.RECORD_TOO_LARGE, value=size, limit=plain.limit)
        elif plain.keep:
            data = window.at(offset, end - offset)
        size = end - offset
        return Attempt(end=end, reached=end, problem=problem, data=data, size=size, work=size)

    def candidates(self, window: ByteWindow, offset: int) -> Iterator[int]:
        pattern, longest = (_WARC, 16) if self.kind == "warc" else (_ARC, LINE + 256)
        before = max(0, offset - 1)  # the line break in front belongs to the pattern
        matches = search(window, pattern, before, longest=longest)
        return (place for place in matches if place >= offset)

    def trial(self, window: ByteWindow, offset: int) -> bool:
        return self._header(window, skip_blank(window, offset), longest=_PEEK) is not None

    def _header(
        self, window: ByteWindow, start: int, *, longest: int = HEADER
    ) -> tuple[int, int] | None:
        """(where the body starts, its declared length), None where these cannot be read."""
        head = window.at(start, _PEEK)
        if self.kind == "arc":
            line = ARC_LINE.match(head)
            return None if line is None else (start + line.end(), int(line[1]))
        if WARC_OPENING.match(head) is None:
            return None
        end = _HEADER_END.search(head, 1)
        if end is None and longest > _PEEK:
            head = window.at(start, longest)
            end = _HEADER_END.search(head, 1)
        if end is None or end[1]:
            return None
        length = _declared_length(head[: end.end()])
        return None if length is None else (start + end.end(), length)

    def _too_long(self, window: ByteWindow, start: int) -> Problem | None:
        """The problem of a header that is too long, with its size as far as that is looked for."""
        opening, end, limit = _WARC_HEADER if self.kind == "warc" else _ARC_HEADER
        if opening.match(window.at(start, _PEEK)) is None:
            return None
        head = window.at(start, _LOOKED)
        match = end.search(head, 1)
        if match is not None and match.lastindex:
            return None
        size = len(head) if match is None else match.end()
        return None if size <= limit else Problem(reason=_DAMAGED, value=size, limit=limit)

    def _next(self, window: ByteWindow, body_end: int) -> int | None:
        """Where the next record starts behind a body, None where nothing shows that it ended."""
        end = skip_blank(window, body_end)
        ends = window.at(body_end, min(end - body_end, 8)).count(b"\n")
        if window.ended(end) or ends >= (2 if self.kind == "warc" else 1):
            return end
        return end if opens_record(window.at(end, LINE)) else None


def skip_blank(window: ByteWindow, offset: int) -> int:
    """The first byte from `offset` on that is no line break."""
    step = 64
    while True:
        block = window.at(offset, step)
        rest = len(block.lstrip(b"\r\n"))
        offset += len(block) - rest
        if rest or len(block) < step:
            return offset
        step = 64 << 10


def split_header(data: bytes) -> tuple[bytes, bytes, int]:
    """A plain record as (header, block and blank lines, declared length of the block)."""
    data = data.lstrip(b"\r\n")
    warc = data.startswith(b"WARC/")
    end = (_EMPTY_LINE if warc else _LINE).search(data)
    assert end is not None  # read() has seen it
    head, block = data[: end.end()], data[end.end() :]
    line = None if warc else ARC_LINE.match(head)
    length = _declared_length(head) if line is None else int(line[1])
    assert length is not None
    return head, block, length


def _declared_length(header: bytes) -> int | None:
    length = _LENGTH.search(header)
    return None if length is None else int(length[1])
