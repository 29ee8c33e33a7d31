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
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from filters.signals import Signal
from schemas.verdict import Reason


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """Why something is refused; value and limit in the unit of the rule, None where it has none."""

    reason: Reason
    value: float | None = None
    limit: float | None = None


def _check(rule: AtMost | AtLeast | Below | AtLeastFrom) -> None:
    if math.isnan(rule.limit):
        raise ValueError(f"the limit of {rule.key} is NaN, which refuses all: give a number")
    if not rule.source.strip():
        raise ValueError(f"{rule.key} has no source: say which paper or test chose its limit")


@dataclass(frozen=True, kw_only=True, slots=True)
class AtMost:
    """Keep what is at or below the limit."""

    signal: Signal
    limit: float
    reason: Reason
    source: str  # paper and section, or what chose the limit; printed in the report

    def __post_init__(self) -> None:
        _check(self)

    @property
    def key(self) -> str:
        """Its name in a recipe file."""
        return f"{self.signal}_at_most"

    def __call__(self, signals: Mapping[Signal, float]) -> Refusal | None:
        value = signals[self.signal]
        return None if value <= self.limit else _refusal(self.reason, value, self.limit)


@dataclass(frozen=True, kw_only=True, slots=True)
class AtLeast:
    """Keep what is at or above the limit."""

    signal: Signal
    limit: float
    reason: Reason
    source: str

    def __post_init__(self) -> None:
        _check(self)

    @property
    def key(self) -> str:
        """Its name in a recipe file."""
        return f"{self.signal}_at_least"

    def __call__(self, signals: Mapping[Signal, float]) -> Refusal | None:
        value = signals[self.signal]
        return None if value >= self.limit else _refusal(self.reason, value, self.limit)


@dataclass(frozen=True, kw_only=True, slots=True)
class Below:
    """Keep what is below the limit; the limit itself is refused."""

    signal: Signal
    limit: float
    reason: Reason
    source: str

    def __post_init__(self) -> None:
        _check(self)

    @property
    def key(self) -> str:
        """Its name in a recipe file."""
        return f"{self.signal}_below"

    def __call__(self, signals: Mapping[Signal, float]) -> Refusal | None:
        value = signals[self.signal]
        return None if value < self.limit else _refusal(self.reason, value, self.limit)


@dataclass(frozen=True, kw_only=True, slots=True)
class AtLeastFrom:
    """AtLeast where `given` is at or above `given_from`; what is smaller is not asked."""

    signal: Signal
    limit: float
    given: Signal
    given_from: float
    reason: Reason
    source: str

    def __post_init__(self) -> None:
        _check(self)

    @property
    def key(self) -> str:
        """Its name in a recipe file."""
        return f"{self.signal}_at_least"

    def __call__(self, signals: Mapping[Signal, float]) -> Refusal | None:
        # only what is shown to be small is excused, and never a NaN
        if signals[self.given] < self.given_from and not math.isnan(signals[self.signal]):
            return None
        value = signals[self.signal]
        return None if value >= self.limit else _refusal(self.reason, value, self.limit)


Rule = AtMost | AtLeast | Below | AtLeastFrom


def _refusal(reason: Reason, value: float, limit: float) -> Refusal:
    """A NaN was not measured: no value, so that what lies at rest compares equal to itself."""
    return Refusal(reason=reason, value=None if math.isnan(value) else value, limit=limit)


def first_refusal(rules: Iterable[Rule], signals: Mapping[Signal, float]) -> Refusal | None:
    """The refusal of the first rule that refuses: the one reason of what it refuses."""
    for rule in rules:
        if (refusal := rule(signals)) is not None:
            return refusal
    return None
