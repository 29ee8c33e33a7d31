"""Progress of fetch: how many URLs have their answer meanwhile, and what servers gave at its end.

In:   wanted/, the rows of earlier starts and those that come, and what the holders of partitions
      say of themselves in their leases; at the end the settled rows.
Out:  how many are done, and a line of what is going on; at the end of a run, for stats and for
      refetch: where links are dead, how old the pages are that hold them, and why.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from rich import box
from rich.console import Console
from rich.table import Table

from pipeline.account.manifest import part_names
from pipeline.fetch.commits import AWAY, list_files, read_files, that_count
from pipeline.fetch.lease import read_lease
from pipeline.job import Job
from pipeline.store import parquet, store
from pipeline.store.store import LEASE_NAMES, files_of
from pipeline.words.urls import host_of
from schemas.manifest import StageName
from schemas.terminal import printable
from schemas.verdict import OK

NEWS: Final = frozenset({"commits", "asked", "done", "ok", "bytes", "seconds", "hosts", "slowest"})


class Urls:
    """The URLs of a stage; those that have a row before it starts are not asked for."""

    unit = "URLs"
    about = ""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._before = set(list_files(job))
        self._killed = {holder["commits"] for holder in self._news()}  # of an earlier start
        self._counted: dict[str, Counter[str]] = {}  # by commit: rows by status

    def look(self) -> tuple[int, str]:
        news = [holder for holder in self._news() if holder["commits"] not in self._killed]
        done, ok = self._answered(news)
        return done, _line(news, done=done, ok=ok, left=max(0, self.total - done)) if news else ""

    def end(self) -> int:
        """All commits are still there."""
        return self._answered([])[0]

    def _answered(self, news: list[dict[str, Any]]) -> tuple[int, int]:
        """URLs, and those of them that are ok: as holders tell it, or by what they have left."""
        for path in list_files(self._job):
            if path not in self._before and path not in self._counted and not _is_settled(path):
                statuses = parquet.read_table(path, ["status"])["status"]
                self._counted[path] = Counter(statuses.to_pylist())
        live = {holder["commits"] for holder in news}
        ended = [counts for path, counts in self._counted.items() if _holder(path) not in live]
        done = sum(holder["done"] for holder in news)
        done += sum(counts.total() - counts[AWAY] for counts in ended)
        ok = sum(holder["ok"] for holder in news) + sum(counts[OK] for counts in ended)
        return done, ok

    @cached_property
    def total(self) -> int:
        """Wanted URLs that had no row, and those whose row a refetch wants anew."""
        fetching, left = self._job.settings.fetching, 0
        if not fetching.on:
            return 0
        anew = pa.array(fetching.again, pa.string())
        for number in range(self._job.partitions):
            with parquet.open_file(self._job.part("wanted", f"{number:05d}")) as file:
                left += file.metadata.num_rows
            rows = that_count(read_files(self._job, number, self._before))
            old = pc.less(rows["attempt"], fetching.round)
            again = pc.and_(old, pc.is_in(rows["status"], anew))
            opened = pc.or_(again, pc.equal(rows["status"], AWAY))
            left -= len(rows) - (pc.sum(opened).as_py() or 0)
        return max(0, left)

    def _news(self) -> list[dict[str, Any]]:
        news = []
        for path, _ in files_of(self._job.output, "leases", LEASE_NAMES):
            with suppress(FileNotFoundError):  # let go meanwhile
                news.append(read_lease(store.read_bytes(path)).news)
        return [holder for holder in news if isinstance(holder, dict) and _is_whole(holder)]


def _is_whole(news: dict[str, Any]) -> bool:
    """Whether it has what a holder writes: the lease of a foreign folder holds anything."""
    if not (news.keys() >= NEWS and isinstance(news["slowest"], dict)):
        return False
    numbers = [*(news[name] for name in NEWS - {"commits", "slowest"}), *news["slowest"].values()]
    return isinstance(news["commits"], str) and all(
        type(number) in {int, float} for number in numbers
    )


def _holder(path: str) -> str:
    return path.rsplit("/", 1)[-1].rpartition("-")[0]


def _is_settled(path: str) -> bool:
    """fetch, the partition, the round; the name of a commit has its holder and number besides."""
    return path.rsplit("/", 1)[-1].count("-") == 2


def _line(news: list[dict[str, Any]], *, done: int, ok: int, left: int) -> str:
    images = sum(holder["asked"] / max(1.0, holder["seconds"]) for holder in news)
    size = sum(holder["bytes"] / max(1.0, holder["seconds"]) for holder in news) / 1e6
    hosts = sum(holder["hosts"] for holder in news)
    slowest = max((item for holder in news for item in holder["slowest"].items()),
                  key=lambda item: item[1], default=("", 0.0))  # fmt: skip
    return (
        f"{ok / max(1, done):.0%} ok, {images:,.0f}/s, {size:,.1f} MB/s, {hosts:,} hosts, "
        f"slowest {printable(slowest[0])} {slowest[1]:.1f} s, {left / max(0.1, images):,.0f} s left"
    )


SHOWN: Final = 8  # top-level domains, hosts
AGES: Final = ((365, "under a year"), (730, "one year"), (1_826, "two to four years"),
               (3_652, "five to nine years"))  # fmt: skip  # days, of which it is fewer
OLDER: Final = "ten years or more"
REASONS: Final = 3  # of a line


@dataclass(kw_only=True)
class FetchedFigures:
    images: int = 0
    bytes: int = 0
    by_domain: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    by_host: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    by_age: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    @classmethod
    def of(cls, job: Job) -> FetchedFigures:
        figures = cls()
        for part in part_names(job.parts_table(StageName.FETCH)):
            pages = parquet.read_table(job.part("wanted", part.split("-")[1]), ["url", "date"])
            crawled = dict(zip(pages["url"].to_pylist(), pages["date"].to_pylist(), strict=True))
            names = ["url", "status", "bytes", "date"]
            for row in parquet.read_rows(job.part("images", part), names):
                host, status = host_of(row["url"]), row["status"]
                figures.images += status == OK
                figures.bytes += row["bytes"] or 0
                figures.by_host[host][status] += 1
                figures.by_domain[host.rpartition(".")[2]][status] += 1
                if page := crawled.get(row["url"]):
                    figures.by_age[age_of(page, row["date"])][status] += 1
        return figures


def age_of(page: str, day: str) -> str:
    """How long before that day the image's latest page was crawled."""
    days = (date.fromisoformat(day[:10]) - date.fromisoformat(page[:10])).days
    return next((name for most, name in AGES if days < most), OLDER)


