"""The plan of the shards: which samples go into which tar, as a pure function of kept/.

In:   kept/PART rows (id, domain, bytes); nothing else is read to plan.
Out:  one Cut a shard: its split, the parts of its group, and its slice of the group's samples.

Consecutive parts are grouped until their kept bytes reach GROUP times the shard size. Inside a
group the samples stand in the order of the hash of their id, so that a plain sequential reader
meets mixed sites, and are cut where the next one would pass the shard size; a shard reads no
more than its group.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import PCollection
from apache_beam.transforms.combiners import ToListCombineFn

from pipeline.account.manifest import read_manifest
from pipeline.job import Job, Settings
from pipeline.store import parquet
from schemas.manifest import StageName

GROUP: Final = 16
SPLITS: Final = ("heldout", "train")
_COLUMNS: Final = ("row", "id", "domain", "bytes")


class Weight(NamedTuple):
    """Kept bytes of one part, by split."""

    part: str
    heldout: int
    train: int


class Group(NamedTuple):
    number: int
    split: str
    parts: tuple[str, ...]


class PlannedSample(NamedTuple):
    """A kept document, in the order of samples: by the hash of its id."""

    hash: str
    bytes: int
    part: str
    row: int


class Cut(NamedTuple):
    """One shard: the samples [start, stop) of its group, in their order."""

    group: Group
    start: int
    stop: int


def split_of(id_: str, domain: str, settings: Settings) -> str:
    """Held-out or train, by the hash of the document's id, or of its domain."""
    subject = id_ if settings.heldout_by == "id" else domain
    return "heldout" if _fraction("heldout", subject) < settings.heldout else "train"


def weigh(part: str, job: Job) -> Weight:
    sums = dict.fromkeys(SPLITS, 0)
    for row in parquet.read_rows(job.part("kept", part), _COLUMNS):
        sums[split_of(row["id"], row["domain"], job.settings)] += row["bytes"]
    return Weight(part, **sums)


def planned_files(job: Job) -> int:
    """A part of tables for each part, and as many shards as the plan has, or nearly."""
    kept = read_manifest(job, StageName.FILTER_IMAGES)
    shards = -(-kept.ledger["bytes.kept"] // job.settings.shard_bytes)
    return kept.parts + shards


def group_parts(weights: Iterable[Weight], shard_bytes: int) -> Iterator[Group]:
    """Groups of consecutive parts, those without a kept byte of the split left out."""
    ordered = sorted(weights)
    number = 0
    for split in SPLITS:
        parts: list[str] = []
        size = 0
        for weight in ordered:
            part_bytes = getattr(weight, split)
            if not part_bytes:
                continue
            parts.append(weight.part)
            size += part_bytes
            if size >= GROUP * shard_bytes:
                yield Group(number, split, tuple(parts))
                parts, size, number = [], 0, number + 1
        if parts:
            yield Group(number, split, tuple(parts))
            number += 1


def samples_of(group: Group, job: Job) -> list[PlannedSample]:
    """The samples of a group, in their order."""
    return sorted(
        PlannedSample(
            hashlib.sha256(row["id"].encode()).hexdigest(), row["bytes"], part, row["row"]
        )
        for part in group.parts
        for row in parquet.read_rows(job.part("kept", part), _COLUMNS)
        if split_of(row["id"], row["domain"], job.settings) == group.split
    )


def cut_group(group: Group, job: Job) -> list[Cut]:
    """The group's shards: a sample that would pass the size opens the next one."""
    sizes = [sample.bytes for sample in samples_of(group, job)]
    return list(cut_sizes(group, sizes, job.settings.shard_bytes))


def cut_sizes(group: Group, sizes: Sequence[int], shard_bytes: int) -> Iterator[Cut]:
    start = filled = 0
    for position, size in enumerate(sizes):
        if position > start and filled + size > shard_bytes:
            yield Cut(group, start, position)
            start, filled = position, 0
        filled += size
    if sizes:
        yield Cut(group, start, len(sizes))


def name_shards(cuts: Iterable[Sequence[Cut]]) -> Iterator[tuple[str, Cut]]:
    """Numbered by split in the order of groups: train-00000, train-00001, ..."""
    numbers = dict.fromkeys(SPLITS, 0)
    for cut in sorted(cut for of_group in cuts for cut in of_group):
        split = cut.group.split
        yield f"{split}-{numbers[split]:05d}", cut
        numbers[split] += 1


def _fraction(salt: str, subject: str) -> float:
    digest = hashlib.sha256(f"{salt}\0{subject}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


class PlanShards(beam.PTransform[PCollection[str], PCollection[tuple[str, Cut]]]):
    """Parts -> (name, cut) of every shard."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self._job = job

    def expand(self, parts: PCollection[str]) -> PCollection[tuple[str, Cut]]:
        return (
            parts
            | "Weigh parts" >> beam.Map(weigh, self._job)
            | "Gather weights" >> beam.CombineGlobally(ToListCombineFn())
            | "Group parts" >> beam.FlatMap(group_parts, self._job.settings.shard_bytes)
            | "Spread groups" >> beam.Reshuffle()
            | "Cut groups" >> beam.Map(cut_group, self._job)
            | "Gather cuts" >> beam.CombineGlobally(ToListCombineFn())
            | "Name shards" >> beam.FlatMap(name_shards)
            | "Spread shards" >> beam.Reshuffle()
        )
