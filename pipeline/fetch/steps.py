"""The graph of fetch: partitions are asked for, then what led from one to another, then settled.

In:   wanted/PARTITION.parquet.
Out:  images/fetch-PARTITION-ROUND.parquet, packs/fetch-*.tar.
A redirect to another registered domain is an errand for that domain's partition, so that a domain
is asked by one worker at a time: the next pass begins when the last one has ended everywhere.
The deadline: a bundle works its partitions side by side, and uses no more than SHARE of the time
that is left when it begins. What comes after it has the rest: the redirects that it has met and,
where a runner gives a worker one bundle after another, those bundles; nobody knows how many.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import apache_beam as beam
from apache_beam.metrics.metric import Metrics
from apache_beam.pvalue import PBegin, PCollection
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from pipeline.fetch.errand import PASSES, Errand, Outcome
from pipeline.fetch.settle import settle
from pipeline.job import Job
from pipeline.words.domain import partition_of
from schemas.manifest import PartResult

if TYPE_CHECKING:
    from pipeline.fetch.partition import Worker

METRICS: Final = "interloom.fetch"  # counters by reason, of attempts: retried bundles count twice
SHARE: Final = 0.75  # redirects to other domains are few, and their hosts quick to ask


class FetchPartitions(beam.PTransform[PBegin, PCollection[PartResult]]):
    """Every partition of wanted/ -> its result."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self._job = job

    def expand(self, root: PBegin) -> PCollection[PartResult]:
        job = self._job
        every = root | "List partitions" >> beam.Create(range(job.partitions))
        outcomes = (
            every
            | "Spread" >> beam.Reshuffle()
            | "Without errands" >> beam.Map(fetch_own)
            | "Fetch images" >> beam.ParDo(SideBySide(job))
        )  # fmt: skip
        brought = []
        for number in range(1, PASSES + 1):
            outcomes = (
                outcomes
                | f"Lead on {number}" >> beam.FlatMap(lead_on, job.partitions)
                | f"Gather errands {number}" >> beam.GroupByKey()
                | f"Follow redirects {number}" >> beam.ParDo(SideBySide(job))
            )
            rows = outcomes | f"Bring home {number}" >> beam.FlatMap(bring_home, job.partitions)
            brought.append(rows)
        named = every | "Name partitions" >> beam.Map(_named)
        return (
            [named, *brought]
            | "With every partition" >> beam.Flatten()
            | "Group partitions" >> beam.GroupByKey()
            | "Settle" >> beam.MapTuple(partial(_settle, job=job))
        )


def fetch_own(partition: int) -> tuple[int, None]:
    """A partition's own URLs are to be fetched, not those of errands."""
    return partition, None


class SideBySide(beam.DoFn):
    """The partitions of a bundle, each with its errands -> what they leave, at the bundle's end."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def start_bundle(self) -> None:
        self._worker: Worker | None = None

    def process(self, element: tuple[int, Iterable[Errand] | None]) -> None:
        if self._worker is None:
            from pipeline.fetch.partition import Worker  # noqa: PLC0415  # with aiohttp, half a second

            now = time.time()
            self._worker = Worker(self._job, until=now + SHARE * (self._job.until - now))
        self._worker.take(*element)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        worker, self._worker = self._worker, None
        for outcome in worker.finish() if worker is not None else ():
            for status, count in outcome.counts.items():
                Metrics.counter(METRICS, status).inc(count)
            yield GlobalWindows.windowed_value(outcome)


def lead_on(outcome: Outcome, partitions: int) -> Iterator[tuple[int, Errand]]:
    for errand in outcome.away:
        yield partition_of(errand.at, partitions)[0], errand


def bring_home(outcome: Outcome, partitions: int) -> Iterator[tuple[int, dict[str, Any]]]:
    for row in outcome.foreign:
        yield partition_of(row["url"], partitions)[0], row


def _named(partition: int) -> tuple[int, None]:
    return partition, None


def _settle(partition: int, rows: Iterable[dict[str, Any] | None], job: Job) -> PartResult:
    return settle(partition, (row for row in rows if row is not None), job)
