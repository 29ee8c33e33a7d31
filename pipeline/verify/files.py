"""Files: what the manifests name must lie there with the right mark, and nothing else may.

In:   run.json, manifests, parts tables, a listing of the run folder.
Out:  for each stage: its fingerprint made again, its parts counted, their sums added up, every
      file opened for its mark; strays by name, under the stage in whose folder they lie.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pipeline import store
from pipeline.verify.checks import RUN, Check, compare, named, not_counted
from pipeline.verify.folder import RunFolder
from schemas.manifest import STAGES, Ledger

# counts that belong to no part of a stage's table: they are added to the sums alone
NAMELESS: Final = frozenset(
    {"urls.wanted", "comparisons", "rows.documents", "rows.images", "rows.drops"}
)
# the stage whose parts table names the parts of a folder, and the stage that marks them
FOLDERS: Final = {
    "documents": ("extract", "extract"),
    "images": ("extract", "extract"),
    "verdicts/extract": ("extract", "extract"),
    "verdicts/filter_text": ("filter_text", "filter_text"),
    "images/fetch-": ("fetch", "fetch"),
    "verdicts/filter_images": ("filter_images", "filter_images"),
    "kept": ("filter_images", "filter_images"),
    "index": ("shard", "shard"),
    "tables/documents": ("filter_images", "shard"),
    "tables/images": ("filter_images", "shard"),
    "tables/drops": ("filter_images", "shard"),
}
_OWNERS: Final = (  # of what lies in the folder, told by how its path begins
    ("images/fetch-", "fetch"), ("documents/", "extract"), ("images/", "extract"),
    ("packs/", "extract"), ("verdicts/extract/", "extract"), ("wanted/", "filter_text"),
    ("verdicts/filter_text/", "filter_text"), ("verdicts/filter_images/", "filter_images"),
    ("kept/", "filter_images"), ("shards/", "shard"), ("index/", "shard"), ("tables/", "shard"),
    ("report.html", "shard"), ("README.md", "shard"), *((f"{one}.", one) for one in STAGES),
)  # fmt: skip
_OF_OTHERS: Final = ("counts/",)  # made from shards and index by the trainer


def check_stages(folder: RunFolder) -> Iterator[Check]:
    """Manifests, fingerprints and the files of parts, stage by stage."""
    prints = folder.fingerprints()
    for stage in STAGES:
        if stage in folder.told:
            yield from _check_told(folder, stage, prints[stage])
            yield _check_settings(folder, stage)
            yield _check_files(folder, stage)
        elif why := folder.missing[stage]:
            yield compare(stage, "manifest", "none", "whole", counted_in=f"{stage}.manifest.json",
                          held_against="", note=f"{why}: use interloom run")  # fmt: skip
        else:
            first = next(one for one in STAGES if one in folder.missing)
            yield not_counted(stage, "all of it", why=f"{first} is not whole")


def _check_told(folder: RunFolder, stage: str, expected: str) -> Iterator[Check]:
    """The manifest against run.json, its settings and its own parts table."""
    told = folder.told[stage]
    manifest = told.manifest
    sides = {"counted_in": f"{stage}.parts.parquet", "held_against": f"{stage}.manifest.json"}
    yield compare(stage, "fingerprint", expected[:12], manifest.fingerprint[:12],
                  counted_in="run.json, settings of the manifests",
                  held_against=f"{stage}.manifest.json")  # fmt: skip
    yield compare(stage, "parts", len(told.parts), manifest.parts, **sides)
    sums = Ledger()
    for part in told.parts:
        sums.update(told.counts(part))
    told_sums = manifest.ledger
    names = {*sums, *told_sums} - NAMELESS
    wrong = sorted(name for name in names if sums[name] != told_sums[name])
    note = f"other sums of {named(wrong)}" if wrong else ""
    yield compare(stage, "sums of the parts", len(names) - len(wrong), len(names),
                  note=note, **sides)  # fmt: skip


def _check_settings(folder: RunFolder, stage: str) -> Check:
    """What run.json and the manifest both tell is the same: no start has changed it since."""
    told = folder.told[stage].manifest.settings
    now = folder.run["settings"]
    both = sorted(told.keys() & now.keys())
    other = [name for name in both if now[name] != told[name]]
    note = f"run.json has other {named(other)} since: interloom run does it again" if other else ""
    return compare(stage, "settings", len(both) - len(other), len(both), counted_in="run.json",
                   held_against=f"{stage}.manifest.json", note=note)  # fmt: skip


def _check_files(folder: RunFolder, stage: str) -> Check:
    """Every file of the stage's parts is there and carries the mark of its part."""
    there, wrong = 0, []
    files = list(_marked(folder, stage))
    for kind, part, expected in files:
        mark = folder.mark(kind, part)
        there += mark == expected
        if mark != expected:
            path = f"{kind}/{part}.parquet"
            why = folder.unreadable[path][1] if path in folder.unreadable else "another fingerprint"
            wrong.append(f"{path} ({why})")
    packs = [path for path in _unmarked(folder, stage) if not store.exists(folder.path(path))]
    unmarked = len(list(_unmarked(folder, stage)))
    wrong += [f"{path} (missing)" for path in packs]
    for path in packs:
        folder.broken.add(path.partition("/")[0])
    return compare(stage, "files of the parts", there + unmarked - len(packs),
                   len(files) + unmarked, counted_in=folder.output,
                   held_against=f"{stage}.parts.parquet", note=named(wrong))  # fmt: skip


