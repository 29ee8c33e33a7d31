"""Page rules: what a page asks for, and what its language must be.

In:   a Document's page signals and its language.
Out:  a Refusal of the document.
`noai` and a TDM reservation refuse the document; so does `noimageai`, which leaves it without an
image. `noindex` and
`none` are left alone: they speak to search engines about listing a page, not about learning from
it (a page behind them was still served to the crawler, which robots.txt had let in).
"""

from __future__ import annotations

from dataclasses import dataclass

from filters.rules import Refusal
from schemas.document import PageSignals
from schemas.verdict import Reason


@dataclass(frozen=True, kw_only=True, slots=True)
class NoDirective:
    """Refuse a document whose robots directives hold this one."""

    directive: str
    reason: Reason
    source: str

    def __call__(self, page: PageSignals) -> Refusal | None:
        if self.directive not in page.robots:
            return None
        return Refusal(reason=self.reason, value=1, limit=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class NoReservation:
    """Refuse a document that reserves text and data mining."""

    reason: Reason
    source: str

    def __call__(self, page: PageSignals) -> Refusal | None:
        return Refusal(reason=self.reason, value=1, limit=0) if page.tdm_reservation else None


ConsentRule = NoDirective | NoReservation


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
