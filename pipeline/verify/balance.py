"""Balance: what must hold beyond a stage's own counts: sums, one fate each, one place each.

In:   what was found, part by part.
Out:  checks. seen, dropped and kept of a sum come from different files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from pipeline.verify.checks import Check, compare, named, not_counted
from pipeline.verify.count import KINDS
from pipeline.verify.folder import RunFolder
from pipeline.verify.found import TABLES, Found
from pipeline.verify.tally import why_not
from pipeline.verify.tars import WRONG

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


def _extract(_folder: RunFolder, found: Found) -> Iterator[Check]:
    wrong = found.wrong["extract"]["packs"]
    yield _none("extract", "images other than images/ says", wrong, counted_in="packs/")


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
    check = _none("filter_images", "documents and nodes with other than one fate",
                  found.wrong["filter_images"]["fates"], counted_in="verdicts/, kept/")  # fmt: skip
    yield _unless(folder, _DECIDED, check)


def _decided(stage: str, folder: RunFolder, found: Found) -> Iterator[Check]:
    """A stage that decides: seen = dropped + kept, for documents and nodes alike."""
    seen, dropped, kept = _SIDES[stage]
    here = found.tallies[stage].here
    for kind in KINDS:
        check = compare(stage, f"{kind}: seen = dropped + kept", here[f"{kind}.seen"],
                        sum(here.dropped(kind).values()) + here[f"{kind}.kept"],
                        counted_in=seen, held_against=f"{dropped} + {kept}")  # fmt: skip
        yield _unless(folder, _DECIDED, check)
    wrong = _none(stage, "verdicts about what is not there", found.wrong[stage]["verdicts"],
                  counted_in=dropped)  # fmt: skip
    yield _unless(folder, ["documents"], wrong)


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
    for kind in WRONG:
        yield _none("shard", kind, found.wrong["shard"][kind], counted_in="shards/, index/")
    for kind, ids in found.fates.compare().items():
        wrong = _none("shard", f"documents {kind}", ids, counted_in="kept/, shards/")
        yield _unless(folder, ["documents", "kept"], wrong)
    for table in TABLES:
        yield from _table(
            folder, found, f"rows.{table}", f"tables/{table}/", told.get(f"rows.{table}", 0)
        )


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
