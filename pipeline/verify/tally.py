"""Tally: counts of many parts against what a manifest and its parts table told of each.

A sum that agrees by two errors that cancel is no agreement: every part must agree, too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from pipeline.verify.checks import Check, compare, named, not_counted
from pipeline.verify.folder import Told
from schemas.manifest import Ledger

Needs = Callable[[str], tuple[str, ...]]  # name of a count -> folders that it was counted on


class Tally:
    """What one stage is found to have done, part by part."""

    def __init__(self, stage: str, told: Told, *, starts: tuple[str, ...]) -> None:
        self.stage = stage
        self.here = Ledger()
        self.differing: dict[str, list[str]] = defaultdict(list)
        self._told = told
        self._starts = starts

    def among(self, name: str) -> bool:
        """Whether a count is one that can be made again here, part by part."""
        return name.startswith(self._starts)

    def add(self, part: str, counted: Ledger) -> None:
        """Take in what was counted of one part."""
        told = self._told.counts(part)
        self.here.update(counted)
        for name in {*counted, *told}:
            if self.among(name) and counted[name] != told[name]:
                self.differing[name].append(part)

    def checks(
        self, *, needs: Needs, broken: set[str], counted_in: Callable[[str], str]
    ) -> Iterator[Check]:
        """One check for each count of the manifest that was counted here."""
        manifest = f"{self.stage}.manifest.json"
        told = self._told.manifest.ledger
        for name in sorted(name for name in {*self.here, *told} if self.among(name)):
            sides = {"counted_in": counted_in(name), "held_against": manifest}
            if lost := [one for one in needs(name) if one in broken]:
                yield not_counted(self.stage, name, why=why_not(lost), **sides)
                continue
            parts = self.differing[name]
            note = f"differs in {named(parts)}" if parts else ""
            yield compare(self.stage, name, self.here[name], told[name], note=note, **sides)


def why_not(lost: Sequence[str]) -> str:
    """The reason of a check that needs folders which are not as their own stage told."""
    return f"it needs {' and '.join(lost)}, which failed on its own account"
