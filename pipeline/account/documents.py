"""Documents of a part: read with what objected to them, and each accounted for, with its nodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from filters.rules import Refusal
from pipeline.account.facts import Objection, Place, drop
from pipeline.job import Job
from pipeline.store import parquet
from schemas.document import Document, ImageNode, document_from_row
from schemas.manifest import Ledger
from schemas.verdict import Drop, Reason


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
    if refusal is not None:
        yield drop(document, place, reason=refusal.reason, value=refusal.value, limit=refusal.limit)
        return
    for position, why in sorted(nodes.items()):
        yield drop(document, place._replace(node=position),
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
