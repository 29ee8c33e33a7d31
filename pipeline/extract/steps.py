"""extract as Beam steps: run.json in, one result a part out."""

from __future__ import annotations

from collections.abc import Iterator

import apache_beam as beam
from apache_beam.pvalue import PBegin, PCollection

from pipeline.extract.part import Tools, extract_part
from pipeline.job import WALKED, Job, read_crawl
from pipeline.read.parts import Part, cut, whole
from schemas.manifest import PartResult


class CutInputs(beam.PTransform[PBegin, PCollection[Part]]):
    """The inputs named in run.json -> parts; few inputs are walked and cut, many are taken whole."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self._output = job.output

    def expand(self, root: PBegin) -> PCollection[Part]:
        return (
            root
            | "Name the run" >> beam.Create([self._output])
            | "List inputs" >> beam.FlatMap(list_inputs)
            | "Spread inputs" >> beam.Reshuffle()
            | "Walk" >> beam.FlatMapTuple(cut_input, output=self._output)
            | "Spread parts" >> beam.Reshuffle()
        )


def list_inputs(output: str) -> Iterator[tuple[int, str]]:
    yield from enumerate(read_crawl(output).inputs)


def cut_input(index: int, name: str, output: str) -> Iterator[Part]:
    crawl = read_crawl(output)
    if len(crawl.inputs) >= WALKED and crawl.limit is None:
        yield whole(name, index)
    else:
        yield from cut(name, index, part_size=crawl.part_size, limit=crawl.limit)


class ExtractParts(beam.PTransform[PCollection[Part], PCollection[PartResult]]):
    """Parts -> results, their files at rest."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self._job = job

    def expand(self, parts: PCollection[Part]) -> PCollection[PartResult]:
        return parts | "Read parts" >> beam.ParDo(_ExtractPart(self._job))


class _ExtractPart(beam.DoFn):
    def __init__(self, job: Job) -> None:
        super().__init__()
        self._job = job

    def setup(self) -> None:
        self._tools = Tools(job=self._job)  # word lists and models are loaded once a worker

    def process(self, part: Part) -> Iterator[PartResult]:
        yield extract_part(part, self._tools)
