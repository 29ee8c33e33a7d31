"""Count: one PART's files in, what each stage did with it out, counted row by row.

In:   documents/PART, images/PART, verdicts/STAGE/PART, kept/PART, tables/*/PART.
Out:  a ledger a stage, under the names of the manifests; differences within the part; and what can
      only be told when all parts are read, given to `Across`. One part is in memory at a time.
Not:  a sum from another. Seen are rows of documents/ less those that an earlier stage's verdicts
      name, dropped are verdict rows (the nodes of a dropped document counted as PARENT), kept
      are rows of kept/. What filter_text kept is what filter_images dropped or kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pipeline.verify.across import Across
from pipeline.verify.differences import (
    DOCUMENTS,
    FATES,
    IMAGE_VALUES,
    IMAGE_VERDICTS,
    IMAGES,
    KEPT,
    KEPT_PASSED,
    OBJECTIONS,
    REFUSED_RECORDS,
    TABLES,
    TEXT_PASSED,
    TEXT_VALUES,
    TEXT_VERDICTS,
    Differences,
)
from pipeline.verify.digest import DIGESTED
from pipeline.verify.fate import DECIDING, Fate, Verdicts, fate_of
from pipeline.verify.folder import Row, RunFolder
from pipeline.verify.passed import passed_images, passed_text
from pipeline.verify.rows import RowsOfPart
from pipeline.verify.tables import TablesOfPart
from schemas.manifest import Ledger
from schemas.verdict import OK, Reason

KINDS: Final = ("documents", "texts", "images")
_NODE: Final = (
    "kind", "role", "text", "caption_of", "counts", "url", "others", "alt", "width", "height"
)  # fmt: skip
_COLUMNS: Final = (
    *DIGESTED, "domain", "extractor", "language_score", "robots", "tdm_reservation",
    *(f"nodes.list.element.{name}" for name in _NODE),
)  # fmt: skip
_THERE: Final = {"filter_text": TEXT_VERDICTS, "filter_images": IMAGE_VERDICTS}
_VALUES: Final = {"filter_text": TEXT_VALUES, "filter_images": IMAGE_VALUES}


@dataclass(kw_only=True, slots=True)
class PartCount:
    """What was counted of one part, and what contradicts itself in it."""

    extract: Ledger = field(default_factory=Ledger)
    filter_text: Ledger = field(default_factory=Ledger)
    filter_images: Ledger = field(default_factory=Ledger)
    shard: Ledger = field(default_factory=Ledger)
    tables: Ledger = field(default_factory=Ledger)
    wrong: Differences = field(default_factory=Differences)

    def of(self, stage: str) -> Ledger:
        ledger: Ledger = getattr(self, stage)
        return ledger


def count_part(folder: RunFolder, part: str, across: Across) -> PartCount:
    """Count a part's files and hold each row against those that it was made from."""
    count = PartCount()
    tables, rows = TablesOfPart(folder, part), RowsOfPart(part, input_=across.input_of(part))
    _count_records(folder, part, count, tables, rows, across)
    verdicts = {stage: Verdicts.read(folder, stage, part) for stage in DECIDING}
    kept = defaultdict(list)
    for row in folder.rows("kept", part):
        kept[row["row"]].append(row)
        _count_kept(count, row)
    number = -1
    for number, document in enumerate(folder.rows("documents", part, _COLUMNS)):
        count.wrong[DOCUMENTS] += rows.document(number, document)
        fate = fate_of(part, number, document, verdicts, kept[number])
        _count_fate(count, fate)
        _check_fate(count, fate, across)
        _check_called(count, fate, also=tables.take(fate))
        across.take(fate)
    count.shard["rows.drops"] += sum(one.rows for one in verdicts.values())
    for stage in DECIDING:
        beyond = verdicts[stage].named | (set(kept) if stage == DECIDING[-1] else set())
        count.wrong[_THERE[stage]] += [
            f"{part} names row {row} of {number + 1}"
            for row in sorted(beyond)
            if not 0 <= row <= number
        ]
    _end_tables(count, tables, across)
    return count


