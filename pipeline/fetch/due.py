"""Due: what a partition still has to ask for, and what it leaves when all of that has its answer.

In:   its wanted URLs, or the errands of other partitions; the rows that holders have committed.
Out:  the errands without a row; an Outcome: what leads to other partitions, and their URLs' rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from pipeline.fetch.commits import Brought, Known, read_brought, rows_that_count
from pipeline.fetch.errand import AWAY, Errand, Outcome
from pipeline.fetching import Fetching
from pipeline.job import Job
from pipeline.store import parquet


def read_due(
    partition: int, errands: Sequence[Errand] | None, job: Job
) -> tuple[Brought, dict[str, Errand]]:
    """What earlier holders have committed, and by URL what is still to be asked for."""
    brought, fetching = read_brought(job, partition), job.settings.fetching
    asked = {one.url: one for one in _asked(partition, errands, job)}
    return brought, {url: one for url, one in asked.items()
                     if _is_open(one, brought.known.get(url), fetching)}  # fmt: skip


def read_outcome(
    partition: int, errands: Sequence[Errand] | None, job: Job, counts: Counter[str]
) -> Outcome:
    """When a holder has ended; `counts` are its own."""
    outcome, own = Outcome(counts=counts), errands is None
    asked = {one.url for one in _asked(partition, errands, job)}
    for row in rows_that_count(job, partition):
        if row["url"] not in asked:
            continue
        if row["status"] == AWAY:
            outcome.away.append(Errand(row["url"], row["final_url"], int(row["value"])))
        elif not own:
            outcome.foreign.append(row)
    return outcome


def _asked(partition: int, errands: Sequence[Errand] | None, job: Job) -> Iterator[Errand]:
    """Without errands: the partition's own wanted URLs."""
    if errands is not None:
        yield from errands
        return
    for row in parquet.read_rows(job.part("wanted", f"{partition:05d}"), ["url"]):
        yield Errand(row["url"], row["url"])


def _is_open(errand: Errand, known: Known | None, fetching: Fetching) -> bool:
    """Whether a URL is to be asked for: never twice, unless a refetch names what it had said."""
    if known is None:
        return True
    if known.status == AWAY:  # it may have come back here, by a later hop
        return known.hops <= errand.hops
    return known.status in fetching.again and known.round < fetching.round
