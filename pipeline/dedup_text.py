"""Groupings: facts in by key, decisions out by PART. What crosses documents is decided here.

KeepLatest     of the captures of one URL, and of one set of images, the latest stays
DropFrequent   a key met too often goes everywhere (paragraphs of a domain, image URLs)
DropNearTexts  a document that shares a MinHash band with an earlier one goes

Nothing iterates: whether y makes x a duplicate never depends on whether y itself is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final, Literal

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.typehints.decorators import no_annotations

from pipeline.facts import WHOLE, Decision, Place, TextFact
from schemas.verdict import Reason

Decided = tuple[str, Decision]  # PART, what was decided
Keyed = Callable[[TextFact], Iterable[tuple[bytes, Place]]]
Capture = tuple[str, str, Place]  # date, document id, place: the order of captures

# when several groupings refuse a document, the first of these is its reason
PRECEDENCE: Final = (Reason.SAME_RECORD, Reason.OLDER_CAPTURE, Reason.NEAR_DUPLICATE_TEXT)


def same_or_older(captures: Iterable[Capture]) -> Iterator[Decided]:
    """Decisions about all but one of the captures of a URL.

    The same record met twice stays at its first place. Of different captures the latest stays;
    of two at one moment, the larger id.
    """
    first: dict[tuple[str, str], Place] = {}
    for date, id_, place in captures:
        known = first.setdefault((date, id_), place)
        if place < known:
            first[date, id_] = place
        if place != known:
            yield _about(max(place, known), Reason.SAME_RECORD, value=1, limit=0)
    latest = max(first)
    for capture, place in sorted(first.items()):
        if capture != latest:
            yield _about(place, Reason.OLDER_CAPTURE, value=len(first), limit=1)


class KeepLatestURL(beam.PTransform[PCollection[TextFact], tuple[PCollection[Any], ...]]):
    """Facts of documents -> those that stay, and decisions about those that do not."""

    @no_annotations
    def expand(self, facts: PCollection[TextFact]) -> tuple[PCollection[Any], ...]:
        found = (
            facts
            | "Key by URL" >> beam.Map(_by_url)
            | "Group by URL" >> beam.GroupByKey()
            | "Choose capture" >> beam.FlatMapTuple(_choose).with_outputs("decided", main="latest")
        )
        return found.latest, found.decided


def _by_url(fact: TextFact) -> tuple[str, TextFact]:
    return fact.url, fact


def _choose(
    _url: str, facts: Iterable[TextFact]
) -> Iterator[TextFact | TaggedOutput[Literal["decided"], Decided]]:
    facts = list(facts)  # the captures of one URL
    gone = set()
    for part, decision in same_or_older((fact.date, fact.id, fact.place) for fact in facts):
        gone.add((part, decision.row))
        yield TaggedOutput("decided", (part, decision))
    yield from (fact for fact in facts if fact.place[:2] not in gone)


class DropFrequent(beam.PTransform[PCollection[TextFact], PCollection[Decided]]):
    """Facts -> a decision about every place of a key that has more than `limit` of them."""

    def __init__(self, keyed: Keyed, *, limit: int, reason: Reason) -> None:
        super().__init__()
        self._keyed = keyed
        self._limit = limit
        self._reason = reason

    def expand(self, facts: PCollection[TextFact]) -> PCollection[Decided]:
        places = facts | "Key places" >> beam.FlatMap(self._keyed)
        grouped = places | "Group by key" >> beam.GroupByKey()
        return grouped | "Refuse frequent" >> beam.FlatMapTuple(
            partial(_refuse_frequent, limit=self._limit, reason=self._reason)
        )


def _refuse_frequent(
    _key: bytes, places: Iterable[Place], *, limit: int, reason: Reason
) -> Iterator[Decided]:
    count = sum(1 for _ in places)  # read twice: a runner streams a hot key, we never hold it
    if count > limit:
        for place in places:
            yield _about(place, reason, value=count, limit=limit)


class DropNearTexts(beam.PTransform[PCollection[TextFact], PCollection[Decided]]):
    """Documents that share a band with one before them in the order (date, URL, place)."""

    def expand(self, facts: PCollection[TextFact]) -> PCollection[Decided]:
        return (
            facts
            | "Key by band" >> beam.FlatMap(_by_band)
            | "Group by band" >> beam.GroupByKey()
            | "All but the first" >> beam.FlatMapTuple(_but_first)
        )


def _by_band(fact: TextFact) -> Iterator[tuple[int, tuple[str, str, Place]]]:
    for band in fact.bands:
        yield band, (fact.date, fact.url, fact.place)


def _but_first(_band: int, members: Iterable[tuple[str, str, Place]]) -> Iterator[Decided]:
    first = min(members)
    for member in members:
        if member != first:
            yield _about(member[2], Reason.NEAR_DUPLICATE_TEXT, value=1, limit=0)


def _about(place: Place, reason: Reason, *, value: float, limit: float) -> Decided:
    return place.part, Decision(place.row, place.node, str(reason), value, limit)


def refusal_of(decisions: Iterable[Decision]) -> Decision | None:
    """Of the decisions about a whole document the one that is its reason; bands are counted."""
    whole = [decision for decision in decisions if decision.node == WHOLE]
    for reason in PRECEDENCE:
        if same := [decision for decision in whole if decision.reason == reason]:
            return same[0]._replace(value=max(len(same), same[0].value))
    return None
