"""Errand: a wanted URL on its way, from one partition to the next, and what a holder leaves."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

AWAY: Final = "away"  # status, in commits alone: the URL has led to another partition
PASSES: Final = 3  # times that a URL may lead to another partition


class Errand(NamedTuple):
    url: str  # that is wanted
    at: str  # what to ask: the URL itself, or where it has led to
    hops: int = 0


@dataclass(kw_only=True)
class Outcome:
    """What one holder leaves behind."""

    away: list[Errand] = field(default_factory=list)
    foreign: list[dict[str, Any]] = field(default_factory=list)  # rows of other partitions' URLs
    counts: Counter[str] = field(default_factory=Counter)  # of this attempt, by reason
