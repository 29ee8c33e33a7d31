"""Printed: a verification for people, a line a check, and what it means in the end."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from rich.console import Console
from rich.text import Text

from pipeline.stages import STAGES
from pipeline.verify.checks import STRAYS, Check, Outcome, Side, Verification
from schemas.terminal import printable

_STYLES: Final = {Outcome.OK: "green", Outcome.FAILED: "bold red", Outcome.NOT_COUNTED: "yellow"}
_SHARED: Final = ("images", "packs")  # of extract, whose parts begin with a digit, and of fetch
_SHARDS: Final = ("index", "shards")
_HEAD: Final = ("stage", "what", "counted here", "there")


def show(verification: Verification, console: Console) -> None:
    """Every check with where both sides were counted, then one line: balanced or not."""
    cells = [
        (one.stage, printable(one.kind), _side(one.here), _side(one.there))
        for one in verification.checks
    ]
    widths = [max(len(line[at]) for line in (_HEAD, *cells)) for at in range(4)]
    _line(console, _columns(_HEAD, widths), Text(""))
    before = ""
    for one, (stage, *others) in zip(verification.checks, cells, strict=True):
        first = stage if stage != before else ""
        _line(console, _columns((first, *others), widths), _outcome(one))
        before = stage
    _line(console, Text(printable(ending(verification))), Text(""))


def ending(verification: Verification) -> str:
    """How many checks there were, which stages failed, and what nobody counted."""
    checks, failed, left = verification.checks, verification.failed, verification.not_counted
    said = f"{len(checks):,} checks of {verification.output}: "
    if failed:
        said += f"{len(failed):,} FAILED, in {', '.join(verification.stages)}"
    else:
        said += "everything that could be counted balances"
    if left:
        said += f"; {len(left):,} not counted, each with its reason above"
    return f"{said}. {remedy(verification)}" if failed else said


def remedy(verification: Verification) -> str:
    """What to remove so that the same command makes it again.

    A restart takes a part for whole by its mark, so a manifest alone would bring nothing back. What
    fetch has brought of other people's servers is left alone, but for the files that are damaged,
    and so is what no run has written.
    """
    failed = {one.stage for one in verification.failed if one.kind != STRAYS}
    stray = {one.stage for one in verification.failed if one.kind == STRAYS}
    told = [_made_again(failed, stray)] if failed else []
    if stray:
        told.append("What is not of this run is no part of what it made: move it elsewhere")
    return ". ".join(told)


def _made_again(failed: Collection[str], stray: Collection[str]) -> str:
    stages = [stage for stage in STAGES if stage.name in failed]
    if not stages:
        return "Put run.json back as it was"
    remove = [f"{table}/{own}" for stage in stages if not stage.keeps_all for table in stage.tables
              for own in _own_of(table, alone=stage.name not in stray)]  # fmt: skip
    if any(stage.keeps_all for stage in stages):
        remove.append("those named above of images/fetch-* and packs/fetch-*")
    remove += [f"{stage.name}.manifest.json" for stage in STAGES[STAGES.index(stages[0]) :]]
    return (
        "Something was changed or lost behind a stage's back. To have it made again, remove "
        f"{', '.join(remove)}, run the same command, and verify again"
    )


def _own_of(table: str, *, alone: bool) -> tuple[str, ...]:
    """What a stage's own files are in a table, by how their names begin; "" for all of it."""
    if alone and table not in _SHARED:
        return ("",)
    return ("train-[0-9]*", "heldout-[0-9]*") if table in _SHARDS else ("[0-9]*",)


def _columns(cells: tuple[str, ...], widths: list[int]) -> Text:
    stage, what, here, there = cells
    line = Text(f"{stage:<{widths[0]}}  ", style="bold")
    line.append(f"{what:<{widths[1]}}  ", style="not bold")
    return line.append(f"{here:>{widths[2]}}  {there:>{widths[3]}}  ", style="not bold")


def _outcome(one: Check) -> Text:
    text = Text(str(one.outcome), style=_STYLES[one.outcome])
    if one.note:
        text.append(f": {printable(one.note)}", style="not bold")
    places = [one.counted_in, one.held_against.replace(f"{one.stage}.manifest.json", "manifest")]
    where = printable(" against ".join(filter(None, places)))
    return text.append(f"  ({where})", style="not bold dim") if where else text


def _line(console: Console, left: Text, right: Text) -> None:
    console.print(left + right, soft_wrap=True, highlight=False)


def _side(side: Side) -> str:
    return "" if side is None else f"{side:,}" if isinstance(side, int) else printable(side)
