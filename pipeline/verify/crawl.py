"""Crawl: records of the raw inputs by type, counted again by warcio, input by input.

In:   the inputs of run.json; what extract counted of their parts.
Out:  a check for each type over all inputs that warcio could count, and one of the records that
      bring a payload against the rows that they became; "not counted" for each other input.
Not:  zstd (warcio reads none); inputs of which an index chose records; inputs at whose damage
      warcio stops, while extract goes on behind it.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import logging
import zlib
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO, Final, cast

from warcio.archiveiterator import ArchiveIterator
from warcio.exceptions import ArchiveLoadFailed
from warcio.recordloader import ArcWarcRecord

from pipeline.extract.outcome import ASIDE_TYPES
from pipeline.job import shortened
from pipeline.problem import fault_of
from pipeline.store.raw import open_raw
from pipeline.verify.at_rest import RunAtRest, StageAtRest
from pipeline.verify.checks import Check, Tally, compare, not_counted
from schemas.manifest import Ledger

TYPE: Final = "records.type."
DAMAGED: Final = f"{TYPE}damaged"
PAYLOADS: Final = "records with a payload"
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = (b"\x28\xb5\x2f\xfd", b"\x2a\x4d\x18")


class CannotJudgeError(Exception):
    """Why warcio's count of an input says nothing."""


def check_crawl(run: RunAtRest, at_rest: StageAtRest) -> Iterator[Check]:
    crawl = run.crawl
    by_input: dict[int, Ledger] = defaultdict(Ledger)
    for part in at_rest.named_parts:
        by_input[int(part.partition("-")[0])].update(at_rest.counts(part))
    tally, records, rows = Tally(at_rest.name, (TYPE,)), 0, 0
    for place, name in enumerate(crawl.inputs):
        there = by_input[place]
        try:
            if crawl.indexes:
                raise CannotJudgeError("an index chose its records, and warcio reads all of them")
            here = count_records(name, limit=crawl.limit)
            if damaged := there[DAMAGED]:
                raise CannotJudgeError(f"{damaged:,} damaged members, behind which warcio "
                                       "resumes elsewhere")  # fmt: skip
        except CannotJudgeError as why:
            yield not_counted(at_rest.name, f"records of {name}", str(why))
            continue
        tally.add(name, here, there)
        records += sum(n for kind, n in here.items() if kind.removeprefix(TYPE) not in ASIDE_TYPES)
        rows += there["records.seen"]
    yield from tally.checks()
    yield compare(at_rest.name, PAYLOADS, records, rows)


def count_records(name: str, *, limit: int | None = None) -> Ledger:
    """`records.type.TYPE` of an input, or of its first `limit` records.

    Raises:
        CannotJudgeError: where warcio cannot be the judge, with the reason.
    """
    ledger = Ledger()
    try:
        with open_raw(name) as stream, _quiet():
            for kind in islice(_types(_inflated(stream)), limit):
                ledger[f"{TYPE}{kind}"] += 1
    except (ArchiveLoadFailed, gzip.BadGzipFile, zlib.error) as error:
        read = sum(ledger.values())
        raise CannotJudgeError(f"stops behind {read:,} records: {shortened(error)}") from error
    except CannotJudgeError:
        raise
    except (OSError, ValueError) as error:
        raise CannotJudgeError(f"cannot be opened: {shortened(error)}") from error
    except BaseException as error:  # a fault of a reader, or raised again
        raise CannotJudgeError(f"cannot be read: {fault_of(error).raised}") from error
    return ledger


class _StrictGzip(gzip.GzipFile):
    """Members of gzip as one stream; a truncated one is damage, which warcio takes for the end."""

    def read(self, size: int | None = -1) -> bytes:
        try:
            return super().read(size)
        except EOFError as error:
            raise gzip.BadGzipFile("the last member has no end") from error


def _inflated(stream: BinaryIO) -> BinaryIO:
    """Plain records: warcio would lose those in a member that holds several."""
    head = stream.read(4)
    stream.seek(0)
    if head.startswith(_ZSTD[0]) or head.endswith(_ZSTD[1]):
        raise CannotJudgeError("warcio reads no zstd")
    return cast("BinaryIO", _StrictGzip(fileobj=stream)) if head.startswith(_GZIP) else stream


def _types(plain: BinaryIO) -> Iterator[str]:
    records = ArchiveIterator(plain, no_record_parse=True)
    for record in records:
        head = record.raw_stream.read(len(b"HTTP/"))
        read = len(head)
        while piece := record.raw_stream.read(1 << 16):
            read += len(piece)
        if record.length is not None and read < record.length:
            raise CannotJudgeError(f"a body has {read:,} of {record.length:,} bytes")
        records.read_to_end()
        if records.err_count:
            raise CannotJudgeError("warcio finds a Content-Length that is wrong")
        yield _type_of(record, head)


def _type_of(record: ArcWarcRecord, head: bytes) -> str:
    """The type by WARC's own word; ARC has none, so by what stands in the block."""
    if record.format == "warc":
        return (record.rec_type or "").lower()
    if record.rec_type == "arc_header":
        return "warcinfo"
    return "response" if head == b"HTTP/" else "resource"


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
