"""The funnel: what each stage saw, kept and dropped, of each kind, and why.

In:   the manifests of the stages that are whole, in their order.
Out:  rows; a table on a terminal, plain lines of a fixed width everywhere else (the README's
      funnel is pasted from them). Figures of shared/facts' table 1 from the shard stage's counts.
Not:  a sum of its own. Every number is a count of a manifest, where the sums were checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from schemas.manifest import KINDS, Ledger, Manifest, StageName
from schemas.terminal import printable

REASONS_SHOWN: Final = 3
WIDTH: Final = 100  # of the plain table, so that it fits a README


@dataclass(frozen=True, kw_only=True, slots=True)
class FunnelRow:
    """One kind at one stage. `reasons` is ordered by count, the most frequent first."""

    stage: str
    kind: str
    seen: int
    kept: int
    dropped: int
    reasons: Mapping[str, int]


def funnel(manifests: Mapping[str, Manifest]) -> list[FunnelRow]:
    """A row for each stage and kind of which anything was seen, in the order of the stages."""
    return [row for stage in manifests for row in funnel_of(stage, manifests[stage].ledger)]


def funnel_of(stage: str, ledger: Ledger) -> Iterator[FunnelRow]:
    for kind in KINDS:
        reasons = ledger.dropped(kind)
        seen, kept = ledger[f"{kind}.seen"], ledger[f"{kind}.kept"]
        if seen or kept or reasons:
            yield FunnelRow(
                stage=stage,
                kind=kind,
                seen=seen,
                kept=kept,
                dropped=sum(reasons.values()),
                reasons=reasons,
            )


def show_funnel(manifests: Mapping[str, Manifest], console: Console) -> None:
    """The funnel of the stages that are whole, and what came out where the last one is."""
    render(funnel(manifests), console)
    if StageName.SHARD in manifests:
        came = str(Yield.of(manifests[StageName.SHARD].ledger))
        console.print(f"\n{came}", markup=False, highlight=False, soft_wrap=True)


def render(rows: Sequence[FunnelRow], console: Console) -> None:
    """A table with rules on a terminal; elsewhere the lines of `as_text`."""
    if not console.is_terminal:
        console.print(as_text(rows), markup=False, highlight=False, soft_wrap=True)
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("stage", "kind"):
        table.add_column(name, no_wrap=True)
    for name in ("seen", "kept", "dropped"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("most frequent reasons", ratio=1)
    before = ""
    for row in rows:
        if before and row.stage != before:
            table.add_section()
        table.add_row(
            Text("" if row.stage == before else row.stage, style="bold"),
            row.kind,
            f"{row.seen:,}",
            Text(f"{row.kept:,}", style="green"),
            Text(f"{row.dropped:,}", style="dim" if not row.dropped else "yellow"),
            Text(_reasons(row), style="dim"),
        )
        before = row.stage
    console.print(table)


def as_text(rows: Sequence[FunnelRow]) -> str:
    """Fixed columns, no longer lines than WIDTH: what does not fit of the reasons is left out."""
    cells = [
        (row.stage, row.kind, f"{row.seen:,}", f"{row.kept:,}", f"{row.dropped:,}", _reasons(row))
        for row in rows
    ]
    head = ("stage", "kind", "seen", "kept", "dropped", "most frequent reasons")
    widths = [max(len(line[place]) for line in (head, *cells)) for place in range(5)]
    lines, before = [], ""
    for stage, kind, seen, kept, dropped, reasons in (head, *cells):
        left = f"{'' if stage == before else stage:<{widths[0]}}  {kind:<{widths[1]}}"
        counts = f"{seen:>{widths[2]}}  {kept:>{widths[3]}}  {dropped:>{widths[4]}}"
        line = f"{left}  {counts}  "
        lines.append((line + _fit(reasons, WIDTH - len(line))).rstrip())
        before = stage
    return "\n".join(lines)


def _reasons(row: FunnelRow) -> str:
    return ", ".join(
        f"{printable(name)} {count:,}" for name, count in list(row.reasons.items())[:REASONS_SHOWN]
    )


def _fit(reasons: str, width: int) -> str:
    """As many whole reasons as fit."""
    while len(reasons) > width:
        reasons = reasons.rpartition(", ")[0]
    return reasons


@dataclass(frozen=True, kw_only=True, slots=True)
class Yield:
    """What came out, as the paper's table 1 counts it."""

    documents: int
    images: int
    words: int
    bytes: int
    shards: int

    @classmethod
    def of(cls, shard: Ledger) -> Yield:
        return cls(
            documents=shard["documents.kept"],
            images=shard["images.kept"],
            words=shard["words.kept"],
            bytes=shard["bytes.kept"],
            shards=shard["shards"],
        )

    def __str__(self) -> str:
        per = self.images / self.documents if self.documents else 0.0
        return (
            f"{self.documents:,} documents, {self.images:,} images ({per:.1f} a document), "
            f"{self.words:,} words, {in_units(self.bytes)} in {self.shards:,} "
            f"shard{'' if self.shards == 1 else 's'}"
        )


def in_units(size: int) -> str:
    """Bytes for people: powers of 1,000, three digits."""
    value, units = float(size), ("B", "kB", "MB", "GB", "TB")
    for unit in units:
        if value < 999.5 or unit == units[-1]:
            return f"{size} B" if unit == "B" else f"{value:.3g} {unit}"
        value /= 1000
    raise AssertionError("the last unit always returns")
