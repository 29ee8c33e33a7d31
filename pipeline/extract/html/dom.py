"""DOM: a parsed page in, its layout out, in one walk without recursion.

In:    lexbor's tree, the base URL.
Out:   Layout: every paragraph and image with its box, links and role; what is never content
       (scripts, controls, drawings) is left out and counted.
Text:  `paragraphs.py` makes blocks of the lines that the walk gathers.

Inline elements neither glue nor split words: their text is joined as it stands. `<br>` ends a
line, two of them a paragraph. The cells of a data table's row are one block; the cells of a table
that only places things are read as any other block. What is hidden is marked on its box, for the
rules to decide: pages hide their content until a script shows it.

Whether a table holds data is guessed by the signs of Gecko and Readability, in their order, with
one more: a table without a header whose cells hold images or long text places things, as in the
GIMP manual's notes and on most pages before 2005. `summary` is no sign: DocBook writes it on notes
and navigation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from selectolax.lexbor import LexborNode

from pipeline.extract.html.images import ImageElement, declared_side, is_data, references
from pipeline.extract.html.layout import Box, ImageBlock, Layout
from pipeline.extract.html.paragraphs import Inside, Manner, Paragraphs, clean
from pipeline.extract.html.vocabulary import (
    BLOCKS,
    CAPTION,
    FIGURE,
    HIDDEN,
    LONGEST_NAME,
    PERMALINK,
    ROLES,
    SKIPPED,
    TITLE,
    signs_of,
)
from pipeline.words.consent import Attributes
from pipeline.words.urls import absolute_url
from schemas.document import Role

_IMAGES: Final = frozenset(("img", "image", "amp-img", "amp-anim"))
_HIDING: Final = re.compile(r"(?:display\s*:\s*none|visibility\s*:\s*hidden)", re.IGNORECASE)
_STREAMED: Final = re.compile("S:[0-9a-f]+")  # React's script puts it where it belongs
_LONG_NOSCRIPT: Final = 500  # characters
_DEEP_PARTS: Final = 50  # parts in parts; deeper ones are not searched for images
_LONGEST_STYLE: Final = 2_048  # characters
_LONGEST_ALT: Final = 4_096  # characters
_PLAIN: Final = frozenset((Role.PARAGRAPH, Role.LIST_ITEM, Role.QUOTE))
_CONTINUED: Final = frozenset((Role.LIST_ITEM, Role.QUOTE, Role.CAPTION))  # by p and div inside
_CHANGING: Final = frozenset(("figure", "table", "tr"))
_CAPTIONED: Final = FIGURE | CAPTION | TITLE
_SPECIAL: Final = frozenset(("picture", "noscript", "button"))
_HEADER: Final = "th, caption, thead, tfoot, col, colgroup"
_PLACED: Final = "td h1, td h2, td h3, td h4, td pre, td form, td article, td section"
_LONG_CELL: Final = 200  # characters, mean over cells
_FEW_CELLS: Final = 4  # an icon beside a title and a text: a note
_DEEPEST: Final = 8  # tables open at once (real pages: 6); the last ones are searched in each
_MANY_ROWS, _MANY_COLUMNS, _MANY_CELLS = 10, 5, 10  # Readability: _markDataTables
# names of their own, since looking up a member of an Enum takes as long as calling a function
_PARAGRAPH: Final = Role.PARAGRAPH
_CAPTION: Final = Role.CAPTION
_CODE: Final = Role.CODE
_OUTSIDE: Final = Inside.NONE


class Walker:
    """One walk over one page."""

    def __init__(self, *, base: str) -> None:
        self._base = base
        self._layout = Layout()
        self._paragraphs = Paragraphs(self._layout)
        self._box = -1
        self._manner = Manner()
        self._figures = 0
        self._sources: dict[int, Sequence[Attributes]] = {}  # of a <picture>, by its image

    def walk(self, root: LexborNode) -> Layout:
        """All that lies in `root`."""
        open_: list[tuple[LexborNode, int, Manner]] = []
        paragraphs = self._paragraphs
        node: LexborNode | None = root
        while node is not None:
            box, manner = self._box, self._manner
            text = node.text_content
            if text is not None:
                if not manner.muted and (paragraphs.pending or not text.isspace()):
                    paragraphs.text(text, link=manner.link)
            elif self._enter(node, node.tag or "") and (child := node.first_child) is not None:
                open_.append((node, box, manner))
                node = child
                continue
            elif self._box != box or self._manner is not manner:
                self._leave(box, manner)
            following = node.next
            if following is None and len(open_) > self._layout.depth:
                self._layout.depth = len(open_)
            while following is None and open_:
                node, box, manner = open_.pop()
                if self._box != box or self._manner is not manner:
                    self._leave(box, manner)
                following = node.next
            node = following if open_ else None
        paragraphs.end(self._box, self._manner)
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
            self._paragraphs.line(self._manner.inside)
            return False
        if tag in _IMAGES:
            self._image(node.attributes, self._sources.pop(node.mem_id, ()))
            return False
        return self._enter_inline(node, tag)

    def _leave(self, box: int, manner: Manner) -> None:
        """Go back to this box and manner at the end of an element that changed them."""
        if self._box != box:
            if self._paragraphs.pending:
                self._paragraphs.end(self._box, self._manner)
            self._layout.boxes[self._box].end = len(self._layout.blocks)
            self._box = box
        elif self._manner.parts != manner.parts:
            self._paragraphs.part(manner.inside)
        self._manner = manner

    def _enter_block(self, node: LexborNode, tag: str) -> bool:
        if self._manner.inside:
            return self._enter_part(node, tag)
        if self._paragraphs.pending:
            self._paragraphs.end(self._box, self._manner)
        boxes = self._layout.boxes
        box, signs = Box(tag, self._box, len(self._layout.blocks)), 0
        attributes = node.attributes
        if attributes:
            if name := _name(attributes):
                box.name = name
                box.signs = signs = signs_of(name)
            if aria := attributes.get("role"):
                box.role = aria.lower()
            box.hidden = signs & HIDDEN != 0 or _is_hidden(attributes)
            box.unspoken = _is_unspoken(attributes)
        self._box = len(boxes)
        boxes.append(box)
        old = self._manner.role
        role = ROLES.get(tag) or (old if old in _CONTINUED else _PARAGRAPH)
        if role is not old or signs & _CAPTIONED or tag in _CHANGING:
            self._manner = self._inner_manner(node, tag, role, signs)
        return True

    def _enter_part(self, node: LexborNode, tag: str) -> bool:
        """A block-level element in a row or in code, which goes on."""
        attributes, manner = node.attributes, self._manner
        hidden = _is_hidden(attributes) or signs_of(_name(attributes)) & HIDDEN
        unspoken = _is_unspoken(attributes) and manner.parts < _DEEP_PARTS
        if hidden or (unspoken and not node.css_first("img")):
            self._layout.edits["hidden"] += 1
            return False
        if tag in {"td", "th"} and manner.inside is Inside.ROW:
            self._paragraphs.cell()
        else:
            self._paragraphs.part(manner.inside)
        self._manner = manner.within(parts=1)
        return True

    def _inner_manner(self, node: LexborNode, tag: str, role: Role, signs: int) -> Manner:
        """How the inside of an element that begins a box is read."""
        outer = self._manner
        figure, captions = outer.figure, outer.captions
        table, tables = outer.table, outer.tables
        if tag == "figure" or (not figure and signs & (FIGURE | CAPTION)):
            self._figures += 1
            figure, captions = self._figures, True
            role = _CAPTION if tag == "figure" else role
        if signs & (CAPTION | TITLE if captions else CAPTION) and role in _PLAIN:
            role = _CAPTION
        inside = _OUTSIDE
        if tag == "table":
            tables += 1
            table = tables <= _DEEPEST and _is_data_table(node)
        elif tag == "tr" and table:
            inside, role = Inside.ROW, Role.TABLE_ROW
        if role is _CODE:
            inside = Inside.CODE
        return Manner(role, figure, inside, table, captions, outer.link, outer.muted, outer.twin,
                      outer.picture, tables)  # fmt: skip

    def _enter_inline(self, node: LexborNode, tag: str) -> bool:
        if tag in _SPECIAL and (entered := self._enter_special(node, tag)) is not None:
            return entered
        attributes = node.attributes
        if attributes:
            name = _name(attributes)
            signs = signs_of(name) if name else 0
            if signs & HIDDEN or _is_hidden(attributes) or _is_unspoken(attributes):
                self._layout.edits["hidden"] += 1
                self._manner = self._manner.within(muted=True)
                return True
            if tag == "a" and attributes.get("href") is not None:
                if signs & PERMALINK:
                    return False
                if not self._manner.link:
                    self._manner = self._manner.within(link=True)
                return True
        if "-" in tag:  # a custom element: whether it is a block, only its script knows
            self._paragraphs.text(" ", link=False)
        elif tag == "object" and (attributes.get("type") or "").startswith("image/"):
            self._image({"src": attributes.get("data"), **attributes}, ())
            return False
        return True

    def _enter_special(self, node: LexborNode, tag: str) -> bool | None:
        """Whether to look into it; None where it is read as other elements are."""
        if tag == "picture":
            self._picture(node)
            return None
        if tag == "noscript":
            if len(node.text()) > _LONG_NOSCRIPT:  # a page for readers without scripts
                return self._enter_block(node, tag)
            self._manner = self._manner.within(muted=True, twin=True)
            return True
        if self._manner.role is Role.HEADING:
            return None
        self._layout.edits["form_control"] += 1
        return False

    def _picture(self, node: LexborNode) -> None:
        """Give the first image in a `<picture>` its sources. The rest is read as well, since the
        element may be unclosed."""
        inside = list(node.iter())
        image = next((child for child in inside if child.tag in _IMAGES), None)
        if image is None and not self._manner.picture:  # not in each of a thousand nested ones
            image = node.css_first("img, amp-img")
        if image is None:
            self._layout.edits["image_without_source"] += 1
        else:
            sources = [child.attributes for child in inside if child.tag == "source"]
            self._sources[image.mem_id] = sources
        self._manner = self._manner.within(picture=True)

    def _image(self, attributes: Attributes, sources: Sequence[Attributes]) -> None:
        src = (attributes.get("src") or "").strip()
        for reference in references(attributes, sources):
            if url := absolute_url(reference, base=self._base):
                break
        else:
            kind = "image_data_uri" if is_data(src) else "image_without_source"
            self._layout.edits[kind] += 1
            return
        if reference == src and (  # a hidden image whose URL a script puts in may be shown later
            _is_hidden(attributes) or signs_of(_name(attributes)) & HIDDEN
        ):
            self._layout.edits["hidden"] += 1
            return
        block = ImageBlock(
            url=url,
            elements=[ImageElement(attributes, sources, url)],
            alt=clean(attributes.get("alt") or "")[:_LONGEST_ALT].strip(),
            width=declared_side(attributes.get("width")),
            height=declared_side(attributes.get("height")),
            box=self._box,
            figure=self._manner.figure,
            twin=self._manner.twin,
            lazy=reference != src,
        )
        self._paragraphs.image(block)


def _name(attributes: Attributes) -> str:
    name, own = attributes.get("class"), attributes.get("id")
    names = f"{name} {own}" if name and own else name or own or ""
    return names[:LONGEST_NAME]  # they are kept, and no page may make them many megabytes


def _is_unspoken(attributes: Attributes) -> bool:
    return "aria-hidden" in attributes and (attributes["aria-hidden"] or "").lower() == "true"


def _is_hidden(attributes: Attributes) -> bool:
    """Whether the element's attributes hide it; its names may, too (HIDDEN)."""
    if "hidden" in attributes and attributes["hidden"] != "until-found":
        return not _STREAMED.fullmatch(attributes.get("id") or "")
    style = attributes.get("style")
    return style is not None and _HIDING.search(style[:_LONGEST_STYLE]) is not None


def _is_data_table(table: LexborNode) -> bool:
    """Whether each of its rows is one text node."""
    attributes = table.attributes
    role = (attributes.get("role") or "").lower()
    if (
        role in {"presentation", "none"}
        or attributes.get("datatable") == "0"
        or table.css_first("td table, th table")  # a quick answer where tables lie in tables
    ):
        return False
    rows = table.css("tr")
    columns = max((_cells(row) for row in rows), default=0)
    if len(rows) < 2 or columns < 2:
        return False
    if table.css_first(_PLACED):
        return False
    if table.css_first(_HEADER):
        return len(rows) * columns > _FEW_CELLS or not table.css_first("img")
    if table.css_first("img") or len(table.text()) > _LONG_CELL * columns * len(rows):
        return False
    return len(rows) >= _MANY_ROWS or columns >= _MANY_COLUMNS or len(rows) * columns > _MANY_CELLS


def _cells(row: LexborNode) -> int:
    return sum(cell.tag in {"td", "th"} for cell in row.iter())
