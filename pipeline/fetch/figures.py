"""Figures of fetch: what servers gave, by top-level domain and by host, and what an image cost.

In:   the settled rows of images/.
Out:  lines for the end of a run, for stats and for refetch: where links are dead, and why.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Final

import pyarrow.compute as pc
from rich import box
from rich.console import Console
from rich.table import Table

from pipeline import parquet
from pipeline.domain import host_of
from pipeline.job import Job
from schemas.verdict import OK

SHOWN: Final = 8  # top-level domains, hosts
REASONS: Final = 3  # of a line


@dataclass(kw_only=True)
class Figures:
    images: int = 0
    bytes: int = 0
    by_domain: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    by_host: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    @classmethod
    def of(cls, job: Job) -> Figures:
        figures = cls()
        for part in parquet.read_rows(job.parts_table("fetch"), ["part"]):
            rows = parquet.read_table(job.part("images", part["part"]), ["url", "status", "bytes"])
            figures.bytes += pc.sum(rows["bytes"]).as_py() or 0
            for url, status in zip(
                rows["url"].to_pylist(), rows["status"].to_pylist(), strict=True
            ):
                host = host_of(url)
                figures.images += status == OK
                figures.by_host[host][status] += 1
                figures.by_domain[host.rpartition(".")[2]][status] += 1
        return figures


def show(figures: Figures, console: Console) -> None:
    """Nothing where nothing was asked for."""
    if not figures.by_host:
        return
    if figures.images:
        console.print(f"{figures.bytes / figures.images:,.0f} bytes an image fetched")
    _table("top-level domain", figures.by_domain, console, rank=lambda told: told.total())
    worst = {host: told for host, told in figures.by_host.items() if told.total() > told[OK]}
    _table("host with dead links", worst, console, rank=lambda told: told.total() - told[OK])


def _table(name: str, lines: dict[str, Counter[str]], console: Console, *, rank: object) -> None:
    if not lines:
        return
    assert callable(rank)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(name)
    for column in ("asked", "ok"):
        table.add_column(column, justify="right")
    table.add_column("otherwise", ratio=1)
    for key, told in sorted(lines.items(), key=lambda line: (-rank(line[1]), line[0]))[:SHOWN]:
        why = [(n, reason) for reason, n in told.items() if reason != OK]
        said = ", ".join(f"{reason} {n:,}" for n, reason in sorted(why, reverse=True)[:REASONS])
        table.add_row(key, f"{told.total():,}", f"{told[OK] / told.total():.0%}", said)
    console.print(table)
    if len(lines) > SHOWN:
        console.print(f"{len(lines) - SHOWN:,} more")
