"""fetch: the image URLs that kept documents need and the crawl does not hold.

In:   wanted/PARTITION.parquet.
Out:  images/fetch-PARTITION-ATTEMPT.parquet, a row for every URL that was asked for.
Now:  nothing is asked of the network. Every wanted URL is counted as not fetched, and
      filter_images refuses its nodes with that reason.
"""

from __future__ import annotations

import apache_beam as beam
from apache_beam.pvalue import PBegin, PCollection

from pipeline import parquet
from pipeline.job import Job
from schemas.manifest import Ledger, PartResult
from schemas.tables import IMAGES
from schemas.verdict import Reason

STAGE = "fetch"


def fetch_partition(partition: int, job: Job) -> PartResult:
    """One partition's URLs; its result is named by the images/ part that it leaves."""
    name, fingerprint = f"fetch-{partition:05d}-0", job.fingerprints[STAGE]
    ledger = Ledger()
    for _ in parquet.read_rows(job.part("wanted", f"{partition:05d}"), ["url"]):
        ledger.see("wanted")
        ledger.drop("wanted", Reason.NOT_FETCHED)
    parquet.write_rows(job.part("images", name), IMAGES, [], fingerprint=fingerprint, counts=ledger)
    return PartResult(part=name, fingerprint=fingerprint, counts=dict(ledger))


class FetchPartitions(beam.PTransform[PBegin, PCollection[PartResult]]):
    """Every partition of wanted/ -> its result."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self._job = job

    def expand(self, root: PBegin) -> PCollection[PartResult]:
        return (
            root
            | "List partitions" >> beam.Create(range(self._job.partitions))
            | "Spread" >> beam.Reshuffle()
            | "Fetch images" >> beam.Map(fetch_partition, self._job)
        )
