"""Limits: what a page may cost, measured on its text before anything is built of it.

In:      the text of a page.
Out:     None, or the Problem of the first limit that it breaks.
Limits:  elements, elements open at once, attributes of one element. A parser by the HTML standard
         takes time with the square of the last two (100,000 nested `<div>`: 22 s), and copies
         open `<b>`s into every block that follows (20 KB make a million elements).

A page that is small by cheap counts passes; the others are read tag by tag. These are estimates of
what a parser will hold: how many elements there are is asked again of the parsed tree.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pipeline.extract.vocabulary import words
from pipeline.problem import Problem
from schemas.verdict import Reason

_TAG: Final = re.compile(  # "!--", "/" or "", the name, what follows it
    r"<(?:(!--)|(/?)([a-zA-Z][^\s/>]*+)((?:[^\"'>]++|\"[^\"]*+\"?|'[^']*+'?)*+)>?)"
)
_RAW: Final = words("script style textarea title xmp iframe noembed noframes")
_QUOTED: Final = re.compile(r"\"[^\"]*\"?|'[^']*'?")
_FORMATTING: Final = words("a b big code em font i nobr s small strike strong tt u")
_FORMATTING_TAG: Final = re.compile(  # most tags end at the look at their first letter
    r"<(/?)(?=[abcefinstu])(?:[abisu]|em|tt|big|code|font|nobr|small|strike|strong)[\s>/]",
    re.IGNORECASE,
)
_COPIES: Final = 5  # formatting elements opened again, for each element that a page may have
_CROWDED: Final = 5  # elements with as many attributes as one may have
_LONG_TAG: Final = 4_096  # characters
_UNNESTED: Final = words(
    "area base br col embed hr img input link meta param source track wbr li p dt dd option "
    "optgroup td th tr tbody thead tfoot colgroup html head body image"
)
_FOREIGN: Final = words("svg math")
_SHORT_TAG: Final = 256  # characters: too short to have many attributes
_ALIKE: Final = 3  # the standard keeps at most three open formatting elements that are alike


@dataclass(frozen=True, kw_only=True, slots=True)
class PageLimits:
    """What a page may have at most; a page beyond is refused whole."""

    bytes: int = 8 * 2**20  # of HTML; Common Crawl cuts at 1 MiB, later 5
    elements: int = 200_000  # the largest of 1,497 real pages (WCXB) has 18,000
    depth: int = 4_000  # elements open at once; browsers stop at 512
    attributes: int = 10_000  # of one element; a missing quote makes text into thousands
    replaced: float = 0.1  # share of characters that are replacements or zeros

    def __post_init__(self) -> None:
        for name in ("bytes", "elements", "depth", "attributes", "replaced"):
            if getattr(self, name) <= 0:
                raise ValueError(
                    f"PageLimits.{name} is {getattr(self, name)}, but a page has some: "
                    "give a number above 0"
                )


@dataclass(slots=True)
class _Counts:
    elements: int = 0
    depth: int = 0
    copies: int = 0  # formatting elements that a parser may have to open again
    attributes: int = 0  # of one element
    pairs: int = 0  # of attributes of one element: a parser compares them


def broken_limit(text: str, limits: PageLimits) -> Problem | None:
    """What is wrong with the size of the page, told without parsing it."""
    if _is_small(text, limits):
        return None
    counts = _count(text.encode().lower().decode())  # letters of ASCII alone, and faster so
    for value, limit in (
        (counts.elements, limits.elements),
        (counts.depth, limits.depth),
        (counts.copies, _COPIES * limits.elements),
        (counts.attributes, limits.attributes),
        (counts.pairs, _CROWDED * limits.attributes**2),
    ):
        if value > limit:
            return Problem(reason=Reason.TOO_MANY_ELEMENTS, value=value, limit=limit)
    return None


def _is_small(text: str, limits: PageLimits) -> bool:
    """Whether no limit can be near: all but one page in twenty end here."""
    tags = text.count("<")
    most, copies = min(limits.elements, limits.depth), limits.elements * _COPIES
    if tags > most and tags - text.count("</") > most:
        return False
    if tags * tags > copies:
        opened = _formatting_open(text)
        if tags * opened > copies and (tags - text.count("</")) * opened > copies:
            return False
    return not any(_is_long_tag(piece, limits) for piece in _pieces(text, limits.attributes))


def _pieces(text: str, length: int) -> Iterator[str]:
    """What is longer than that between two `<`; the others are stepped over, not looked at."""
    place = -1  # of a "<"
    while len(text) - place - 1 > length:
        following = text.rfind("<", place + 1, place + length + 2)
        if following < 0:
            following = text.find("<", place + length + 2)
            following = len(text) if following < 0 else following
            yield text[place + 1 : following]
        place = following


def _formatting_open(text: str) -> int:
    """How many formatting elements are open at once at most."""
    most = now = 0
    for close in _FORMATTING_TAG.findall(text):
        now = max(0, now - 1) if close else now + 1
        most = max(most, now)
    return most


def _is_long_tag(piece: str, limits: PageLimits) -> bool:
    tag = _TAG.match("<" + piece[:_LONG_TAG])
    if tag is not None and (tag[3] or "").lower() in _RAW and tag.end() < _LONG_TAG:
        return False  # what follows is a script
    return any(len(part.split()) > limits.attributes for part in piece.split(">"))


def _tags(text: str) -> Iterator[tuple[bool, str, str]]:
    """The tags of a page in lower case: (closes, name, rest). In comments and scripts is none."""
    position = 0
    while found := _TAG.search(text, position):
        position = found.end()
        comment, slash, name, rest = found.groups()
        if comment:
            position = _after(text, "-->", position)
            continue
        yield bool(slash), name, rest
        if name in _RAW and not slash:
            position = _after(text, "</" + name, position)


def _after(text: str, end: str, position: int) -> int:
    place = text.find(end, position)
    return len(text) if place < 0 else place


def _count(text: str) -> _Counts:
    """Upper bounds of what a parser would have to hold; `text` is in lower case."""
    counts = _Counts()
    alike: Counter[str] = Counter()
    opened = formatting = drawings = 0
    for closes, name, rest in _tags(text):
        if closes:
            opened -= opened > 0 and name not in _UNNESTED
            formatting -= formatting > 0 and name in _FORMATTING
            drawings -= drawings > 0 and name in _FOREIGN
            continue
        counts.elements += 1
        counts.copies += formatting
        if len(rest) > _SHORT_TAG:
            attributes = len(_QUOTED.sub(" ", rest).split())
            counts.attributes = max(counts.attributes, attributes)
            counts.pairs += attributes**2
        if drawings and rest.endswith("/"):  # closes itself, as nothing does in HTML
            continue
        if name in _FORMATTING:
            alike[name + rest] += 1
            formatting += alike[name + rest] <= _ALIKE
        elif name in _UNNESTED:
            continue
        opened += 1
        counts.depth = max(counts.depth, opened)
        if name in _FOREIGN:
            drawings += 1
    return counts
