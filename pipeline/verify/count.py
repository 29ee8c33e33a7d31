"""Count: one PART's files in, what each stage did with it out, counted row by row.

In:   documents/PART, images/PART, verdicts/STAGE/PART, kept/PART, and the packs of the part.
Out:  a ledger a stage, under the names of the manifests; what a sample of each kept document
      must say, as a digest; how many rows the tables must have. One part is in memory at a time.
Not:  a sum from another. Seen are rows of documents/ less those that an earlier stage's verdicts
      name, dropped are verdict rows (the nodes of a dropped document counted as PARENT), kept
      are rows of kept/. What filter_text kept is what filter_images dropped or kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pipeline.verify.digest import DIGESTED, Fates, kept_digest
from pipeline.verify.folder import Row, RunFolder
from schemas.manifest import Ledger
from schemas.verdict import OK, Reason

NODE_KINDS: Final = {"text": "texts", "image": "images"}
KINDS: Final = ("documents", "texts", "images")
# everything of a document but its counts, which are most of the time it takes to read one
_NODE: Final = ("kind", "role", "text", "caption_of", "url", "alt")
_COLUMNS: Final = (*DIGESTED, *(f"nodes.list.element.{name}" for name in _NODE))
_IMAGE_COLUMNS: Final = ("status", "bytes", "sha256", "pack", "pack_offset")


@dataclass(kw_only=True, slots=True)
class PartCount:
    """What was counted of one part. `wrong` names what contradicts itself, by stage."""

    extract: Ledger = field(default_factory=Ledger)
    filter_text: Ledger = field(default_factory=Ledger)
    filter_images: Ledger = field(default_factory=Ledger)
    shard: Ledger = field(default_factory=Ledger)
    wrong: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def of(self, stage: str) -> Ledger:
        ledger: Ledger = getattr(self, stage)
        return ledger


@dataclass(kw_only=True, slots=True)
class Verdicts:
    """One stage's verdicts about the documents of a part, by row."""

    whole: dict[int, list[Row]] = field(default_factory=lambda: defaultdict(list))
    nodes: dict[int, list[Row]] = field(default_factory=lambda: defaultdict(list))
    rows: int = 0

    @classmethod
    def read(cls, folder: RunFolder, stage: str, part: str) -> Verdicts:
        read = cls()
        for row in folder.rows(f"verdicts/{stage}", part):
            (read.whole if row["node"] is None else read.nodes)[row["row"]].append(row)
            read.rows += 1
        return read

    def gone(self, row: int) -> set[int]:
        return {verdict["node"] for verdict in self.nodes.get(row, ())}


def count_part(folder: RunFolder, part: str, fates: Fates) -> PartCount:
    """Count a part's files; what is kept goes to `fates`, to be met again in the tars."""
    count = PartCount()
    _count_records(folder, part, count)
    texts = Verdicts.read(folder, "filter_text", part)
    images = Verdicts.read(folder, "filter_images", part)
    kept = defaultdict(list)
    for row in folder.rows("kept", part):
        kept[row["row"]].append(row)
        _count_kept(count, row)
    rows = -1
    for rows, document in enumerate(folder.rows("documents", part, _COLUMNS)):
        kinds = [NODE_KINDS[node["kind"]] for node in document["nodes"]]
        _count_text(count, rows, kinds, texts)
        _count_images(count, rows, kinds, texts, images)
        for one in kept[rows]:
            fates.keep(document["id"], kept_digest(document, one))
        _check_fates(count, part, rows, document["id"], kinds, texts, images, kept[rows])
    count.shard["rows.drops"] += texts.rows + images.rows
    named = {*texts.whole, *texts.nodes, *images.whole, *images.nodes}
    for row in sorted(row for row in {*named, *kept} if row > rows):
        stage = "filter_text" if row in {*texts.whole, *texts.nodes} else "filter_images"
        count.wrong[stage].append(f"{part} names row {row} of {rows + 1}")
    return count


