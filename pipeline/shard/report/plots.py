"""Plots: counts in, the geometry of small bar charts out; plots.html.j2 draws them as SVG.

In:   a Counter of whole numbers and the edges of its bins, or a Counter of names.
Out:  Chart (columns over bins) or Line (a bar beside a name); all numbers, so that nothing of the
      crawl reaches the SVG but text nodes that the template escapes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

IMAGES_EACH: Final = (*range(11), 11, 16, 21, 31)
WORDS_EACH: Final = (0, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)
SHORT_SIDES: Final = (0, 150, 200, 250, 300, 400, 600, 800, 1_200, 2_000)

WIDTH: Final = 340  # of a chart's viewBox
HEIGHT: Final = 180
TOP: Final = 18  # room for the count over a column
BOTTOM: Final = 22  # room for the labels
GAP: Final = 4


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
    found = [
        Bin(_label(low, end), sum(n for value, n in counted.items() if low <= value < end))
        for low, end in zip(edges, ends, strict=True)
    ]
    filled = [place for place, one in enumerate(found) if one.total]
    return found[filled[0] : filled[-1] + 1] if filled else []


def _label(low: int, end: float) -> str:
    if end == math.inf:
        return f"{_short(low)}+"
    return _short(low) if end == low + 1 else f"{_short(low)}\u2013"


def _short(number: int) -> str:
    return f"{number / 1000:g}k" if number >= 1_000 else str(number)


def chart(title: str, unit: str, note: str, counted: Sequence[Bin]) -> Chart:
    """Columns of equal width, the greatest as high as the chart."""
    most = max((one.total for one in counted), default=0)
    step = WIDTH / max(len(counted), 5)
    columns = []
    for place, one in enumerate(counted):
        height = round((HEIGHT - TOP - BOTTOM) * one.total / most, 2)
        columns.append(
            Column(
                x=round(place * step + GAP / 2, 2),
                y=round(HEIGHT - BOTTOM - height, 2),
                width=round(step - GAP, 2),
                height=height,
                label=one.label,
                total=one.total,
            )
        )
    return Chart(title=title, unit=unit, note=note, columns=tuple(columns))


def lines(counted: Counter[str], *, most: int) -> list[Line]:
    """The most frequent names; ties in the order of their names."""
    ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:most]
    top = ordered[0][1] if ordered else 1
    return [Line(name, count, round(count / top, 4)) for name, count in ordered]
