"""Signals: a text in, counts that add up out; ratios of counts are what rules judge.

In:   one paragraph and the word lists of its language (`Lexicon`).
Out:  TextCounts, measured once and stored; `ratios` turns counts into signals, for a paragraph
      or, summed, for a document.
Not:  decisions. Nothing is refused here; limits live in recipe.py.

Definitions (facts of OBELICS, arXiv 2306.16527; where those leave a choice, the choice is named):
- special character: neither letter nor mark (Unicode L*, M*), so digits, punctuation, symbols and
  white space: nine in ten English paragraphs have 0.16 to 0.24; the limits count on it.
- word: a piece between white space, less what stands before its first letter and behind its last
  letter or mark, in lower case, with ' for its curly form. A piece without a letter is no word
  (2019, ->, *).
- common word: in the list, or made of parts in the list (well-known, editor's, and/or).
- punctuation: a mark of PUNCTUATION that no letter or digit follows (not those of 3.14).
- repeated characters: the mass of the k most frequent 10-grams, k the smaller of floor(sqrt(D)), of
  D distinct ones, and the number of those that occur more than once. The paper's formula leaves
  open how the root is rounded; the paper's code cuts it to a whole number.
- repeated words: the mass of word 5-grams that occur more than once.
- a ratio of nothing is NaN, and NaN passes no rule. A text with words but too few for one n-gram
  was measured, and repeats none of them: 0.

Repetition does not add up over paragraphs (what they share with each other would be lost), so
`measure_document` measures it again over the joined text.
See it: python -m pytest tests/filters/test_signals.py -k golden
"""

from __future__ import annotations

import hashlib
import math
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any, Final

from filters.ngrams import repeated_characters, repeated_words
from schemas.document import TextCounts

SIGNALS_VERSION: Final = 1  # of the definitions above; a change makes older counts incomparable
CHARACTER_NGRAM: Final = 10
WORD_NGRAM: Final = 5
PUNCTUATION: Final = ",;:?!."
JOINT: Final = "\n\n"  # between the nodes of a document, as in a shard's text


class Signal(StrEnum):
    """What a rule can judge: of a text, of an image, of a document's images."""

    WORDS = "words"
    TOKENS = "tokens"
    CHARACTER_REPETITION = "character_repetition"
    WORD_REPETITION = "word_repetition"
    SPECIAL_CHARACTERS = "special_characters"
    STOP_WORDS = "stop_words"
    FLAGGED_WORDS = "flagged_words"
    COMMON_WORDS = "common_words"
    SPAM_WORDS = "spam_words"
    PUNCTUATION = "punctuation"
    SHORT_SIDE = "short_side"  # pixels
    LONG_SIDE = "long_side"
    ASPECT = "aspect"  # width / height
    IMAGES = "images"  # kept ones of a document


@dataclass(frozen=True, kw_only=True, slots=True)
class WordList:
    """Where a list of words came from, for the manifest; `sha256` is of the words as used."""

    kind: str  # stop_words, flagged_words, common_words or spam_words
    source: str
    version: str
    words: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Lexicon:
    """The word lists of a language, in the form that `words_of` gives words."""

    language: str
    stop_words: frozenset[str]
    flagged_words: frozenset[str]
    common_words: frozenset[str]
    spam_words: frozenset[str]
    names: tuple[WordList, ...] = ()

    @property
    def sha256(self) -> str:
        """Of all lists together: two lexicons with one digest give the same counts."""
        digest = hashlib.sha256(self.language.encode())
        for kind in ("stop_words", "flagged_words", "common_words", "spam_words"):
            digest.update(words_sha256(getattr(self, kind)).encode())
        return digest.hexdigest()


def words_sha256(words: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(words)).encode()).hexdigest()


