"""Files: what the manifests name must lie there with the right mark, and nothing else may.

In:   run.json, manifests, parts tables, a listing of the run folder.
Out:  for each stage: its fingerprint made again, its parts counted, their sums added up, every
      file read for its mark, its checksums and whether it is packed as its rows are; strays by
      name, under the stage in whose folder they lie.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa

from pipeline.run import layout
from pipeline.run.execute import seconds_of
from pipeline.stages import NAMES
from pipeline.store import store
from pipeline.store.forms import ENDED
from pipeline.verify.checks import RUN, STRAYS, Check, compare, named, not_counted
from pipeline.verify.folder import RunFolder
from pipeline.verify.packed import Packed
from pipeline.words.opt_out_list import digest_name

# counts of the rows of a file, which its mark tells: of the folder it lies in
ROWS: Final = {
    "urls.wanted": "wanted",
    "rows.documents": "tables/documents",
    "rows.images": "tables/images",
    "rows.drops": "tables/drops",
}
# counts that belong to no part of a stage's table: they are added to the sums alone
NAMELESS: Final = frozenset({*ROWS, "comparisons"})
# the stage whose parts table names the parts of a folder, and the stage that marks them
FOLDERS: Final = {
    "documents": ("extract", "extract"),
    "images": ("extract", "extract"),
    "objections": ("extract", "extract"),
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
    ("images/fetch-", "fetch"), ("packs/fetch-", "fetch"), ("leases/", "fetch"),
    ("documents/", "extract"), ("images/", "extract"),
    ("objections/", "extract"), ("packs/", "extract"), ("verdicts/extract/", "extract"),
    ("wanted/", "filter_text"), ("verdicts/filter_text/", "filter_text"),
    ("verdicts/filter_images/", "filter_images"), ("kept/", "filter_images"),
    ("shards/", "shard"), ("index/", "shard"), ("tables/", "shard"),
    ("report.html", "shard"), ("README.md", "shard"), *((f"{one}.", one) for one in NAMES),
)  # fmt: skip
_KEPT: Final = ("leases/", f"{ENDED}/")
_PACKED: Final = "files as their rows are packed"


def check_stages(folder: RunFolder) -> Iterator[Check]:
    """Manifests, fingerprints and the files of parts, stage by stage."""
    prints = folder.fingerprints()
    as_written = json.dumps(folder.run, indent=1, ensure_ascii=False) + "\n"
    yield _check_text("run", "run.json", folder, as_written)
    if folder.opt_out:
        yield _check_list(folder, folder.opt_out)
    packed: dict[str, _Files] = {}
    for stage in NAMES:
        if stage in folder.told:
            yield from _check_told(folder, stage, prints[stage])
            yield _check_settings(folder, stage)
            yield _check_text(stage, f"{stage}.manifest.json", folder,
                              folder.told[stage].manifest.to_json())  # fmt: skip
            packed[stage] = _Files()
            yield _check_files(folder, stage, packed[stage])
        elif why := folder.missing[stage]:
            yield compare(stage, "manifest", "none", "whole", counted_in=f"{stage}.manifest.json",
                          held_against="", note=f"{why}: use interloom run")  # fmt: skip
        else:
            first = next(one for one in NAMES if one in folder.missing)
            yield not_counted(stage, "all of it", why=f"{first} is not whole")
    yield from _check_packed(folder, packed)


def _check_told(folder: RunFolder, stage: str, expected: str) -> Iterator[Check]:
    """The manifest against run.json, its settings and its own parts table."""
    told = folder.told[stage]
    manifest = told.manifest
    sides = {"counted_in": f"{stage}.parts.parquet", "held_against": f"{stage}.manifest.json"}
    yield compare(stage, "fingerprint", expected[:12], manifest.fingerprint[:12],
                  counted_in="run.json, settings of the manifests",
                  held_against=f"{stage}.manifest.json")  # fmt: skip
    yield compare(stage, "parts", len(told.parts), manifest.parts, **sides)
    sums = told.sums()
    told_sums = manifest.ledger
    names = {*sums, *told_sums} - NAMELESS
    wrong = sorted(name for name in names if sums[name] != told_sums[name])
    note = f"other sums of {named(wrong)}" if wrong else ""
    yield compare(stage, "sums of the parts", len(names) - len(wrong), len(names),
                  note=note, **sides)  # fmt: skip


def _check_settings(folder: RunFolder, stage: str) -> Check:
    """What run.json and the manifest both tell is the same: no start has changed it since."""
    manifest = folder.told[stage].manifest
    now = folder.run["settings"]
    told = {**manifest.settings, "versions": manifest.versions}
    if "versions" in now:  # by stage
        now = {**now, "versions": now["versions"].get(stage)}
    both = sorted(told.keys() & now.keys())
    other = [name for name in both if now[name] != told[name]]
    note = f"run.json has other {named(other)} since: interloom run does it again" if other else ""
    return compare(stage, "settings", len(both) - len(other), len(both), counted_in="run.json",
                   held_against=f"{stage}.manifest.json", note=note)  # fmt: skip


def _check_list(folder: RunFolder, name: str) -> Check:
    """The opt-out list is the one that its name tells."""
    try:
        found = digest_name(store.read_bytes(folder.path(name)))
    except OSError as error:
        found = str(error)
    return compare(RUN, "opt-out list", found, name, counted_in=name, held_against="run.json",
                   note="" if found == name else "give it again by --opt-out")  # fmt: skip


def _check_text(stage: str, name: str, folder: RunFolder, as_written: str) -> Check:
    """A file of JSON holds nothing but what it is read as, in the one way of writing it."""
    same = store.read_bytes(folder.path(name)) == as_written.encode(errors="surrogatepass")
    return compare(stage, f"{name} as it is written", int(same), 1, counted_in=name,
                   held_against="", note="" if same else "other bytes")  # fmt: skip


@dataclass(kw_only=True)
class _Files:
    """Files of a stage: which are wrong, how many were read, which were packed otherwise."""

    wrong: list[str] = field(default_factory=list)
    read: int = 0
    other: list[str] = field(default_factory=list)
    same: int = 0  # of those that hold a row

    def take(self, path: str, packed: Packed) -> None:
        self.read += 1
        self.same += packed.same and packed.rows > 0
        if not packed.same:
            self.other.append(path)


def _check_files(folder: RunFolder, stage: str, files: _Files) -> Check:
    """Every file of the stage's parts is there, whole, and carries the mark of its part."""
    files.take(f"{stage}.parts.parquet", folder.told[stage].packed)
    marked = list(_marked(folder, stage))
    for kind, part, expected in marked:
        path, packed = f"{kind}/{part}.parquet", folder.packed(kind, part)
        if packed is None:
            files.wrong.append(f"{path} ({folder.unreadable[path][1]})")
            continue
        files.take(path, packed)
        if why := _other_mark(folder, stage, part, packed, expected):
            files.wrong.append(f"{path} ({why})")
    unmarked = list(_unmarked(folder, stage))
    lost = [path for path in unmarked if not store.exists(folder.path(path))]
    files.wrong += [f"{path} (missing)" for path in lost]
    for path in lost:
        folder.broken.add(path.partition("/")[0])
    every = len(marked) + len(unmarked)
    return compare(stage, "files of the parts", every - len(files.wrong), every,
                  counted_in=folder.output, held_against=f"{stage}.parts.parquet",
                  note=named(files.wrong))  # fmt: skip


