"""Second opinion: trafilatura says which of our blocks are main content.

In:   a layout, and the page's text.
Out:  a verdict a block, as `rules.judge` gives them; None where trafilatura finds nothing either.
Only its choice is taken, never its text: a block is kept if most of its words stand in what
trafilatura extracted, and an image if it stands between kept blocks. So nodes, roles and images
are the same whoever decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import trafilatura

from pipeline.extract.layout import ImageBlock, Layout, TextBlock

FEW_WORDS: Final = 50
DEEPEST: Final = 200  # libxml2 gives up at 256 open elements
LARGEST: Final = 2 * 2**20  # characters; it takes 0.1 s a MB and more
_SHARE: Final = 0.8  # of a block's word pairs


def is_unsure(layout: Layout, verdicts: Sequence[str]) -> bool:
    """Whether the rules left too little to be trusted."""
    left = sum(
        block.words
        for block, verdict in zip(layout.blocks, verdicts, strict=True)
        if not verdict and isinstance(block, TextBlock)
    )
    total = layout.boxes[0].words if layout.boxes else 0
    return left < FEW_WORDS <= total and layout.depth <= DEEPEST


def second_opinion(layout: Layout, text: str) -> list[str] | None:
    """A verdict for each block, or None where there is no opinion."""
    if len(text) > LARGEST:
        return None
    found = trafilatura.extract(text, fast=True, include_comments=True, include_tables=True)
    if not found:
        return None
    pairs = _pairs(found)
    kept = [
        isinstance(block, TextBlock) and _share(block.text, pairs) >= _SHARE
        for block in layout.blocks
    ]
    if not any(kept):
        return None
    first, last = kept.index(True), len(kept) - 1 - kept[::-1].index(True)
    return [
        ""
        if keep or (isinstance(block, ImageBlock) and first <= place <= last)
        else "second_opinion"
        for place, (block, keep) in enumerate(zip(layout.blocks, kept, strict=True))
    ]


def _pairs(text: str) -> set[tuple[str, str]]:
    words = text.split()
    return set(zip(["", *words], [*words, ""], strict=True))


def _share(text: str, pairs: set[tuple[str, str]]) -> float:
    words = text.split()
    own = list(zip(words, words[1:], strict=False)) or [("", words[0])]
    return sum(pair in pairs for pair in own) / len(own)
