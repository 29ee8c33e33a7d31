"""Records: every input of the crawl read again, by warcio, from its stored bytes.

In:   an input's name; gzip is undone by Python's gzip, which checks sums and lengths, so that
      warcio sees plain records and none is lost in a member that holds several.
Out:  records by type, as warcio counts them, or the reason why it cannot be the judge.
Not counted: zstd (warcio reads none); what warcio or gzip stop at (damage: our own reader goes on
      behind it); a Content-Length that warcio finds wrong, or a body that ends early.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import zlib
from collections.abc import Iterator
from itertools import islice
from typing import Any, BinaryIO, Final

from warcio.archiveiterator import ArchiveIterator
from warcio.exceptions import ArchiveLoadFailed
from warcio.recordloader import ArcWarcRecord

from pipeline.read.raw import open_raw
from schemas.manifest import Ledger

GZIP: Final = b"\x1f\x8b"
ZSTD: Final = (b"\x28\xb5\x2f\xfd", b"\x2a\x4d\x18")
_PIECE: Final = 1 << 20


class CannotJudge(Exception):  # noqa: N818  # an answer, not an error
    """Why warcio's count of an input says nothing."""


def count_records(name: str, *, limit: int | None = None) -> Ledger:
    """`records.type.TYPE` of an input, or of its first `limit` records.

    Raises:
        CannotJudge: where warcio cannot be the judge, with the reason.
    """
    ledger = Ledger()
    try:
        with open_raw(name) as stream, _plain(stream) as plain, _quiet():
            for type_ in islice(_types(plain), limit):
                ledger[f"records.type.{type_}"] += 1
    except (ArchiveLoadFailed, gzip.BadGzipFile, EOFError, zlib.error) as error:
        read = sum(ledger.values())
        raise CannotJudge(f"stops behind {read:,} records: {_first_line(error)}") from error
    except (OSError, ValueError) as error:
        raise CannotJudge(f"cannot be opened: {_first_line(error)}") from error
    return ledger


class _Unzipped(gzip.GzipFile):
    """gzip that breaks off is an error of its own: warcio takes an EOFError for the end."""

    def read(self, size: int | None = -1) -> bytes:
        try:
            return super().read(size)
        except EOFError as error:
            raise gzip.BadGzipFile(str(error)) from error


@contextlib.contextmanager
def _plain(stream: BinaryIO) -> Iterator[Any]:
    head = stream.read(4)
    stream.seek(0)
    if head.startswith(ZSTD[0]) or head.endswith(ZSTD[1]):
        raise CannotJudge("warcio reads no zstd")
    if not head.startswith(GZIP):
        yield stream
        return
    with _Unzipped(fileobj=stream, mode="rb") as plain:
        yield plain


def _types(plain: BinaryIO) -> Iterator[str]:
    records = ArchiveIterator(plain, no_record_parse=True)
    for record in records:
        head = record.raw_stream.read(5)
        read = len(head)
        while piece := record.raw_stream.read(_PIECE):
            read += len(piece)
        yield _type_of(record, head)
        if record.length is not None and read < record.length:
            raise CannotJudge(f"a body has {read:,} of {record.length:,} bytes")
        records.read_to_end()
        if records.err_count:
            raise CannotJudge("warcio finds a Content-Length that is wrong")


def _type_of(record: ArcWarcRecord, head: bytes) -> str:
    """The type by WARC's own word; ARC has none, so by what stands in the block."""
    if record.format == "warc":
        return (record.rec_type or "").lower()
    if record.rec_type == "arc_header":
        return "warcinfo"
    return "response" if head == b"HTTP/" else "resource"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """warcio prints a warning that we read from its err_count."""
    with contextlib.redirect_stderr(io.StringIO()):
        yield


def _first_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 120 else f"{text[:117]}..."
