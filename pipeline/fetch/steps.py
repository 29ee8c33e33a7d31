"""The graph of fetch: partitions are asked for, then what led from one to another, then settled.

In:   wanted/PARTITION.parquet, and the rows that earlier rounds have brought.
Out:  packs/fetch-*.tar, and images/fetch-PARTITION-ROUND.parquet: the row that counts of every URL,
      of those too that are not wanted any more (what was brought is never asked for again).
A redirect to another registered domain is an errand for that domain's partition, so that a domain
is asked by one worker at a time: the next pass begins when the last one has ended everywhere.
The deadline: a bundle works its partitions side by side, and uses no more than SHARE of the time
that is left when it begins. What comes after it has the rest: the redirects that it has met and,
where a runner gives a worker one bundle after another, those bundles; nobody knows how many.
Swept: when the stage is whole, all files of rows that its manifest does not name, and packs that no
row points into; at its start only such packs, since rows are what is brought.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.metrics.metric import Metrics
from apache_beam.pvalue import PBegin, PCollection
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from pipeline.fetch.commits import (
    AWAY,
    PASSES,
    Errand,
    HolderResult,
    list_files,
    read_files,
    that_count,
)
from pipeline.fetch.lease import is_host_backoff_file
from pipeline.job import Job
from pipeline.store import parquet, store
from pipeline.store.store import FETCHED_PACK_NAMES, LEASE_NAMES, files_of
from pipeline.words.urls import partition_of
from schemas.manifest import Ledger, PartResult, StoredFile
from schemas.tables import IMAGES
from schemas.verdict import OK, Reason

if TYPE_CHECKING:
    from pipeline.fetch.worker import Worker

METRICS: Final = "interloom.fetch"  # counters by reason, of attempts: retried bundles count twice
SHARE: Final = 0.75  # redirects to other domains are few, and their hosts quick to ask


class FetchPartitions(beam.PTransform[PBegin, PCollection[PartResult]]):
    """Every partition of wanted/ -> its result."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self._job = job

    def expand(self, root: PBegin) -> PCollection[PartResult]:
        job = self._job
        every = (
            root
            | "List partitions" >> beam.Create(range(job.partitions))
            | "Without errands" >> beam.Map(fetch_own)
        )
        results = every | "Spread" >> beam.Reshuffle() | "Fetch images" >> beam.ParDo(WorkerFn(job))
        brought = []
        for number in range(1, PASSES + 1):
            results = (
                results
                | f"Lead on {number}" >> beam.FlatMap(lead_on, job.partitions)
                | f"Gather errands {number}" >> beam.GroupByKey()
                | f"Follow redirects {number}" >> beam.ParDo(WorkerFn(job))
            )
            rows = results | f"Bring home {number}" >> beam.FlatMap(bring_home, job.partitions)
            brought.append(rows)
        return (
            [every, *brought]
            | "With every partition" >> beam.Flatten()
            | "Group partitions" >> beam.GroupByKey()
            | "Settle" >> beam.MapTuple(partial(settle, job=job))
        )


def fetch_own(partition: int) -> tuple[int, None]:
    """A partition's own URLs are to be fetched, not those of errands."""
    return partition, None


