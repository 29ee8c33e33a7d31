"""Figures of fetch: what servers gave, by top-level domain and by host, and what an image cost.

In:   the settled rows of images/.
Out:  lines for the end of a run, for stats and for refetch: where links are dead, how old the
      pages are that hold them, and why.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

import pyarrow.compute as pc
from rich import box
from rich.console import Console
from rich.table import Table

from pipeline.account.manifest import part_names
from pipeline.job import Job
from pipeline.store import parquet
from pipeline.words.domain import host_of
from schemas.terminal import printable
from schemas.verdict import OK

SHOWN: Final = 8  # top-level domains, hosts
AGES: Final = ((365, "under a year"), (730, "one year"), (1_826, "two to four years"),
               (3_652, "five to nine years"))  # fmt: skip  # days, of which it is fewer
OLDER: Final = "ten years or more"
REASONS: Final = 3  # of a line


@dataclass(kw_only=True)
class Figures:
    images: int = 0
    bytes: int = 0
    by_domain: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    by_host: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    by_age: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    @classmethod
    def of(cls, job: Job) -> Figures:
        figures = cls()
        for part in part_names(job.parts_table("fetch")):
            columns = ["url", "status", "bytes", "date"]
            rows = parquet.read_table(job.part("images", part), columns)
            figures.bytes += pc.sum(rows["bytes"]).as_py() or 0
            dated = ["url", "date"]
            wanted = parquet.read_table(
                job.part("wanted", part.removeprefix("fetch-").partition("-")[0]), dated
            )
            pages = dict(zip(*(wanted[name].to_pylist() for name in dated), strict=True))
            told = (rows[name].to_pylist() for name in ("url", "status", "date"))
            for url, status, asked in zip(*told, strict=True):
                host = host_of(url)
                figures.images += status == OK
                figures.by_host[host][status] += 1
                figures.by_domain[host.rpartition(".")[2]][status] += 1
                if page := pages.get(url, ""):
                    figures.by_age[age_of(page, asked)][status] += 1
        return figures


def age_of(page: str, asked: str) -> str:
    """How long before it was asked for a picture's latest page was crawled."""
    days = (date.fromisoformat(asked[:10]) - date.fromisoformat(page[:10])).days
    return next((name for most, name in AGES if days < most), OLDER)


def show(figures: Figures, console: Console) -> None:
    """Nothing where nothing was asked for."""
    if not figures.by_host:
        return
    if figures.images:
        console.print(f"{figures.bytes / figures.images:,.0f} bytes an image fetched")
    _table("top-level domain", figures.by_domain, console, rank=lambda told: told.total())
    ages = (*(name for _, name in AGES), OLDER)
    _table("age of the page", figures.by_age, console, rank=lambda told: told.total(), order=ages)
    worst = {host: told for host, told in figures.by_host.items() if told.total() > told[OK]}
    _table("host with dead links", worst, console, rank=lambda told: told.total() - told[OK])


def _table(
    name: str,
    lines: Mapping[str, Counter[str]],
    console: Console,
    *,
    rank: Callable[[Counter[str]], int],
    order: Sequence[str] = (),
) -> None:
    """The lines that rank highest, or those of `order` in that order."""
    if not lines:
        return
    ranked = sorted(lines.items(), key=lambda line: (-rank(line[1]), line[0]))
    shown = [(key, lines[key]) for key in order if key in lines] or ranked[:SHOWN]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(name)
    for column in ("asked", "ok"):
        table.add_column(column, justify="right")
    table.add_column("otherwise", ratio=1)
    for key, told in ((printable(key), told) for key, told in shown):
        why = [(n, reason) for reason, n in told.items() if reason != OK]
        said = ", ".join(f"{reason} {n:,}" for n, reason in sorted(why, reverse=True)[:REASONS])
        table.add_row(key, f"{told.total():,}", f"{told[OK] / told.total():.0%}", said)
    console.print(table)
    if len(lines) > len(shown):
        console.print(f"{len(lines) - len(shown):,} more")
