"""Tables: one part of the run as rows that answer questions, for people and for DuckDB.

In:   documents/PART, images/PART, the verdicts of the three deciding stages about PART, kept/PART.
Out:  tables/{documents,images,drops}/PART.parquet: a row a document, a row an image node, a row a
      drop (of a record, an image file, a document, a text or an image). The nodes that went with
      their document have the reason parent in images/, and no row of their own in drops/.
Read: all of them in row order, side by side, so a part of any length takes little memory.
Fails where a verdict or a kept row names a document or a node that is not there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any, Final, NamedTuple

from pipeline.account import unreadable
from pipeline.job import Job
from pipeline.shard.plan import split_of
from pipeline.store import parquet
from schemas.manifest import PartResult, StageName
from schemas.tables import TABLE_DOCUMENTS, TABLE_DROPS, TABLE_IMAGES
from schemas.verdict import OK, Reason

# in the order in which they decide
DECIDING: Final = (StageName.FILTER_TEXT, StageName.FILTER_IMAGES)
EXCERPT: Final = 240  # characters of a dropped text that are shown
_TABLES: Final = {  # the first is closed last: its mark says that all three are whole
    "drops": TABLE_DROPS,
    "images": TABLE_IMAGES,
    "documents": TABLE_DOCUMENTS,
}
_COLUMNS: Final = ("id", "url", "domain", "date", "language", "title", "extractor")
_NODES: Final = tuple(f"nodes.list.element.{name}" for name in ("kind", "text", "url", "alt"))
Row = dict[str, Any]


class StageVerdict(NamedTuple):
    """A row of verdicts/, and the stage that gave it."""

    stage: str
    verdict: Row

    @property
    def why(self) -> Row:
        """The columns of the tables that say why something was dropped."""
        return {"stage": self.stage} | _taken(self.verdict, "reason", "value", "limit")


class DocumentHistory(NamedTuple):
    """One document and all that was decided about it."""

    place: Row  # part, row, id
    document: Row
    kept: Row | None  # row of kept/
    verdicts: list[StageVerdict]

    @property
    def refusal(self) -> StageVerdict | None:
        """The verdict about the document as a whole, where it was dropped."""
        return next((given for given in self.verdicts if given.verdict["node"] is None), None)


def write_tables(part: str, job: Job) -> PartResult:
    """The three tables of a part, unless they are whole already; either way, their rows."""
    fingerprint, files = job.fingerprint, job.files()
    last = job.part("tables/drops", part)
    whole = parquet.read_whole(last, part="", fingerprint=fingerprint, output=job.output)
    if whole is not None:
        return whole
    with ExitStack() as open_files:
        drops, images, documents = (
            open_files.enter_context(
                parquet.Writer(
                    job.part(f"tables/{name}", part), schema, fingerprint=fingerprint, files=files
                )
            )
            for name, schema in _TABLES.items()
        )
        for row in _lost_before_documents(part, job):
            drops.add(row)
        for history in histories(part, job):
            documents.add(_document_row(history, job))
            for row in _image_rows(history):
                images.add(row)
            for row in _drop_rows(history):
                drops.add(row)
        counts = {
            "rows.documents": documents.rows,
            "rows.images": images.rows,
            "rows.drops": drops.rows,
        }
        drops.counts = images.counts = documents.counts = counts
    return PartResult(part="", fingerprint=fingerprint, counts=counts, files=files.stored)


def histories(part: str, job: Job) -> Iterator[DocumentHistory]:
    """Every document of a part with its verdicts and its kept row, in row order."""
    verdicts = {
        stage: ByRow(parquet.read_rows(job.part(f"verdicts/{stage}", part))) for stage in DECIDING
    }
    kept_rows = ByRow(parquet.read_rows(job.part("kept", part)))
    documents = parquet.read_rows(job.part("documents", part), (*_COLUMNS, *_NODES))
    for number, document in enumerate(documents):
        given = [
            StageVerdict(stage, verdict)
            for stage, rows in verdicts.items()
            for verdict in rows.take(number)
        ]
        kept = next(iter(kept_rows.take(number)), None)
        place = {"part": part, "row": number, "id": document["id"]}
        history = DocumentHistory(place, document, kept, given)
        is_kept, is_dropped = kept is not None, history.refusal is not None
        if is_kept == is_dropped:
            raise ValueError(
                f"documents/{part} row {number} is kept {is_kept} and dropped {is_dropped}: just "
                f"one must be; run {StageName.FILTER_TEXT} again"
            )
        yield history
    for rows in (*verdicts.values(), kept_rows):
        rows.check_read()


class ByRow:
    """Rows that come in the order of their `row`, handed out as that row's turn comes."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = iter(rows)
        self._next = next(self._rows, None)

    def take(self, number: int) -> list[Row]:
        taken = []
        while self._next is not None and self._next["row"] == number:
            taken.append(self._next)
            self._next = next(self._rows, None)
        return taken

    def check_read(self) -> None:
        if self._next is not None:
            raise ValueError(
                f"row {self._next['row']} of part {self._next['part']} is out of order, or behind "
                "the last document: run the stage that wrote it again"
            )


