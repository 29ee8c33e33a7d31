"""Unreadable records: where our own code raised or died, told so that it is reported, and counted.

In:   verdicts/extract with what was raised at each, the counts of the parts.
Out:  lines for the ending of a run; the column `excerpt` of tables/drops.
Fails where these are more than a share of the records: that is a fault of ours, and no crawl's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final, NamedTuple

from rich.console import Console

from pipeline.job import Job, read_crawl
from pipeline.store import parquet
from schemas.manifest import Ledger, PartResult, StageName
from schemas.verdict import Reason

_VERDICTS: Final = f"verdicts/{StageName.EXTRACT}"
FEWEST: Final = 10  # so many are let pass, however few records there are
NAMED: Final = 3  # in the error
SHOWN: Final = 10  # at the end of a run
ENDED: Final = "the process that read it died"
COUNTS: Final = tuple(
    f"records.dropped.{reason}" for reason in (Reason.UNREADABLE_RECORD, Reason.READER_DIED)
)


class Unreadable(NamedTuple):
    """One such record. Its URL is the crawl's word, and printed in ASCII alone."""

    fault: str
    offset: int
    input: str
    url: str

    def __str__(self) -> str:
        url = f", {self.url!a}" if self.url else ""
        return f"{self.fault}: byte {self.offset:,} of {self.input}{url}"


def check(job: Job, results: Iterable[PartResult], counts: Ledger) -> None:
    """Raises RuntimeError where more records are unreadable than the settings allow."""
    unreadable, records = _count(counts), counts["records.seen"]
    share = job.settings.unreadable
    if unreadable <= max(FEWEST, share * records):
        return
    parts = [result.part for result in results if _count(result.counts)]
    named = "; ".join(map(str, islice(_records(job, parts), NAMED)))
    enough = min(1.0, 1.1 * unreadable / records)
    raise RuntimeError(
        f"{unreadable:,} of {records:,} records are unreadable, and {FEWEST} or a share of "
        f"{share:g} may be: {named}; interloom failed at them, so please report these lines, and "
        f"use a version that reads them or let them go by --unreadable {enough:.2g}"
    )


def show(job: Job, console: Console) -> None:
    """Where the unreadable records of a whole extract lie; nothing where there are none."""
    rows = parquet.read_rows(job.parts_table(StageName.EXTRACT), ["part", "counts"])
    counts = {row["part"]: n for row in rows if (n := _count(dict(row["counts"])))}
    if not counts:
        return
    console.print(
        f"{sum(counts.values()):,} records could not be read, through a fault of interloom and not "
        "of theirs. Please report it with these lines:"
    )
    for record in islice(_records(job, counts), SHOWN):
        console.print(f"  {record}", soft_wrap=True)
    if sum(counts.values()) > SHOWN:
        console.print(f"  and more, in {job.path(_VERDICTS)}")


def _count(counts: Mapping[str, int]) -> int:
    return sum(counts.get(name, 0) for name in COUNTS)


def _records(job: Job, parts: Iterable[str]) -> Iterator[Unreadable]:
    inputs = read_crawl(job.output).inputs
    for part in parts:
        for verdict, raised in with_faults(job.part(_VERDICTS, part)):
            fault = ENDED if verdict["reason"] == Reason.READER_DIED else raised
            if fault is not None:
                name = inputs[int(part.partition("-")[0])]
                yield Unreadable(fault, verdict["row"], name, verdict["url"] or "")


def with_faults(path: str) -> Iterator[tuple[dict[str, Any], str | None]]:
    """The rows of verdicts/extract/PART, each unreadable record with what was raised at it."""
    faults = iter(parquet.read_faults(path))
    for row in parquet.read_rows(path):
        yield row, next(faults, "") if row["reason"] == Reason.UNREADABLE_RECORD else None
