"""Layout: a page as blocks in reading order, and the boxes that they lie in.

A block is one paragraph or one image. A box is a block-level element: it has a parent box and
spans the blocks `start` to `end`. Both are numbered in document order, so that every question of
a rule is a loop over a list, and nothing recurses however deep a page is nested.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from pipeline.extract.html.images import ImageElement
from schemas.document import Role


@dataclass(slots=True)
class Box:
    """A block-level element. `words` and `link_words` are those of all that lies in it."""

    tag: str
    parent: int
    start: int = 0
    end: int = 0
    name: str = ""  # class and id
    signs: int = 0  # of the name: vocabulary.py
    role: str = ""  # the ARIA role
    hidden: bool = False
    unspoken: bool = False  # aria-hidden: for the eye only
    words: int = 0
    link_words: int = 0
    images: int = 0
    paragraphs: int = 0  # blocks of ten words or more that are mostly not links

    @property
    def link_density(self) -> float:
        return self.link_words / self.words if self.words else 0.0


@dataclass(slots=True)
class TextBlock:
    """A paragraph. `figure` is the number of the figure that it lies in, 0 for none."""

    text: str
    role: Role
    box: int
    figure: int = 0
    words: int = 0
    link_words: int = 0


@dataclass(slots=True)
class ImageBlock:
    """An image with an absolute URL, and the elements that show it: its own, then its twins.

    `twin` says that it stands in a `<noscript>`, `lazy` that its URL is of another attribute
    than `src`. Two such images side by side may be one picture.
    """

    url: str
    elements: list[ImageElement]
    alt: str
    width: int | None
    height: int | None
    box: int
    figure: int = 0
    twin: bool = False
    lazy: bool = False


Block = TextBlock | ImageBlock


@dataclass(slots=True)
class Layout:
    """What was read of a page. `edits` counts what was left out on the way, by kind."""

    blocks: list[Block] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    edits: Counter[str] = field(default_factory=Counter)
    elements: int = 0
    depth: int = 0

    def measure(self) -> None:
        """Sum what lies in each box, innermost first."""
        for block in self.blocks:
            box = self.boxes[block.box]
            if isinstance(block, ImageBlock):
                box.images += 1
                continue
            box.words += block.words
            box.link_words += block.link_words
            if block.words >= 10 and block.link_words * 2 < block.words:
                box.paragraphs += 1
        for box in reversed(self.boxes):
            if box.parent >= 0:
                parent = self.boxes[box.parent]
                parent.words += box.words
                parent.link_words += box.link_words
                parent.images += box.images
                parent.paragraphs += box.paragraphs
