"""Records: every input of the crawl read again, by warcio, from its stored bytes.

In:   an input's name; gzip is undone here by zlib, which checks sums and lengths, so that warcio
      sees plain records and none is lost in a member that holds several.
Out:  records by type, as warcio counts them, and of each where it lies, its URL and its date; or
      the reason why it cannot be the judge.
Not counted: zstd (warcio reads none); what warcio or gzip stop at (damage: our own reader goes on
      behind it) or our own code raises at, as extract has told; a Content-Length that warcio finds
      wrong, or a body that ends early.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import logging
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import islice
from typing import BinaryIO, Final, NamedTuple

from warcio.archiveiterator import ArchiveIterator
from warcio.exceptions import ArchiveLoadFailed
from warcio.recordloader import ArcWarcRecord

from pipeline.problem import fault_of
from pipeline.read.capture_date import arc_date, warc_date
from pipeline.read.payload import Headers, Http, parse_http
from pipeline.read.walk.codec import as_arc_1
from pipeline.store.raw import open_raw
from schemas.manifest import Ledger

GZIP: Final = b"\x1f\x8b"
ZSTD: Final = (b"\x28\xb5\x2f\xfd", b"\x2a\x4d\x18")
WHOLE: Final = 32 << 20  # bytes of a block that is kept
HEADERS: Final = 1 << 18  # bytes of a block in which HTTP headers are looked for
_ARC_FIELDS: Final = ("uri", "ip-address", "archive-date", "content-type", "length")
_PIECE: Final = 1 << 16  # what zlib leaves of a piece is copied at each member's end
_OF_GZIP: Final = 16 + zlib.MAX_WBITS


class CannotJudge(Exception):  # noqa: N818  # an answer, not an error
    """Why warcio's count of an input says nothing."""


class Met(NamedTuple):
    """A record as warcio reads it. Offset and length are its member's; ARC's are its own."""

    type: str
    offset: int
    length: int | None  # None where no gzip member tells it
    url: str
    date: str
    headers: Headers  # of an HTTP answer
    block: bytes  # as stored; of one larger than WHOLE only its start


def count_records(
    name: str, *, limit: int | None = None, met: Callable[[Met], object] = lambda _: None
) -> Ledger:
    """`records.type.TYPE` of an input, or of its first `limit` records, each given to `met`.

    Raises:
        CannotJudge: where warcio cannot be the judge, with the reason.
    """
    ledger = Ledger()
    try:
        with open_raw(name) as stream, _quiet():
            for record in islice(_records(_plain(stream)), limit):
                ledger[f"records.type.{record.type}"] += 1
                met(record)
    except (ArchiveLoadFailed, gzip.BadGzipFile, zlib.error) as error:
        read = sum(ledger.values())
        raise CannotJudge(f"stops behind {read:,} records: {_first_line(error)}") from error
    except CannotJudge:
        raise
    except (OSError, ValueError) as error:
        raise CannotJudge(f"cannot be opened: {_first_line(error)}") from error
    except BaseException as error:  # told, or raised again
        raise CannotJudge(f"cannot be read: {fault_of(error).raised}") from error
    return ledger


class _Unzipped:
    """Members of gzip as one plain stream, which knows where each of them starts in both.

    A stream that breaks off is BadGzipFile: warcio would take an EOFError for the end.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._stored = b""  # read and not yet inflated
        self._read = 0
        self._given = 0
        self._member = zlib.decompressobj(_OF_GZIP)
        self._begun = False
        self.plain, self.stored = array("q"), array("q")  # starts of members

    def tell(self) -> int:
        return self._given

    def read(self, size: int) -> bytes:
        data = b""
        while not data and (self._stored or self._fill()):
            if not self._begun:
                self._begin()
                continue
            data = self._member.decompress(self._stored, size)
            self._stored = self._member.unconsumed_tail
            if self._member.eof:
                self._stored = self._member.unused_data
                self._member, self._begun = zlib.decompressobj(_OF_GZIP), False
            self._given += len(data)
        if not data and self._begun:
            raise gzip.BadGzipFile("the last member has no end")
        return data

    def _fill(self) -> bool:
        self._stored = self._stream.read(_PIECE)
        self._read += len(self._stored)
        return bool(self._stored)

    def _begin(self) -> None:
        """At a member's first byte; what is padded with zeros ends in them."""
        self._stored = self._stored.lstrip(b"\0")
        if self._stored:
            self.plain.append(self._given)
            self.stored.append(self._read - len(self._stored))
            self._begun = True

    def members_of(self, place: int, length: int) -> tuple[int, int]:
        """Start and end of the members that hold a span of the plain stream."""
        first = bisect_right(self.plain, place) - 1
        behind = bisect_right(self.plain, place + max(length, 1) - 1)
        end = self.stored[behind] if behind < len(self.stored) else self._read - len(self._stored)
        return self.stored[first], end


def _plain(stream: BinaryIO) -> BinaryIO | _Unzipped:
    head = stream.read(4)
    stream.seek(0)
    if head.startswith(ZSTD[0]) or head.endswith(ZSTD[1]):
        raise CannotJudge("warcio reads no zstd")
    return _Unzipped(stream) if head.startswith(GZIP) else stream


def _records(plain: BinaryIO | _Unzipped) -> Iterator[Met]:
    records = ArchiveIterator(plain, no_record_parse=True)
    for record in records:
        head = record.raw_stream.read(HEADERS)
        pieces, read = [head], len(head)
        while piece := record.raw_stream.read(_PIECE):
            read += len(piece)
            if read <= WHOLE:
                pieces.append(piece)
        type_ = _type_of(record, head)
        if record.length is not None and read < record.length:
            raise CannotJudge(f"a body has {read:,} of {record.length:,} bytes")
        records.read_to_end()
        if records.err_count:
            raise CannotJudge("warcio finds a Content-Length that is wrong")
        block = head if read > WHOLE else b"".join(pieces)
        yield _met(record, type_, records.member_info, plain, block)


def _met(
    record: ArcWarcRecord,
    type_: str,
    span: tuple[int, int],
    plain: BinaryIO | _Unzipped,
    block: bytes,
) -> Met:
    """`span` is the place and the length of the record in the plain stream."""
    of_warc = record.format == "warc"
    said = record.rec_headers
    if of_warc:
        url = said.get_header("WARC-Target-URI") or ""
        date = warc_date(said.get_header("WARC-Date") or "")
    else:  # warcio takes each line for one of version 1
        line = " ".join(said.get_header(name) or "" for name in _ARC_FIELDS)
        url, _, date, _, _ = as_arc_1(f"{line}\n".encode()).decode().rsplit(" ", 4)
        date = arc_date(date)
    http = parse_http(block[:HEADERS])
    headers = http.headers if isinstance(http, Http) else ()
    if not isinstance(plain, _Unzipped):
        return Met(type_, span[0], None, url, date, headers, block)
    offset, end = plain.members_of(*span)
    return Met(type_, offset, end - offset, url, date, headers, block)


def _type_of(record: ArcWarcRecord, head: bytes) -> str:
    """The type by WARC's own word; ARC has none, so by what stands in the block."""
    if record.format == "warc":
        return (record.rec_type or "").lower()
    if record.rec_type == "arc_header":
        return "warcinfo"
    return "response" if head.startswith(b"HTTP/") else "resource"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """warcio prints a warning that we read from its err_count, and logs each URL with a space."""
    logger = logging.getLogger("warcio")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(before)


def _first_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 120 else f"{text[:117]}..."
