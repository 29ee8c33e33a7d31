"""DOM: a parsed page in, its layout out, in one walk without recursion.

In:    lexbor's tree, the base URL.
Out:   Layout: every paragraph and image with its box, links and role; what is never content
       (scripts, controls, drawings) is left out and counted.
Text:  `paragraphs.py` makes blocks of the lines that the walk gathers.

Inline elements neither glue nor split words: their text is joined as it stands. `<br>` ends a
line, two of them a paragraph. The cells of a data table's row are one block; a table that only
places things (`tables.py`) is none. What is hidden is marked on its box, for the rules to decide:
pages hide their content until a script shows it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from selectolax.lexbor import LexborNode

from pipeline.extract.images import Attributes, declared_side, is_data, other_urls, references
from pipeline.extract.layout import Box, ImageBlock, Layout
from pipeline.extract.paragraphs import Inside, Paragraphs, Place, clean
from pipeline.extract.tables import is_data_table
from pipeline.extract.urls import absolute_url
from pipeline.extract.vocabulary import (
    BLOCKS,
    NO_TRAITS,
    ROLES,
    SKIPPED,
    traits_of,
)
from schemas.document import Role

_IMAGES: Final = frozenset(("img", "image", "amp-img", "amp-anim"))
_HIDING: Final = re.compile(r"(?:display\s*:\s*none|visibility\s*:\s*hidden)", re.IGNORECASE)
_STREAMED: Final = re.compile("S:[0-9a-f]+")  # React's script puts it where it belongs
_LONG_NOSCRIPT: Final = 500  # characters
_LONGEST_STYLE: Final = 2_048  # characters
_LONGEST_ALT: Final = 4_096  # characters
_PLAIN: Final = frozenset((Role.PARAGRAPH, Role.LIST_ITEM, Role.QUOTE))
_CONTINUED: Final = frozenset((Role.LIST_ITEM, Role.QUOTE, Role.CAPTION))  # by p and div inside


@dataclass(slots=True)
class _State:
    """What holds for an element and all in it. Never changed; freezing it would cost a tenth."""

    place: Place
    link: bool = False
    muted: bool = False  # text is not for readers; images may be
    twin: bool = False  # in a <noscript>
    captions: bool = False  # titles are captions here


class Walker:
    """One walk over one page."""

    def __init__(self, *, base: str) -> None:
        self._base = base
        self._layout = Layout()
        self._paragraphs = Paragraphs(self._layout)
        self._state = _State(Place())
        self._figures = 0

    def walk(self, root: LexborNode) -> Layout:
        """All that lies in `root`."""
        open_: list[tuple[LexborNode, _State]] = []
        node: LexborNode | None = root
        while node is not None:
            outer = self._state
            tag = node.tag or ""
            if tag == "-text":
                if not outer.muted:
                    self._paragraphs.text(node.text_content or "", link=outer.link)
            elif self._enter(node, tag) and (child := node.first_child) is not None:
                open_.append((node, outer))
                node = child
                continue
            elif self._state is not outer:
                self._leave(outer)
            following = node.next
            if following is None and len(open_) > self._layout.depth:
                self._layout.depth = len(open_)
            while following is None and open_:
                node, outer = open_.pop()
                if self._state is not outer:
                    self._leave(outer)
                following = node.next
            node = following if open_ else None
        self._paragraphs.end(self._state.place)
        self._layout.measure()
        return self._layout

    def _enter(self, node: LexborNode, tag: str) -> bool:
        """Take in the start of an element; whether to look into it."""
        if tag in BLOCKS:
            self._layout.elements += 1
            return self._enter_block(node, tag)
        if tag in SKIPPED:
            self._layout.edits[SKIPPED[tag]] += 1
            return False
        self._layout.elements += 1
        if tag == "br":
            self._paragraphs.line(self._state.place)
            return False
        if tag in _IMAGES:
            self._image(node.attributes, ())
            return False
        return self._enter_inline(node, tag)

    def _leave(self, outer: _State) -> None:
        """Leave an element that changed the state; others have no end."""
        inner = self._state
        self._state = outer
        if inner.place is outer.place:
            return
        if inner.place.inside and outer.place.inside:
            self._paragraphs.part(inner.place)
        elif self._paragraphs.pending:
            self._paragraphs.end(inner.place)
        if inner.place.box != outer.place.box:
            self._layout.boxes[inner.place.box].end = len(self._layout.blocks)

    def _enter_block(self, node: LexborNode, tag: str) -> bool:
        attributes = node.attributes
        outer = self._state
        if outer.place.inside:
            if _is_hidden(attributes) or (_is_unspoken(attributes) and not node.css_first("img")):
                self._layout.edits["hidden"] += 1
                return False
            if tag in {"td", "th"} and outer.place.inside is Inside.ROW:
                self._paragraphs.cell()
            else:
                self._paragraphs.part(outer.place)
            place = outer.place
            self._change(
                place=Place(place.box, place.role, place.figure, place.inside, place.table)
            )
            return True
        if self._paragraphs.pending:
            self._paragraphs.end(outer.place)
        self._state = self._inner_state(node, tag, attributes)
        return True

    def _inner_state(self, node: LexborNode, tag: str, attributes: Attributes) -> _State:
        outer, place = self._state, self._state.place
        name = _name(attributes)
        traits = traits_of(name) if name else NO_TRAITS
        role = ROLES.get(tag, place.role if place.role in _CONTINUED else Role.PARAGRAPH)
        figure, captions, table = place.figure, outer.captions, place.table
        if tag == "figure" or (not figure and (traits.figure or traits.caption)):
            self._figures += 1
            figure, captions = self._figures, True
            role = Role.CAPTION if tag == "figure" else role
        if role in _PLAIN and (traits.caption or (captions and traits.title)):
            role = Role.CAPTION
        if tag == "table":
            table = is_data_table(node)
        inside = Inside.NONE
        if tag == "tr" and table:
            inside, role = Inside.ROW, Role.TABLE_ROW
        elif role is Role.CODE:
            inside = Inside.CODE
        boxes = self._layout.boxes
        aria = attributes.get("role")
        boxes.append(
            Box(
                tag,
                name,
                aria.lower() if aria else "",
                place.box,
                len(self._layout.blocks),
                0,
                _is_hidden(attributes),
                _is_unspoken(attributes),
            )
        )
        place = Place(len(boxes) - 1, role, figure, inside, table)
        return _State(place, outer.link, outer.muted, outer.twin, captions)

    def _change(
        self,
        *,
        place: Place | None = None,
        link: bool = False,
        muted: bool = False,
        twin: bool = False,
    ) -> None:
        old = self._state
        self._state = _State(
            place or old.place, old.link or link, old.muted or muted, old.twin or twin, old.captions
        )

    def _enter_inline(self, node: LexborNode, tag: str) -> bool:
        attributes = node.attributes
        if tag == "picture":
            return self._picture(node)
        if tag == "noscript":
            if len(node.text()) > _LONG_NOSCRIPT:  # a page for readers without scripts
                return self._enter_block(node, tag)
            self._change(muted=True, twin=True)
        elif tag == "button" and self._state.place.role is not Role.HEADING:
            self._layout.edits["form_control"] += 1
            return False
        elif _is_hidden(attributes) or _is_unspoken(attributes):
            self._layout.edits["hidden"] += 1
            self._change(muted=True)
        elif tag == "a" and attributes.get("href") is not None:
            if traits_of(_name(attributes)).permalink:
                return False
            self._change(link=True)
        elif "-" in tag:  # a custom element: whether it is a block, only its script knows
            self._paragraphs.text(" ", link=False)
        elif tag == "object" and (attributes.get("type") or "").startswith("image/"):
            self._image({"src": attributes.get("data"), **attributes}, ())
            return False
        return True

    def _picture(self, node: LexborNode) -> bool:
        image = node.css_first("img, amp-img")
        if image is None:
            self._layout.edits["image_without_source"] += 1
        else:
            self._image(image.attributes, [source.attributes for source in node.css("source")])
        return False

    def _image(self, attributes: Attributes, sources: Sequence[Attributes]) -> None:
        src = (attributes.get("src") or "").strip()
        for reference in references(attributes, sources):
            if url := absolute_url(reference, base=self._base):
                break
        else:
            kind = "image_data_uri" if is_data(src) else "image_without_source"
            self._layout.edits[kind] += 1
            return
        if reference == src and _is_hidden(attributes):  # one that a script puts in may be shown
            self._layout.edits["hidden"] += 1
            return
        place = self._state.place
        block = ImageBlock(
            url=url,
            alt=clean(attributes.get("alt") or "")[:_LONGEST_ALT].strip(),
            width=declared_side(attributes.get("width")),
            height=declared_side(attributes.get("height")),
            box=place.box,
            figure=place.figure,
            twin=self._state.twin,
            lazy=reference != src,
            others=other_urls(attributes, sources, url=url, base=self._base),
        )
        self._paragraphs.image(block)


def _name(attributes: Attributes) -> str:
    name, own = attributes.get("class"), attributes.get("id")
    return f"{name} {own}" if name and own else name or own or ""


def _is_unspoken(attributes: Attributes) -> bool:
    return "aria-hidden" in attributes and (attributes["aria-hidden"] or "").lower() == "true"


def _is_hidden(attributes: Attributes) -> bool:
    if not attributes:
        return False
    if traits_of(_name(attributes)).hidden:
        return True
    if "hidden" in attributes and attributes["hidden"] != "until-found":
        return not _STREAMED.fullmatch(attributes.get("id") or "")
    style = attributes.get("style")
    return bool(style) and _HIDING.search((style or "")[:_LONGEST_STYLE]) is not None