def _count_records(
    folder: RunFolder,
    part: str,
    count: PartCount,
    tables: TablesOfPart,
    rows: RowsOfPart,
    across: Across,
) -> None:
    """What extract left: rows of documents/, images/ and verdicts/extract."""
    ledger = count.extract
    for verdict in folder.rows("verdicts/extract", part):
        ledger.see("records")
        ledger.drop("records", verdict["reason"])
        count.shard["rows.drops"] += 1
        count.wrong[REFUSED_RECORDS] += rows.refused(verdict)
        tables.lose_record(verdict)
        across.records.refused(part, verdict)
    for objection in folder.rows("objections", part):
        ledger["objections"] += 1
        count.wrong[OBJECTIONS] += rows.objection(objection)
        across.records.objection(part, objection)
        across.object(objection)
    for image in folder.rows("images", part):
        ledger.see("records")
        ledger.keep("records")
        ledger.see("files")
        count_file(ledger, image, kind="files")
        count.shard["rows.drops"] += image["status"] != OK
        count.wrong[IMAGES] += rows.image(image)
        tables.lose_file(image)
        across.hold(part, image)
    for document in folder.rows("documents", part, ["nodes.list.element.kind"]):
        ledger.see("records")
        ledger.keep("records")
        for kind in ("documents", *map(_kind_of, document["nodes"])):
            ledger.see(kind)
            ledger.keep(kind)
            if kind != "texts":
                count.shard[f"rows.{kind}"] += 1


def _kind_of(node: Row) -> str:
    return "images" if node["kind"] == "image" else "texts"


def count_file(ledger: Ledger, image: Row, *, kind: str) -> None:
    """A row of images/: a usable file, or one with the reason why it is none."""
    if image["status"] == OK:
        ledger.keep(kind)
        ledger[f"bytes.{kind}"] += image["bytes"] or 0
    else:
        ledger.drop(kind, image["status"])


def _count_fate(count: PartCount, fate: Fate) -> None:
    """What the two deciding stages did with a document."""
    kinds = [_kind_of(node) for node in fate.document["nodes"]]
    _see(count.filter_text, kinds, range(len(kinds)))
    _drop(count, "filter_text", fate, kinds, range(len(kinds)))
    gone = fate.gone("filter_text")
    left = [position for position in range(len(kinds)) if position not in gone]
    if fate.passed_text:
        _see(count.filter_images, kinds, left)
    met = _drop(count, "filter_images", fate, kinds, left)
    for kind, number in met.items():
        count.filter_text.keep(kind, number)


def _see(ledger: Ledger, kinds: Sequence[str], positions: Sequence[int]) -> None:
    ledger.see("documents")
    for position in positions:
        ledger.see(kinds[position])


def _drop(
    count: PartCount, stage: str, fate: Fate, kinds: Sequence[str], left: Sequence[int]
) -> Mapping[str, int]:
    """Count a document's verdicts of a stage; how many of each kind they are about."""
    ledger, about = count.of(stage), Ledger()
    for verdict in fate.whole[stage]:
        about["documents"] += 1
        ledger.drop("documents", verdict["reason"])
        for position in left:
            about[kinds[position]] += 1
            ledger.drop(kinds[position], Reason.PARENT)
    for verdict in fate.nodes[stage]:
        position = verdict["node"]
        if not 0 <= position < len(kinds):
            count.wrong[_THERE[stage]].append(f"{fate.where} has no node {position}")
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


