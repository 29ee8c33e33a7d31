"""Accounting: the parts a stage reads, and the manifest that it writes when all are done.

In:   PartResults, one a part, from wherever they were made.
Out:  STAGE.parts.parquet and, as the last thing of a stage's graph, STAGE.manifest.json.
Fails when a kind does not balance, when a stage has not seen what the one before it kept, when too
many records are unreadable, or when it was done with other packages than those that the run was
started with.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, Final, TypeVar

import apache_beam as beam
from apache_beam.pvalue import PBegin, PCollection
from apache_beam.transforms.combiners import ToListCombineFn
from apache_beam.typehints.decorators import no_annotations

from pipeline.account import unreadable
from pipeline.job import Job
from pipeline.stage import Stage
from pipeline.store import parquet, store
from schemas.manifest import Ledger, Manifest, PartResult, StoredFile, total
from schemas.tables import PARTS

K = TypeVar("K")
# what is still to be written before the manifest, of the counts and parts of the stage
Before = Callable[[Job, Ledger, Sequence[str]], list[StoredFile]]

_PART: Final = re.compile(r"[\w-]+")  # of any stage: no path
HANDED: Final = ("documents", "texts", "images")


class ListParts(beam.PTransform[PBegin, PCollection[str]]):
    """Names of the parts of a whole stage, read from its table so that no graph grows with them."""

    def __init__(self, job: Job, *, of: Stage) -> None:
        super().__init__()
        self._table = job.parts_table(of.name)

    def expand(self, root: PBegin) -> PCollection[str]:
        return (
            root
            | "Name the table" >> beam.Create([self._table])
            | "Read names" >> beam.FlatMap(part_names)
            | "Spread" >> beam.Reshuffle()
        )


def part_names(table: str) -> list[str]:
    """The parts of a stage, by its table. Files are read and written under these names.

    Raises:
        DamagedFileError: also for a name that leads to another folder.
    """
    names = [row["part"] for row in parquet.read_rows(table, ["part"]) if row["part"] != ""]
    if not all(isinstance(name, str) and _PART.fullmatch(name) for name in names):
        raise parquet.DamagedFileError(table, "it names what is no part")
    return names


class ByPart(beam.PTransform[dict[str, PCollection[Any]], PCollection[Any]]):
    """What was decided, each (PART, x), gathered by PART -> (PART, lists of x by name).

    `parts` names every PART, so that one about which nothing was decided comes too.
    """

    @no_annotations
    def expand(self, known: dict[str, PCollection[Any]]) -> PCollection[Any]:
        keyed = known["parts"] | "Key parts" >> beam.Map(as_key)
        joined = {**known, "parts": keyed} | "Join" >> beam.CoGroupByKey()
        return joined | "Leave names" >> beam.MapTuple(_without_parts)


def as_key(part: K) -> tuple[K, None]:
    """A function with a name: a lambda would carry its source's path into the graph."""
    return part, None


def _without_parts(
    part: str, gathered: dict[str, Iterable[Any]]
) -> tuple[str, dict[str, Iterable[Any]]]:
    named = list(gathered["parts"])
    assert len(named) == 1, f"{part} is named {len(named)} times"
    return part, {name: decided for name, decided in gathered.items() if name != "parts"}


class WriteManifest(beam.PTransform[PCollection[PartResult], PCollection[str]]):
    """All results -> the parts table and the manifest. The last step of every stage.

    Results without a part's name are one row of the table, the first.
    """

    def __init__(self, job: Job, *, stage: Stage, before: Before | None = None) -> None:
        super().__init__()
        self._job = job
        self._stage = stage
        self._before = before

    def expand(self, results: PCollection[PartResult]) -> PCollection[str]:
        gathered = results | "Gather parts" >> beam.CombineGlobally(ToListCombineFn())
        return gathered | "Write manifest" >> beam.Map(
            write_manifest, self._job, self._stage, self._before
        )


