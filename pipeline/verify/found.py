"""Found: everything at rest counted once, a part at a time, before anything is compared.

In:   a run folder and what its stages told.
Out:  tallies by stage, what contradicts itself by name, rows of each input, samples met, and the
      folders whose rows are not those that their own stage told (`broken`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Final

from pipeline.verify.count import PartCount, count_file, count_part
from pipeline.verify.crawl import input_of
from pipeline.verify.digest import Fates
from pipeline.verify.files import partitions
from pipeline.verify.folder import RunFolder
from pipeline.verify.packs import wrong_packs
from pipeline.verify.tally import Tally
from pipeline.verify.tars import count_shard
from schemas.manifest import STAGES, Ledger
from schemas.verdict import Reason

_NODES: Final = ("documents.", "texts.", "images.")
# counts of each stage that are made again here, part by part
COUNTED: Final = {
    "extract": (*_NODES, "files.", "bytes.files", "records.seen", "records.kept",
                "records.dropped."),
    "filter_text": _NODES,
    "fetch": ("wanted.",),
    "filter_images": (*_NODES, "bytes.kept"),
    "shard": ("documents.kept", "texts.kept", "images.kept", "samples.", "shards", "words.kept",
              "bytes.kept"),
}  # fmt: skip
TABLES: Final = ("documents", "images", "drops")


@dataclass(kw_only=True)
class Found:
    """`wrong` is stage -> what contradicts itself -> where."""

    tallies: dict[str, Tally] = field(default_factory=dict)
    fates: Fates = field(default_factory=Fates)
    wrong: dict[str, dict[str, list[str]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    rows: Counter[int] = field(default_factory=Counter)  # at rest, by input
    sums: Ledger = field(default_factory=Ledger)  # what belongs to no part of its stage's table
    table_rows: Ledger = field(default_factory=Ledger)


def count_all(folder: RunFolder) -> Found:
    found = Found()
    for stage, told in folder.told.items():
        found.tallies[stage] = Tally(stage, told, starts=COUNTED[stage])
    if "extract" in folder.told:
        for part in folder.told["extract"].parts:
            _take_part(folder, found, part)
    if "filter_text" in folder.told:
        for partition in partitions(folder):
            found.sums["urls.wanted"] += folder.count_rows("wanted", partition)
    if "fetch" in folder.told:
        for part in folder.told["fetch"].parts:
            _take_fetched(folder, found, part)
    if "shard" in folder.told:
        for name in folder.told["shard"].parts:
            _take_shard(folder, found, name)
    _find_broken(folder, found)
    return found


def _take_part(folder: RunFolder, found: Found, part: str) -> None:
    count = count_part(folder, part, found.fates)
    for stage in ("extract", "filter_text", "filter_images"):
        if stage in found.tallies:
            found.tallies[stage].add(part, count.of(stage))
    found.rows[input_of(part)] += count.extract["records.seen"]
    found.sums.update(count.shard)
    _take_wrong(found, count)
    packs = folder.told["extract"].counts(part)["packs"]
    found.wrong["extract"]["packs"] += wrong_packs(folder, part, packs=packs)
    if "shard" in folder.told:
        for table in TABLES:
            found.table_rows[f"rows.{table}"] += folder.count_rows(f"tables/{table}", part)


def _take_wrong(found: Found, count: PartCount) -> None:
    for what, places in count.wrong.items():
        stage = "filter_images" if what == "fates" else what
        found.wrong[stage]["fates" if what == "fates" else "verdicts"] += places


def _take_fetched(folder: RunFolder, found: Found, part: str) -> None:
    """A partition of wanted/: what was asked for and became a row, and what has none."""
    ledger, partition = Ledger(), part.split("-")[1]
    urls = {row["url"] for row in folder.rows("wanted", partition, ["url"])}
    ledger.see("wanted", len(urls))
    fetched = set()
    for row in folder.rows("images", part, ("url", "status", "bytes")):
        fetched.add(row["url"])
        count_file(ledger, row, kind="wanted")
    ledger.drop("wanted", Reason.NOT_FETCHED, len(urls - fetched))
    found.tallies["fetch"].add(part, ledger)


def _take_shard(folder: RunFolder, found: Found, name: str) -> None:
    count = count_shard(folder, name, found.fates)
    found.tallies["shard"].add(name, count.counts)
    for what, samples in count.wrong.items():
        found.wrong["shard"][what] += [f"{name}: {sample}" for sample in samples]


def folder_of(stage: str, name: str) -> str:
    """The folder whose rows alone a count is made of; "" where there are several."""
    if stage == "extract":
        kind = name.partition(".")[0]
        if name.startswith("records.dropped."):
            return "verdicts/extract"
        return {"files": "images", "bytes": "images", "records": ""}.get(kind, "documents")
    if stage in {"filter_text", "filter_images"} and ".dropped." in name:
        return "" if name.endswith(f".{Reason.PARENT}") else f"verdicts/{stage}"
    if stage == "filter_images" and name.endswith(".kept"):
        return "kept"
    return "shards" if stage == "shard" else ""


def needs_of(stage: str, name: str) -> tuple[str, ...]:
    """The folders of other stages that a count is made of, too."""
    if stage == "filter_text":
        met = ("verdicts/filter_images", "kept") if name.endswith(".kept") else ()
        return ("documents", *met)
    if stage == "filter_images" and not name.endswith(".kept"):
        before = ("verdicts/filter_text",)
        dropped = ".dropped." in name and not name.endswith(f".{Reason.PARENT}")
        return ("documents",) if dropped else ("documents", *before)
    return ("wanted",) if stage == "fetch" else ()


def _find_broken(folder: RunFolder, found: Found) -> None:
    """In the order of the stages, so that a stage is not blamed for what lies before it."""
    for stage in STAGES:
        tally = found.tallies.get(stage)
        for name in () if tally is None else tally.differing:
            own = folder_of(stage, name)
            if own and not folder.broken.intersection(needs_of(stage, name)):
                folder.broken.add(own)
    told = folder.told.get("filter_text")
    if told is not None and found.sums["urls.wanted"] != told.manifest.counts.get("urls.wanted", 0):
        folder.broken.add("wanted")
