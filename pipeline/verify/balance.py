"""Balance: what must hold beyond a stage's own counts: sums, one fate each, one place each.

In:   what was found, part by part.
Out:  checks. seen, dropped and kept of a sum come from different files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from pipeline.store import store
from pipeline.verify.checks import Check, compare, named, not_counted
from pipeline.verify.count import KINDS
from pipeline.verify.differences import FATES_OF_SAMPLES
from pipeline.verify.differences import KINDS as DIFFERENCES
from pipeline.verify.folder import RunFolder
from pipeline.verify.found import TABLES, Found
from pipeline.verify.front import wrong_in_front
from pipeline.verify.pictures import DECODED
from pipeline.verify.tally import why_not
from pipeline.verify.told import CARD, REPORT, wrong_in

_DECIDED: Final = ("documents", "verdicts/filter_text", "verdicts/filter_images", "kept")
# what the seen, dropped and kept of a deciding stage were counted in
_SIDES: Final[Mapping[str, tuple[str, str, str]]] = {
    "filter_text": ("documents/", "verdicts/filter_text/", "verdicts/filter_images/ + kept/"),
    "filter_images": (
        "documents/ less verdicts/filter_text/", "verdicts/filter_images/", "kept/"
    ),
}  # fmt: skip


def checks_of(stage: str, folder: RunFolder, found: Found) -> Iterator[Check]:
    """The checks of one stage that is told."""
    yield from _OF[stage](folder, found)
    for kind in DIFFERENCES:
        if kind.stage == stage:
            wrong = found.wrong[kind]
            check = compare(stage, kind.what, len(wrong), 0, counted_in=kind.counted_in,
                            held_against=kind.held_against, note=named(wrong))  # fmt: skip
            yield _unless(folder, kind.needs, check)


def _unless(folder: RunFolder, needs: Sequence[str], check: Check) -> Check:
    """The check, or that it was not counted because a folder which it needs failed."""
    lost = [one for one in needs if one in folder.broken]
    if not lost:
        return check
    return not_counted(check.stage, check.kind, why=why_not(lost),
                       counted_in=check.counted_in, held_against=check.held_against)  # fmt: skip


def _none(stage: str, kind: str, wrong: Sequence[str], *, counted_in: str) -> Check:
    """A check that something never happens."""
    return compare(stage, kind, len(wrong), 0, counted_in=counted_in, held_against="",
                   note=named(wrong))  # fmt: skip


def _extract(folder: RunFolder, found: Found) -> Iterator[Check]:
    """Of a run with many pictures, how many were drawn to be decoded."""
    told = folder.told["extract"].manifest.counts.get("files.kept", 0)
    drawn = found.sums["files.drawn"]
    if told > DECODED:
        yield not_counted("extract", "pictures that were not decoded",
                          why=f"{drawn:,} of {told:,} are, drawn by their sha256",
                          counted_in="packs/")  # fmt: skip


def _filter_text(folder: RunFolder, found: Found) -> Iterator[Check]:
    yield from _decided("filter_text", folder, found)
    told = folder.told["filter_text"].manifest.counts.get("urls.wanted", 0)
    yield compare("filter_text", "urls.wanted", found.sums["urls.wanted"], told,
                  counted_in="wanted/", held_against="filter_text.manifest.json")  # fmt: skip


def _fetch(folder: RunFolder, found: Found) -> Iterator[Check]:
    here = found.tallies["fetch"].here
    check = compare("fetch", "wanted: seen = dropped + kept", here["wanted.seen"],
                    here["wanted.kept"] + sum(here.dropped("wanted").values()),
                    counted_in="wanted/", held_against="images/fetch-*")  # fmt: skip
    yield _unless(folder, ["wanted"], check)


def _filter_images(folder: RunFolder, found: Found) -> Iterator[Check]:
    yield from _decided("filter_images", folder, found)


def _decided(stage: str, folder: RunFolder, found: Found) -> Iterator[Check]:
    """A stage that decides: seen = dropped + kept, for documents and nodes alike."""
    seen, dropped, kept = _SIDES[stage]
    here = found.tallies[stage].here
    for kind in KINDS:
        check = compare(stage, f"{kind}: seen = dropped + kept", here[f"{kind}.seen"],
                        sum(here.dropped(kind).values()) + here[f"{kind}.kept"],
                        counted_in=seen, held_against=f"{dropped} + {kept}")  # fmt: skip
        yield _unless(folder, _DECIDED, check)


def _shard(folder: RunFolder, found: Found) -> Iterator[Check]:
    told = folder.told["shard"].manifest.counts
    here = found.tallies["shard"].here
    for kind in KINDS:
        seen = f"{kind}.seen"
        check = compare("shard", seen, found.sums[seen], told.get(seen, 0),
                        counted_in="kept/", held_against="shard.manifest.json")  # fmt: skip
        yield _unless(folder, ["kept"], check)
        check = compare(
            "shard",
            f"{kind}: kept = sharded",
            found.sums[seen],
            here[f"{kind}.kept"],
            counted_in="kept/",
            held_against="shards/",
        )
        yield _unless(folder, ["kept"], check)
    for kind, ids in found.across.samples.compare().items():
        wrong = _none("shard", f"documents {kind}", ids, counted_in="kept/, shards/")
        yield _unless(folder, FATES_OF_SAMPLES, wrong)
    for name in (REPORT, CARD):
        yield _check_pages(folder, found, name)
    for table in TABLES:
        yield from _table(
            folder, found, f"rows.{table}", f"tables/{table}/", told.get(f"rows.{table}", 0)
        )


def _check_pages(folder: RunFolder, found: Found, name: str) -> Check:
    kind = f"differences between {name} and what it tells of"
    if not store.exists(folder.path(name)):
        return not_counted("shard", kind, why="it is missing", counted_in=name)
    wrong = wrong_in(name, folder)
    if name == CARD and "shards" not in folder.broken:
        card = store.read_bytes(folder.path(CARD)).decode("utf-8", "replace")
        splits = {part.partition("-")[0] for part in folder.told["shard"].parts}
        front = wrong_in_front(card, splits=splits, members=found.members)
        wrong += [f"{CARD}: {one}" for one in front]
    return _none("shard", kind, wrong, counted_in=name)


def _table(folder: RunFolder, found: Found, name: str, place: str, told: int) -> Iterator[Check]:
    rows = found.table_rows[name]
    yield compare("shard", name, rows, told, counted_in=place, held_against="shard.manifest.json")
    needs = ("documents", "images", "verdicts/extract", *_DECIDED[1:3])
    check = compare("shard", f"{name} as decided", rows, found.sums[name], counted_in=place,
                    held_against="documents/, images/, verdicts/")  # fmt: skip
    yield _unless(folder, needs[:1] if name != "rows.drops" else needs, check)


_OF: Final[Mapping[str, Callable[[RunFolder, Found], Any]]] = {
    "extract": _extract,
    "filter_text": _filter_text,
    "fetch": _fetch,
    "filter_images": _filter_images,
    "shard": _shard,
}
