"""The graph of fetch: partitions are asked for, then what led from one to another, then settled.

In:   wanted/PARTITION.parquet.
Out:  images/fetch-PARTITION-ROUND.parquet, packs/fetch-*.tar.
A redirect to another registered domain is an errand for that domain's partition, so that a domain
is asked by one worker at a time: the next pass begins when the last one has ended everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, Final

import apache_beam as beam
from apache_beam.metrics.metric import Metrics
from apache_beam.pvalue import PBegin, PCollection

from pipeline.fetch.errand import PASSES, Errand, Outcome
from pipeline.fetch.settle import settle
from pipeline.job import Job
from pipeline.wanted import partition_of
from schemas.manifest import PartResult

METRICS: Final = "interloom.fetch"  # counters by reason, of attempts: retried bundles count twice


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
            | "Fetch images" >> beam.Map(fetch_own, job)
        )  # fmt: skip
        brought = []
        for number in range(1, PASSES + 1):
            outcomes = (
                outcomes
                | f"Lead on {number}" >> beam.FlatMap(lead_on, job.partitions)
                | f"Gather errands {number}" >> beam.GroupByKey()
                | f"Follow redirects {number}" >> beam.MapTuple(partial(fetch_foreign, job=job))
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


def fetch_own(partition: int, job: Job) -> Outcome:
    return _fetch(partition, None, job)


def fetch_foreign(partition: int, errands: Iterable[Errand], job: Job) -> Outcome:
    return _fetch(partition, errands, job)


def _fetch(partition: int, errands: Iterable[Errand] | None, job: Job) -> Outcome:
    from pipeline.fetch.partition import fetch_partition  # noqa: PLC0415  # with aiohttp, half a second

    outcome = fetch_partition(partition, errands, job)
    for status, count in outcome.counts.items():
        Metrics.counter(METRICS, status).inc(count)
    return outcome


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
