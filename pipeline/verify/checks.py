"""Checks: one comparison of two sides, its outcome, and where they differ.

A check that could not be made is NOT_COUNTED with the reason, and is never taken for one that
passed: it is printed, and counted in the ending line.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pipeline.stages import NAMES
from schemas.manifest import Ledger

NAMED: Final = 3  # places that a note names before it only counts the others
RUN: Final = "run"  # what belongs to no stage: run.json, strays at the top
MANIFEST: Final = "manifest"  # kind of the check of a stage's manifest, or that there is one
FILES: Final = "files"  # kind of the check of a stage's files against their digests
STRAYS: Final = "strays"  # kind of the checks for what no stage wrote

Side = int | str | None


class Outcome(StrEnum):
    OK = "ok"
    FAILED = "FAILED"
    NOT_COUNTED = "not counted"


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """`here` was counted now, `there` is what was written down when it was made."""

    stage: str
    kind: str  # what was counted: files, documents.dropped.language, records.type.response
    here: Side = None
    there: Side = None
    outcome: Outcome
    note: str = ""  # where it differs, or why it could not be counted
    paths: tuple[str, ...] = ()  # files that are not as they were written


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """All checks of a run, in the order of its stages."""

    output: str
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Nothing failed; `not_counted` is what was not checked."""
        return bool(self.checks) and not self.failed

    @property
    def failed(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.outcome is Outcome.FAILED)

    @property
    def not_counted(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.outcome is Outcome.NOT_COUNTED)

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that do not balance, in their order."""
        failing = {check.stage for check in self.failed}
        return tuple(stage for stage in (RUN, *NAMES) if stage in failing)


def compare(stage: str, kind: str, here: Side, there: Side, *, note: str = "") -> Check:
    """A check of two sides: ok where they are the same and nothing is noted against them."""
    good = here == there and not note
    outcome = Outcome.OK if good else Outcome.FAILED
    return Check(stage=stage, kind=kind, here=here, there=there, outcome=outcome, note=note)


def not_counted(stage: str, kind: str, why: str) -> Check:
    return Check(stage=stage, kind=kind, outcome=Outcome.NOT_COUNTED, note=why)


def expect_none(stage: str, kind: str, places: Sequence[str]) -> Check:
    """A check that there are no such places."""
    return compare(stage, kind, len(places), 0, note=named(places))


def named(places: Sequence[str]) -> str:
    """The first places by name and the number of the others; "" where there are none."""
    text = ", ".join(places[:NAMED])
    more = len(places) - NAMED
    return f"{text} and {more:,} more" if more > 0 else text


class Tally:
    """Counts of a stage made again, part by part, so that two errors cannot cancel out.

    Only those under the names in `counted` are compared: others have no rows to be counted on.
    """

    def __init__(self, stage: str, counted: tuple[str, ...]) -> None:
        self._stage = stage
        self._counted = counted
        self._here, self._there = Ledger(), Ledger()
        self._differing: dict[str, list[str]] = defaultdict(list)

    def add(self, part: str, here: Mapping[str, int], there: Mapping[str, int]) -> None:
        """What was counted of a part, and what its row of the parts table says."""
        for name in sorted({*here, *there}):
            if not name.startswith(self._counted):
                continue
            self._here[name] += here.get(name, 0)
            self._there[name] += there.get(name, 0)
            if here.get(name, 0) != there.get(name, 0):
                self._differing[name].append(part)

    def checks(self) -> Iterator[Check]:
        for name in sorted(self._here):
            parts = self._differing[name]
            note = f"differs in {named(parts)}" if parts else ""
            yield compare(self._stage, name, self._here[name], self._there[name], note=note)