def _marked(folder: RunFolder, stage: str) -> Iterator[tuple[str, str, str]]:
    """(folder, part, fingerprint) of every Parquet file that a stage writes."""
    for kind, (names, marks) in FOLDERS.items():
        if marks != stage or names not in folder.told:
            continue
        for part in folder.told[names].parts:
            told = folder.told[stage]
            mark = told.fingerprint(part) if names == stage else told.manifest.fingerprint
            yield kind.partition("/fetch-")[0], part, mark
    if stage == "filter_text":
        for partition in partitions(folder):
            yield "wanted", partition, folder.told[stage].manifest.fingerprint


def _unmarked(folder: RunFolder, stage: str) -> Iterator[str]:
    """Files of a stage that carry no mark: packs and tars."""
    told = folder.told[stage]
    if stage == "extract":
        for part in told.parts:
            yield from (f"packs/{part}-{k}.tar" for k in range(told.counts(part)["packs"]))
    if stage == "shard":
        yield from (f"shards/{part}.tar" for part in told.parts)
        yield from ("report.html", "README.md")


def partitions(folder: RunFolder) -> list[str]:
    return [f"{number:05d}" for number in range(folder.run["crawl"]["partitions"])]


def check_strays(folder: RunFolder) -> Iterator[Check]:
    """Nothing lies in the run folder but what the manifests name."""
    known = {"run.json"}
    for stage in STAGES:
        known |= {f"{stage}.{name}" for name in ("manifest.json", "parts.parquet", "host.json")}
        if stage in folder.told:
            known |= {f"{kind}/{part}.parquet" for kind, part, _ in _marked(folder, stage)}
            known |= set(_unmarked(folder, stage))
    strays: dict[str, list[str]] = {stage: [] for stage in (RUN, *STAGES)}
    base = folder.output.rstrip("/") + "/"
    for path in store.listing(folder.output):
        name = path.removeprefix(base)
        if name not in known and not name.startswith(_OF_OTHERS):
            strays[stage_of(name)].append(name)
    for stage, found in strays.items():
        if stage not in folder.missing:
            yield compare(stage, "strays", len(found), 0, counted_in=folder.output,
                          held_against="", note=named(found))  # fmt: skip


def stage_of(name: str) -> str:
    """The stage that a path in the run folder belongs to."""
    return next((stage for start, stage in _OWNERS if name.startswith(start)), RUN)
