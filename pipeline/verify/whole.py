"""Whole: all checks of a run, in the order of its stages.

In:   a run folder at rest, and its raw inputs where they can still be read.
Out:  a Verification.
Which stage is to blame: a folder whose rows are not those that its own stage told is a failure
of that stage, and whatever else was to be counted on it is "not counted", with that reason.
"""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.stages import NAMES
from pipeline.verify.balance import checks_of
from pipeline.verify.checks import RUN, Check, Verification, compare, not_counted
from pipeline.verify.crawl import check_inputs
from pipeline.verify.files import NAMELESS, check_stages, check_strays, stage_of
from pipeline.verify.folder import RunFolder
from pipeline.verify.found import Found, count_all, folder_of, needs_of


def verify(output: str, *, inputs: bool = True) -> Verification:
    """Count a run again; `inputs=False` leaves the raw crawl alone.

    Raises:
        ValueError: where there is no run of this format at all.
    """
    folder = RunFolder(output=output)
    folder.load()
    checks = [*check_stages(folder), *check_strays(folder)]
    named = set(folder.unreadable)
    found = count_all(folder)
    checks += _unreadable(folder, named)
    for stage in folder.told:
        checks += _checks_of(stage, folder, found)
        if stage == "extract":
            checks += check_inputs(folder, found.across.records, read=inputs)
    order = (RUN, *NAMES)
    checks.sort(key=lambda one: order.index(one.stage))
    return Verification(output=output, checks=tuple(checks))


def _checks_of(stage: str, folder: RunFolder, found: Found) -> Iterator[Check]:
    tally = found.tallies[stage]
    yield from tally.checks(
        needs=lambda name: needs_of(stage, name),
        broken=folder.broken,
        counted_in=lambda name: _where(stage, name),
    )
    yield from checks_of(stage, folder, found)
    told = folder.told[stage].manifest.counts
    others = {name for name in told if not tally.among(name)} - NAMELESS | {"comparisons"} & {*told}
    left = sorted({name.partition(".")[0] for name in others if not _elsewhere(stage, name)})
    if left:
        yield not_counted(stage, ", ".join(left), why="nothing at rest tells them",
                          held_against=f"{stage}.manifest.json")  # fmt: skip


def _elsewhere(stage: str, name: str) -> bool:
    """Whether a count has a check of its own: by warcio, by files, or over all parts."""
    return name.startswith(("records.type.", "packs")) or (stage == "shard" and ".seen" in name)


def _where(stage: str, name: str) -> str:
    """The folders that a count was made in."""
    if stage == "fetch":
        return "wanted/, images/fetch-*"
    own = folder_of(stage, name)
    folders = [own] if own else [one for one in needs_of(stage, name) if one != own]
    if not own and ".dropped." in name:
        folders.append(f"verdicts/{stage}")
    return ", ".join(f"{one}/" for one in folders) or "documents/, images/, verdicts/extract/"


def _unreadable(folder: RunFolder, named: set[str]) -> Iterator[Check]:
    """Files whose rows could not be read, less those that were named with their stage's files."""
    for path, (_, why) in folder.unreadable.items():
        if path not in named:
            yield compare(
                stage_of(path), "readable", 0, 1, counted_in=path, held_against="", note=why
            )
