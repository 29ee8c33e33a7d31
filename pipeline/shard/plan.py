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
from typing import Any, Final, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import PCollection
from apache_beam.transforms.combiners import ToListCombineFn

from pipeline.account.manifest import read_manifest
from pipeline.job import Job, Settings
from pipeline.store import parquet

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


class Cut(NamedTuple):
    """One shard: the samples [start, stop) of its group's order."""

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
    kept = read_manifest(job, job.stages[job.stages.index(job.stage) - 1])
    shards = -(-kept.ledger["bytes.kept"] // job.settings.shard_bytes)
    return kept.parts + shards


def group(weights: Iterable[Weight], shard_bytes: int) -> Iterator[Group]:
    """Groups of consecutive parts, those without a kept byte of the split left out."""
    ordered = sorted(weights)
    number = 0
    for split in SPLITS:
        parts: list[str] = []
        size = 0
        for weight in ordered:
            if not (more := getattr(weight, split)):
                continue
            parts.append(weight.part)
            size += more
            if size >= GROUP * shard_bytes:
                yield Group(number, split, tuple(parts))
                parts, size, number = [], 0, number + 1
        if parts:
            yield Group(number, split, tuple(parts))
            number += 1


def order(one: Group, job: Job) -> list[tuple[str, int, str, int]]:
    """(hash of the id, bytes, part, row) of the group's samples, in their order."""
    samples = [
        (hashlib.sha256(row["id"].encode()).hexdigest(), row["bytes"], part, row["row"])
        for part in one.parts
        for row in parquet.read_rows(job.part("kept", part), _COLUMNS)
        if split_of(row["id"], row["domain"], job.settings) == one.split
    ]
    return sorted(samples)


def cut(one: Group, job: Job) -> list[Cut]:
    """The group's shards: a sample that would pass the size opens the next one."""
    sizes = [sample[1] for sample in order(one, job)]
    return list(cut_sizes(one, sizes, job.settings.shard_bytes))


def cut_sizes(one: Group, sizes: Sequence[int], shard_bytes: int) -> Iterator[Cut]:
    start = filled = 0
    for place, size in enumerate(sizes):
        if place > start and filled + size > shard_bytes:
            yield Cut(one, start, place)
            start, filled = place, 0
        filled += size
    if sizes:
        yield Cut(one, start, len(sizes))


def name_shards(cuts: Iterable[Sequence[Cut]]) -> Iterator[tuple[str, Cut]]:
    """Numbered by split in the order of groups: train-00000, train-00001, ..."""
    numbers = dict.fromkeys(SPLITS, 0)
    ordered: list[Any] = sorted(cut for group_cuts in cuts for cut in group_cuts)
    for one in ordered:
        split = one.group.split
        yield f"{split}-{numbers[split]:05d}", one
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
            | "Group parts" >> beam.FlatMap(group, self._job.settings.shard_bytes)
            | "Spread groups" >> beam.Reshuffle()
            | "Cut groups" >> beam.Map(cut, self._job)
            | "Gather cuts" >> beam.CombineGlobally(ToListCombineFn())
            | "Name shards" >> beam.FlatMap(name_shards)
            | "Spread shards" >> beam.Reshuffle()
        )
