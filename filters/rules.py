"""Rules: signals in, a refusal or none out. A threshold is data, with its direction in its name.

In:   a mapping of signals (signals.py).
Out:  Refusal: the reason, the measured value, the limit that it missed; None where all is well.
A rule lets pass only what is shown to pass: NaN passes none, a signal that was never measured is
a KeyError, and no rule exists without a source. A rule that is off is absent from its recipe.

AtMost        the limit passes
AtLeast       the limit passes
Below         the limit does not pass
AtLeastFrom   AtLeast, asked only where another signal is large enough for it to mean something
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from filters.signals import Signal
from schemas.verdict import Reason


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """Why something is refused; value and limit in the unit of the rule, None where it has none."""

    reason: Reason
    value: float | None = None
    limit: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Threshold(ABC):
    """What all of them have: a signal, its limit, the reason of a refusal."""

    direction: ClassVar[str]

    signal: Signal
    limit: float
    reason: Reason
    source: str  # paper and section, or what chose the limit; printed in the report

    def __post_init__(self) -> None:
        if math.isnan(self.limit):
            raise ValueError(f"the limit of {self.key} is NaN, which refuses all: give a number")
        if not self.source.strip():
            raise ValueError(f"{self.key} has no source: say which paper or test chose its limit")

    @property
    def key(self) -> str:
        """Its name in a recipe file."""
        return f"{self.signal}_{self.direction}"

    def __call__(self, signals: Mapping[Signal, float]) -> Refusal | None:
        value = signals[self.signal]
        if self._passes(value):
            return None
        # a NaN was not measured: no value, so that what lies at rest compares equal to itself
        measured = None if math.isnan(value) else value
        return Refusal(reason=self.reason, value=measured, limit=self.limit)

    @abstractmethod
    def _passes(self, value: float) -> bool:
        """Whether this is shown to be good; NaN compares false with all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AtMost(Threshold):
    """Keep what is at or below the limit."""

    direction = "at_most"

    def _passes(self, value: float) -> bool:
        return value <= self.limit


@dataclass(frozen=True, kw_only=True, slots=True)
class AtLeast(Threshold):
    """Keep what is at or above the limit."""

    direction = "at_least"

    def _passes(self, value: float) -> bool:
        return value >= self.limit


@dataclass(frozen=True, kw_only=True, slots=True)
class Below(Threshold):
    """Keep what is below the limit; the limit itself is refused."""

    direction = "below"

    def _passes(self, value: float) -> bool:
        return value < self.limit


@dataclass(frozen=True, kw_only=True, slots=True)
class AtLeastFrom(AtLeast):
    """AtLeast where `given` is at or above `given_from`; what is smaller is not asked."""

    given: Signal
    given_from: float

    def __call__(self, signals: Mapping[Signal, float]) -> Refusal | None:
        # only what is shown to be small is excused, and never a NaN
        if signals[self.given] < self.given_from and not math.isnan(signals[self.signal]):
            return None
        return AtLeast.__call__(self, signals)  # slots make a new class, which super() misses


Rule = AtMost | AtLeast | Below | AtLeastFrom


def first_refusal(rules: Iterable[Rule], signals: Mapping[Signal, float]) -> Refusal | None:
    """The refusal of the first rule that refuses: the one reason of what it refuses."""
    for rule in rules:
        if (refusal := rule(signals)) is not None:
            return refusal
    return None
