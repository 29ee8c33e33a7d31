"""Figures: what the report counts in tables/, beyond the sums of the manifests, and its charts.

In:   tables/{documents,images,drops} of as many parts as hold SAMPLE documents, chosen by the hash
      of their names, so that a report costs the same whether a run has ten parts or a million.
Out:  Figures: counters, a range of values and a few samples for each reason. Of these, Chart
      (columns over bins) and Line (a bar beside a name), which plots.html.j2 draws as SVG: all
      numbers, so that nothing of the crawl reaches the SVG but text that the template escapes.
The share of the parts that was read is in `Figures.share`; the report says so where it is not all.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median_low
from typing import Any, Final, NamedTuple

from pipeline.account.manifest import part_names
from pipeline.job import Job
from pipeline.store import parquet
from schemas.manifest import StageName

SAMPLE: Final = 200_000  # documents
SAMPLES_A_REASON: Final = 4

# the first value of each bin
IMAGES_EACH: Final = (*range(11), 11, 16, 21, 31)
WORDS_EACH: Final = (0, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)
SHORT_SIDES: Final = (0, 150, 200, 250, 300, 400, 600, 800, 1_200, 2_000)

WIDTH: Final = 340  # of a chart's viewBox
HEIGHT: Final = 180
TOP: Final = 18  # room for the count over a column
BOTTOM: Final = 22  # room for the labels
GAP: Final = 4

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
        same = [ranked for ranked in self.ranked if ranked[0][0] == subject]
        if same and same[0][0] <= rank:
            return
        self.ranked = sorted(
            [*(ranked for ranked in self.ranked if ranked not in same), (rank, row)],
            key=lambda ranked: ranked[0],
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


def charts(figures: Figures) -> list[Chart]:
    def note(median: int | None) -> str:
        return "" if median is None else f"median {median:,}"

    return [
        chart("Images a document", "documents", note(figures.median_images),
                    bins(figures.images_each, IMAGES_EACH)),
        chart("Words a document", "documents", note(figures.median_words),
                    bins(figures.words_each, WORDS_EACH)),
        chart("Shorter side of an image", "images", "pixels",
                    bins(figures.short_sides, SHORT_SIDES)),
    ]  # fmt: skip


class Bin(NamedTuple):
    label: str
    total: int


class Column(NamedTuple):
    """One column of a chart, in units of the viewBox."""

    x: float
    y: float
    width: float
    height: float
    label: str
    total: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    title: str
    unit: str
    note: str
    columns: tuple[Column, ...]
    width: int = WIDTH
    height: int = HEIGHT
    floor: int = HEIGHT - BOTTOM


class Line(NamedTuple):
    """A name with its count; `share` is of the greatest, 0..1."""

    name: str
    total: int
    share: float


def bins(counted: Counter[int], edges: Sequence[int]) -> list[Bin]:
    """Counts in [edge, next edge), the last open; empty bins at both ends are left out.

    Raises:
        ValueError: for a value below the first edge, which no bin would show.
    """
    if counted and min(counted) < edges[0]:
        raise ValueError(f"{min(counted)} lies below the first bin, {edges[0]}: add an edge")
    ends = [*edges[1:], math.inf]
    counted_bins = [
        Bin(_label(low, end), sum(n for value, n in counted.items() if low <= value < end))
        for low, end in zip(edges, ends, strict=True)
    ]
    filled = [place for place, column in enumerate(counted_bins) if column.total]
    return counted_bins[filled[0] : filled[-1] + 1] if filled else []


def _label(low: int, end: float) -> str:
    if end == math.inf:
        return f"{_short(low)}+"
    return _short(low) if end == low + 1 else f"{_short(low)}\u2013"


def _short(number: int) -> str:
    return f"{number / 1000:g}k" if number >= 1_000 else str(number)


def chart(title: str, unit: str, note: str, counted: Sequence[Bin]) -> Chart:
    """Columns of equal width, the greatest as high as the chart."""
    most = max((column.total for column in counted), default=0)
    step = WIDTH / max(len(counted), 5)
    columns = []
    for place, column in enumerate(counted):
        height = round((HEIGHT - TOP - BOTTOM) * column.total / most, 2)
        columns.append(
            Column(
                x=round(place * step + GAP / 2, 2),
                y=round(HEIGHT - BOTTOM - height, 2),
                width=round(step - GAP, 2),
                height=height,
                label=column.label,
                total=column.total,
            )
        )
    return Chart(title=title, unit=unit, note=note, columns=tuple(columns))


def lines(counted: Counter[str], *, most: int) -> list[Line]:
    """The most frequent names; ties in the order of their names."""
    ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:most]
    top = ordered[0][1] if ordered else 1
    return [Line(name, count, round(count / top, 4)) for name, count in ordered]
