"""Lexicon: the word lists of a language, taken from kept packages or the user's files.

In:       a language code; for any list, a file of the user's in its place (one word a line, UTF-8,
          lines that begin with # are comments).
Out:      filters.signals.Lexicon, with source, version, number and SHA-256 of each list as used.
Refused:  a language without a list, a file with a line that no word of a text could equal.

common     wordfreq, words met once in 10^7 or more often (Zipf frequency 2): 96,000 in English.
           The paper's list, words met twice in its corpus, was permissive too. On 42,951 English
           paragraphs 0.4% fall under 0.8 and of 1,257 pages 0.6% under 0.9 (Zipf 3: 1.3% and 4.2%);
           of running text in nine other languages none reaches 0.8 (French 0.76; Zipf 1.5: 0.82).
flagged    better-profanity, less entries that no single word can equal and less EVERYDAY_WORDS.
           It is English; other languages need a file.
stop       English: filters/stop_words.py. Else stopwordsiso, whose lists are longer than those the
           limits were tuned on, so that they let more pass.
spam       English: filters/spam_words.py. Else empty, and named so.
See it: python -m pytest tests/filters/test_lexicon.py
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Final

from filters.everyday_words import EVERYDAY_WORDS
from filters.signals import Lexicon, WordList, words_of, words_sha256
from filters.spam_words import SPAM_WORDS
from filters.stop_words import STOP_WORDS
from pipeline.store.raw import open_local

COMMON_ZIPF: Final = 2.0
ENGLISH: Final = "en"
_OWN_VERSION: Final = "1"  # of the lists in filters/; their digest says the rest

_MAY_BE_EMPTY: Final = frozenset({"flagged_words", "spam_words"})

_Words = tuple[frozenset[str], str, str]  # words, source, version


def load_lexicon(
    language: str, *, named_elsewhere: Collection[str] = (), **files: str | Path | None
) -> Lexicon:
    """Raises ValueError for a language that a list is missing for, or a file that cannot be used.

    `files` are the user's, by kind of list: stop_words, flagged_words, common_words, spam_words.
    An empty file is a list of no words, allowed for flagged and spam words alone. `named_elsewhere`
    are the lists whose file a run.json names, which may be foreign: no line of it is quoted.
    """
    own = {
        kind: _own(path, empty=kind in _MAY_BE_EMPTY, quoted=kind not in named_elsewhere)
        for kind, path in files.items()
        if path is not None
    }
    lists = {kind: own.get(kind) or packaged(language) for kind, packaged in _PACKAGED.items()}
    names = tuple(
        WordList(kind=kind, source=source, version=release, words=len(words),
                 sha256=words_sha256(words))
        for kind, (words, source, release) in lists.items()
    )  # fmt: skip
    return Lexicon(
        language=language, names=names, **{kind: words for kind, (words, _, _) in lists.items()}
    )


def _own(path: str | Path, *, empty: bool, quoted: bool) -> _Words:
    """The words of a user's file."""
    try:
        with open_local(Path(path)) as file:
            lines = file.read().decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"word list {path} cannot be read ({error}): give a UTF-8 file with one word a line"
        ) from error
    words = set()
    for number, line in enumerate(lines, start=1):
        entry = line.strip().lower()
        if not entry or entry.startswith("#"):
            continue
        if words_of(entry) != [entry]:
            shown = f": {entry!r}" if quoted else ""
            raise ValueError(
                f"word list {path}, line {number}{shown} is not one word of letters, so no "
                f"word of a text can equal it: correct it, or put # before it"
            )
        words.add(entry)
    if not words and not empty:
        raise ValueError(f"word list {path} holds 0 words, which refuses every text: give some")
    return frozenset(words), Path(path).name, ""


def _stop_words(language: str) -> _Words:
    if language == ENGLISH:
        return STOP_WORDS, "interloom", _OWN_VERSION
    import stopwordsiso  # noqa: PLC0415 (only where it is needed)

    if not stopwordsiso.has_lang(language):
        raise ValueError(
            f"no stop words for language {language!r}: give --stop-words FILE, or choose one of "
            f"{', '.join(sorted(stopwordsiso.langs()))}"
        )
    words = _usable(stopwordsiso.stopwords(language))
    return words, "stopwordsiso", version("stopwordsiso")


def _flagged_words(language: str) -> _Words:
    if language != ENGLISH:
        raise ValueError(
            f"no flagged words for language {language!r}, only for {ENGLISH}: give --flagged-words "
            f"FILE (an empty file flags nothing)"
        )
    entries = profanity_entries()
    flagged = _usable(entries) - EVERYDAY_WORDS
    source = f"better-profanity ({len(entries)} entries) less filters/everyday_words.py"
    return flagged, source, version("better-profanity")


def profanity_entries() -> frozenset[str]:
    """The package's whole list, read from its file: importing it would build 10^5 variants."""
    file = resources.files("better_profanity") / "profanity_wordlist.txt"
    return frozenset(line.lower() for line in file.read_text(encoding="utf-8").split("\n") if line)


def _common_words(language: str) -> _Words:
    import wordfreq  # noqa: PLC0415 (58 MB of data: only where it is needed)

    available = wordfreq.available_languages("best")
    if language not in available:
        raise ValueError(
            f"no common words for language {language!r}: give --common-words FILE, or choose one "
            f"of {', '.join(sorted(available))}"
        )
    least = 10 ** (COMMON_ZIPF - 9) * (1 - 1e-9)  # the list is rounded to 0.01 Zipf
    frequencies = wordfreq.get_frequency_dict(language, wordlist="best")
    words = frozenset(word for word, frequency in frequencies.items() if frequency >= least)
    return words, f"wordfreq, Zipf frequency {COMMON_ZIPF} or more", version("wordfreq")


def _spam_words(language: str) -> _Words:
    if language == ENGLISH:
        return SPAM_WORDS, "interloom", _OWN_VERSION
    return frozenset(), "none", ""


_PACKAGED: Final = {
    "stop_words": _stop_words,
    "flagged_words": _flagged_words,
    "common_words": _common_words,
    "spam_words": _spam_words,
}


def _usable(entries: Iterable[str]) -> frozenset[str]:
    """The entries that a word of a text can equal: he11 would be met in every `he`."""
    return frozenset(entry for entry in entries if words_of(entry) == [entry])
