"""Nodes: kept blocks in reading order become a document's nodes, captions tied to their images.

In:   blocks and their verdicts.
Out:  TextNodes and ImageNodes; a caption names the position of its image.
A caption belongs to the image before it in its figure, else to the next one in its figure. What
is only called a caption and has no image is a paragraph.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence

from pipeline.extract.html.images import others_of
from pipeline.extract.html.layout import Block, ImageBlock
from schemas.document import ImageNode, Node, Role, TextNode


def nodes_of(blocks: Sequence[Block], *, base: str) -> tuple[Node, ...]:
    """The nodes of kept blocks; what an image is called in other sizes is asked for these alone."""
    images = _images_by_figure(blocks)
    nodes: list[Node] = []
    for place, block in enumerate(blocks):
        if isinstance(block, ImageBlock):
            nodes.append(
                ImageNode(
                    url=block.url,
                    others=others_of(block.offers, base=base),
                    alt=block.alt,
                    width=block.width,
                    height=block.height,
                )
            )
            continue
        role, caption_of = block.role, None
        if role is Role.CAPTION:
            caption_of = _captioned(place, images.get(block.figure, ()))
            if caption_of is None:
                role = Role.PARAGRAPH
        nodes.append(TextNode(text=block.text, role=role, caption_of=caption_of))
    return tuple(nodes)


def _images_by_figure(blocks: Sequence[Block]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for place, block in enumerate(blocks):
        if isinstance(block, ImageBlock) and block.figure:
            found.setdefault(block.figure, []).append(place)
    return found


def _captioned(place: int, images: Sequence[int]) -> int | None:
    before = bisect(images, place)  # a page may be one figure of thousands
    if before:
        return images[before - 1]
    return images[0] if images else None