def _lost_before_documents(part: str, job: Job) -> Iterator[Row]:
    """Records that became nothing, and image files that cannot be used."""
    empty: Row = dict.fromkeys(TABLE_DROPS.names)
    common = empty | {"part": part, "id": "", "stage": StageName.EXTRACT}
    for verdict, fault in unreadable.with_faults(job.part(f"verdicts/{StageName.EXTRACT}", part)):
        record = _taken(verdict, "row", "id", "url", "reason", "value", "limit")
        yield common | {"kind": "record", "excerpt": fault} | record
    columns = ("url", "status", "value", "limit", "offset")
    for image in parquet.read_rows(job.part("images", part), columns):
        if image["status"] != OK:
            file = {"kind": "file", "row": image["offset"], "reason": image["status"]}
            yield common | file | _taken(image, "url", "value", "limit")


def _taken(row: Row, *names: str) -> Row:
    return {name: row[name] for name in names}


def _document_row(history: DocumentHistory, job: Job) -> Row:
    document, kept, refusal = history.document, history.kept, history.refusal
    nodes = document["nodes"]
    texts = sum(node["kind"] == "text" for node in nodes)
    row = dict.fromkeys(TABLE_DOCUMENTS.names) | history.place | _taken(document, *_COLUMNS)
    row |= {"texts": texts, "images": len(nodes) - texts}
    if kept is None:
        assert refusal is not None, "histories() refuses what is neither kept nor dropped"
        nothing = dict.fromkeys(("kept_texts", "kept_images", "words", "bytes"), 0)
        return row | {"outcome": "dropped"} | refusal.why | nothing
    return row | {
        "outcome": "kept",
        "split": split_of(document["id"], document["domain"], job.settings),
        "kept_texts": len(kept["texts"]),
        "kept_images": len(kept["images"]),
        "words": sum(_words(nodes[position]) for position in kept["texts"]),
        "bytes": kept["bytes"],
    }


def _image_rows(history: DocumentHistory) -> Iterator[Row]:
    kept_images = [] if history.kept is None else history.kept["images"]
    kept = {image["node"]: image for image in kept_images}
    dropped = {given.verdict["node"]: given.why for given in history.verdicts}
    refusal = history.refusal
    for position, node in enumerate(history.document["nodes"]):
        if node["kind"] != "image":
            continue
        row = dict.fromkeys(TABLE_IMAGES.names) | history.place
        row |= {"node": position, "url": node["url"], "alt": node["alt"]}
        if position in kept:
            image = kept[position]
            row |= {"outcome": "kept", "bytes": image["length"]}
            yield row | _taken(image, "sha256", "width", "height", "format")
        elif position in dropped:
            yield row | {"outcome": "dropped"} | dropped[position]
        elif refusal is not None:
            yield row | {"outcome": "dropped", "stage": refusal.stage, "reason": str(Reason.PARENT)}
        else:
            place = history.place
            raise ValueError(
                f"documents/{place['part']} row {place['row']}: image node {position} is neither "
                f"kept nor dropped; run {StageName.FILTER_IMAGES} again"
            )


def _drop_rows(history: DocumentHistory) -> Iterator[Row]:
    document, nodes = history.document, history.document["nodes"]
    for given in history.verdicts:
        position = given.verdict["node"]
        row = history.place | {"node": position} | given.why
        if position is None:
            texts = [node for node in nodes if node["kind"] == "text"]
            yield row | {
                "kind": "document",
                "url": document["url"],
                "words": sum(map(_words, texts)),
                "excerpt": excerpt(" ¶ ".join(node["text"][:EXCERPT] for node in texts[:9])),
            }
        elif (node := nodes[position])["kind"] == "text":
            yield row | {
                "kind": "text",
                "url": document["url"],
                "words": _words(node),
                "excerpt": excerpt(node["text"]),
            }
        else:
            yield row | {
                "kind": "image",
                "url": node["url"],
                "words": None,
                "excerpt": excerpt(node["alt"]),
            }


def _words(node: Mapping[str, Any]) -> int:
    return len(node["text"].split())


def excerpt(text: str) -> str:
    """The beginning of a text on one line, with a mark where something is left out."""
    line = " ".join(text.split())
    return line if len(line) <= EXCERPT else line[: EXCERPT - 1].rstrip() + "…"
