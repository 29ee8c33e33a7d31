"""Rules: which blocks of a page are its main content.

In:   a layout, measured.
Out:  one verdict a block: "" for content, else the kind under which it is counted as left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pipeline.extract.layout import Box, ImageBlock, Layout, TextBlock
from pipeline.extract.vocabulary import (
    COMMENTS,
    FURNITURE,
    HEADERS,
    NAVIGATION,
    NOTES,
    names_of,
    words_of,
)
from schemas.document import Role


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleSettings:
    """Thresholds of the block rules."""

    protected: float = 0.5  # share of the page's words in a box that no name can condemn
    root: float = 0.25  # share of the page's words that <main> or <article> must hold
    link_density: float = 0.5
    list_density: float = 0.6
    form_words: int = 60


def judge(layout: Layout, settings: RuleSettings = RuleSettings()) -> list[str]:
    """A verdict for each block."""
    boxes = layout.boxes
    if not boxes:
        return [""] * len(layout.blocks)
    total = boxes[0].words
    marks = _marks(layout, settings)
    root = _root(layout, marks, settings)
    verdicts = []
    for place, block in enumerate(layout.blocks):
        mark = marks[block.box]
        if not mark and not boxes[root].start <= place < boxes[root].end:
            mark = "outside_main"
        if not mark and isinstance(block, TextBlock):
            mark = _block(block, boxes[block.box], settings)
        verdicts.append(mark)
    return verdicts


def _marks(layout, settings):
    boxes = layout.boxes
    total = boxes[0].words
    marks = []
    for box in boxes:
        mark = marks[box.parent] if box.parent >= 0 else ""
        if not mark and box.words <= settings.protected * total:
            mark = _structure(box, boxes, settings)
        marks.append(mark)
    return marks


def _structure(box, boxes, settings):
    tag, role = box.tag, box.role
    if box.hidden:
        return "hidden"
    if tag in ("nav", "menu") or role in ("navigation", "menu", "menubar", "tablist","toolbar"):
        return "navigation"
    if tag == "footer" or role == "contentinfo":
        return "footer"
    if (tag == "header" or role == "banner") and not _inside(box, boxes, ("article", "main", "section")):
        return "header"
    words = words_of(box.name) if box.name else frozenset()
    if (tag == "aside" or role == "complementary") and not words & NOTES:
        return "aside"
    if tag == "dialog" or role in ("dialog", "alertdialog", "alert"):
        return "dialog"
    if role == "search" or tag == "search":
        return "form"
    if tag == "form" and box.words < settings.form_words:
        return "form"
    if tag in ("body","html","main","article"):
        return ""
    if words & NAVIGATION:
        return "navigation"
    if words & FURNITURE:
        return "boilerplate"
    if words & COMMENTS:
        return "comments"
    for name in names_of(box.name):
        if "header" in name and name & HEADERS:
            return "header"
    if tag in ("ul", "ol", "div", "section", "table") and box.words and box.link_density > settings.list_density and not box.paragraphs:
        return "link_list"
    return ""


def _inside(box, boxes, tags):
    while box.parent >= 0:
        box = boxes[box.parent]
        if box.tag in tags:
            return True
    return False


def _root(layout, marks, settings):
    boxes = layout.boxes
    left = sum(b.words for b in layout.blocks if isinstance(b, TextBlock) and not marks[b.box])
    kept = {}
    for tags in (("main",), ("article",)):
        found = [i for i, b in enumerate(boxes) if not marks[i] and (b.tag in tags or (b.role == tags[0])) ]
        best = max(found, key=lambda i: boxes[i].words, default=None)
        if best is not None and boxes[best].words >= settings.root * left:
            return best
    return 0


def _block(block, box, settings):
    if block.role is Role.HEADING: return ""
    if block.words and block.link_words / block.words > settings.link_density and block.words < 20:
        return "links"
    return ""
