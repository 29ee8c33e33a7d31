"""Checks: one comparison of two counts, each with the place where it was counted.

A check that could not be made is NOT_COUNTED with the reason, and is never taken for one that
passed: it is printed, and counted in the ending line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pipeline.stages import NAMES

NAMED: Final = 3  # places that a note names before it only counts the others
STRAYS: Final = "strays"  # kind of the checks for what no manifest names
RUN: Final = "run"  # what belongs to no stage: run.json, strays at the top

Side = int | str | None


class Outcome(StrEnum):
    OK = "ok"
    FAILED = "FAILED"
    NOT_COUNTED = "not counted"


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """`here` was counted by opening `counted_in`; `there` is what `held_against` says."""

    stage: str
    kind: str  # what was counted: documents.dropped.language, records.type.response
    here: Side
    there: Side
    counted_in: str
    held_against: str
    outcome: Outcome
    note: str = ""  # where it differs, or why it could not be counted


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """All checks of a run, in the order of its stages."""

    output: str
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Nothing failed; look at `not_counted` for what this does not speak of."""
        return bool(self.checks) and not self.failed

    @property
    def failed(self) -> tuple[Check, ...]:
        return tuple(one for one in self.checks if one.outcome is Outcome.FAILED)

    @property
    def not_counted(self) -> tuple[Check, ...]:
        return tuple(one for one in self.checks if one.outcome is Outcome.NOT_COUNTED)

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that do not balance, in their order."""
        failing = {one.stage for one in self.failed}
        return tuple(stage for stage in (RUN, *NAMES) if stage in failing)


def compare(
    stage: str,
    kind: str,
    here: Side,
    there: Side,
    *,
    counted_in: str,
    held_against: str,
    note: str = "",
) -> Check:
    """A check of two sides: ok where they are the same and nothing is noted against them."""
    return Check(
        stage=stage,
        kind=kind,
        here=here,
        there=there,
        counted_in=counted_in,
        held_against=held_against,
        outcome=Outcome.OK if here == there and not note else Outcome.FAILED,
        note=note,
    )


def not_counted(
    stage: str, kind: str, *, why: str, counted_in: str = "", held_against: str = ""
) -> Check:
    return Check(
        stage=stage,
        kind=kind,
        here=None,
        there=None,
        counted_in=counted_in,
        held_against=held_against,
        outcome=Outcome.NOT_COUNTED,
        note=why,
    )


def named(places: Sequence[str]) -> str:
    """The first places by name and the number of the others; "" where there are none."""
    text = ", ".join(places[:NAMED])
    more = len(places) - NAMED
    return f"{text} and {more:,} more" if more > 0 else text
