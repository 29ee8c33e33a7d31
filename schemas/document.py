"""Document: a page as a sequence of paragraphs and images, in the order a reader meets them.

In:   what extract read out of one record.
Out:  a row of `documents/PART.parquet` (columns in tables.py) as plain Python values that Arrow
      takes, and the document of a row. A row is never changed: later stages write verdicts about
      its nodes by position.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Role(StrEnum):
    """What a text node is on its page; the shard's text joins nodes by a blank line."""

    PARAGRAPH = "paragraph"
    HEADING = "heading"
    LIST_ITEM = "list_item"
    TABLE_ROW = "table_row"  # the cells of one row, joined by " | "
    CAPTION = "caption"
    QUOTE = "quote"
    CODE = "code"


@dataclass(frozen=True, kw_only=True, slots=True)
class TextCounts:
    """What was measured of one text node, as counts that add up over nodes (filters/signals.py).

    Repetition is kept as a pair (repeated mass, all n-grams); its sum over nodes is the mass
    repeated inside nodes, not between them.
    """

    characters: int = 0
    special_characters: int = 0
    words: int = 0
    stop_words: int = 0
    flagged_words: int = 0
    common_words: int = 0
    spam_words: int = 0
    punctuation: int = 0  # tokens that are one of , ; : ? ! .
    tokens: int = 0  # words and punctuation marks
    character_ngrams: int = 0
    character_ngrams_repeated: int = 0
    word_ngrams: int = 0
    word_ngrams_repeated: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class TextNode:
    """One paragraph. `caption_of` is the position of the image node that it describes."""

    text: str
    role: Role = Role.PARAGRAPH
    caption_of: int | None = None
    counts: TextCounts | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageNode:
    """One image at its place. `url` is absolute; `width`, `height` are declared pixels or None."""

    url: str
    others: tuple[str, ...] = ()  # of the same picture in other sizes, the best first
    alt: str = ""
    width: int | None = None
    height: int | None = None


Node = TextNode | ImageNode


@dataclass(frozen=True, kw_only=True, slots=True)
class PageSignals:
    """What the page itself asks for, or says of itself; decided on by rules, never here."""

    robots: tuple[str, ...] = ()  # lower-case directives of meta robots and X-Robots-Tag, sorted
    tdm_reservation: bool = False  # tdm-reservation: 1, in a header or a meta element
    tdm_policy: str = ""
    canonical: str = ""
    licence: str = ""  # rel=license, or a licence meta element


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A page as it was read. `date` is the capture's WARC-Date, as ISO 8601 in UTC."""

    id: str  # document_id()
    url: str
    domain: str  # registered domain by the public suffix list with its private part; else the host
    date: str
    input: str  # the crawl file, as named by the user
    offset: int  # bytes in that file where the record's member starts
    length: int  # bytes of that member
    title: str = ""
    language: str = ""  # ISO 639-1 (fastText lid.176), "" where nothing could be told
    language_score: float = 0.0  # 0..1
    charset: str = ""
    extractor: str = ""  # which extractor decided on main content: blocks or trafilatura
    signals: PageSignals = field(default_factory=PageSignals)
    nodes: tuple[Node, ...] = ()

    @property
    def texts(self) -> int:
        return sum(isinstance(node, TextNode) for node in self.nodes)

    @property
    def images(self) -> int:
        return len(self.nodes) - self.texts


def document_id(*, url: str, date: str, payload_sha256: bytes) -> str:
    """The first 128 bits of sha256(URL, WARC-Date, payload digest) as 32 hex digits.

    `payload_sha256` is computed over the decoded payload, never read from a header.
    """
    digest = hashlib.sha256(b"\0".join((url.encode(), date.encode(), payload_sha256)))
    return digest.hexdigest()[:32]


# columns that are fields of Document under the same name
_PLAIN = (
    "id", "url", "domain", "date", "input", "offset", "length", "title", "language",
    "language_score", "charset", "extractor",
)  # fmt: skip
_NOTHING: dict[str, Any] = dict.fromkeys(
    ("role", "text", "caption_of", "counts", "url", "others", "alt", "width", "height")
)


def document_to_row(document: Document) -> dict[str, Any]:
    """A row of tables.DOCUMENTS."""
    signals = document.signals
    return {name: getattr(document, name) for name in _PLAIN} | {
        "robots": list(signals.robots),
        "tdm_reservation": signals.tdm_reservation,
        "tdm_policy": signals.tdm_policy,
        "canonical": signals.canonical,
        "licence": signals.licence,
        "nodes": [_node_to_row(node) for node in document.nodes],
    }


def document_from_row(row: Mapping[str, Any]) -> Document:
    """The inverse of `document_to_row`."""
    return Document(
        **{name: row[name] for name in _PLAIN},
        signals=PageSignals(
            robots=tuple(row["robots"]),
            tdm_reservation=row["tdm_reservation"],
            tdm_policy=row["tdm_policy"],
            canonical=row["canonical"],
            licence=row["licence"],
        ),
        nodes=tuple(_node_from_row(node) for node in row["nodes"]),
    )


def _node_to_row(node: Node) -> dict[str, Any]:
    if isinstance(node, ImageNode):
        return _NOTHING | {"kind": "image"} | asdict(node)
    counts = None if node.counts is None else asdict(node.counts)
    return _NOTHING | {
        "kind": "text",
        "role": str(node.role),
        "text": node.text,
        "caption_of": node.caption_of,
        "counts": counts,
    }


def _node_from_row(row: Mapping[str, Any]) -> Node:
    if row["kind"] == "image":
        return ImageNode(
            url=row["url"],
            others=tuple(row["others"]),
            alt=row["alt"],
            width=row["width"],
            height=row["height"],
        )
    return TextNode(
        text=row["text"],
        role=Role(row["role"]),
        caption_of=row["caption_of"],
        counts=None if row["counts"] is None else TextCounts(**row["counts"]),
    )
