"""Show: a verification for people, a line a check, and what it means in the end."""

from __future__ import annotations

from typing import Final

from rich.console import Console
from rich.text import Text

from pipeline.stages import STAGES
from pipeline.verify.checks import MANIFEST, RUN, STRAYS, Check, Outcome, Side, Verification
from schemas.terminal import printable

_STYLES: Final = {Outcome.OK: "green", Outcome.FAILED: "bold red", Outcome.NOT_COUNTED: "yellow"}
_HEAD: Final = ("stage", "what", "now", "recorded")


def show(verification: Verification, console: Console) -> None:
    """Every check with both sides, then one line: balanced or not."""
    cells = [
        (check.stage, printable(check.kind), _side(check.here), _side(check.there))
        for check in verification.checks
    ]
    widths = [max(len(line[column]) for line in (_HEAD, *cells)) for column in range(4)]
    _line(console, _columns(_HEAD, widths), Text(""))
    before = ""
    for check, (stage, *others) in zip(verification.checks, cells, strict=True):
        first = stage if stage != before else ""
        _line(console, _columns((first, *others), widths), _outcome(check))
        before = stage
    _line(console, Text(printable(ending(verification))), Text(""))


def ending(verification: Verification) -> str:
    """How many checks there were, which stages failed, and what nobody counted."""
    checks, failed, left = verification.checks, verification.failed, verification.not_counted
    text = f"{len(checks):,} checks of {verification.output}: "
    if failed:
        text += f"{len(failed):,} FAILED, in {', '.join(verification.stages)}"
    else:
        text += "everything that could be counted balances"
    if left:
        text += f"; {len(left):,} not counted, each with its reason above"
    return f"{text}. {remedy(verification)}" if failed else text


def remedy(verification: Verification) -> str:
    """What to remove so that the command of the run makes it again.

    A restart trusts the mark in a part's last file: to remove the manifest alone restores nothing.
    What no run has written is left alone.
    """
    sentences = []
    failed = [check for check in verification.failed if check.kind != STRAYS]
    of_stages = [check for check in failed if check.stage != RUN]
    if len(of_stages) < len(failed):
        sentences.append("Put run.json and the opt-out list back as they were")
    # what is unfinished, or has no usable manifest, says itself what to do
    if any(check.kind != MANIFEST or check.here is not None for check in of_stages):
        stages = [stage for stage in STAGES if stage.name in {check.stage for check in of_stages}]
        remove = [path for check in of_stages for path in check.paths]
        if not remove and any(check.kind != MANIFEST for check in of_stages):
            # what fetch has brought lies in the same folders, and stays
            shared = {table for stage in STAGES if stage.keeps_all for table in stage.tables}
            remove = [f"{table}/{'[0-9]*' if table in shared else ''}"
                      for stage in stages for table in stage.tables
                      if not stage.keeps_all]  # fmt: skip
        remove += [f"{stage.name}.manifest.json" for stage in STAGES[STAGES.index(stages[0]) :]]
        sentences.append(
            "Files were changed or lost after a stage wrote them. To have them made again, remove "
            f"{', '.join(remove)}, give the command of the run again, and verify again"
        )
    if any(check.kind == STRAYS for check in verification.failed):
        sentences.append("Files that this run did not write are in its folder: move them elsewhere")
    return ". ".join(sentences)


def _columns(cells: tuple[str, ...], widths: list[int]) -> Text:
    stage, what, here, there = cells
    line = Text(f"{stage:<{widths[0]}}  ", style="bold")
    line.append(f"{what:<{widths[1]}}  ", style="not bold")
    return line.append(f"{here:>{widths[2]}}  {there:>{widths[3]}}  ", style="not bold")


def _outcome(check: Check) -> Text:
    text = Text(str(check.outcome), style=_STYLES[check.outcome])
    return text.append(f": {printable(check.note)}", style="not bold") if check.note else text


def _line(console: Console, left: Text, right: Text) -> None:
    console.print(left + right, soft_wrap=True, highlight=False)


def _side(side: Side) -> str:
    return "" if side is None else f"{side:,}" if isinstance(side, int) else printable(side)
