"""wanted: the image URLs that kept documents need and the crawl does not hold.

In:   what filter_text kept, and the URLs of images/ that extract found in the crawl.
Out:  wanted/PARTITION.parquet, every one of them, by the hash of the registered domain, so that
      one host is one partition's affair. A broken capture in the crawl is an answer too: its URL
      is not wanted; nor is an image that the crawl holds in another size.

A partition is sorted on disk, in runs of so many URLs, so that it may be larger than memory.
"""

from __future__ import annotations

import hashlib
import heapq
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import islice
from typing import IO, Any, Final

import apache_beam as beam
from apache_beam.pvalue import PCollection
from apache_beam.typehints.decorators import no_annotations

from pipeline.filter_text.judge import TextPart
from pipeline.job import Job
from pipeline.store import parquet
from pipeline.words.urls import partition_of
from schemas.manifest import PartResult
from schemas.tables import WANTED

RUN: Final = 1 << 19  # URLs sorted in memory, some 100 MB; a run more is an open file more
NO_URL: Final = ""  # names a partition, so that one without a URL comes too


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
            | "In any size" >> beam.CombinePerKey(_in_any_size)
            | "Not held" >> beam.FlatMapTuple(_not_held)
            | "To partitions" >> beam.MapTuple(partial(_line, partitions=self._job.partitions))
        )
        every = parts.pipeline | "All partitions" >> beam.Create(range(self._job.partitions))
        named = every | "Name partitions" >> beam.Map(_named)
        return (
            (wanted, named)
            | "With every partition" >> beam.Flatten()
            # no CoGroupByKey: it would hold a partition's URLs in a list
            | "Group partitions" >> beam.GroupByKey()
            | "Write partitions" >> beam.MapTuple(partial(write_wanted, job=self._job))
        )


def _needed_urls(part: TextPart) -> Iterator[tuple[str, tuple[str, str]]]:
    """Each URL of an image, with the one that stands for it, and the date of the latest page."""
    for urls, date in part.urls:
        for url in urls:
            yield url, (urls[0], date)


def held_urls(part: str, job: Job) -> Iterator[tuple[str, None]]:
    for row in parquet.read_rows(job.part("images", part), ["url"]):
        yield row["url"], None


def _is_held(_url: str, joined: dict[str, Iterable[Any]]) -> Iterator[tuple[str, tuple[bool, str]]]:
    """Two lists, and short: a part names a URL once, whatever number of its pages need it."""
    held = any(True for _ in joined["held"])
    for image, date in joined["needed"]:
        yield image, (held, date)


def _in_any_size(known: Iterable[tuple[bool, str]]) -> tuple[bool, str]:
    """Whether one of its sizes is held, and the latest date."""
    any_held, latest = False, ""
    for held, date in known:
        any_held, latest = any_held or held, max(latest, date)
    return any_held, latest


def _not_held(url: str, known: tuple[bool, str]) -> Iterator[tuple[str, str]]:
    held, date = known
    if not held:
        yield url, date


def _line(url: str, date: str, partitions: int) -> tuple[int, str]:
    """A URL with its date, in the order of the URLs: none holds a tab, and all else is above it."""
    return partition_of(url, partitions)[0], f"{url}\t{date}"


def _named(partition: int) -> tuple[int, str]:
    return partition, NO_URL


def write_wanted(partition: int, lines: Iterable[str], job: Job) -> PartResult:
    """One partition's URLs, sorted, with the hash by which img2dataset knows them too.

    A line is a URL, and behind a tab the date of the latest page that needs it.
    """
    path = job.part("wanted", f"{partition:05d}")
    fingerprint, files = job.fingerprint, job.files()
    with parquet.Writer(path, WANTED, fingerprint=fingerprint, files=files) as wanted:
        for line in sort_on_disk(line for line in lines if line != NO_URL):
            url, _, date = line.partition("\t")
            digest = hashlib.sha256(url.encode()).hexdigest()
            wanted.add({"url": url, "sha256": digest, "date": date})
        counts = {"urls.wanted": wanted.rows}
        wanted.counts = counts
    return PartResult(part="", fingerprint=fingerprint, counts=counts, files=files.stored)


def sort_on_disk(urls: Iterable[str], *, run: int = RUN) -> Iterator[str]:
    """The URLs in order, not more than a run of them in memory."""
    waiting = iter(urls)
    with ExitStack() as files:
        spilled = []
        while len(ordered := sorted(islice(waiting, run))) == run:
            file = files.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n"))
            spilled.append(_spill(ordered, file))
        yield from heapq.merge(*spilled, ordered)


def _spill(ordered: Iterable[str], file: IO[str]) -> Iterator[str]:
    file.writelines(f"{url}\n" for url in ordered)  # the standard's URLs hold no line end
    file.seek(0)
    return (line[:-1] for line in file)