def _other_mark(folder: RunFolder, stage: str, part: str, packed: Packed, expected: str) -> str:
    """What is wrong with the mark, by which a restart would take the file for whole."""
    if packed.fingerprint != expected:
        return "another fingerprint"
    told = folder.told[stage].counts(part)
    rows = {name: folder.row_count(ROWS[name], part) for name in packed.counts if name in ROWS}
    same = packed.counts in ({}, dict(told), {name: n for name, n in rows.items() if n})
    return "" if same else "its mark tells other counts"


def _check_packed(folder: RunFolder, packed: Mapping[str, _Files]) -> Iterator[Check]:
    """Whether the files, packed again, are the same bytes; another packer cannot tell."""
    packers = {stage: folder.told[stage].manifest.versions.get("pyarrow") for stage in packed}
    mine = [stage for stage in packed if packers[stage] == pa.__version__]
    # one build may pack otherwise than another of the same version: then no file with a row is same
    alike = any(packed[stage].same for stage in mine)
    for stage, files in packed.items():
        sides = {"counted_in": folder.output, "held_against": "their own rows"}
        if stage in mine and (alike or not files.other):
            yield compare(stage, _PACKED, files.read - len(files.other), files.read,
                          note=named(files.other), **sides)  # fmt: skip
        else:
            why = f"pyarrow {packers[stage]} wrote them, and {pa.__version__} here packs otherwise"
            yield not_counted(stage, _PACKED, why=why, **sides)


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
    if stage == "fetch":
        yield from (f"packs/{name}" for name in fetched_packs(folder))
    if stage == "shard":
        yield from (f"shards/{part}.tar" for part in told.parts)
        yield from ("report.html", "README.md")