def signals_settings() -> dict[str, Any]:
    """Version and parameters of the signals, for a manifest."""
    return {
        "version": SIGNALS_VERSION,
        "character_ngram": CHARACTER_NGRAM,
        "word_ngram": WORD_NGRAM,
        "punctuation": PUNCTUATION,
        "unicode": unicodedata.unidata_version,
    }


# stripped first, in C; what is rarer is left to the loop in word_of
_USUAL_SPECIALS: Final = string.punctuation + string.digits + "“”‘’„«»‹›…–—•·©®™°"  # noqa: RUF001
_ASCII_LETTERS: Final = string.ascii_letters.encode()
_MOST_KEPT: Final = 65_536  # pieces: 12 MB
_LONGEST_KEPT: Final = 32  # characters
_MIDDLE, _LAST = WORD_NGRAM // 2, WORD_NGRAM - 1
_SHORT: Final = 200  # characters; four texts in five are
_MARK: Final = re.compile(rf"[{re.escape(PUNCTUATION)}](?![^\W_])")
_JOINT_IN_WORD: Final = re.compile(r"[-'/&.+_–—]+")  # noqa: RUF001


class _WithoutLetters(dict[int, int | None]):
    """A table for str.translate that deletes letters and marks, filled as characters occur."""

    def __missing__(self, code: int) -> int | None:
        kept = None if _in_word(chr(code)) else code
        self[code] = kept
        return kept


def _in_word(character: str) -> bool:
    return character.isalpha() or unicodedata.category(character)[0] == "M"


_WITHOUT_LETTERS: Final = _WithoutLetters()


def special_characters(text: str) -> int:
    """How many characters are neither letter nor mark."""
    if text.isascii():
        return len(text.encode("ascii").translate(None, _ASCII_LETTERS))
    return len(text.translate(_WITHOUT_LETTERS))


class _Words(dict[str, str]):
    """piece -> its word, filled as pieces occur: some thousands make most of any language."""

    def __missing__(self, piece: str) -> str:
        word = word_of(piece)
        if len(piece) <= _LONGEST_KEPT:
            if len(self) >= _MOST_KEPT:
                self.clear()
            self[piece] = word
        return word


_WORDS: Final = _Words()


def words_of(text: str) -> list[str]:
    """The words of a text, in order."""
    return [word for piece in text.split() if (word := _WORDS[piece])]


def word_of(piece: str) -> str:
    """The word in a piece without white space; "" where there is no letter in it."""
    word = piece.strip(_USUAL_SPECIALS)
    if not word:
        return ""
    if not (word[0].isalpha() and word[-1].isalpha()):
        start, end = 0, len(word)
        while start < end and not word[start].isalpha():
            start += 1
        while start < end and not _in_word(word[end - 1]):
            end -= 1
        word = word[start:end]
    return word.lower().replace("’", "'")  # noqa: RUF001


def measure(text: str, lexicon: Lexicon) -> TextCounts:
    """The counts of one text that rules need."""
    words = words_of(text)
    marks = len(_MARK.findall(text))
    grams, grams_repeated = _character_repetition(text)
    runs, runs_repeated = _word_repetition(words)
    return TextCounts(
        characters=len(text),
        special_characters=special_characters(text),
        words=len(words),
        stop_words=sum(map(lexicon.stop_words.__contains__, words)),
        flagged_words=sum(map(lexicon.flagged_words.__contains__, words)),
        common_words=_common_words(words, lexicon.common_words),
        spam_words=sum(map(lexicon.spam_words.__contains__, words)),
        punctuation=marks,
        tokens=len(words) + marks,
        character_ngrams=grams,
        character_ngrams_repeated=grams_repeated,
        word_ngrams=runs,
        word_ngrams_repeated=runs_repeated,
    )


def _common_words(words: Sequence[str], common: frozenset[str]) -> int:
    others = [word for word in words if word not in common]
    joined = (_JOINT_IN_WORD.split(word) for word in others if not word.isalpha())
    return len(words) - len(others) + sum(len(p) > 1 and common.issuperset(p) for p in joined)


