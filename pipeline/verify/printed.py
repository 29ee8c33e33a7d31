"""Printed: a verification as a table for people, a line a check, and what it means in the end."""

from __future__ import annotations

from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.verify.checks import Check, Outcome, Side, Verification

_STYLES: Final = {Outcome.OK: "green", Outcome.FAILED: "bold red", Outcome.NOT_COUNTED: "yellow"}


def show(verification: Verification, console: Console) -> None:
    """Every check, then one line: balanced or not, and what could not be counted."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("stage", "counted"):
        table.add_column(name, overflow="fold")
    for name in ("here", "there"):
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("in / against", overflow="fold")
    table.add_column("", overflow="fold")
    before = ""
    for one in verification.checks:
        if before and one.stage != before:
            table.add_section()
        table.add_row(*_cells(one, first=one.stage != before))
        before = one.stage
    console.print(table)
    console.print(ending(verification), markup=False, highlight=False, soft_wrap=True)


def ending(verification: Verification) -> str:
    checks, failed, left = verification.checks, verification.failed, verification.not_counted
    said = f"{len(checks):,} checks of {verification.output}: "
    if failed:
        said += f"{len(failed):,} FAILED, in {', '.join(verification.stages)}"
    else:
        said += "everything that could be counted balances"
    if left:
        said += f"; {len(left):,} not counted, each with its reason above"
    if failed:
        said += (
            ". A part named above was changed or lost: remove that stage's manifest and run again"
        )
    return said


def _cells(one: Check, *, first: bool) -> tuple[Text, ...]:
    outcome = Text(str(one.outcome), style=_STYLES[one.outcome])
    if one.note:
        outcome.append(f": {one.note}", style="not bold")
    return (
        Text(one.stage if first else "", style="bold"),
        Text(one.kind),
        Text(_side(one.here)),
        Text(_side(one.there)),
        Text(" / ".join(filter(None, (one.counted_in, one.held_against))), style="dim"),
        outcome,
    )


def _side(side: Side) -> str:
    return "" if side is None else f"{side:,}" if isinstance(side, int) else side
