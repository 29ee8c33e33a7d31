"""Signs: what class and id names say of their element, as bits that the walk and the rules ask for.

In:   the names of an element, as written.
Out:  the signs of all its names together; which words give them is data of `vocabulary.py`.

A page brings two hundred combinations of names that no page before it had, made of as many single
names, so each single name is cut into words once, and the signs of a combination are those of its
names. They are plain integers because an operation on an `enum.Flag` takes ten times as long.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from pipeline.extract.html.vocabulary import (
    CAPTIONS,
    COMMENTS,
    CONSENT,
    FIGURES,
    FURNITURE,
    HAVING,
    HEADERS,
    HIDDEN_PHRASES,
    LAYOUT,
    LONGEST_NAME,
    NAVIGATION,
    NO_PART,
    PERMALINKS,
    WIDER,
    WORD,
    words,
    words_of,
)

FIGURE: Final = 1 << 0
CAPTION: Final = 1 << 1
TITLE: Final = 1 << 2
PERMALINK: Final = 1 << 3
HIDDEN: Final = 1 << 4  # one of the names is one that style sheets hide by
IS_CONSENT: Final = 1 << 5
# what a name calls its element, and not what is beside or in it
IS_NAVIGATION: Final = 1 << 6
IS_FURNITURE: Final = 1 << 7
IS_COMMENTS: Final = 1 << 8
IS_HEADER: Final = 1 << 9
SITE_HEADER: Final = 1 << 10  # a header that is named as one of the page
_NARROW: Final = 1 << 11  # hidden on narrow screens
_WIDE: Final = 1 << 12  # shown on wide ones

_UNSURE: Final = 1 << 13  # hidden, if the words with this one say so
_PART: Final = IS_NAVIGATION | IS_FURNITURE | IS_COMMENTS | IS_HEADER
_BY_LIST: Final = (
    (FIGURE, FIGURES),
    (CAPTION, CAPTIONS),
    (TITLE, words("title")),
    (PERMALINK, PERMALINKS),
    (IS_CONSENT, CONSENT),
    (IS_NAVIGATION, NAVIGATION),
    (IS_FURNITURE, FURNITURE),
    (IS_COMMENTS, COMMENTS),
    (IS_HEADER, words("header")),
    (_UNSURE, words("only hidden reader none tooltip tooltiptext d")),
)
_BY_WORD: Final = {
    word: sum(sign for sign, listed in _BY_LIST if word in listed)
    for word in frozenset[str]().union(*(listed for _, listed in _BY_LIST))
}
_D_NONE: Final = words("d none")  # `d-none d-md-block` hides on narrow screens only


@lru_cache(maxsize=65_536)
def signs_of(name: str) -> int:
    """The signs of class and id names."""
    signs = 0
    for single in name[:LONGEST_NAME].split():
        signs |= _signs_of(single)
    if signs & _NARROW and not signs & _WIDE:
        signs |= HIDDEN
    return signs


@lru_cache(maxsize=65_536)
def _signs_of(name: str) -> int:
    """The signs of one name."""
    signs = 0
    for word in WORD.findall(name):
        signs |= _BY_WORD.get(word.lower(), 0)
    if not signs:
        return 0
    own = words_of(name)
    if signs & IS_HEADER and own & HEADERS:
        signs |= SITE_HEADER
    if signs & _PART and _is_no_part(name, own):
        signs &= ~_PART
    return signs | _hiding(own) if signs & _UNSURE else signs


def _hiding(own: frozenset[str]) -> int:
    signs = 0
    if "d" in own:
        signs = _NARROW if "none" in own else _WIDE if own & WIDER else 0
    return signs | HIDDEN if any(p <= own for p in HIDDEN_PHRASES if p != _D_NONE) else signs


def _is_no_part(name: str, own: frozenset[str]) -> bool:
    return (
        name.lower().startswith(HAVING)
        or not own.isdisjoint(LAYOUT)
        or any(phrase <= own for phrase in NO_PART)
    )
