"""What documents decide of each other: captures, precedence, the ledger."""

from __future__ import annotations

import tracemalloc
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.pvalue import TaggedOutput
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given
from hypothesis import strategies as st

from pipeline.account.facts import WHOLE, Decided, Decision, Place, TextFact
from pipeline.filter_images.dedup import other_sets
from pipeline.filter_text.dedup import (
    DropFrequent,
    DropNearTexts,
    KeepLatestURL,
    by_url,
    keep_first,
    keep_latest,
    refusal_of,
)
from pipeline.filter_text.judge import by_paragraph
from schemas.manifest import Ledger, total
from schemas.verdict import Reason

DATES = ("2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z", "2025-01-01T00:00:00Z")


def fact(
    id_: str, place: Place, *, date: str = DATES[0], url: str = "https://example.org/"
) -> TextFact:
    return TextFact(place, id_, url, date, (), (), ())


# captures of one URL; an id stands for one date and payload
CAPTURES = st.lists(
    st.builds(
        lambda number, part, row: fact(f"{number}", Place(part, row), date=DATES[number % 3]),
        st.integers(0, 4),
        st.sampled_from(["000000-0", "000001-0"]),
        st.integers(0, 4),
    ),
    min_size=1,
    unique_by=lambda one: one.place,
)


def settle(facts: list[TextFact]) -> tuple[list[TextFact], list[Decided]]:
    """What stays and what is decided, as KeepLatestURL groups them."""
    records = defaultdict(list)
    for one in facts:
        records[one.id].append(one)
    first = list(chain.from_iterable(keep_first(id_, same) for id_, same in records.items()))
    urls = defaultdict(list)
    for stays in first:
        if isinstance(stays, TextFact):
            urls[by_url(stays)[0]].append(stays)
    last = list(chain.from_iterable(keep_latest(url, same) for url, same in urls.items()))
    kept = [one for one in last if isinstance(one, TextFact)]
    return kept, [one.value for one in (*first, *last) if isinstance(one, TaggedOutput)]


@given(CAPTURES)
def test_of_the_captures_of_a_url_exactly_one_stays_and_each_other_has_one_reason(
    captures: list[TextFact],
) -> None:
    kept, decided = settle(captures)
    gone = [Place(part, decision.row) for part, decision in decided]
    assert sorted([*gone, *(one.place for one in kept)]) == sorted(one.place for one in captures)
    assert len(kept) == 1


@given(CAPTURES, st.randoms())
def test_the_order_in_which_captures_come_makes_no_difference(
    captures: list[TextFact], dice: object
) -> None:
    shuffled = list(captures)
    dice.shuffle(shuffled)  # type: ignore[attr-defined]
    (kept, decided), (same, again) = settle(captures), settle(shuffled)
    assert (kept, set(decided)) == (same, set(again))


def test_the_latest_stays_and_of_one_record_met_twice_the_first_place() -> None:
    old = fact("a", Place("p", 0), date="2024-01-01T00:00:00Z")
    new = fact("b", Place("q", 7), date="2024-05-01T00:00:00Z")
    again = fact("b", Place("p", 9), date="2024-05-01T00:00:00Z")
    kept, decided = settle([new, old, again])
    assert kept == [again]
    assert {Place(part, one.row): (one.reason, one.value, one.limit) for part, one in decided} == {
        Place("q", 7): (Reason.SAME_RECORD, 1, 0),
        Place("p", 0): (Reason.OLDER_CAPTURE, 2, 1),  # 2 captures, however often each was met
    }


def test_a_page_that_asks_not_to_be_used_any_more_takes_its_older_captures_with_it() -> None:
    """And one that asked once, and no longer does, is used."""
    dates = [f"2024-0{month}-01T00:00:00Z" for month in (1, 2, 3)]
    first, second, third = (
        fact(name, Place("p", row), date=date)
        for row, (name, date) in enumerate(zip("abc", dates, strict=True))
    )
    kept, decided = settle([first, second, third._replace(objects=True)])
    assert kept == []
    assert {(one.row, one.reason, one.value) for _, one in decided} == {
        (0, Reason.OLDER_CAPTURE, 3),
        (1, Reason.OLDER_CAPTURE, 3),
    }
    kept, _ = settle([third, third._replace(id="a", place=Place("p", 9), objects=True)])
    assert kept == [], "of two at one moment the one that objects counts"
    kept, decided = settle([first, second._replace(objects=True), third])
    assert kept == [third]
    assert [(one.row, one.reason) for _, one in decided] == [(0, Reason.OLDER_CAPTURE)]