def measure_document(texts: Sequence[str], counts: Iterable[TextCounts]) -> TextCounts:
    """The counts of a document from those of its texts, its repetition over the joined text."""
    text = JOINT.join(texts)
    grams, grams_repeated = _character_repetition(text)
    runs, runs_repeated = _word_repetition(words_of(text))
    return replace(
        add(counts),
        character_ngrams=grams,
        character_ngrams_repeated=grams_repeated,
        word_ngrams=runs,
        word_ngrams_repeated=runs_repeated,
    )


def add(counts: Iterable[TextCounts]) -> TextCounts:
    """The sum, field by field."""
    total = dict.fromkeys(_FIELDS, 0)
    for text in counts:
        for name in _FIELDS:
            total[name] += getattr(text, name)
    return TextCounts(**total)


_FIELDS: Final = tuple(field.name for field in fields(TextCounts))


def _character_repetition(text: str) -> tuple[int, int]:
    """All n-grams, and the mass of the most frequent."""
    total = max(0, len(text) - CHARACTER_NGRAM + 1)
    if len(text) <= _SHORT:  # most repeat nothing, as a set tells in a fifth of the time
        grams = [text[place : place + CHARACTER_NGRAM] for place in range(total)]
        distinct = len(set(grams))
        if distinct == total:
            return total, 0
        counts = sorted(Counter(grams).values(), reverse=True)
        return total, sum(count for count in counts[: math.isqrt(distinct)] if count > 1)
    repeats = repeated_characters(text, CHARACTER_NGRAM)
    return total, sum(repeats.frequencies[: math.isqrt(repeats.distinct)])


def _word_repetition(words: Sequence[str]) -> tuple[int, int]:
    """All n-grams, and the mass of those that are repeated."""
    total = max(0, len(words) - WORD_NGRAM + 1)
    # nine in ten repeat nothing: where these words of all n-grams are distinct, so are the n-grams
    if len(set(zip(words, words[_MIDDLE:], words[_LAST:], strict=False))) == total:
        return total, 0
    return total, sum(repeated_words(words, WORD_NGRAM).frequencies)


def ratios(counts: TextCounts) -> Mapping[Signal, float]:
    """The signals of a text, or of a document whose counts were summed."""
    words, characters = counts.words, counts.characters
    return {
        Signal.WORDS: float(words),
        Signal.TOKENS: float(counts.tokens),
        Signal.CHARACTER_REPETITION: _repetition(
            counts.character_ngrams_repeated, counts.character_ngrams, of=characters
        ),
        Signal.WORD_REPETITION: _repetition(
            counts.word_ngrams_repeated, counts.word_ngrams, of=words
        ),
        Signal.SPECIAL_CHARACTERS: _share(counts.special_characters, characters),
        Signal.STOP_WORDS: _share(counts.stop_words, words),
        Signal.FLAGGED_WORDS: _share(counts.flagged_words, words),
        Signal.COMMON_WORDS: _share(counts.common_words, words),
        Signal.SPAM_WORDS: _share(counts.spam_words, words),
        Signal.PUNCTUATION: _share(counts.punctuation, counts.tokens),
    }


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def _repetition(repeated: int, ngrams: int, *, of: int) -> float:
    """0 for a text too short to hold an n-gram, NaN for one of nothing."""
    return _share(repeated, max(ngrams, 1)) if of else math.nan


def image_ratios(*, width: int, height: int) -> Mapping[Signal, float]:
    """The signals of an image from its sides in pixels."""
    return {
        Signal.SHORT_SIDE: float(min(width, height)),
        Signal.LONG_SIDE: float(max(width, height)),
        Signal.ASPECT: _share(width, height),
    }


TEXT_SIGNALS: Final = frozenset(ratios(TextCounts()))  # what a rule of texts can judge
IMAGE_SIGNALS: Final = frozenset(image_ratios(width=1, height=1))
