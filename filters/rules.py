"""Rules: what was measured in, a refusal or none out.

In:   a mapping of signals (signals.py); of a page or an image's response, what it asks for; of a
      document, its language.
Out:  Refusal: the reason, the measured value, the limit that it missed; None where all is well.
A rule lets pass only what is shown to pass: NaN passes none, a signal that was never measured is
a KeyError, and no rule exists without a source. A rule that is off is absent from its recipe.

AtMost        the limit passes
AtLeast       the limit passes
Below         the limit does not pass
AtLeastFrom   AtLeast, applied only where another signal is large enough for it to mean something

A threshold is data, with its direction in its name. Another kind is a subclass of Threshold here,
and a line of recipe.py that uses it: nothing else lists them.

`noai` and a TDM reservation refuse the document; so does `noimageai`, which leaves it without an
image. An image goes for any of them in its own response. `noindex` and `none` are left alone: they
speak to search engines about listing a page, not about learning from it (a page behind them was
still served to the crawler, which robots.txt had let in).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

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
    """AtLeast where `given` is at or above `given_from`; where it is smaller, all passes."""

    given: Signal
    given_from: float

    def __call__(self, signals: Mapping[Signal, float]) -> Refusal | None:
        # only what is shown to be small is excused, and never a NaN
        if signals[self.given] < self.given_from and not math.isnan(signals[self.signal]):
            return None
        return AtLeast.__call__(self, signals)  # slots make a new class, which super() misses


def first_refusal(rules: Iterable[Threshold], signals: Mapping[Signal, float]) -> Refusal | None:
    """The refusal of the first rule that refuses: the one reason of what it refuses."""
    for rule in rules:
        if (refusal := rule(signals)) is not None:
            return refusal
    return None


class Asking(Protocol):
    """What asks something of its readers: a page, or the response that an image came in."""

    @property
    def robots(self) -> Sequence[str]: ...

    @property
    def tdm_reservation(self) -> bool: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class NoDirective:
    """Refuse what has this directive among its robots directives."""

    directive: str
    reason: Reason
    source: str

    def __call__(self, asking: Asking) -> Refusal | None:
        if self.directive not in asking.robots:
            return None
        return Refusal(reason=self.reason, value=1, limit=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class NoReservation:
    """Refuse what reserves text and data mining."""

    reason: Reason
    source: str

    def __call__(self, asking: Asking) -> Refusal | None:
        return Refusal(reason=self.reason, value=1, limit=0) if asking.tdm_reservation else None


ConsentRule = NoDirective | NoReservation


def refuse_asking(rules: Iterable[ConsentRule], asking: Asking) -> Refusal | None:
    """The refusal of the first rule whose wish a page or a response has."""
    return next((refusal for rule in rules if (refusal := rule(asking))), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageAtLeast:
    """Keep documents in the recipe's language, identified with at least this score.

    The score is of the language that was identified. Where that is another than the recipe's, the
    refusal has no value.
    """

    score: float
    source: str
    reason: Reason = Reason.LANGUAGE

    def __post_init__(self) -> None:
        if not 0 <= self.score <= 1:
            raise ValueError(f"language_score is {self.score}: choose 0 to 1")

    def __call__(self, *, wanted: str, language: str, score: float) -> Refusal | None:
        if language == wanted and score >= self.score:
            return None
        measured = score if language == wanted and score == score else None  # noqa: PLR0124 (NaN)
        return Refusal(reason=self.reason, value=measured, limit=self.score)