@pytest.mark.parametrize(
    ("one", "other", "pages"),
    [
        ("http://example.org/a", "HTTP://Example.org:80/a", 1),
        ("http://example.org", "http://example.org/", 1),
        ("http://example.org/x/../a", "http://example.org/a#top", 1),
        ("http://exämple.org/ü", "http://xn--exmple-cua.org/%C3%BC", 1),
        ("http://example.org/a", "http://example.org:8080/a", 2),
        ("http://example.org/a", "https://example.org/a", 2),
        ("http://example.org/a", "http://example.org/A", 2),
        ("http://example.org/a", "http://example.org/a?", 2),
        ("no url", "no url", 1),
        ("no url", "no URL", 2),
    ],
)
def test_captures_are_of_one_page_where_a_browser_would_ask_for_the_same(
    one: str, other: str, pages: int
) -> None:
    facts = [fact("a", Place("p", 0), url=one), fact("b", Place("p", 1), url=other)]
    kept, _ = settle(facts)
    assert len(kept) == pages
    assert set(kept) <= set(facts)  # as they are written


def test_the_groupings_in_beam_do_the_same() -> None:
    facts = [
        fact("a", Place("p", 0), url="https://example.org/x", date=DATES[0]),
        fact("a", Place("q", 0), url="https://example.org/x", date=DATES[0]),
        fact("b", Place("q", 1), url="HTTPS://EXAMPLE.ORG/x", date=DATES[2]),
        fact("c", Place("q", 2), url="https://example.org/y", date=DATES[1]),
    ]
    kept, decided = settle(facts)
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        latest, older = pipeline | beam.Create(facts) | KeepLatestURL()
        assert_that(latest, equal_to(kept), label="kept")
        assert_that(older, equal_to(decided), label="decided")
    assert len(kept) == len(decided) == 2


class Streamed:
    """A group as a runner streams it: read as often as one likes, held nowhere."""

    def __init__(self, make: Callable[[int], TextFact], length: int) -> None:
        self._make, self._length = make, length

    def __iter__(self) -> Iterator[TextFact]:
        return map(self._make, range(self._length))


@pytest.mark.parametrize("records", [1, 20_000])
def test_a_group_is_never_held(records: int) -> None:
    """20,000 captures of one record, or of one URL; as a list they take 10 MB and more."""
    group = Streamed(lambda n: fact(f"{n % records}", Place("p", n), date=DATES[n % 3]), 20_000)
    keep = keep_first if records == 1 else keep_latest
    tracemalloc.start()
    try:
        kept = sum(isinstance(one, TextFact) for one in keep("", group))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert kept == 1
    assert peak < 200_000


def check_decided(
    transform: beam.PTransform[Any, Any], facts: list[TextFact], wanted: set[tuple[int, str, float]]
) -> None:
    """A grouping decides this: row, reason and value."""
    with beam.Pipeline() as root:
        decided = root | beam.Create(facts) | transform
        told = decided | beam.Map(lambda pair: (pair[1].row, pair[1].reason, pair[1].value))
        assert_that(told, equal_to(sorted(wanted)))


def test_of_the_documents_that_share_a_band_the_first_stays() -> None:
    facts = [
        fact(f"{row}", Place("p", row), date=DATES[row % 3])._replace(bands=(7,))
        for row in (1, 3, 2, 5)
    ]
    alone = fact("9", Place("p", 9))._replace(bands=(8,))
    near = {(row, "near_duplicate_text", 1.0) for row in (1, 2, 5)}
    check_decided(DropNearTexts(), [*facts, alone], near)


@pytest.mark.parametrize("times", [2, 3])
def test_a_key_that_is_met_as_often_as_the_limit_stays(times: int) -> None:
    facts = [
        fact(f"{row}", Place("p", row))._replace(paragraphs=((0, b"same"), (1, b"%d" % row)))
        for row in range(times)
    ]
    frequent = DropFrequent(by_paragraph, limit=2, reason=Reason.REPEATED_IN_DOMAIN)
    gone = {(row, "repeated_in_domain", float(times)) for row in range(times) if times > 2}
    check_decided(frequent, facts, gone)


def test_of_the_documents_with_one_set_of_images_the_latest_stays() -> None:
    captures = [(DATES[row], f"{row}", Place("p", row)) for row in (1, 2, 0)]
    others = list(other_sets(b"key", captures))
    assert sorted(decision.row for _, decision in others) == [0, 1]
    assert {decision.value for _, decision in others} == {3}


def test_the_first_reason_in_the_order_counts_and_bands_add_up() -> None:
    near = Decision(1, WHOLE, Reason.NEAR_DUPLICATE_TEXT, 1, 0)
    older = Decision(1, WHOLE, Reason.OLDER_CAPTURE, 2, 1)
    node = Decision(1, 3, Reason.REPEATED_IN_DOMAIN, 5, 2)
    assert refusal_of([near, older, node]) == older
    assert refusal_of([near, node, near]) == near._replace(value=2)
    assert refusal_of([node]) is None


def test_a_ledger_adds_up_and_says_which_kind_does_not_balance() -> None:
    one, other = Ledger(), Ledger()
    one.see("texts", 3)
    one.keep("texts", 1)
    one.drop("texts", Reason.TOO_FEW_WORDS, 2)
    other.see("images")
    assert one.imbalances() == []
    both = total([one, other])
    assert both.imbalances() == ["images: 1 seen, 0 kept + 0 dropped"]
    other.drop("images", Reason.NO_IMAGE)
    assert total([one, other]).imbalances() == []
    assert total([one, one]).dropped("texts") == {"too_few_words": 4}