class WorkerFn(beam.DoFn):
    """A Worker a bundle: partitions, each with its errands -> what they leave, at the end."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def start_bundle(self) -> None:
        self._worker: Worker | None = None

    def process(self, element: tuple[int, Iterable[Errand] | None]) -> None:
        if self._worker is None:
            from pipeline.fetch.worker import Worker  # noqa: PLC0415  # with aiohttp, half a second

            now = time.time()
            self._worker = Worker(self._job, until=now + SHARE * (self._job.until - now))
        self._worker.take(*element)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        worker, self._worker = self._worker, None
        for result in worker.finish() if worker is not None else ():
            for status, count in result.counts.items():
                Metrics.counter(METRICS, status).inc(count)
            yield GlobalWindows.windowed_value(result)


def lead_on(result: HolderResult, partitions: int) -> Iterator[tuple[int, Errand]]:
    for errand in result.away:
        yield partition_of(errand.at, partitions)[0], errand


def bring_home(result: HolderResult, partitions: int) -> Iterator[tuple[int, dict[str, Any]]]:
    for row in result.foreign:
        yield partition_of(row["url"], partitions)[0], row


def settle(partition: int, foreign: Iterable[dict[str, Any] | None], job: Job) -> PartResult:
    """Write a partition's rows as they stay, and count what became of every wanted URL."""
    brought = pa.Table.from_pylist([row for row in foreign if row is not None], schema=IMAGES)
    rows = _at_home(pa.concat_tables([read_files(job, partition), brought]), partition, job)
    wanted = parquet.read_table(job.part("wanted", f"{partition:05d}"))["url"]
    ledger = Ledger()
    ledger.see("wanted", len(wanted))
    mine = rows.filter(pc.is_in(rows["url"], wanted.combine_chunks()))
    ledger["bytes.wanted"] = pc.sum(mine["bytes"]).as_py() or 0
    for row in mine["status"].value_counts().to_pylist():
        if row["values"] == OK:
            ledger.keep("wanted", row["counts"])
        else:
            ledger.drop("wanted", row["values"], row["counts"])
    ledger.drop("wanted", Reason.NOT_FETCHED, len(wanted) - len(mine))
    name = f"fetch-{partition:05d}-{job.settings.fetching.round}"
    fingerprint, files = job.fingerprint, job.files()
    files.stored += _packs_of(rows, partition, job)
    parquet.write_rows(job.part("images", name), IMAGES, parquet.as_dicts(rows),
                       fingerprint=fingerprint, counts=ledger, files=files)  # fmt: skip
    return PartResult(part=name, fingerprint=fingerprint, counts=dict(ledger), files=files.stored)


def _packs_of(rows: pa.Table, partition: int, job: Job) -> list[StoredFile]:
    """The packs that rows point into, as they were when they were written.

    A pack's digest lies in the commit that it was written with, and later in the settled files
    whose rows point into it.
    """
    names = set(rows["pack"].unique().to_pylist()) - {None}
    known = dict[str, StoredFile]()
    commits = {job.part("images", name.rpartition("-")[0]) for name in names}
    for path in {*list_files(job, f"fetch-{partition:05d}-"), *commits}:
        if (mark := parquet.read_mark(path, part="")) is not None:
            known |= {file.path.rpartition("/")[2]: file for file in mark.files}
    return [known[name] for name in sorted(names)]


def _at_home(rows: pa.Table, partition: int, job: Job) -> pa.Table:
    """The row that counts of each URL whose partition it is."""
    homes = [partition_of(url.as_py(), job.partitions)[0] == partition for url in rows["url"]]
    rows = that_count(rows.filter(pa.array(homes, pa.bool_())))
    away = pc.equal(rows["status"], AWAY)
    if not job.settings.fetching.on:
        return rows.filter(pc.invert(away))  # nobody has followed it
    # still on its way after the last pass
    late = {"status": str(Reason.TOO_MANY_REDIRECTS), "value": PASSES + 1.0, "limit": float(PASSES)}
    for name, value in late.items():
        column = pc.if_else(away, value, rows[name])
        rows = rows.set_column(IMAGES.get_field_index(name), IMAGES.field(name), column)
    return rows


def tidy(job: Job, parts: Sequence[str] | None) -> None:
    """Remove what holders left behind: packs without rows, as a kill leaves them, and when the
    stage is whole the rows that are none of its parts' and the leases, but for those that name
    hosts which a refetch is to leave alone.
    """
    if parts is not None:
        fits = {job.part("images", name) for name in parts}
        store.remove(path for path in list_files(job) if path not in fits)
        leases = files_of(job.output, "leases", LEASE_NAMES)
        store.remove(path for path, _ in leases if not is_host_backoff_file(store.read_bytes(path)))
    named: set[str] = set()
    for path in list_files(job):
        named |= set(parquet.read_table(path, ["pack"])["pack"].unique().to_pylist())
    packs = files_of(job.output, "packs", FETCHED_PACK_NAMES, "fetch-")
    store.remove(path for path, _ in packs if path.rsplit("/", 1)[-1] not in named)
