"""Figures: what the report counts in tables/, beyond the sums of the manifests.

In:   tables/{documents,images,drops} of as many parts as hold SAMPLE documents, chosen by the hash
      of their names, so that a report costs the same whether a run has ten parts or a million.
Out:  Figures: counters, a range of values and a few samples for each reason.
The share that was read is in `Figures.share`; the report says so where it is not all.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median_low
from typing import Any, Final

from pipeline.account.manifest import part_names
from pipeline.job import Job
from pipeline.store import parquet
from schemas.manifest import StageName

SAMPLE: Final = 200_000  # documents
SAMPLES_A_REASON: Final = 4
Row = dict[str, Any]
Cause = tuple[str, str, str]  # stage, kind (record, file, document, text, image), reason


@dataclass(kw_only=True, slots=True)
class Dropped:
    """What one reason of one stage dropped, of one kind: how often, how far off, a few of them."""

    count: int = 0
    lowest: float | None = None  # value
    highest: float | None = None
    limits: tuple[float, float] | None = None  # the lowest and the highest
    ranked: list[tuple[tuple[bytes, bytes], Row]] = field(default_factory=list)  # by their hash

    def add(self, row: Row) -> None:
        self.count += 1
        if (value := row["value"]) is not None:
            self.lowest = value if self.lowest is None else min(self.lowest, value)
            self.highest = value if self.highest is None else max(self.highest, value)
        if (limit := row["limit"]) is not None:
            low, high = self.limits or (limit, limit)
            self.limits = min(low, limit), max(high, limit)
        subject = hash_of(*subject_of(row))
        rank = subject, hash_of(row["part"], row["row"], row["node"])
        if len(self.ranked) == SAMPLES_A_REASON and rank > self.ranked[-1][0]:
            return
        same = [one for one in self.ranked if one[0][0] == subject]
        if same and same[0][0] <= rank:
            return
        self.ranked = sorted(
            [*(one for one in self.ranked if one not in same), (rank, row)],
            key=lambda one: one[0],
        )[:SAMPLES_A_REASON]

    @property
    def samples(self) -> list[Row]:
        """A few, no two of which show the same image, text or page."""
        return [row for _, row in self.ranked]


def subject_of(row: Row) -> tuple[object, ...]:
    """What a reader would take for the same thing again."""
    match row["kind"]:
        case "image" | "file":
            return (row["url"],)
        case "text":
            return (row["excerpt"],)
    return row["part"], row["row"]


@dataclass(kw_only=True, slots=True)
class Figures:
    """Counted in the sample; the kept documents and images are meant unless a name says other."""

    parts: int = 0
    parts_chosen: list[str] = field(default_factory=list)
    documents_read: int = 0  # of every outcome
    documents: int = 0
    images: int = 0
    distinct_images: int = 0  # by sha256
    images_each: Counter[int] = field(default_factory=Counter)
    words_each: Counter[int] = field(default_factory=Counter)
    short_sides: Counter[int] = field(default_factory=Counter)
    domains: Counter[str] = field(default_factory=Counter)
    languages_read: Counter[str] = field(default_factory=Counter)  # of every outcome
    dropped: dict[Cause, Dropped] = field(default_factory=dict)

    @property
    def share(self) -> float:
        return len(self.parts_chosen) / self.parts if self.parts else 1.0

    @property
    def median_images(self) -> int | None:
        return median(self.images_each)

    @property
    def median_words(self) -> int | None:
        return median(self.words_each)


def read_figures(job: Job, *, sample: int = SAMPLE) -> Figures:
    names = part_names(job.parts_table(StageName.FILTER_IMAGES))
    figures = Figures(parts=len(names))
    distinct: set[bytes] = set()
    for part in choose_parts(names, job, sample=sample):
        figures.parts_chosen.append(part)
        _read_documents(figures, part, job)
        _read_images(figures, distinct, part, job)
        for row in parquet.read_rows(job.part("tables/drops", part)):
            cause = row["stage"], row["kind"], row["reason"]
            figures.dropped.setdefault(cause, Dropped()).add(row)
    figures.distinct_images = len(distinct)
    return figures


def choose_parts(names: list[str], job: Job, *, sample: int) -> Iterator[str]:
    """Parts in the order of their hash until they hold `sample` documents."""
    documents = 0
    for part in sorted(names, key=lambda name: (hash_of(name), name)):
        if documents >= sample:
            return
        mark = parquet.read_mark(job.part("tables/drops", part), part=part)
        assert mark is not None, f"tables/drops has no part {part}, which is written before"
        documents += mark.counts.get("rows.documents", 0)
        yield part


def _read_documents(figures: Figures, part: str, job: Job) -> None:
    columns = ("outcome", "domain", "language", "kept_images", "words")
    for row in parquet.read_rows(job.part("tables/documents", part), columns):
        figures.documents_read += 1
        figures.languages_read[row["language"]] += 1
        if row["outcome"] == "kept":
            figures.documents += 1
            figures.domains[row["domain"]] += 1
            figures.images_each[row["kept_images"]] += 1
            figures.words_each[row["words"]] += 1


def _read_images(figures: Figures, distinct: set[bytes], part: str, job: Job) -> None:
    columns = ("outcome", "sha256", "width", "height")
    for row in parquet.read_rows(job.part("tables/images", part), columns):
        if row["outcome"] == "kept":
            figures.images += 1
            figures.short_sides[min(row["width"], row["height"])] += 1
            distinct.add(bytes.fromhex(row["sha256"]))


def median(counted: Counter[int]) -> int | None:
    """The lower median; None of nothing."""
    return median_low(counted.elements()) if counted else None


def hash_of(*things: object) -> bytes:
    """64 bits of a hash that is the same in every process: the order of a fair sample."""
    text = "\0".join(map(str, things))
    return hashlib.blake2b(text.encode(), digest_size=8).digest()
