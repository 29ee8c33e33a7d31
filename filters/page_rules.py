"""Page rules: what a page asks for, and what its language must be.

In:   a Document's page signals and its language; what the response of an image file asks for.
Out:  a Refusal of the document, or of the image.
`noai` and a TDM reservation refuse the document; so does `noimageai`, which leaves it without an
image. An image goes for any of them in its own response. `noindex` and `none` are left alone: they
speak to search engines about listing a page, not about learning from it (a page behind them was
still served to the crawler, which robots.txt had let in).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from filters.rules import Refusal
from schemas.verdict import Reason


class Asking(Protocol):
    """What asks something of its readers: a page, or the response that an image came in."""

    @property
    def robots(self) -> Sequence[str]: ...

    @property
    def tdm_reservation(self) -> bool: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class NoDirective:
    """Refuse what has this one among its robots directives."""

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
    """The refusal of the first rule whose wish is asked for."""
    return next((refusal for rule in rules if (refusal := rule(asking))), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageAtLeast:
    """Keep documents in the recipe's language, told with at least this score.

    Of another language the score of ours is not known: the refusal then has no value.
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
