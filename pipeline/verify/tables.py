"""Tables: each row of tables/ against what documents/, verdicts/, kept/ and images/ make of it.

In:   the fates of a part's documents, one after the other; records and files that were lost before.
Out:  which rows of the three tables say something else, and in which columns. Written from
      the meaning of the columns (schemas/README.md), not with the code that writes tables/.
`split` alone is told by where the sample lies: it is left to those who have opened the tars.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from pipeline.verify.fate import Fate
from pipeline.verify.folder import Row, RunFolder
from schemas.verdict import OK, Reason

NAMES: Final = ("documents", "images", "drops")
_COPIED: Final = ("id", "url", "domain", "date", "language", "title", "extractor")
_LOST: Final = ("url", "value", "limit")
_SHOWN: Final = 240  # characters of an excerpt
_TEXTS_SHOWN: Final = 9


class TablesOfPart:
    """The tables of one part, read row by row beside its documents."""

    def __init__(self, folder: RunFolder, part: str) -> None:
        self._part = part
        self._rows = {name: folder.rows(f"tables/{name}", part) for name in NAMES}
        self._faults = iter(folder.faults(part))
        self.counts = dict.fromkeys(NAMES, 0)
        self.splits: list[tuple[str, str]] = []  # id, split of each document that is kept
        self.wrong: dict[str, list[str]] = defaultdict(list)
        # stage -> verdicts that two tables, which agree with each other, tell otherwise
        self.overruled: dict[str, list[str]] = defaultdict(list)

    def lose_record(self, verdict: Row) -> None:
        """A record that became nothing: a row of verdicts/extract."""
        lost = {name: verdict[name] for name in _LOST}
        if verdict["reason"] == Reason.UNREADABLE_RECORD:
            lost["excerpt"] = next(self._faults, "")
        self._expect("drops", self._lost("record", verdict["row"], verdict["reason"]) | lost)

    def lose_file(self, image: Row) -> None:
        """A row of images/ without usable bytes."""
        if image["status"] != OK:
            lost = {name: image[name] for name in _LOST}
            self._expect("drops", self._lost("file", image["offset"], image["status"]) | lost)

    def _lost(self, kind: str, row: int, reason: str) -> Row:
        nothing = dict.fromkeys(("node", "words", "excerpt"))
        place = {"part": self._part, "row": row, "id": ""}
        return nothing | place | {"stage": "extract", "kind": kind, "reason": reason}

    def take(self, fate: Fate) -> str | None:
        """Hold a document's rows against it; the id by which tables/documents calls it."""
        document = self._expect("documents", _document(fate))
        told = {None: document} | {
            row["node"]: self._expect("images", row) for row in _images(fate)
        }
        for expected in _drops(fate):
            dropped, other = self._expect("drops", expected), told.get(expected["node"])
            if dropped is None or other is None or dropped["node"] != expected["node"]:
                continue
            if _reason(dropped) == _reason(other) != _reason(expected):
                self.overruled[expected["stage"]].append(
                    f"{fate.where} node {expected['node']}: {_reason(expected)}, but two tables "
                    f"tell {_reason(dropped)}"
                )
        return None if document is None else str(document["id"])

    def end(self) -> None:
        """Whatever rows are left say something of what is not there."""
        for name, rows in self._rows.items():
            for _ in rows:
                self.counts[name] += 1
                self.wrong[name].append(f"{self._part}, row {self.counts[name]} is of nothing")

    def _expect(self, name: str, expected: Row) -> Row | None:
        """The next row of a table, which should be this one."""
        row = next(self._rows[name], None)
        if row is None:
            self.wrong[name].append(f"{self._part} ends before row {self.counts[name] + 1}")
            return None
        self.counts[name] += 1
        if name == "documents":
            row = self._without_split(row)
        if row != expected:
            columns = sorted(key for key in {*row, *expected} if row.get(key) != expected.get(key))
            self.wrong[name].append(
                f"{self._part} row {row['row']}, {row['id']}: other {', '.join(columns)}"
            )
        return row

    def _without_split(self, row: Row) -> Row:
        split = row.pop("split")
        if split is not None and row["outcome"] == "kept":
            self.splits.append((row["id"], split))
        elif split is not None or row["outcome"] == "kept":
            row["split"] = split  # one that should not be there, or is missing: a difference
        return row


