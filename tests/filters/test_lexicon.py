"""Lexicon: where each list comes from, and that a bad list is refused by line."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from filters.everyday_words import EVERYDAY_WORDS
from filters.signals import Lexicon, words_of, words_sha256
from pipeline.words.lexicon import load_lexicon, profanity_entries

KINDS = ("stop_words", "flagged_words", "common_words", "spam_words")


@pytest.fixture(scope="module")
def english() -> Lexicon:
    return load_lexicon("en")


def test_every_list_is_named_with_source_version_size_and_digest(english: Lexicon) -> None:
    assert tuple(name.kind for name in english.names) == KINDS
    for name in english.names:
        words = getattr(english, name.kind)
        assert name.source
        assert name.version
        assert (name.words, name.sha256) == (len(words), words_sha256(words))


def test_every_word_of_a_list_can_be_met_in_a_text(english: Lexicon) -> None:
    for kind in ("stop_words", "flagged_words", "spam_words"):
        assert all(words_of(word) == [word] for word in getattr(english, kind))


def test_the_common_words_are_the_frequent_ones(english: Lexicon) -> None:
    assert {"the", "layer", "stroke", "don't", "paintbrush"} <= english.common_words
    assert not {"xqzt", "asdfgh", "sprachmodell"} & english.common_words
    assert 90_000 < len(english.common_words) < 100_000


def test_everyday_words_are_on_the_packages_list_and_not_on_ours(english: Lexicon) -> None:
    assert profanity_entries() >= EVERYDAY_WORDS
    assert not EVERYDAY_WORDS & english.flagged_words
    assert {"stroke", "oral", "god", "gay", "len"} <= EVERYDAY_WORDS


def test_obscenities_stay_flagged_and_he11_does_not_flag_he(english: Lexicon) -> None:
    assert {"porn", "blowjob", "cunt", "fuck", "xxx", "milf"} <= english.flagged_words
    assert "he" not in english.flagged_words
    assert len(english.flagged_words) > 500


def test_a_lexicon_travels_to_workers_and_keeps_its_digest(english: Lexicon) -> None:
    there = pickle.loads(pickle.dumps(english))
    assert there == english
    assert there.sha256 == english.sha256 == load_lexicon("en").sha256


def test_the_users_words_take_the_place_of_a_list(english: Lexicon, tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("\ufeff# mine\nThe\n\n  of \nn1ce\n", encoding="utf-8")
    lexicon = load_lexicon("en", stop_words=file, flagged_words=str(file))
    assert lexicon.stop_words == lexicon.flagged_words == {"the", "of", "n1ce"}
    assert lexicon.names[0].source == "mine.txt"
    assert lexicon.common_words == english.common_words
    assert lexicon.sha256 != english.sha256


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"the\nblow job\n", r"line 2: 'blow job' is not one word"),
        (b"he11\n", r"line 1: 'he11' is not one word"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"# nothing\n", "holds 0 words"),
    ],
)
def test_a_list_that_no_text_could_meet_is_refused(
    content: bytes, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine.txt"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_lexicon("en", stop_words=file)


def test_a_list_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.txt cannot be read"):
        load_lexicon("en", common_words=tmp_path / "none.txt")


def test_another_language_needs_flagged_words_of_the_users(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no flagged words for language 'de'.*--flagged-words"):
        load_lexicon("de")
    empty = tmp_path / "none.txt"
    empty.touch()
    german = load_lexicon("de", flagged_words=empty)
    assert {"und", "der"} <= german.stop_words
    assert {"haus", "und"} <= german.common_words
    assert [name.source for name in german.names][3] == "none"


def test_a_language_that_no_package_knows_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no stop words for language 'xx'.*choose one of af, "):
        load_lexicon("xx")
