"""extract as Beam steps: run.json in, one result a part out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import apache_beam as beam
from apache_beam.metrics.metric import Metrics
from apache_beam.pvalue import PBegin, PCollection

from pipeline.extract.reader import Reader
from pipeline.job import SECONDS, Job, read_crawl
from pipeline.read.index import index_parts, ranges_of
from pipeline.read.parts import FEW_INPUTS, Part, cut, whole
from schemas.manifest import PartResult


class CutInputs(beam.PTransform[PBegin, PCollection[Part]]):
    """The inputs named in run.json -> parts: few are walked and cut, many are taken whole.

    Records that an index chose become parts at once, file by file.
    """

    def __init__(self, job: Job) -> None:
        super().__init__()
        self._output = job.output

    def expand(self, root: PBegin) -> PCollection[Part]:
        return (
            root
            | "Name the run" >> beam.Create([self._output])
            | "List inputs" >> beam.FlatMap(list_inputs)
            | "Spread inputs" >> beam.Reshuffle()
            | "Walk" >> beam.FlatMap(cut_input)
            | "Spread parts" >> beam.Reshuffle()
        )


def planned_parts(job: Job) -> int:
    """About as many as a crawl is cut into."""
    crawl = read_crawl(job.output)
    if len(crawl.inputs) >= FEW_INPUTS or not crawl.sizes:
        return len(crawl.inputs)
    return sum(max(1, -(-size // crawl.part_size)) for size in crawl.sizes)


class Input(NamedTuple):
    """An input that is wanted whole, and how it is cut."""

    number: int  # its place among the ordered inputs
    name: str
    walked: bool
    part_size: int
    limit: int | None


def list_inputs(output: str) -> Iterator[Input | Part]:
    crawl = read_crawl(output)
    others = {name: number for number, name in enumerate(crawl.inputs)}
    for name, runs in ranges_of(crawl.indexes, base=crawl.base, limit=crawl.limit):
        if name not in others:
            raise ValueError(
                f"{name} is named by an index, and is no input of this run: bring the index back "
                "as it was, or choose another output"
            )
        yield from index_parts(name, others.pop(name), runs, part_size=crawl.part_size)
    walked = len(crawl.inputs) < FEW_INPUTS
    for name, number in others.items():
        yield Input(number, name, walked, crawl.part_size, crawl.limit)


def cut_input(source: Input | Part) -> Iterator[Part]:
    if isinstance(source, Part):
        yield source
    elif source.walked:
        yield from cut(source.name, source.number, part_size=source.part_size, limit=source.limit)
    else:
        yield whole(source.name, source.number, limit=source.limit)


class ExtractParts(beam.PTransform[PCollection[Part], PCollection[PartResult]]):
    """Parts -> results, their files at rest."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self._job = job

    def expand(self, parts: PCollection[Part]) -> PCollection[PartResult]:
        return parts | "Read parts" >> beam.ParDo(_ExtractPart(self._job))


class _ExtractPart(beam.DoFn):
    def __init__(self, job: Job) -> None:
        self._job = job

    def setup(self) -> None:
        self._reader = Reader(self._job)  # which loads word lists and models once

    def process(self, part: Part) -> Iterator[PartResult]:
        read = self._reader.read(part)
        yield read.result
        for name, spent in read.seconds.items():
            Metrics.counter(SECONDS, name).inc(round(spent * 1_000_000))

    def teardown(self) -> None:
        self._reader.close()
