"""Document <-> row of `documents/PART.parquet`, as plain Python values that Arrow takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from schemas.document import (
    Document,
    ImageNode,
    Node,
    PageSignals,
    Role,
    TextCounts,
    TextNode,
)

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
