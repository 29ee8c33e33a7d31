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


class Refused(NamedTuple):
    """A verdict and the stage that gave it."""

    stage: str
    verdict: Row

    @property
    def why(self) -> Row:
        told = {name: self.verdict[name] for name in ("reason", "value", "limit")}
        return {"stage": self.stage} | told


class Story(NamedTuple):
    """One document and all that was decided about it."""

    place: Row  # part, row, id
    document: Row
    kept: Row | None  # row of kept/
    refusals: list[Refused]

    @property
    def whole(self) -> Refused | None:
        return next((one for one in self.refusals if one.verdict["node"] is None), None)


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
        for story in stories(part, job):
            documents.add(_document_row(story, job))
            for row in _image_rows(story):
                images.add(row)
            for row in _drop_rows(story):
                drops.add(row)
        counts = {
            "rows.documents": documents.rows,
            "rows.images": images.rows,
            "rows.drops": drops.rows,
        }
        drops.counts = images.counts = documents.counts = counts
    return PartResult(part="", fingerprint=fingerprint, counts=counts, files=files.stored)


def stories(part: str, job: Job) -> Iterator[Story]:
    """Every document of a part with its verdicts and its kept row, in row order."""
    verdicts = {
        stage: ByRow(parquet.read_rows(job.part(f"verdicts/{stage}", part))) for stage in DECIDING
    }
    keeps = ByRow(parquet.read_rows(job.part("kept", part)))
    for number, document in enumerate(
        parquet.read_rows(job.part("documents", part), (*_COLUMNS, *_NODES))
    ):
        refusals = [
            Refused(stage, verdict)
            for stage, of_rows in verdicts.items()
            for verdict in of_rows.take(number)
        ]
        place = {"part": part, "row": number, "id": document["id"]}
        story = Story(place, document, next(iter(keeps.take(number)), None), refusals)
        if (story.kept is None) == (story.whole is None):
            raise ValueError(
                f"documents/{part} row {number} is kept {story.kept is not None} and dropped "
                f"{story.whole is not None}: just one must be; run "
                f"{StageName.FILTER_TEXT} again"
            )
        yield story
    for left in (*verdicts.values(), keeps):
        left.check_read()


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
    nothing: Row = dict.fromkeys(TABLE_DROPS.names) | {
        "part": part,
        "id": "",
        "stage": StageName.EXTRACT,
    }
    for verdict, fault in unreadable.with_faults(job.part(f"verdicts/{StageName.EXTRACT}", part)):
        told = {name: verdict[name] for name in ("row", "id", "url", "reason", "value", "limit")}
        yield nothing | {"kind": "record", "excerpt": fault} | told
    columns = ("url", "status", "value", "limit", "offset")
    for image in parquet.read_rows(job.part("images", part), columns):
        if image["status"] != OK:
            told = {name: image[name] for name in ("url", "value", "limit")}
            told |= {"row": image["offset"], "reason": image["status"]}
            yield nothing | {"kind": "file"} | told


def _document_row(story: Story, job: Job) -> Row:
    document, kept, whole = story.document, story.kept, story.whole
    nodes = document["nodes"]
    texts = sum(node["kind"] == "text" for node in nodes)
    row = dict.fromkeys(TABLE_DOCUMENTS.names) | story.place
    row |= {name: document[name] for name in _COLUMNS}
    row |= {"texts": texts, "images": len(nodes) - texts}
    if kept is None:
        assert whole is not None, "stories() refuses what is neither kept nor dropped"
        nil = dict.fromkeys(("kept_texts", "kept_images", "words", "bytes"), 0)
        return row | {"outcome": "dropped"} | whole.why | nil
    return row | {
        "outcome": "kept",
        "split": split_of(document["id"], document["domain"], job.settings),
        "kept_texts": len(kept["texts"]),
        "kept_images": len(kept["images"]),
        "words": sum(_words(nodes[position]) for position in kept["texts"]),
        "bytes": kept["bytes"],
    }


def _image_rows(story: Story) -> Iterator[Row]:
    kept = {image["node"]: image for image in (story.kept or {"images": ()})["images"]}
    refusals = {one.verdict["node"]: one.why for one in story.refusals}
    whole = story.whole
    for position, node in enumerate(story.document["nodes"]):
        if node["kind"] != "image":
            continue
        row = dict.fromkeys(TABLE_IMAGES.names) | story.place
        row |= {"node": position, "url": node["url"], "alt": node["alt"]}
        if (image := kept.get(position)) is not None:
            shown = {name: image[name] for name in ("sha256", "width", "height", "format")}
            yield row | {"outcome": "kept", "bytes": image["length"]} | shown
        elif position in refusals:
            yield row | {"outcome": "dropped"} | refusals[position]
        elif whole is not None:
            yield row | {"outcome": "dropped", "stage": whole.stage, "reason": str(Reason.PARENT)}
        else:
            raise ValueError(
                f"documents/{story.place['part']} row {story.place['row']}: image node {position} "
                f"is neither kept nor dropped; run {StageName.FILTER_IMAGES} again"
            )


def _drop_rows(story: Story) -> Iterator[Row]:
    document, nodes = story.document, story.document["nodes"]
    for refused in story.refusals:
        position = refused.verdict["node"]
        row = story.place | {"node": position} | refused.why
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
            shown = {"url": node["url"], "words": None, "excerpt": excerpt(node["alt"])}
            yield row | {"kind": "image"} | shown


def _words(node: Mapping[str, Any]) -> int:
    return len(node["text"].split())


def excerpt(text: str) -> str:
    """The beginning of a text on one line, with a mark where something is left out."""
    line = " ".join(text.split())
    return line if len(line) <= EXCERPT else line[: EXCERPT - 1].rstrip() + "…"
