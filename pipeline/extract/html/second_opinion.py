"""Second opinion: trafilatura says which of our blocks are main content.

In:    a layout, the verdicts of the rules, the page's text.
Out:   a verdict a block as `rules.judge` gives them; None where it is no better.
Asked: where the rules keep too little to be trusted. On WCXB that is one page in eighty, with a
       gain of .001 word F1 for a fifteenth of the time; in place of the rules it would lose .03.

Only its choice is taken, never its text: a block is kept if most of its word pairs stand in what
trafilatura extracted, an image if it stands between the first and the last such block. So nodes,
roles and images are made in one way, whoever decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import trafilatura

from pipeline.extract.html.layout import ImageBlock, Layout, TextBlock

FEW_WORDS: Final = 100
SMALL_SHARE: Final = 0.1  # of the page's words that are not links: always too little
LARGE_SHARE: Final = 0.5  # of the same words: on a short page few words are enough
DEEPEST: Final = 200  # libxml2 gives up at 256 open elements
LARGEST: Final = 2 * 2**20  # characters; it takes 0.1 s a MB and more
MOST: Final = 6_000  # elements; justext's time grows with their square: 3 s for as many paragraphs
FINAL_MARKS: Final = frozenset(("consent",))  # no second opinion takes them back
_ALIKE: Final = 0.8  # share of a block's word pairs


def is_unsure(layout: Layout, verdicts: Sequence[str]) -> bool:
    """Whether the rules left too little, on a page that has more and that trafilatura can take."""
    if not layout.boxes or layout.depth > DEEPEST:
        return False
    body = layout.boxes[0]
    there = body.words - body.link_words
    words, links = _words(layout, verdicts)
    few = words < FEW_WORDS and words - links < LARGE_SHARE * there
    return few or words < SMALL_SHARE * there


def second_opinion(layout: Layout, verdicts: Sequence[str], text: str) -> list[str] | None:
    """A verdict for each block; None where trafilatura keeps no more than the rules did."""
    if len(text) > LARGEST or layout.elements > MOST:
        return None
    extracted = trafilatura.extract(text, include_comments=False, include_tables=True)
    if not extracted:
        return None
    theirs = extracted.split()
    pairs = set(pairwise(theirs))
    single = set(theirs)
    kept = [
        isinstance(block, TextBlock)
        and verdict not in FINAL_MARKS
        and _stands_in(block.text.split(), pairs, single)
        for block, verdict in zip(layout.blocks, verdicts, strict=True)
    ]
    if not any(kept):
        return None
    first, last = kept.index(True), len(kept) - 1 - kept[::-1].index(True)
    other: list[str] = []
    for place, (block, verdict) in enumerate(zip(layout.blocks, verdicts, strict=True)):
        is_between = isinstance(block, ImageBlock) and first <= place <= last
        if verdict in FINAL_MARKS:
            other.append(verdict)
        else:
            other.append("" if kept[place] or is_between else "second_opinion")
    words, links = _words(layout, other)
    before, links_before = _words(layout, verdicts)
    better = words > before and words - links > before - links_before and links * 2 < words
    return other if better else None


def _words(layout: Layout, verdicts: Sequence[str]) -> tuple[int, int]:
    """Words that are kept, and how many of them are links."""
    kept = [
        block
        for block, verdict in zip(layout.blocks, verdicts, strict=True)
        if not verdict and isinstance(block, TextBlock)
    ]
    return sum(block.words for block in kept), sum(block.link_words for block in kept)


def _stands_in(words: list[str], pairs: set[tuple[str, str]], single: set[str]) -> bool:
    """Whether most word pairs of a block are among those that trafilatura extracted."""
    own = list(pairwise(words))
    if not own:
        return words[0] in single
    return sum(pair in pairs for pair in own) >= _ALIKE * len(own)
