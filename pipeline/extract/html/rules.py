"""Rules: which blocks of a page are its main content.

In:   a layout, measured.
Out:  one verdict a block: "" for content, else the kind under which it is counted as left out.
Order: boxes are marked by what they are (`marks.py`); marks that would leave next to nothing are
       taken back; the page is narrowed to `<main>`, `<article>` or the box that holds most of the
       prose, with the title and the pictures before it; on a page that is no list of links, single
       blocks that are mostly links go, unless prose follows.

The ideas are the field's: link density and short blocks from boilerpipe (Kohlschuetter et al., WSDM
2010) and jusText (Pomikalek 2011), the box that holds most of the prose from Readability.

Tried on WCXB and left out: dropping sections by their heading ("related", "you may also like"; no
gain, and English only); recognising a list of links by the mean length of its links.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from pipeline.extract.html.layout import Block, Box, ImageBlock, Layout, TextBlock
from pipeline.extract.html.marks import marks_of
from pipeline.extract.html.vocabulary import words, words_of
from schemas.document import Role

# thresholds tuned on the development pages of WCXB (word F1), here and in marks.py
_ROOT: Final = 0.2  # share of the page's words that <main> or <article> must hold
_RIVAL: Final = 0.6  # share of the largest <article> that all others may have together
_DOMINANT: Final = 0.85  # share of the prose that a box must hold to be the main content
_PROSE: Final = 150  # words of prose that a page must have to be narrowed by them
_LISTING: Final = 0.5  # prose of a list of links, for each word in links
_LINK_DENSITY: Final = 0.5  # share of link words in a block that is mostly links
_LINK_WORDS: Final = 20  # a longer block is never mostly links
_LITTLE: Final = 60  # words: less is next to nothing

# what may be taken back, in this order, and the share of its words that must be left without it
_TAKEN_BACK: Final = (
    ("comments", 0.2),
    ("noscript", 0.5),
    ("link_list", 0.2),
    ("header", 0.2),
    ("boilerplate", 0.2),
    ("aside", 0.2),
    ("hidden", 0.1),
)
_WORTH: Final = 40  # words: less is not taken back
_NEVER_MAIN: Final = frozenset(("navigation", "footer", "hidden", "dialog", "consent"))
_ITEMS: Final = words("p li dd dt td tr pre table tbody ul ol dl blockquote")
_LEAD_WORDS: Final = 100  # between the title and the box of the prose
_NEAR_WORDS: Final = 40  # between a picture and the box of the prose
_LABEL_WORDS: Final = 12  # between a picture and the title below it: a section, a date
_NO_LEVEL: Final = 7  # below `<h6>`
_SIBLING_DENSITY: Final = 0.1  # most link words, as a share, in a sibling with a similar name
_NAMED_DENSITY: Final = 0.5  # and in a sibling with the same name
_PROSE_WORDS: Final = 15  # of a block; shorter ones are labels as often as sentences
_HEADING: Final = Role.HEADING  # looked up once: an Enum takes its time


def judge(layout: Layout) -> list[str]:
    """A verdict for each block."""
    boxes = layout.boxes
    if not boxes:
        return [""] * len(layout.blocks)
    marks = marks_of(boxes)
    _take_back(layout.blocks, marks)
    inner = boxes[_dominant(layout, marks, _root(layout, marks))]
    lead = _lead(layout, marks, inner) | _siblings(boxes, inner)
    listing = _is_listing(layout.blocks[inner.start : inner.end], marks)
    verdicts: list[str] = []
    titled = False  # whether prose follows, so that a block of links is its title
    for place in range(len(layout.blocks) - 1, -1, -1):
        block = layout.blocks[place]
        verdict = marks[block.box]
        if listing and verdict == "link_list":
            verdict = ""
        if not verdict and not inner.start <= place < inner.end and place not in lead:
            verdict = "outside_main"
        titles = listing or titled or boxes[block.box].tag == "dt"
        if not verdict and not titles and _is_links(block):
            verdict = "links"
        if not verdict and isinstance(block, TextBlock):
            titled = _is_prose(block, marks)
        verdicts.append(verdict)
    return verdicts[::-1]


def _take_back(blocks: Sequence[Block], marks: list[str]) -> None:
    """Where next to nothing is left, the marked boxes are what the page is about."""
    count: Counter[str] = Counter()
    for block in blocks:
        if isinstance(block, TextBlock):
            count[marks[block.box]] += block.words
    for kind, share in _TAKEN_BACK:
        if count[kind] > _WORTH and count[""] < max(_LITTLE, share * count[kind]):
            marks[:] = ["" if mark == kind else mark for mark in marks]
            count[""] += count[kind]


def _root(layout: Layout, marks: Sequence[str]) -> int:
    """`<main>`, else the one `<article>`, else the body; links do not count as its words."""
    boxes = layout.boxes
    own = [box.words - box.link_words for box in boxes]
    left = sum(
        block.words - block.link_words
        for block in layout.blocks
        if isinstance(block, TextBlock) and marks[block.box] not in _NEVER_MAIN
    )
    for kind in ("main", "article"):
        candidates = [
            i for i, box in enumerate(boxes) if kind in (box.tag, box.role) and not marks[i]
        ]
        best = max(candidates, key=own.__getitem__, default=None)
        if best is None or own[best] < _ROOT * left:
            continue
        start, end = boxes[best].start, boxes[best].end
        rivals = sum(own[i] for i in candidates if not start <= boxes[i].start < end)
        if kind == "main" or rivals <= _RIVAL * own[best]:
            return best
    return 0


def _is_prose(block: Block, marks: Sequence[str]) -> bool:
    return (
        isinstance(block, TextBlock)
        and block.words >= _PROSE_WORDS
        and block.link_words * 3 < block.words
        and not marks[block.box]
    )


def _dominant(layout: Layout, marks: Sequence[str], root: int) -> int:
    """The innermost box that still holds nearly all prose of the root."""
    boxes = layout.boxes
    prose = [0] * len(boxes)
    for block in layout.blocks[boxes[root].start : boxes[root].end]:
        if isinstance(block, TextBlock) and _is_prose(block, marks):
            prose[block.box] += block.words
    for i in range(len(boxes) - 1, 0, -1):
        prose[boxes[i].parent] += prose[i]
    if prose[root] < _PROSE:
        return root
    enough = _DOMINANT * prose[root]
    inner = root
    for i in range(root + 1, len(boxes)):
        if prose[i] >= enough and boxes[i].parent == inner:
            if boxes[i].tag in _ITEMS:  # what stands around a list introduces it
                return root if inner == root else boxes[inner].parent
            inner = i
    return inner


def _lead(layout: Layout, marks: Sequence[str], inner: Box) -> set[int]:
    """Titles, pictures and prose before the box of the prose, and the pictures right behind it.

    Many pages keep them in a header of the article. What stands between them (names, dates,
    buttons) stays out.
    """
    lead: set[int] = set()
    pictures: list[int] = []
    between = 0  # words
    inside = layout.blocks[inner.start : inner.end]
    level = min((_level(layout, block) for block in inside), default=_NO_LEVEL)
    before = (i for i in range(inner.start - 1, -1, -1) if not marks[layout.blocks[i].box])
    for place in before:
        block = layout.blocks[place]
        if _is_picture(block):
            pictures.append(place)
            if between <= _NEAR_WORDS:
                lead.add(place)
        elif _is_prose(block, marks):
            lead.add(place)
        elif (own := _level(layout, block)) < level:
            level = own
            lead.update(pictures, (place,))
        elif own == _NO_LEVEL and isinstance(block, TextBlock):
            between += block.words
        if level == 1:
            lead |= _pictures_above(layout, marks, place)
        if between > _LEAD_WORDS or level == 1:
            break
    return lead | _pictures_behind(layout, marks, inner)


def _pictures_above(layout: Layout, marks: Sequence[str], title: int) -> set[int]:
    """The featured picture above `<h1>`, and its caption.

    Logos are in the page's header; a picture without an alt text is decoration.
    """
    pictures: set[int] = set()
    between = 0  # words
    for place in range(title - 1, -1, -1):
        block = layout.blocks[place]
        if marks[block.box] not in {"", "link_list"}:  # a section's name may be a list of one link
            break
        if _is_picture(block):
            if isinstance(block, TextBlock) or block.alt or block.figure:
                pictures.add(place)
        elif isinstance(block, TextBlock):
            between += block.words
        if between > _LABEL_WORDS or (pictures and not _is_picture(block)):
            break
    return pictures


def _pictures_behind(layout: Layout, marks: Sequence[str], inner: Box) -> set[int]:
    pictures: set[int] = set()
    for place in range(inner.end, len(layout.blocks)):
        block = layout.blocks[place]
        if marks[block.box] or not _is_picture(block):
            break
        pictures.add(place)
    return pictures


def _is_picture(block: Block) -> bool:
    return isinstance(block, ImageBlock) or block.role is Role.CAPTION


def _level(layout: Layout, block: Block) -> int:
    """1 for `<h1>`, 2 for `<h2>` and so on; _NO_LEVEL where it is no heading's own block."""
    tag = layout.boxes[block.box].tag
    return int(tag[1]) if tag[0] == "h" and tag[1:].isdigit() else _NO_LEVEL