def _check_fate(count: PartCount, fate: Fate, across: Across) -> None:
    """One fate for a document and for each node; verdicts that hold; a kept row that is right."""
    count.wrong[FATES] += _other_fates(fate)
    nodes = fate.document["nodes"]
    for stage in DECIDING:
        for verdict in (*fate.whole[stage], *fate.nodes[stage]):
            at = verdict["node"]
            if at is not None and not 0 <= at < len(nodes):
                continue
            why = across.limits[stage].why_not(verdict, None if at is None else nodes[at])
            if at is None and verdict["reason"] == Reason.OPTED_OUT:
                why = "" if fate.document["url"] in across.listed else "not on the opt-out list"
            if why:
                place = fate.where if at is None else f"{fate.where} node {at}"
                count.wrong[_VALUES[stage]].append(f"{place}: {why}")
    count.wrong[TEXT_PASSED] += passed_text(fate, across.recipes["filter_text"], across.listed)
    count.wrong[KEPT_PASSED] += passed_images(fate, across.recipes["filter_images"])
    for kept in fate.kept:
        count.wrong[KEPT] += _other_kept(fate, kept)


def _other_fates(fate: Fate) -> Iterator[str]:
    whole = [one for stage in DECIDING for one in fate.whole[stage]]
    nodes = [one for stage in DECIDING for one in fate.nodes[stage]]
    if len(whole) + len(fate.kept) != 1:
        yield f"{fate.where}: {len(whole)} drops, kept {len(fate.kept)} times"
    if fate.kept:
        fates = [verdict["node"] for verdict in nodes]
        fates += [node for one in fate.kept for node in kept_nodes(one)]
        if sorted(fates) != list(range(len(fate.document["nodes"]))):
            yield f"{fate.where}: {len(fate.document['nodes'])} nodes, {len(fates)} fates"


def _check_called(count: PartCount, fate: Fate, *, also: str | None) -> None:
    """All call a document by its id; where they agree on another, documents/ is wrong."""
    callers = [(_THERE[stage], one) for stage, one in fate.refusals()]
    callers += [(KEPT, kept) for kept in fate.kept]
    right, called = fate.document["id"], {also, *(one["id"] for _, one in callers)}
    if also is not None and callers and called == {also} != {right}:
        count.wrong[DOCUMENTS].append(f"{fate.where}: id {right}, but all others call it {also}")
        return
    for kind, one in callers:
        if (one["id"], one["part"], one.get("url")) != (right, fate.part, None):
            count.wrong[kind].append(f"{fate.where}, {right}: called {one['id']} of {one['part']}")


def kept_nodes(kept: Row) -> Iterator[int]:
    yield from kept["texts"]
    yield from (image["node"] for image in kept["images"])


def _other_kept(fate: Fate, kept: Row) -> Iterator[str]:
    """Its domain, its bytes and the URLs of its images are those of the document."""
    nodes = fate.document["nodes"]
    if kept["domain"] != fate.document["domain"]:
        yield f"{fate.where}: kept of {kept['domain']}, a page of {fate.document['domain']}"
    texts = (nodes[at]["text"] or "" for at in kept["texts"] if 0 <= at < len(nodes))
    size = sum(len(text.encode()) for text in texts)
    size += sum(image["length"] for image in kept["images"])
    if size != kept["bytes"]:
        yield f"{fate.where}: {kept['bytes']:,} bytes told, {size:,} kept"
    for image in kept["images"]:
        node = nodes[image["node"]] if 0 <= image["node"] < len(nodes) else {}
        if image["url"] not in {node.get("url"), *(node.get("others") or ())}:
            yield f"{fate.where} node {image['node']}: {image['url']} is not of that image"


def _end_tables(count: PartCount, tables: TablesOfPart, across: Across) -> None:
    tables.end()
    for name, rows in tables.counts.items():
        count.tables[f"rows.{name}"] += rows
        count.wrong[TABLES[name]] += tables.wrong[name]
    for stage, places in tables.overruled.items():
        count.wrong[_VALUES[stage]] += places
    for id_, split in tables.splits:
        across.splits.keep(id_, split.encode())
