"""wanted: the image URLs that kept documents need and the crawl does not hold.

In:   what filter_text kept, and the URLs of images/ that extract found in the crawl.
Out:  wanted/PARTITION.parquet, every one of them, by the hash of the registered domain, so that
      one host is one partition's affair. A broken capture in the crawl is an answer too: its URL
      is not wanted; nor is an image that the crawl holds in another size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import PCollection
from apache_beam.typehints.decorators import no_annotations

from pipeline import parquet
from pipeline.account import as_key
from pipeline.domain import registered_domain
from pipeline.filter_text import TextPart
from pipeline.job import Job
from schemas.manifest import PartResult
from schemas.tables import WANTED


class FindWanted(beam.PTransform[Any, PCollection[PartResult]]):
    """(parts, what filter_text wrote of them) -> a result for each partition."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self._job = job

    @no_annotations
    def expand(
        self, inputs: tuple[PCollection[str], PCollection[TextPart]]
    ) -> PCollection[PartResult]:
        parts, written = inputs
        needed = written | "Needed" >> beam.FlatMap(_needed_urls)
        held = parts | "Held" >> beam.FlatMap(held_urls, self._job)
        wanted = (
            {"needed": needed, "held": held}
            | "Join URLs" >> beam.CoGroupByKey()
            | "Is it held" >> beam.FlatMapTuple(_is_held)
            | "In any size" >> beam.CombinePerKey(any)
            | "Not held" >> beam.FlatMapTuple(_not_held)
            | "To partitions" >> beam.Map(partition_of, self._job.partitions)
        )
        every = parts.pipeline | "All partitions" >> beam.Create(range(self._job.partitions))
        keyed = every | "Key partitions" >> beam.Map(as_key)
        return (
            {"wanted": wanted, "every": keyed}
            | "Group partitions" >> beam.CoGroupByKey()
            | "Write partitions" >> beam.MapTuple(partial(write_wanted, job=self._job))
        )


def _needed_urls(part: TextPart) -> Iterator[tuple[str, str]]:
    """Each URL of an image, with the one that stands for it."""
    for urls in part.urls:
        for url in urls:
            yield url, urls[0]


def held_urls(part: str, job: Job) -> Iterator[tuple[str, None]]:
    for row in parquet.read_rows(job.part("images", part), ["url"]):
        yield row["url"], None


def _is_held(_url: str, joined: dict[str, Iterable[Any]]) -> Iterator[tuple[str, bool]]:
    held = any(True for _ in joined["held"])
    for image in joined["needed"]:
        yield image, held


def _not_held(url: str, held: bool) -> Iterator[str]:  # noqa: FBT001  # a joined pair
    if not held:
        yield url


def partition_of(url: str, partitions: int) -> tuple[int, str]:
    digest = hashlib.sha256(registered_domain(url).encode()).digest()
    return int.from_bytes(digest[:8], "big") % partitions, url


def write_wanted(partition: int, grouped: dict[str, Iterable[str]], job: Job) -> PartResult:
    """One partition's URLs, sorted, with the hash by which img2dataset knows them too."""
    fingerprint = job.fingerprints["filter_text"]
    rows = [
        {"url": url, "sha256": hashlib.sha256(url.encode()).hexdigest()}
        for url in sorted(grouped["wanted"])
    ]
    counts = {"urls.wanted": len(rows)}
    path = job.part("wanted", f"{partition:05d}")
    parquet.write_rows(path, WANTED, rows, fingerprint=fingerprint, counts=counts)
    return PartResult(part="", fingerprint=fingerprint, counts=counts)
