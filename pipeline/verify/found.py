"""Found: everything at rest counted once, a part at a time, before anything is compared.

In:   a run folder and what its stages told.
Out:  tallies by stage, differences by kind, what was gathered across parts, and the folders whose
      rows are not those that their own stage told, or what they should be (`broken`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from pipeline.stages import NAMES
from pipeline.verify.across import Across
from pipeline.verify.count import count_file, count_part
from pipeline.verify.differences import FETCHED, FETCHED_ROWS, KINDS, TARS, WANTED, Differences
from pipeline.verify.files import fetched_packs, partitions
from pipeline.verify.folder import RunFolder
from pipeline.verify.packs import COLUMNS, check_packs
from pipeline.verify.rows import fetched_row
from pipeline.verify.tally import Tally
from pipeline.verify.tars import count_shard
from schemas.manifest import Ledger
from schemas.verdict import Reason

_NODES: Final = ("documents.", "texts.", "images.")
# counts of each stage that are made again here, part by part
COUNTED: Final = {
    "extract": (*_NODES, "files.", "bytes.files", "records.seen", "records.kept",
                "records.dropped.", "objections"),
    "filter_text": _NODES,
    "fetch": ("wanted.", "bytes.wanted"),
    "filter_images": (*_NODES, "bytes.kept"),
    "shard": ("documents.kept", "texts.kept", "images.kept", "samples.", "shards", "words.kept",
              "bytes.kept"),
}  # fmt: skip
TABLES: Final = ("documents", "images", "drops")


@dataclass(kw_only=True)
class Found:
    """All that was counted, before anything is compared with what was told."""

    across: Across
    tallies: dict[str, Tally] = field(default_factory=dict)
    wrong: Differences = field(default_factory=Differences)
    sums: Ledger = field(default_factory=Ledger)  # what belongs to no part of its stage's table
    table_rows: Ledger = field(default_factory=Ledger)
    members: set[str] = field(default_factory=set)  # names of images in samples


def count_all(folder: RunFolder) -> Found:
    found = Found(across=Across.of(folder))
    for stage, told in folder.told.items():
        found.tallies[stage] = Tally(stage, told, starts=COUNTED[stage])
    if "extract" in folder.told:
        files = _files(folder)
        for part in folder.told["extract"].parts:
            _take_part(folder, found, part, files)
    if "filter_text" in folder.told:
        _take_wanted(folder, found)
    if "fetch" in folder.told:
        for part in folder.told["fetch"].parts:
            _take_fetched(folder, found, part)
        _take_fetched_packs(folder, found)
    if "shard" in folder.told:
        for name in folder.told["shard"].parts:
            _take_shard(folder, found, name)
    found.across.compare(found.wrong)
    _find_broken(folder, found)
    return found


def _files(folder: RunFolder) -> int:
    """Image files that a run has, as its stages tell."""
    of_crawl = folder.told["extract"].manifest.counts.get("files.kept", 0)
    if "fetch" not in folder.told:
        return of_crawl
    return of_crawl + folder.told["fetch"].manifest.counts.get("wanted.kept", 0)


def _take_part(folder: RunFolder, found: Found, part: str, files: int) -> None:
    count = count_part(folder, part, found.across)
    for stage in ("extract", "filter_text", "filter_images"):
        if stage in found.tallies:
            found.tallies[stage].add(part, count.of(stage))
    found.sums.update(count.shard)
    found.table_rows.update(count.tables)
    for kind, places in count.wrong.items():
        found.wrong[kind] += places
    packs = [f"{part}-{k}.tar" for k in range(folder.told["extract"].counts(part)["packs"])]
    rows = folder.rows("images", part, COLUMNS)
    found.sums.update(
        check_packs(folder, packs, rows, stage="extract", files=files, wrong=found.wrong)
    )


def _take_wanted(folder: RunFolder, found: Found) -> None:
    for number, partition in enumerate(partitions(folder)):
        for row in folder.rows("wanted", partition):
            found.sums["urls.wanted"] += 1
            found.wrong[WANTED] += found.across.wanted.want(number, row)


def _take_fetched(folder: RunFolder, found: Found, part: str) -> None:
    """A partition of wanted/: what was asked for and became a row, and what has none.

    What was brought for an earlier recipe stays, wanted or not.
    """
    ledger, partition = Ledger(), part.split("-")[1]
    urls = {row["url"] for row in folder.rows("wanted", partition, ["url"])}
    ledger.see("wanted", len(urls))
    fetched: set[str] = set()
    for row in folder.rows("images", part):
        where = f"{part} {row['url']}"
        if row["url"] in fetched or found.across.wanted.home(row["url"]) != int(partition):
            found.wrong[FETCHED].append(where)
        fetched.add(row["url"])
        if row["url"] in urls:
            count_file(ledger, row, kind="wanted")
        found.wrong[FETCHED] += fetched_row(row, where)
        found.across.files.tell(row, found.across.recipes["filter_images"])
    ledger.drop("wanted", Reason.NOT_FETCHED, len(urls - fetched))
    found.tallies["fetch"].add(part, ledger)


def _take_fetched_packs(folder: RunFolder, found: Found) -> None:
    """Together: behind a redirect, a partition's row points into the pack of another."""
    parts = folder.told["fetch"].parts
    rows = [row for part in parts for row in folder.rows("images", part, COLUMNS)]
    found.sums.update(check_packs(folder, fetched_packs(folder), rows, stage="fetch",
                                  files=_files(folder), wrong=found.wrong))  # fmt: skip


def _take_shard(folder: RunFolder, found: Found, name: str) -> None:
    count = count_shard(folder, name, found.across.samples, found.across.splits)
    found.tallies["shard"].add(name, count.counts)
    found.members |= count.members
    for what, samples in count.wrong.items():
        found.wrong[TARS[what]] += [f"{name}: {sample}" for sample in samples]


def folder_of(stage: str, name: str) -> str:
    """The folder whose rows alone a count is made of; "" where there are several."""
    if stage == "extract":
        kind = name.partition(".")[0]
        if name.startswith("records.dropped."):
            return "verdicts/extract"
        of = {"files": "images", "bytes": "images", "objections": "objections", "records": ""}
        return of.get(kind, "documents")
    if stage in {"filter_text", "filter_images"} and ".dropped." in name:
        return "" if name.endswith(f".{Reason.PARENT}") else f"verdicts/{stage}"
    if stage == "filter_images" and name.endswith(".kept"):
        return "kept"
    return {"shard": "shards", "fetch": FETCHED_ROWS}.get(stage, "")


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
    told = folder.told.get("filter_text")
    for stage in NAMES:
        tally = found.tallies.get(stage)
        for name in () if tally is None else tally.differing:
            own = folder_of(stage, name)
            if own and not folder.broken.intersection(needs_of(stage, name)):
                folder.broken.add(own)
        if stage == "filter_text" and told is not None:
            urls = told.manifest.counts.get("urls.wanted", 0)
            folder.broken |= {"wanted"} if found.sums["urls.wanted"] != urls else set()
        for kind in KINDS:
            if kind.stage == stage and kind.breaks and found.wrong[kind]:
                folder.broken |= set() if folder.broken & {*kind.needs} else {kind.breaks}
