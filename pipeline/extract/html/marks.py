"""Marks: what speaks against a box of a page.

In:   boxes in document order, measured.
Out:  one mark a box: "" for none, else the kind under which its blocks are counted as left out. A
      box in a marked box has its mark.
By:   element and ARIA role, being hidden, whole words of class and id, and the share of links.
      Words of names are a hint: they mark no menu that holds paragraphs, and nothing in a figure.
      No mark takes a box that holds more than a third of the page's words, except the panels of
      consent tools, which are longer than many a page.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pipeline.extract.html.layout import Box
from pipeline.extract.html.vocabulary import (
    FOLDED,
    FURNITURE,
    IS_COMMENTS,
    IS_CONSENT,
    IS_FURNITURE,
    IS_HEADER,
    IS_NAVIGATION,
    NOTES,
    SITE_HEADER,
    words_of,
)

_HEADED: Final = frozenset(("article", "main", "section"))
_UNNAMED: Final = frozenset(("html", "body", "main", "article"))
_TELLING: Final = frozenset(("noscript", "nav", "menu", "footer", "header", "aside", "dialog",
                             "form", "search"))  # fmt: skip
_LISTED: Final = frozenset(("ul", "ol", "dl", "div", "section", "table"))
_MENUS: Final = frozenset(("navigation", "menu", "menubar", "tablist", "toolbar"))
_DIALOGS: Final = frozenset(("dialog", "alertdialog", "alert"))
_HEADER_DENSITY: Final = 0.3  # share of link words in a page's header that is more than its title
_MENU_DENSITY: Final = 0.5
_PROTECTED: Final = 0.35  # share of the page's words in a box that no mark may take
_LIST_DENSITY: Final = 0.7  # share of link words in a box that is a list of links
_FORM_WORDS: Final = 300  # a form of more is a page


def marks_of(boxes: Sequence[Box]) -> list[str]:
    """What speaks against each box, or against one that it lies in."""
    most = _PROTECTED * boxes[0].words
    marks: list[str] = []
    headed: list[bool] = []  # in an article or section, whose header is its own
    drawn: list[bool] = []  # in a figure
    for box in boxes:
        outer = box.parent >= 0
        mark = marks[box.parent] if outer else ""
        in_section = outer and headed[box.parent]
        in_figure = outer and drawn[box.parent]
        if not mark:
            signs = 0 if box.tag in _UNNAMED else box.signs
            if signs & IS_CONSENT:
                mark = "consent"
            elif box.words <= most:
                if box.role or box.hidden or box.unspoken or box.tag in _TELLING:
                    mark = _element(box, headed=in_section)
                if not mark and not in_figure:
                    mark = _name(box, signs) or _links(box)
        marks.append(mark)
        headed.append(in_section or box.tag in _HEADED)
        drawn.append(in_figure or box.tag == "figure")
    return marks


def _element(box: Box, *, headed: bool) -> str:
    tag, role = box.tag, box.role
    words = words_of(box.name) if box.name else frozenset()
    header = box.paragraphs < 2 or box.link_density > _HEADER_DENSITY
    small = box.words < _FORM_WORDS and box.paragraphs <= 2
    reasons = (
        ("hidden", _is_unseen(box) and role != "tabpanel" and not words & FOLDED),
        ("noscript", tag == "noscript"),
        ("navigation", tag in {"nav", "menu"} or role in _MENUS),
        ("footer", tag == "footer" or role == "contentinfo"),
        ("header", (tag == "header" or role == "banner") and not headed and header),
        ("aside", (tag == "aside" or role == "complementary") and not words & NOTES),
        ("dialog", tag == "dialog" or role in _DIALOGS),
        ("form", (tag == "form" and small) or "search" in {tag, role}),
    )
    return next((kind for kind, holds in reasons if holds), "")


def _is_unseen(box: Box) -> bool:
    """aria-hidden keeps from being read aloud what may be seen: labels and closed panels go."""
    if box.hidden or not box.unspoken:
        return box.hidden
    panel = box.tag == "aside" or box.role in _DIALOGS or words_of(box.name) & FURNITURE
    return bool(panel) or not (box.paragraphs or box.images)


def _name(box: Box, signs: int) -> str:
    if signs & IS_NAVIGATION and (box.paragraphs <= 1 or box.link_density > _MENU_DENSITY):
        return "navigation"
    if signs & IS_FURNITURE:
        return "boilerplate"
    if signs & IS_COMMENTS:
        return "comments"
    return "header" if signs & IS_HEADER and signs & SITE_HEADER else ""


def _links(box: Box) -> str:
    if box.tag in _LISTED and not box.paragraphs and box.link_density > _LIST_DENSITY:
        return "link_list"
    return ""
