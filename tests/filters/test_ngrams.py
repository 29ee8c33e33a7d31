"""N-grams: counted as slices would be, whatever the alphabet."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from filters.ngrams import Repeats, repeated_characters, repeated_words

MANY = "".join(map(chr, range(0x4E00, 0x4E00 + 300)))  # more letters than 64 bits hold 10-grams of


def counted(ngrams: list[str]) -> Repeats:
    """The same by slices: slow, and plain to see."""
    frequencies = Counter(ngrams)
    repeats = sorted((n for n in frequencies.values() if n > 1), reverse=True)
    return Repeats(
        frequencies=tuple(repeats), distinct=len(frequencies), total=sum(frequencies.values())
    )


REPETITIVE = st.lists(st.sampled_from(["ab", "ba", "c", "日本", "\ud800", "\U0010ffff"])).map(
    "".join
)


@given(st.text(max_size=200) | REPETITIVE, st.integers(1, 12))
@example(MANY * 2, 10)
@example(MANY + MANY[:30] + "x" + MANY[5:60], 10)
@example("a" * 1_000, 10)
def test_runs_of_characters_are_counted_as_slices_would_be(text: str, length: int) -> None:
    slices = [text[at : at + length] for at in range(len(text) - length + 1)]
    assert repeated_characters(text, length) == counted(slices)


@pytest.mark.parametrize("letters", [83, 84, 85, 86])
def test_an_alphabet_at_the_edge_of_64_bits_is_counted_exactly(letters: int) -> None:
    text = MANY[:letters] * 2 + MANY[letters - 1] * 12
    slices = [text[at : at + 10] for at in range(len(text) - 9)]
    assert repeated_characters(text, 10) == counted(slices)


@given(st.lists(st.sampled_from(["a", "b", "c c", ""]), max_size=40), st.integers(1, 5))
def test_runs_of_words_are_counted_by_their_words(words: list[str], length: int) -> None:
    runs = ["|".join(words[at : at + length]) for at in range(len(words) - length + 1)]
    assert repeated_words(words, length) == counted(runs)