def _siblings(boxes: Sequence[Box], inner: Box) -> set[int]:
    """The blocks of boxes beside that of the prose that have like names: its other sections."""
    siblings: set[int] = set()
    names = words_of(inner.name)
    for box in boxes:
        if box.parent != inner.parent or box is inner or box.tag != inner.tag:
            continue
        own = words_of(box.name)
        named = own == names != frozenset()
        alike = 2 * len(own & names) >= len(own | names) and box.paragraphs > 0
        if box.link_density <= (_NAMED_DENSITY if named else _SIBLING_DENSITY) and (named or alike):
            siblings.update(range(box.start, box.end))
    return siblings


def _is_listing(blocks: Sequence[Block], marks: Sequence[str]) -> bool:
    """Whether links are what the page is for: shops, front pages, indices."""
    prose = links = 0
    for block in blocks:
        if not isinstance(block, TextBlock):
            continue
        if _is_prose(block, marks):
            prose += block.words
        elif marks[block.box] in {"", "link_list"} and block.link_words * 2 > block.words:
            links += block.words
    return prose < 2 * _PROSE and prose < _LISTING * links


def _is_links(block: Block) -> bool:
    return (
        isinstance(block, TextBlock)
        and block.words < _LINK_WORDS
        and block.link_words > _LINK_DENSITY * block.words
        and block.role is not _HEADING
    )
