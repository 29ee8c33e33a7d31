"""Limits: what a page may cost, measured on its markup before anything is built of it.

In:      the text of a page, as UTF-8.
Out:     None, or the Problem of the first limit that it breaks.
Limits:  elements, elements open at once, attributes of one element. A parser by the HTML standard
         takes time with the square of the last two (100,000 nested `<div>`: 22 s; 10,000
         attributes: 0.1 s), so pairs of attributes are limited over the whole page as well. It
         copies open `<b>`s, with their attributes, into every block that follows (20 KB make a
         million elements, 132 KB two gigabytes of attributes), and a text each time that more of
         it comes behind a tag that does not end it (5 MB take six gigabytes): what it copies is
         limited, too, and with it the options of a `<select>`, each of which it asks of all before.

A page that is small by cheap counts passes; the others are read tag by tag. These are estimates of
what a parser will hold; elements are counted again in the parsed tree.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from pipeline.problem import Problem
from schemas.verdict import Reason


def _names(text: str) -> frozenset[bytes]:
    return frozenset(text.encode().split())


_NAME: Final = rb"[a-zA-Z][^ \t\n\f\r/>]*+"
_VALUE: Final = (  # a quote that stands anywhere else is part of a name
    rb"=[ \t\n\f\r]*+(?:\"[^\"]*+\"?|'[^']*+'?|[^ \t\n\f\r>\"'][^ \t\n\f\r>]*+)?+"
)
_ATTRIBUTE: Final = re.compile(
    rb"[^ \t\n\f\r/>][^ \t\n\f\r/>=]*+(?:[ \t\n\f\r]*+" + _VALUE + rb")?+"
)
_TAG: Final = re.compile(  # "!--", "/" or "", the name, what follows it
    rb"<(?:(!--)|(/?)(" + _NAME + rb")((?:[ \t\n\f\r/]++|" + _ATTRIBUTE.pattern + rb")*+)>?)"
)
_COMMENT_END: Final = re.compile(rb"--!?>")
_RAW: Final = _names("script style textarea title xmp iframe noembed noframes")
_UNNESTED: Final = _names(
    "area base br col embed hr img input link meta param source track wbr li p dt dd option "
    "optgroup td th tr tbody thead tfoot colgroup html head body image"
)
_FOREIGN: Final = _names("svg math")
_MERGED: Final = _names("html body")  # a second one gives its attributes to the first
_FORMATTING: Final = _names("a b big code em font i nobr s small strike strong tt u")
_ONLY_ONE: Final = _names("a nobr")  # a second one closes the first
_ALIKE: Final = 3  # the standard keeps at most three open formatting elements that are alike
_SHORT: Final = 256  # characters that are too few for many attributes
_OPTIONS: Final = 3  # what an option costs, in pairs of attributes: 20,000 take 2.7 s

# start tags of which a parser keeps only the values of attributes: the text before them goes on
_IGNORED: Final = _names("html body head frame frameset form")
_OF_TABLES: Final = _names("caption col colgroup tbody td tfoot th thead tr")  # as these, elsewhere
_CELLS: Final = _names("caption td th")

# for the look at small pages, which takes scripts and comments for markup: what follows "<"
_IGNORED_TAG: Final = re.compile(  # with the first "=" of its attributes, if it has one
    rb"<(?:/[a-z]|(?=[bcfht])(?:"
    + b"|".join(sorted(_IGNORED | _OF_TABLES, reverse=True))
    + rb")(?=[ \t\n\f\r/]))[^>=]*+(=?+)",
    re.IGNORECASE,
)
_ANY_TAG: Final = re.compile(rb"<[/a-zA-Z][^>=]*+(=?+)")
_TABLE: Final = re.compile(rb"<table", re.IGNORECASE)
_OPTION: Final = re.compile(rb"<option", re.IGNORECASE)
_GATHERED_TAG: Final = re.compile(  # _FORMATTING and _MERGED: most end at their first letter
    rb"<(/?(?=[abcefhinstu])(?:[abisu]|em|tt|big|body|code|font|html|nobr|small|strike|strong)"
    rb"(?=[ \t\n\f\r/>])[^>]*+)",
    re.IGNORECASE,
)
# a tag that is long, or whose first ">" may stand in a quoted value: most tags end behind a value
_DOUBTFUL_TAG: Final = re.compile(
    rb"<[a-zA-Z][a-zA-Z0-9]*+(?!>)[^>]{0,512}+"
    rb"(?:[^>]|(?:(?<![\"'/ \t\n\f\r])|(?<==[\"'])|(?<==[\"'][ /]))>)"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class PageLimits:
    """What a page may have at most; a page beyond is refused whole."""

    bytes: int = 8 * 2**20  # of HTML; Common Crawl cuts at 1 MiB, later 5
    elements: int = 200_000  # the largest of 1,497 real pages (WCXB) has 18,000
    depth: int = 4_000  # elements open at once; browsers stop at 512
    attributes: int = 10_000  # of one element; a missing quote makes text into thousands
    replaced: float = 0.1  # share of characters that are replacements or zeros

    def __post_init__(self) -> None:
        for name, limit in asdict(self).items():
            if limit <= 0:
                raise ValueError(
                    f"PageLimits.{name} is {limit}, but a page has some: give a number above 0"
                )

    @property
    def copies(self) -> int:
        """Formatting elements, and attributes of theirs, that a parser may have to open again."""
        return 10 * self.elements  # WCXB: 11,000 at most; two million take 0.4 s and 380 MB

    @property
    def pairs(self) -> int:
        """Pairs of attributes that a parser may have to compare."""
        return 5 * self.attributes**2  # WCXB: 200,000 at most; 500 million take 0.6 s

    @property
    def moved(self) -> int:
        """Bytes of text that a parser may have to copy, because more of it comes behind a tag."""
        return 200 * self.bytes  # 1.7 billion take 2 s and half a gigabyte


def broken_limit(page: bytes, limits: PageLimits) -> Problem | None:
    """The first limit that a page breaks, without parsing it."""
    if _is_small(page, limits):
        return None
    counts = _Counts()
    counts.take(page.lower())
    for value, limit in (
        (counts.elements, limits.elements),
        (counts.depth, limits.depth),
        (counts.copies, limits.copies),
        (counts.attributes, limits.attributes),
        (counts.pairs, limits.pairs),
        (counts.texts.moved, limits.moved),
    ):
        if value > limit:
            return Problem(reason=Reason.TOO_MANY_ELEMENTS, value=value, limit=limit)
    return None


def _is_small(page: bytes, limits: PageLimits) -> bool:
    """Whether no limit can be near. This decides all but one page in a hundred."""
    tags = page.count(b"<")
    if tags > limits.elements:
        return False
    if tags > limits.depth:
        # attributes may hold "</", too: only among few tags is a "</" taken for an end
        closing = page.count(b"</") if tags <= 2 * limits.depth else 0
        if tags - closing > limits.depth:
            return False
    if tags * len(page) > limits.moved and _copying(page) * len(page) > limits.moved:
        return False
    few_options = math.isqrt(limits.pairs // _OPTIONS)
    if tags > few_options and len(_OPTION.findall(page)) > few_options:
        return False
    doubtful = list(_doubtful_tags(page)) if len(page) > limits.attributes else []
    if not (_are_few([len(tag) // 2 for tag in doubtful], limits)
            or _are_few([_most_attributes(tag) for tag in doubtful], limits)):  # fmt: skip
        return False
    gathered = _gathered(page)
    for tag in doubtful:
        if b">" in tag and _GATHERED_TAG.match(tag):  # it was taken to end there
            gathered += _most_attributes(tag)
    return tags * gathered <= limits.copies


def _copying(page: bytes) -> int:
    """How many tags and comments may stand in text that goes on behind them."""
    if not _TABLE.search(page):
        return _IGNORED_TAG.findall(page).count(b"=")
    return _ANY_TAG.findall(page).count(b"=") + page.count(b"<!--")


def _are_few(attributes: Sequence[int], limits: PageLimits) -> bool:
    """Of elements that have some."""
    pairs = sum(count**2 for count in attributes)
    return pairs <= limits.pairs and max(attributes, default=0) <= limits.attributes


def _gathered(page: bytes) -> int:
    """How many formatting elements, and attributes of theirs, are open at once at most."""
    now, sums, weights = 0, [0], list[int]()
    for tag in _GATHERED_TAG.findall(page):
        if not tag.startswith(b"/"):
            weight = _most_attributes(tag)
            weights.append(weight)
            now += weight
            sums.append(now)
        elif weights:
            now -= weights.pop()
    return max(sums)


def _doubtful_tags(page: bytes) -> Iterator[bytes]:
    position = 0
    while match := _DOUBTFUL_TAG.search(page, position):
        tag = _TAG.match(page, match.start())
        assert tag is not None  # it matches whatever begins like a tag
        position = tag.end()
        yield tag[0].removesuffix(b">")


def _most_attributes(tag: bytes) -> int:
    """An upper bound: before each attribute stands white space, a slash or a closing quote."""
    return len(tag.split()) + tag.count(b"/") + tag.count(b'"') // 2 + tag.count(b"'") // 2


class _Counts:
    """Upper bounds of what a parser would have to hold."""

    def __init__(self) -> None:
        self.elements = self.depth = self.copies = self.attributes = self.pairs = 0
        self._opened = 0
        self._named: Counter[bytes] = Counter()  # elements that are open
        self._merged: Counter[bytes] = Counter()  # attributes by name
        # formatting elements that are open, by name: as written, and what a copy costs
        self._formatting: defaultdict[bytes, list[tuple[bytes, int]]] = defaultdict(list)
        self._alike: Counter[bytes] = Counter()
        self._cost = 0  # of a copy of all of them
        self._options = 0  # of the last select
        self.texts = _Texts()

    def take(self, page: bytes) -> None:
        """Count what is in a page in lower case. In comments and scripts is no element."""
        position = 0
        while match := _TAG.search(page, position):
            self.texts.text(page[position : match.start()])
            position = match.end()
            comment, slash, name, rest = match.groups()
            if comment:
                self.texts.comment()
                ends = _COMMENT_END.search(page, position - 2)  # `<!-->` ends at once
                position = len(page) if ends is None else ends.end()
                continue
            self.texts.tag(name, closes=bool(slash), allocates=b"=" in rest)
            if slash:
                self._end(name)
            else:
                self._start(name, rest)
                if name in _RAW and not self._is_drawing():
                    end = page.find(b"</" + name, position)
                    position = len(page) if end < 0 else end

    def _end(self, name: bytes) -> None:
        if self._named[name]:
            self._named[name] -= 1
            self._opened -= 1
        self._end_formatting(name)

    def _is_drawing(self) -> bool:
        return any(self._named[name] for name in _FOREIGN)

    def _start(self, name: bytes, rest: bytes) -> None:
        self.elements += 1
        formatting = name in _FORMATTING
        if name in _ONLY_ONE:
            self._end_formatting(name)
        self.copies += self._cost
        if name == b"select":
            self._options = 0
        elif name == b"option" and self._named[b"select"]:
            self._options += 1
            self.pairs += _OPTIONS * self._options
        attributes = 0
        if formatting or len(rest) > _SHORT or name in _MERGED:
            attributes = len(_ATTRIBUTE.findall(rest))
            if name in _MERGED:
                self._merged[name] += attributes
                attributes = self._merged[name]
            self.attributes = max(self.attributes, attributes)
            # a parser compares it with all open elements of its name
            self.pairs += attributes**2 * (1 + len(self._formatting.get(name, ())))
        if rest.endswith(b"/") and self._is_drawing():  # closes itself, as nothing does in HTML
            return
        if formatting:
            self._alike[name + rest] += 1
            cost = 1 + attributes if self._alike[name + rest] <= _ALIKE else 0
            self._formatting[name].append((name + rest, cost))
            self._cost += cost
        elif name in _UNNESTED:
            return
        self._named[name] += 1
        self._opened += 1
        self.depth = max(self.depth, self._opened)

    def _end_formatting(self, name: bytes) -> None:
        if self._formatting.get(name):
            written, cost = self._formatting[name].pop()
            self._alike[written] -= 1
            self._cost -= cost


class _Texts:
    """How much text a parser copies because more of it comes behind a tag.

    It joins text to the text before it where the tag between them is ignored, or where both are
    put before the table in which they stand. The values of the tag's attributes lie behind that
    text in memory by then, so that it cannot grow where it is.
    """

    def __init__(self) -> None:
        self.moved = 0  # bytes
        self._here = 0  # bytes of the text that may go on
        self._before_table = 0  # bytes of what stands between cells
        self._tables = 0  # that are open
        self._between_cells = False

    def text(self, text: bytes) -> None:
        if self._between_cells and not text.isspace():
            self._before_table += len(text)
        else:
            self._here += len(text)

    def comment(self) -> None:
        self.moved += self._before_table
        self._here = 0

    def tag(self, name: bytes, *, closes: bool, allocates: bool) -> None:
        of_table = name in _OF_TABLES
        ignored = closes or name in _IGNORED or (of_table and not self._tables)
        if allocates:
            self.moved += self._before_table
            if ignored:
                self.moved += self._here
        if not ignored:
            self._here = 0
        if name == b"table":
            self._tables = max(0, self._tables - 1) if closes else self._tables + 1
            self._before_table = 0
            self._between_cells = not closes
        elif of_table and self._tables:
            self._between_cells = closes or name not in _CELLS
