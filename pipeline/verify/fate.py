"""Fate: one document and all that was decided about it, as the files of its part tell it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pipeline.verify.folder import Row, RunFolder

DECIDING: Final = ("filter_text", "filter_images")  # in the order in which they decide
Reasons = tuple[str, Row]  # stage, verdict


@dataclass(kw_only=True, slots=True)
class Verdicts:
    """One stage's verdicts about the documents of a part, by row."""

    whole: dict[int, list[Row]] = field(default_factory=lambda: defaultdict(list))
    nodes: dict[int, list[Row]] = field(default_factory=lambda: defaultdict(list))
    rows: int = 0

    @classmethod
    def read(cls, folder: RunFolder, stage: str, part: str) -> Verdicts:
        read = cls()
        for row in folder.rows(f"verdicts/{stage}", part):
            (read.whole if row["node"] is None else read.nodes)[row["row"]].append(row)
            read.rows += 1
        return read

    @property
    def named(self) -> set[int]:
        return {*self.whole, *self.nodes}


@dataclass(frozen=True, kw_only=True, slots=True)
class Fate:
    """`nodes` and `whole` are verdicts by stage; `kept` holds one row, or none."""

    part: str
    row: int
    document: Row
    whole: Mapping[str, Sequence[Row]]
    nodes: Mapping[str, Sequence[Row]]
    kept: Sequence[Row]

    @property
    def where(self) -> str:
        return f"{self.part} row {self.row}"

    @property
    def passed_text(self) -> bool:
        return not self.whole["filter_text"]

    @property
    def refusal(self) -> Reasons | None:
        """Why the whole document went."""
        return next(((stage, one) for stage in DECIDING for one in self.whole[stage]), None)

    def refusals(self) -> Iterator[Reasons]:
        """Every verdict about it, in the order of rows; a stage gives one, or those of nodes."""
        for stage in DECIDING:
            yield from ((stage, one) for one in (*self.whole[stage], *self.nodes[stage]))

    def gone(self, stage: str) -> set[int]:
        """The positions that a stage dropped one by one."""
        return {one["node"] for one in self.nodes[stage]}

    def left_by_text(self) -> Iterator[tuple[int, Row]]:
        """Position and node of what filter_text let pass."""
        gone = self.gone("filter_text")
        if self.passed_text:
            yield from (one for one in enumerate(self.document["nodes"]) if one[0] not in gone)


def fate_of(
    part: str, row: int, document: Row, verdicts: Mapping[str, Verdicts], kept: Sequence[Row]
) -> Fate:
    return Fate(
        part=part,
        row=row,
        document=document,
        whole={stage: verdicts[stage].whole.get(row, ()) for stage in DECIDING},
        nodes={stage: verdicts[stage].nodes.get(row, ()) for stage in DECIDING},
        kept=kept,
    )
