"""Facts: what crosses documents in a shuffle, about 1 KB a document, and what comes back.

Only these and their keys are ever grouped; texts and pixels stay where they lie. Every order
ends in (part, row), so no tie is open and nothing depends on a runner's order.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

from schemas.document import Document
from schemas.verdict import Drop, Reason

WHOLE = -1  # the node of a decision about the whole document


class Place(NamedTuple):
    """Where a fact comes from: PART, row in documents/PART, position of the node."""

    part: str
    row: int
    node: int = WHOLE


class Decision(NamedTuple):
    """What a grouping decided about one place; keyed by PART on its way back."""

    row: int
    node: int
    reason: str
    value: float
    limit: float


Decided = tuple[str, Decision]  # PART, what was decided
Capture = tuple[str, str, Place]  # date, document id, place: the order of captures


class Objection(NamedTuple):
    """What an answer to a URL asks of its readers, whatever else became of it."""

    url: str
    date: str
    robots: tuple[str, ...]
    tdm_reservation: bool


class TextFact(NamedTuple):
    """A document that the text rules let pass, as the groupings of filter_text need it.

    Or an answer that asks not to be used: then it only speaks against the older captures.
    """

    place: Place
    id: str
    url: str
    date: str
    paragraphs: tuple[tuple[int, bytes], ...]  # (node, key of domain and text)
    images: tuple[tuple[int, bytes], ...]  # (first node with that URL, key of the URL)
    bands: tuple[int, ...]  # MinHash
    objects: bool = False


def key_of(*texts: str) -> bytes:
    """64 bits of a hash that is the same in every process (collisions: 3e-8 at 10^6 keys)."""
    return hashlib.blake2b("\0".join(texts).encode(), digest_size=8).digest()


def verdict_row(drop: Drop) -> dict[str, Any]:
    """A row of tables.VERDICTS."""
    return {name: getattr(drop, name) for name in drop.__slots__} | {"reason": str(drop.reason)}


def drop(
    document: Document, place: Place, *, reason: Reason, value: float | None, limit: float | None
) -> Drop:
    node = None if place.node == WHOLE else place.node
    return Drop(part=place.part, row=place.row, id=document.id, node=node,
                reason=reason, value=value, limit=limit)  # fmt: skip


def about(place: Place, reason: Reason, *, value: float, limit: float) -> Decided:
    return place.part, Decision(place.row, place.node, str(reason), value, limit)