def _why(stage: str, verdict: Row) -> Row:
    return {"stage": stage} | {name: verdict[name] for name in ("reason", "value", "limit")}


_NO_REASON: Final[Row] = dict.fromkeys(("stage", "reason", "value", "limit"))


def _reason(row: Row) -> tuple[object, ...]:
    return tuple(row[name] for name in _NO_REASON)


def _place(fate: Fate) -> Row:
    return {"part": fate.part, "row": fate.row, "id": fate.document["id"]}


def _document(fate: Fate) -> Row:
    nodes = fate.document["nodes"]
    images = sum(node["kind"] == "image" for node in nodes)
    row = _place(fate) | {name: fate.document[name] for name in _COPIED}
    row |= {"texts": len(nodes) - images, "images": images}
    if fate.refusal is not None or not fate.kept:
        why = _NO_REASON if fate.refusal is None else _why(*fate.refusal)
        nil = dict.fromkeys(("kept_texts", "kept_images", "words", "bytes"), 0)
        return row | {"outcome": "dropped"} | why | nil
    kept = fate.kept[0]
    texts = [nodes[at]["text"] or "" for at in kept["texts"] if 0 <= at < len(nodes)]
    return row | _NO_REASON | {
        "outcome": "kept",
        "kept_texts": len(kept["texts"]),
        "kept_images": len(kept["images"]),
        "words": sum(len(text.split()) for text in texts),
        "bytes": sum(len(text.encode()) for text in texts)
        + sum(image["length"] for image in kept["images"]),
    }  # fmt: skip


def _images(fate: Fate) -> Iterator[Row]:
    kept = {image["node"]: image for one in fate.kept for image in one["images"]}
    whys = {one["node"]: _why(stage, one) for stage, one in fate.refusals()}
    of_file = ("sha256", "width", "height", "format")
    for position, node in enumerate(fate.document["nodes"]):
        if node["kind"] != "image":
            continue
        row = _place(fate) | {"node": position, "url": node["url"], "alt": node["alt"]}
        if (image := kept.get(position)) is not None:
            row |= {name: image[name] for name in of_file} | {"bytes": image["length"]}
            yield row | _NO_REASON | {"outcome": "kept"}
            continue
        row |= dict.fromkeys((*of_file, "bytes")) | {"outcome": "dropped"}
        parent = _NO_REASON if fate.refusal is None else _NO_REASON | {"stage": fate.refusal[0]}
        yield row | whys.get(position, {**parent, "reason": str(Reason.PARENT)})


def _drops(fate: Fate) -> Iterator[Row]:
    nodes = fate.document["nodes"]
    for stage, verdict in fate.refusals():
        position = verdict["node"]
        row = _place(fate) | {"node": position} | _why(stage, verdict)
        if position is None:
            texts = [node["text"] or "" for node in nodes if node["kind"] != "image"]
            shown = " ¶ ".join(text[:_SHOWN] for text in texts[:_TEXTS_SHOWN])
            words = sum(len(text.split()) for text in texts)
            what = {"kind": "document", "url": fate.document["url"], "words": words}
        elif not 0 <= position < len(nodes):
            continue  # a verdict about what is not there, which is a difference of its own
        elif nodes[position]["kind"] == "image":
            shown = nodes[position]["alt"] or ""
            what = {"kind": "image", "url": nodes[position]["url"], "words": None}
        else:
            shown = nodes[position]["text"] or ""
            what = {"kind": "text", "url": fate.document["url"], "words": len(shown.split())}
        yield row | what | {"excerpt": _beginning(shown)}


def _beginning(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1].rstrip()}…"
