"""Signals: definitions as goldens, additivity and bounds as laws."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters import signals
from filters.ngrams import repeated_characters, repeated_words
from filters.signals import (
    CHARACTER_NGRAM,
    JOINT,
    TEXT_SIGNALS,
    WORD_NGRAM,
    Lexicon,
    Signal,
    add,
    image_ratios,
    measure,
    measure_document,
    ratios,
    special_characters,
    word_of,
    words_of,
)
from filters.spam_words import SPAM_WORDS
from schemas.document import TextCounts

LEXICON = Lexicon(
    language="en",
    stop_words=frozenset({"the", "of", "a", "is", "in", "and"}),
    flagged_words=frozenset({"porn"}),
    common_words=frozenset({"the", "of", "a", "is", "in", "and", "cat", "well", "known", "s"}),
    spam_words=SPAM_WORDS,
)

TEXTS = st.text(max_size=300) | st.lists(
    st.sampled_from(["the", "cat", "of", "sat.", "2019", "well-known", "«", "日本", "की"]),
    max_size=60,
).map(" ".join)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The cat sat.", ["the", "cat", "sat"]),
        ("(well-known) editor’s “idea”", ["well-known", "editor's", "idea"]),  # noqa: RUF001
        ("In 2019 -> 3.5 % of H2O", ["in", "of", "h2o"]),
        ("MP3 x86_64 3D", ["mp", "x", "d"]),
        ("❤️ love •", ["love"]),
        ("हिन्दी की बात।", ["हिन्दी", "की", "बात"]),
        ("tab\tline\nbreak no-break\u3000wide", ["tab", "line", "break", "no-break", "wide"]),
        ("", []),
        (" \n ... 123 ", []),
    ],
)
def test_a_word_is_a_piece_with_a_letter_less_what_surrounds_it(
    text: str, words: list[str]
) -> None:
    assert words_of(text) == words


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("abc", 0),
        ("a b", 1),
        ("3.14", 4),
        ("naïve", 0),
        ("é!", 1),
        ("की", 0),
        ("日本。", 1),
        ("😀", 1),
    ],
)
def test_a_special_character_is_neither_letter_nor_mark(text: str, count: int) -> None:
    assert special_characters(text) == count


@pytest.mark.parametrize(
    ("text", "marks", "tokens"),
    [
        ("Yes, no; why? So: that! End.", 6, 12),
        ("Pi is 3.14 at example.org", 0, 4),
        ("Wait... what", 3, 5),
        ("He said 'no.' and left", 1, 6),
    ],
)
def test_a_punctuation_mark_is_followed_by_no_letter_or_digit(
    text: str, marks: int, tokens: int
) -> None:
    counts = measure(text, LEXICON)
    assert (counts.punctuation, counts.tokens) == (marks, tokens)


def test_words_are_looked_up_in_lower_case_and_common_ones_by_their_parts_too() -> None:
    counts = measure("The CAT's well-known, a zyx-known thing of Porn.", LEXICON)
    assert counts.words == 8
    assert counts.stop_words == 3
    assert counts.flagged_words == 1
    assert counts.common_words == 5  # the, cat's, well-known, a, of


def test_the_letters_between_marks_are_no_parts_of_a_word() -> None:
    lexicon = replace(LEXICON, common_words=frozenset("हनद"))
    assert measure("हिन्दी", lexicon).common_words == 0


def test_golden_character_repetition_is_the_mass_of_the_most_frequent_ngrams() -> None:
    # "abcabc..." of 22 characters: 13 ten-grams, 3 distinct (5, 4, 4 times), floor(sqrt 3) = 1
    counts = measure("abc" * 7 + "a", LEXICON)
    assert (counts.character_ngrams, counts.character_ngrams_repeated) == (13, 5)
    assert ratios(counts)[Signal.CHARACTER_REPETITION] == 5 / 13


def test_golden_character_repetition_takes_no_more_ngrams_than_repeat() -> None:
    # 31 ten-grams; one is met twice, 29 once: the bound is 30 - 29 = 1, not floor(sqrt 30) = 5
    text = "0123456789" + "ABCDEFGHIJKLMNOPQRST" + "0123456789"
    counts = measure(text, LEXICON)
    assert (counts.character_ngrams, counts.character_ngrams_repeated) == (31, 2)


@pytest.mark.parametrize(("distinct", "top"), [(3, 1), (4, 2), (8, 2), (9, 3)])
def test_golden_the_root_of_the_distinct_ngrams_is_cut_to_a_whole_number(
    distinct: int, top: int
) -> None:
    # a cycle of D different characters has D distinct ten-grams; 3 D + 9 characters: 3 of each
    cycle = "abcdefghi"[:distinct]
    counts = measure((cycle * 20)[: 3 * distinct + 9], LEXICON)
    assert counts.character_ngrams == 3 * distinct
    assert counts.character_ngrams_repeated == 3 * top


def test_golden_word_repetition_is_the_mass_of_every_ngram_met_more_than_once() -> None:
    # one two three four five six, twice: 8 five-grams, of which the first two are met twice
    counts = measure("one two three four five six ONE two, three four five six", LEXICON)
    assert (counts.word_ngrams, counts.word_ngrams_repeated) == (8, 4)
    assert ratios(counts)[Signal.WORD_REPETITION] == 0.5


def test_a_text_too_short_to_repeat_repeats_nothing() -> None:
    short = ratios(measure("a cat sat", LEXICON))
    assert short[Signal.WORD_REPETITION] == 0
    assert short[Signal.CHARACTER_REPETITION] == 0


def test_every_ratio_of_nothing_is_not_a_number() -> None:
    nothing = ratios(TextCounts())
    counted = {Signal.WORDS, Signal.TOKENS}
    assert {signal for signal, value in nothing.items() if math.isnan(value)} == (
        TEXT_SIGNALS - counted
    )


def test_ratios_give_every_signal_of_a_text_and_of_an_image() -> None:
    assert set(ratios(TextCounts())) == TEXT_SIGNALS
    assert image_ratios(width=300, height=150) == {
        Signal.SHORT_SIDE: 150,
        Signal.LONG_SIDE: 300,
        Signal.ASPECT: 2,
    }
    assert math.isnan(image_ratios(width=300, height=0)[Signal.ASPECT])


def test_spam_words_fill_the_frame_of_a_page_and_not_its_text() -> None:
    frame = measure("Subscribe to our newsletter", LEXICON)
    assert ratios(frame)[Signal.SPAM_WORDS] == 0.5
    prose = measure("Bake the cookies in a hot oven for twelve minutes until brown", LEXICON)
    assert ratios(prose)[Signal.SPAM_WORDS] < 0.12


def test_a_document_repeats_what_its_paragraphs_share() -> None:
    texts = ["The quick brown fox jumps over the dog."] * 3
    counts = [measure(text, LEXICON) for text in texts]
    assert add(counts).word_ngrams_repeated == 0
    together = measure_document(texts, counts)
    assert together.word_ngrams_repeated > together.word_ngrams / 2
    assert together.words == add(counts).words == 24


@given(st.lists(TEXTS, max_size=6))
def test_counts_of_words_add_up_over_paragraphs(texts: list[str]) -> None:
    counts = [measure(text, LEXICON) for text in texts]
    summed, joined = measure_document(texts, counts), measure(JOINT.join(texts), LEXICON)
    names = ("words", "stop_words", "flagged_words", "common_words", "spam_words", "punctuation",
             "tokens", "character_ngrams", "character_ngrams_repeated", "word_ngrams",
             "word_ngrams_repeated")  # fmt: skip
    assert {name: getattr(summed, name) for name in names} == {
        name: getattr(joined, name) for name in names
    }


@given(TEXTS)
def test_every_share_is_between_0_and_1_or_not_a_number(text: str) -> None:
    for signal, value in ratios(measure(text, LEXICON)).items():
        if signal not in {Signal.WORDS, Signal.TOKENS}:
            assert math.isnan(value) or 0 <= value <= 1


@given(TEXTS)
def test_fewer_ngrams_repeat_than_there_are_and_never_a_single_one(text: str) -> None:
    counts = measure(text, LEXICON)
    for repeated, total in (
        (counts.character_ngrams_repeated, counts.character_ngrams),
        (counts.word_ngrams_repeated, counts.word_ngrams),
    ):
        assert 0 <= repeated <= total
        assert repeated != 1


def test_naughty_strings_are_measured_like_any_text(shared_data: Callable[[str], Path]) -> None:
    strings = json.loads(shared_data("bad/blns/blns.json").read_text(encoding="utf-8"))
    assert len(strings) > 400
    for string in [*strings, "\ud800 lone surrogate", "\0"]:
        counts = measure(string, LEXICON)
        assert counts.words <= counts.tokens
        assert counts.special_characters <= counts.characters == len(string)


REPEATING = st.builds(lambda text, times: text * times, st.text(max_size=40), st.integers(0, 12))
FEW_WORDS = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f"]), max_size=40).map(" ".join)


@given(TEXTS | REPEATING | FEW_WORDS)
def test_short_cuts_count_what_the_ngrams_themselves_give(text: str) -> None:
    counts = measure(text, LEXICON)
    characters = repeated_characters(text, CHARACTER_NGRAM)
    runs = repeated_words(words_of(text), WORD_NGRAM)
    most = math.isqrt(characters.distinct)
    assert counts.character_ngrams == characters.total
    assert counts.character_ngrams_repeated == sum(characters.frequencies[:most])
    assert (counts.word_ngrams, counts.word_ngrams_repeated) == (runs.total, sum(runs.frequencies))


def test_words_that_were_met_before_are_the_same_and_a_bounded_number_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(signals, "_MOST_KEPT", 10)
    monkeypatch.setattr(signals, "_WORDS", kept := signals._Words())
    text = " ".join(f"({chr(97 + n)}word)," for n in range(25)) + " " + "x" * 1_000
    assert words_of(text) == words_of(text) == [word_of(piece) for piece in text.split()]
    assert 0 < len(kept) <= 10
    assert "x" * 1_000 not in kept
