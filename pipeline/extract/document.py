"""A page becomes a Document: its texts measured, its language told, its place in the crawl noted.

In:   a Page, and what is known of where it came from.
Out:  a Document as it lies in documents/PART. extract and explain make theirs here, so that what
      a user is shown of a page is what a run makes of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from filters.signals import Lexicon, measure
from pipeline.extract.page import Page
from pipeline.words.urls import registered_domain
from schemas.document import Document, Node, Role, TextNode, document_id

PROSE_WORDS: Final = 5  # of 115 English pages under .8 by all nodes, 58 pass by these
Identify = Callable[[str], tuple[str, float]]  # text -> language, score


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Where a page was found. A file on disk has no date and no crawl."""

    url: str
    date: str = ""
    input: str = ""
    offset: int = 0
    length: int = 0
    payload_sha256: bytes = hashlib.sha256(b"").digest()


def document_of(page: Page, origin: Origin, *, lexicon: Lexicon, identify: Identify) -> Document:
    """The document of a page; its language is that of its prose, where it has any."""
    nodes = tuple(_measured(node, lexicon) for node in page.nodes)
    texts = [node for node in nodes if isinstance(node, TextNode)]
    language, score = identify("\n".join(node.text for node in _prose(texts) or texts))
    return Document(
        id=document_id(url=origin.url, date=origin.date, payload_sha256=origin.payload_sha256),
        url=origin.url,
        domain=registered_domain(origin.url),
        date=origin.date,
        input=origin.input,
        offset=origin.offset,
        length=origin.length,
        title=page.title,
        language=language,
        language_score=score,
        charset=page.charset,
        extractor=page.extractor,
        signals=page.signals,
        nodes=nodes,
    )


def _prose(texts: list[TextNode]) -> list[TextNode]:
    """Running text: labels, tables and code say little of a language, and lower its score."""
    return [
        node
        for node in texts
        if node.role not in {Role.CODE, Role.TABLE_ROW} and len(node.text.split()) >= PROSE_WORDS
    ]


def _measured(node: Node, lexicon: Lexicon) -> Node:
    if not isinstance(node, TextNode):
        return node
    counts = measure(node.text, lexicon)  # replace() would take as long
    return TextNode(text=node.text, role=node.role, caption_of=node.caption_of, counts=counts)
