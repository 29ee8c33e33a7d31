"""Paragraphs: what a walk meets, word by word and image by image, becomes blocks.

In:   text, line ends, cells, images, and the ends of block-level elements.
Out:  TextBlocks and ImageBlocks, appended to the layout in reading order.
Text: white space is collapsed, a line end stays as one newline, an empty line ends the paragraph.
      In code, white space stays, and an empty line ends the block as well: no text node ever
      holds one, because documents are written with empty lines between their nodes.

An image is put at its place where it stands alone between blocks or lines, or opens a line. In the
middle of a line it comes behind the paragraph, because no reader's sentence is cut by an icon. In
a row of a data table it comes before the row if no text is before it, else behind.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from pipeline.extract.html.images import file_of
from pipeline.extract.html.layout import ImageBlock, Layout, TextBlock
from schemas.document import Role

Piece = tuple[str, bool] | ImageBlock  # a text and whether it is a link's, or an image

# controls, and characters that no reader sees: soft hyphen, zero width space, word joiner, marks
_UNSEEN: Final = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u200b\u2060-\u2064\ufeff\ufff9-\ufffb]"
)  # str.isprintable() holds for none of them, nor for joiners
_JOINERS: Final = "\u200c\u200d\u200e\u200f "  # at an end of a text they join nothing
_UNSPACED: Final = re.compile(  # Thai, Lao, Burmese, Khmer, kana, Chinese
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]"
)
_BLANK: Final = re.compile(r"\n(?:[^\S\n]*\n)+")


class Inside(IntEnum):
    """Where block-level elements do not end a block; NONE is false."""

    NONE = 0
    ROW = 1
    CODE = 2


@dataclass(slots=True)
class Manner:
    """How what is in an element is read. Never changed, and shared by all that is read alike."""

    role: Role = Role.PARAGRAPH
    figure: int = 0  # its number
    inside: Inside = Inside.NONE
    table: bool = False  # in a table of data
    captions: bool = False  # titles are captions here
    link: bool = False
    muted: bool = False  # text is not for readers; images may be
    twin: bool = False  # in a <noscript>
    picture: bool = False  # in a <picture>
    tables: int = 0  # that are open
    parts: int = 0  # block-level elements of a row, or of code, that are open

    def within(
        self, *, link: bool = False, muted: bool = False, twin: bool = False, picture: bool = False,
        parts: int = 0,
    ) -> Manner:  # fmt: skip
        """A copy with these changes (`dataclasses.replace` takes five times as long)."""
        return Manner(self.role, self.figure, self.inside, self.table, self.captions,
                      self.link or link, self.muted or muted, self.twin or twin,
                      self.picture or picture, self.tables, self.parts + parts)  # fmt: skip


def clean(text: str) -> str:
    """The text with its white space collapsed, without characters that nobody sees."""
    text = " ".join(text.split())
    if text.isprintable():  # most are, and this is cheap to see
        return text
    return " ".join(_UNSEEN.sub("", text).split()).strip(_JOINERS)


def count_words(text: str) -> int:
    """Words between spaces; where a script writes none, two letters count as a word."""
    count = len(text.split())
    return count if text.isascii() else count + len(_UNSPACED.findall(text)) // 2


def _clean_counted(text: str) -> tuple[str, int]:
    """`clean` and `count_words` together, in one go where the text is plain ASCII."""
    pieces = text.split()
    joined = " ".join(pieces)
    if joined.isascii() and joined.isprintable():
        return joined, len(pieces)
    cleaned = clean(joined)
    return cleaned, count_words(cleaned)


class Paragraphs:
    """Gathers pieces until their block ends."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._lines: list[list[Piece]] = [[]]
        self._box, self._manner = -1, Manner()  # of the block that ends
        self.pending = False  # whether there is something for `end` to end

    def text(self, text: str, *, link: bool) -> None:
        line = self._lines[-1]
        if line or not text.isspace():
            line.append((text, link))
            self.pending = True

    def line(self, inside: Inside) -> None:
        """A `<br>`."""
        if inside is Inside.NONE:
            self._lines.append([])
        else:
            self._lines[-1].append(("\n" if inside is Inside.CODE else " ", False))
        self.pending = True

    def part(self, inside: Inside) -> None:
        """A block-level element begins or ends in a row or in code; the block goes on.

        In code this ends the current line but adds no empty line: editors write each line as
        `<div>...<br></div>`.
        """
        line = self._lines[-1]
        if inside is not Inside.CODE:
            line.append((" ", False))
        elif line and not (isinstance(line[-1], tuple) and line[-1][0].endswith("\n")):
            line.append(("\n", False))
        self.pending = True

    def cell(self) -> None:
        self._lines.append([])
        self.pending = True

    def image(self, image: ImageBlock) -> None:
        """Take an image in, unless its neighbour is its twin (in a `<noscript>`, or lazy)."""
        before = self._neighbour()
        if before is not None and before.twin != image.twin and _same(before, image):
            self._layout.edits["noscript_twin"] += 1
            if before.url == image.url or (before if image.twin else image).lazy:
                before.elements += image.elements
            elif image.twin:  # the image before it is a placeholder that waits for a script
                before.url, before.elements = image.url, image.elements
            return
        self._lines[-1].append(image)
        self.pending = True

    def _neighbour(self) -> ImageBlock | None:
        """The image that came last, if no text came after it."""
        for line in reversed(self._lines):
            for piece in reversed(line):
                if isinstance(piece, ImageBlock):
                    return piece
                if not piece[0].isspace():
                    return None
        last = self._layout.blocks[-1] if self._layout.blocks else None
        return last if isinstance(last, ImageBlock) else None

    def end(self, box: int, manner: Manner) -> None:
        """The block is over."""
        if not self.pending:
            return
        self.pending = False
        lines, self._lines = self._lines, [[]]
        self._box, self._manner = box, manner
        if not manner.inside:
            self._prose(lines)
        elif manner.inside is Inside.ROW:
            self._row(lines)
        else:
            self._code(lines)

    def _prose(self, lines: list[list[Piece]]) -> None:
        if len(lines) == len(lines[0]) == 1 and isinstance(piece := lines[0][0], tuple):
            text, words = _clean_counted(piece[0])  # most are so, and done here
            if text:
                self._add(text, words, words if piece[1] else 0)
            return
        paragraph = _Paragraph()
        for line in lines:
            text = clean("".join(piece[0] for piece in line if isinstance(piece, tuple)))
            before, behind = _images(line)
            if before or not text:
                self._write(paragraph)
                paragraph = _Paragraph()
                self._layout.blocks.extend(before)
            if text:
                paragraph.lines.append(text)
                paragraph.behind.extend(behind)
                paragraph.link_words += _link_words(line)
        self._write(paragraph)

    def _write(self, paragraph: _Paragraph) -> None:
        if paragraph.lines:
            text = "\n".join(paragraph.lines)
            words = count_words(text)
            # links may share a word
            self._add(text, words, min(words, paragraph.link_words))
        self._layout.blocks.extend(paragraph.behind)

    def _add(self, text: str, words: int, link_words: int) -> None:
        role, figure = self._manner.role, self._manner.figure
        self._layout.blocks.append(TextBlock(text, role, self._box, figure, words, link_words))

    def _row(self, cells: list[list[Piece]]) -> None:
        row, has_text = _Paragraph(), False
        for cell in cells:
            text = clean("".join(piece[0] for piece in cell if isinstance(piece, tuple)))
            before, behind = _images(cell)
            if has_text:
                row.behind.extend(before)
            else:
                self._layout.blocks.extend(before)
            row.behind.extend(behind)
            row.lines.append(text)
            has_text = has_text or text != ""
            row.link_words += _link_words(cell)
        text = clean(" | ".join(row.lines)).strip("| ")
        row.lines = [text] if text else []
        self._write(row)

    def _code(self, lines: list[list[Piece]]) -> None:
        pieces = [piece for line in lines for piece in line]
        before, behind = _images(pieces)
        self._layout.blocks.extend(before)
        whole = "".join(piece[0] for piece in pieces if isinstance(piece, tuple))
        whole = "\n".join(_UNSEEN.sub("", line).rstrip() for line in whole.splitlines())
        for text in _BLANK.split(whole):
            if stripped := text.strip("\n"):
                self._write(_Paragraph([stripped]))
        self._layout.blocks.extend(behind)


@dataclass(slots=True)
class _Paragraph:
    """Lines of text, and the images that come behind them."""

    lines: list[str] = field(default_factory=list)
    behind: list[ImageBlock] = field(default_factory=list)
    link_words: int = 0


def _images(pieces: list[Piece]) -> tuple[list[ImageBlock], list[ImageBlock]]:
    """The images before the first text of these pieces, and those behind it."""
    before: list[ImageBlock] = []
    behind: list[ImageBlock] = []
    seen = before
    for piece in pieces:
        if isinstance(piece, ImageBlock):
            seen.append(piece)
        elif seen is before and not piece[0].isspace():
            seen = behind
    return before, behind


def _link_words(pieces: list[Piece]) -> int:
    return sum(count_words(p[0]) for p in pieces if isinstance(p, tuple) and p[1])


def _same(first: ImageBlock, second: ImageBlock) -> bool:
    """Whether neighbours, one of them in a `<noscript>`, show the same image."""
    if first.url == second.url:
        return True
    hidden, shown = (first, second) if first.twin else (second, first)
    if min(hidden.width or 2, hidden.height or 2) < 2:  # a pixel that counts visitors
        return False
    return not shown.lazy or file_of(first.url) == file_of(second.url)
