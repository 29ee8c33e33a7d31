"""Facts: what crosses documents in a shuffle, about 1 KB a document, and what comes back.

In:   documents/PART and objections/PART.
Out:  facts and decisions; the drops and the counts of a document that was judged.
Only facts and their keys are ever grouped; texts and pixels stay where they lie. Every order ends
in (part, row), so no tie is open and nothing depends on a runner's order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from filters.rules import Refusal
from pipeline.job import Job
from pipeline.store import parquet
from schemas.document import Document, ImageNode, document_from_row
from schemas.manifest import Ledger
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


def about(place: Place, reason: Reason, *, value: float, limit: float) -> Decided:
    return place.part, Decision(place.row, place.node, str(reason), value, limit)


def read_documents(job: Job, part: str) -> Iterator[tuple[int, Document]]:
    for row, values in enumerate(parquet.read_rows(job.part("documents", part))):
        yield row, document_from_row(values)


def read_objections(job: Job, part: str) -> Iterator[Objection]:
    columns = list(Objection._fields)
    for row in parquet.read_rows(job.part("objections", part), columns):
        yield Objection(**row | {"robots": tuple(row["robots"])})


def drops_of(
    document: Document, place: Place, refusal: Refusal | None, nodes: Mapping[int, Refusal]
) -> Iterator[Drop]:
    """One Drop for a refused document, whose nodes are only counted, or one for each node."""
    refusals = sorted(nodes.items()) if refusal is None else [(None, refusal)]
    for node, why in refusals:
        yield Drop(part=place.part, row=place.row, id=document.id, node=node,
                   reason=why.reason, value=why.value, limit=why.limit)  # fmt: skip


def count_document(
    ledger: Ledger,
    document: Document,
    refusal: Refusal | None,
    nodes: Mapping[int, Refusal],
    kept: Iterable[int],
    *,
    seen: Iterable[int] | None = None,
) -> None:
    """Add one document and its nodes to a ledger; `seen` are the positions that came this far."""
    kinds = ["images" if isinstance(node, ImageNode) else "texts" for node in document.nodes]
    seen = range(len(kinds)) if seen is None else seen
    ledger.see("documents")
    for position in seen:
        ledger.see(kinds[position])
        if refusal is not None:
            ledger.drop(kinds[position], Reason.PARENT)
    if refusal is not None:
        ledger.drop("documents", refusal.reason)
        return
    ledger.keep("documents")
    for position in kept:
        ledger.keep(kinds[position])
    for position, why in nodes.items():
        ledger.drop(kinds[position], why.reason)