def show_figures(figures: FetchedFigures, console: Console) -> None:
    """Print nothing where no URL was asked for."""
    if not figures.by_host:
        return
    if figures.images:
        console.print(f"{figures.bytes / figures.images:,.0f} bytes an image fetched")
    _table("top-level domain", _ranked(figures.by_domain, Counter.total), console)
    ages = [name for _, name in AGES] + [OLDER]
    by_age = [(age, figures.by_age[age]) for age in ages if age in figures.by_age]
    _table("age of the page", by_age, console)
    dead = {host: counts for host, counts in figures.by_host.items() if _dead_links(counts) > 0}
    _table("host with dead links", _ranked(dead, _dead_links), console)


def _dead_links(counts: Counter[str]) -> int:
    return counts.total() - counts[OK]


Lines = Sequence[tuple[str, Counter[str]]]


def _ranked(lines: Mapping[str, Counter[str]], rank: Callable[[Counter[str]], int]) -> Lines:
    return sorted(lines.items(), key=lambda line: (-rank(line[1]), line[0]))


def _table(name: str, lines: Lines, console: Console) -> None:
    """The first of the lines."""
    if not lines:
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(name)
    for column in ("asked", "ok"):
        table.add_column(column, justify="right")
    table.add_column("otherwise", ratio=1)
    for key, counts in lines[:SHOWN]:
        why = [(n, reason) for reason, n in counts.items() if reason != OK]
        reasons = ", ".join(f"{reason} {n:,}" for n, reason in sorted(why, reverse=True)[:REASONS])
        ok = f"{counts[OK] / counts.total():.0%}"
        table.add_row(printable(key), f"{counts.total():,}", ok, reasons)
    console.print(table)
    if len(lines) > SHOWN:
        console.print(f"{len(lines) - SHOWN:,} more")