def _count_records(folder: RunFolder, part: str, count: PartCount) -> None:
    """What extract left: rows of documents/, images/ and verdicts/extract."""
    ledger = count.extract
    for verdict in folder.rows("verdicts/extract", part, ["reason"]):
        ledger.see("records")
        ledger.drop("records", verdict["reason"])
        count.shard["rows.drops"] += 1
    for image in folder.rows("images", part, _IMAGE_COLUMNS):
        ledger.see("records")
        ledger.keep("records")
        ledger.see("files")
        count_file(ledger, image, kind="files")
        count.shard["rows.drops"] += image["status"] != OK
    for document in folder.rows("documents", part, ["nodes.list.element.kind"]):
        ledger.see("records")
        ledger.keep("records")
        for kind in ("documents", *(NODE_KINDS[node["kind"]] for node in document["nodes"])):
            ledger.see(kind)
            ledger.keep(kind)
            if kind != "texts":
                count.shard[f"rows.{kind}"] += 1


def count_file(ledger: Ledger, image: Row, *, kind: str) -> None:
    """A row of images/: a usable file, or one with the reason why it is none."""
    if image["status"] == OK:
        ledger.keep(kind)
        ledger[f"bytes.{kind}"] += image["bytes"]
    else:
        ledger.drop(kind, image["status"])


def _count_text(count: PartCount, row: int, kinds: Sequence[str], texts: Verdicts) -> None:
    ledger = count.filter_text
    _see(ledger, kinds, range(len(kinds)))
    _drop(count, "filter_text", row, kinds, range(len(kinds)), texts)


def _count_images(
    count: PartCount, row: int, kinds: Sequence[str], texts: Verdicts, images: Verdicts
) -> None:
    """Documents and nodes that filter_text did not drop are what filter_images saw."""
    gone = texts.gone(row)
    left = [position for position in range(len(kinds)) if position not in gone]
    if row not in texts.whole:
        _see(count.filter_images, kinds, left)
    met = _drop(count, "filter_images", row, kinds, left, images)
    for kind, number in met.items():
        count.filter_text.keep(kind, number)


def _see(ledger: Ledger, kinds: Sequence[str], positions: Sequence[int]) -> None:
    ledger.see("documents")
    for position in positions:
        ledger.see(kinds[position])


def _drop(
    count: PartCount,
    stage: str,
    row: int,
    kinds: Sequence[str],
    left: Sequence[int],
    verdicts: Verdicts,
) -> Mapping[str, int]:
    """Count a document's verdicts of a stage; how many of each kind they are about."""
    ledger, about = count.of(stage), Ledger()
    for verdict in verdicts.whole.get(row, ()):
        about["documents"] += 1
        ledger.drop("documents", verdict["reason"])
        for position in left:
            about[kinds[position]] += 1
            ledger.drop(kinds[position], Reason.PARENT)
    for verdict in verdicts.nodes.get(row, ()):
        position = verdict["node"]
        if not 0 <= position < len(kinds):
            count.wrong[stage].append(f"row {row} has no node {position}")
            continue
        about[kinds[position]] += 1
        ledger.drop(kinds[position], verdict["reason"])
    return about


def _count_kept(count: PartCount, kept: Row) -> None:
    numbers = {"documents": 1, "texts": len(kept["texts"]), "images": len(kept["images"])}
    for kind, number in numbers.items():
        count.filter_text.keep(kind, number)  # met by filter_images, so kept by filter_text
        count.filter_images.keep(kind, number)
        count.shard.see(kind, number)
    count.filter_images["bytes.kept"] += kept["bytes"]


def _check_fates(
    count: PartCount,
    part: str,
    row: int,
    id_: str,
    kinds: Sequence[str],
    texts: Verdicts,
    images: Verdicts,
    kept: Sequence[Row],
) -> None:
    """A document is dropped once or kept once, and so is each of its nodes."""
    whole = [*texts.whole.get(row, ()), *images.whole.get(row, ())]
    nodes = [*texts.nodes.get(row, ()), *images.nodes.get(row, ())]
    where = f"{part} row {row}"
    if len(whole) + len(kept) != 1:
        count.wrong["fates"].append(f"{where}: {len(whole)} drops, kept {len(kept)} times")
    if any(one["id"] != id_ or one["part"] != part for one in (*whole, *nodes, *kept)):
        count.wrong["fates"].append(f"{where} is called by another id or part")
    if kept:
        fates = [verdict["node"] for verdict in nodes]
        fates += [node for one in kept for node in kept_nodes(one)]
        if sorted(fates) != list(range(len(kinds))):
            count.wrong["fates"].append(f"{where}: {len(kinds)} nodes, {len(fates)} fates")


def kept_nodes(kept: Row) -> Iterator[int]:
    yield from kept["texts"]
    yield from (image["node"] for image in kept["images"])
