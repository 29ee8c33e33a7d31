"""Groupings: facts in by key, decisions out by PART. What crosses documents is decided here.

KeepLatestURL  a record met twice stays at its first place; of the captures of one URL, however it
               is spelt, the latest stays (and of the documents with one set of images); where
               that one asks not to be used, no older one stays in its place
DropFrequent   a key met too often goes everywhere (paragraphs of a domain, image URLs)
DropNearTexts  a document that shares a MinHash band with an earlier one goes

Nothing iterates: whether y makes x a duplicate never depends on whether y itself is kept. And
nothing holds a group: it is read twice, as a runner streams it, so a URL may come a million times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Literal

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.typehints.decorators import no_annotations

from pipeline.account.facts import WHOLE, Decided, Decision, Place, TextFact, about
from pipeline.words.urls import normal_url
from schemas.verdict import Reason

Keyed = Callable[[TextFact], Iterable[tuple[bytes, Place]]]
Sifted = Iterator[TextFact | TaggedOutput[Literal["decided"], Decided]]


class KeepLatestURL(beam.PTransform[PCollection[TextFact], tuple[PCollection[Any], ...]]):
    """Facts of documents -> those that stay, and decisions about those that do not."""

    @no_annotations
    def expand(self, facts: PCollection[TextFact]) -> tuple[PCollection[Any], ...]:
        once = (
            facts
            | "Key by record" >> beam.Map(_by_record)
            | "Group by record" >> beam.GroupByKey()
            | "Keep first" >> beam.FlatMapTuple(keep_first).with_outputs("decided", main="kept")
        )
        latest = (
            once.kept
            | "Key by URL" >> beam.Map(by_url)
            | "Group by URL" >> beam.GroupByKey()
            | "Keep latest" >> beam.FlatMapTuple(keep_latest).with_outputs("decided", main="kept")
        )
        decided = (once.decided, latest.decided) | "Gather" >> beam.Flatten()
        return latest.kept, decided


def _by_record(fact: TextFact) -> tuple[str, TextFact]:
    return fact.id, fact


def keep_first(_id: str, facts: Iterable[TextFact]) -> Sifted:
    """Of one record, wherever it was met, the first place."""
    first = min(fact.place for fact in facts)
    for fact in facts:
        if fact.place == first:
            yield fact
        else:
            decided = about(fact.place, Reason.SAME_RECORD, value=1, limit=0)
            yield TaggedOutput("decided", decided)


def by_url(fact: TextFact) -> tuple[str, TextFact]:
    """One key for all spellings by which a browser asks for one page, as pages name images."""
    return normal_url(fact.url), fact


def keep_latest(_url: str, facts: Iterable[TextFact]) -> Sifted:
    """Of the captures of one URL the latest; of two at one moment, the larger id.

    Where the latest, or one at that moment, asks not to be used none stays: its own refusal says
    why it goes itself.
    """
    latest, count = max(map(_capture, facts)), sum(1 for _ in facts)
    for fact in facts:
        if _capture(fact) == latest:
            if not fact.objects:
                yield fact
        elif not fact.objects:
            decided = about(fact.place, Reason.OLDER_CAPTURE, value=count, limit=1)
            yield TaggedOutput("decided", decided)


def _capture(fact: TextFact) -> tuple[str, bool, str, Place]:
    """Who objects at a moment that cannot be read is heard as the last."""
    date = fact.date or ("9999" if fact.objects else "")
    return date, fact.objects, fact.id, fact.place


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
            yield about(place, reason, value=count, limit=limit)


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
            yield about(member[2], Reason.NEAR_DUPLICATE_TEXT, value=1, limit=0)


def refusal_of(decisions: Iterable[Decision]) -> Decision | None:
    """Of the decisions about a whole document the one that is its reason: the first in the order of
    `Reason`. Its value is how many groups (bands) say so, where that is more than each says."""
    whole = [decision for decision in decisions if decision.node == WHOLE]
    if not whole:
        return None
    order = list(Reason)
    first = min((decision.reason for decision in whole), key=lambda name: order.index(Reason(name)))
    same = [decision for decision in whole if decision.reason == first]
    return same[0]._replace(value=max(len(same), same[0].value))