def write_manifest(
    results: Iterable[PartResult], job: Job, stage: Stage, before: Before | None = None
) -> str:
    """The path of the manifest. Raises RuntimeError where the sums do not balance."""
    check_versions(job, stage)
    ordered = sorted(results, key=lambda result: result.part)
    counts = total(result.counts for result in ordered)
    wrong = [*counts.imbalances(), *lost_between_stages(job, stage, counts)]
    if wrong:
        raise RuntimeError(f"{stage.name} does not balance: {'; '.join(wrong)}")
    unreadable.check(job, ordered, counts)
    fingerprint = job.fingerprints[stage.name]
    parts = [result.part for result in ordered if result.part]
    if before is not None:
        more = before(job, counts, parts)
        ordered.insert(0, PartResult(part="", fingerprint=fingerprint, counts={}, files=more))
    files = job.files()
    parquet.write_rows(
        job.parts_table(stage.name), PARTS, parts_rows(ordered), fingerprint=fingerprint,
        files=files,
    )  # fmt: skip
    manifest = make_manifest(job, stage, counts, len(parts), files.stored[0].sha256)
    path = job.manifest(stage.name)
    store.write_bytes(path, manifest.to_json().encode())
    return path


def make_manifest(
    job: Job, stage: Stage, counts: Ledger, parts: int, parts_sha256: str
) -> Manifest:
    """Of a stage that is whole; the counts are the sums over its parts table."""
    return Manifest(
        stage=stage.name,
        fingerprint=job.fingerprints[stage.name],
        settings=stage.settings(job.settings),
        versions=job.settings.versions[stage.name],
        parts=parts,
        parts_sha256=parts_sha256,
        counts={name: n for name, n in sorted(counts.items()) if n},
    )


def other_versions(job: Job, stage: Stage) -> list[str]:
    """In what the packages here are others than those that the run was started with, in words."""
    here = replace(job.settings, versions={stage.name: stage.versions})
    return list(stage.changes(job.settings, here))


def check_versions(job: Job, stage: Stage) -> None:
    """Raises RuntimeError on a worker of other versions than the fingerprint of its work says."""
    if other := other_versions(job, stage):
        raise RuntimeError(
            f"{stage.name} was done by workers with {', '.join(other)}: give them the packages of "
            "where the run is started (constraints.txt), and run it again"
        )


def lost_between_stages(job: Job, stage: Stage, counts: Ledger) -> Iterator[str]:
    """What one stage kept and the next has not seen."""
    if not stage.sees:
        return
    kept = read_manifest(job, stage.sees).ledger
    for kind in HANDED:
        if kept[f"{kind}.kept"] != counts[f"{kind}.seen"]:
            yield (
                f"{kind}: {stage.sees} kept {kept[f'{kind}.kept']:,}, "
                f"{stage.name} saw {counts[f'{kind}.seen']:,}"
            )


def read_manifest(job: Job, stage: str) -> Manifest:
    """Raises ValueError for one that is damaged, or of another format version."""
    path = job.manifest(stage)
    try:
        return Manifest.of(store.read_json(path))
    except ValueError as error:
        raise ValueError(
            f"{path} cannot be used ({error}): remove it, and {stage} is done again"
        ) from error


def parts_rows(results: Iterable[PartResult]) -> Iterator[dict[str, object]]:
    """Rows of the parts table: a part's results as one; a file that two parts name, once.

    `results` come by part. Two partitions name a pack where one led to an image of the other.
    """
    listed: set[str] = set()
    for part, group in groupby(results, key=lambda result: result.part):
        of_part = list(group)
        files = {file.path: file for result in of_part for file in result.files}
        yield {
            "part": part,
            "fingerprint": of_part[0].fingerprint,
            "counts": sorted(
                (name, n) for name, n in total(result.counts for result in of_part).items() if n
            ),
            "files": [files[path]._asdict() for path in sorted(files.keys() - listed)],
        }
        listed |= files.keys()
