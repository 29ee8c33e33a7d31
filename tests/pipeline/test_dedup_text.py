"""What documents decide of each other, without Beam: captures, precedence, the ledger."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.dedup_text import Capture, refusal_of, same_or_older
from pipeline.facts import WHOLE, Decision, Place
from schemas.manifest import Ledger, total
from schemas.verdict import Reason

CAPTURES = st.lists(
    st.builds(
        lambda date, id_, part, row: (date, id_, Place(part, row)),
        st.sampled_from(["2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z", "2025-01-01T00:00:00Z"]),
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["000000-0", "000001-0"]),
        st.integers(0, 4),
    ),
    min_size=1,
    unique_by=lambda capture: capture[2],
)


@given(CAPTURES)
def test_of_the_captures_of_a_url_exactly_one_stays_and_each_other_has_one_reason(
    captures: list[Capture],
) -> None:
    decided = list(same_or_older(captures))
    gone = [Place(part, decision.row) for part, decision in decided]
    assert len(gone) == len(set(gone)) == len(captures) - 1


@given(CAPTURES, st.randoms())
def test_the_order_in_which_captures_come_makes_no_difference(
    captures: list[Capture], dice: object
) -> None:
    shuffled = list(captures)
    dice.shuffle(shuffled)  # type: ignore[attr-defined]
    assert set(same_or_older(shuffled)) == set(same_or_older(captures))


def test_the_latest_stays_and_of_one_record_met_twice_the_first_place() -> None:
    old = ("2024-01-01T00:00:00Z", "a", Place("p", 0))
    new = ("2024-05-01T00:00:00Z", "b", Place("q", 7))
    again = ("2024-05-01T00:00:00Z", "b", Place("p", 9))
    decided = {Place(part, d.row): d.reason for part, d in same_or_older([new, old, again])}
    assert decided == {Place("q", 7): Reason.SAME_RECORD, Place("p", 0): Reason.OLDER_CAPTURE}


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