def fetched_packs(folder: RunFolder) -> list[str]:
    """Packs that the rows of fetch point into, sorted."""
    parts = folder.told["fetch"].parts
    named = {row["pack"] for part in parts for row in folder.rows("images", part, ["pack"])}
    return sorted(name for name in named if name is not None)


def partitions(folder: RunFolder) -> list[str]:
    return [f"{number:05d}" for number in range(folder.run["crawl"]["partitions"])]


def check_strays(folder: RunFolder) -> Iterator[Check]:
    """Nothing lies in the run folder but what the manifests name."""
    known = {"run.json", folder.opt_out}
    for stage in NAMES:
        known |= {f"{stage}.{name}" for name in ("manifest.json", "parts.parquet", "host.json")}
        if stage in folder.told:
            known |= {f"{kind}/{part}.parquet" for kind, part, _ in _marked(folder, stage)}
            known |= set(_unmarked(folder, stage))
    strays: dict[str, list[str]] = {stage: [] for stage in (RUN, *NAMES)}
    base = folder.output.rstrip("/") + "/"
    for path in store.listing(folder.output):
        name = path.removeprefix(base)
        if name not in known and not layout.is_of_others(name) and not _is_kept(name):
            strays[stage_of(name)].append(name if name.isprintable() else ascii(name))
    for stage, found in strays.items():
        if stage not in folder.missing:
            note = f"not of this run: {named(found)}" if found else ""
            yield compare(stage, STRAYS, len(found), 0, counted_in=folder.output,
                          held_against="", note=note)  # fmt: skip
            yield from _check_host(folder, stage)


def _is_kept(name: str) -> bool:
    """What no manifest names, and later starts read: leases with the hosts that a refetch leaves
    alone, and notes of records that ended the process that read them.
    """
    return name.startswith(_KEPT) and name.endswith(".json") and layout.is_own(name)


def _check_host(folder: RunFolder, stage: str) -> Iterator[Check]:
    """Times and hosts are part of no result, but commands read them."""
    name = f"{stage}.host.json"
    if stage == RUN or not store.exists(folder.path(name)):
        return
    try:
        seconds_of(folder.path(name))
    except ValueError as error:
        yield compare(stage, f"{name} readable", 0, 1, counted_in=name, held_against="",
                      note=str(error))  # fmt: skip


def stage_of(name: str) -> str:
    """The stage that a path in the run folder belongs to."""
    return next((stage for start, stage in _OWNERS if name.startswith(start)), RUN)
