"""Progress of a stage: how many of its files are there, on a terminal as a bar, else as lines.

`run()` of a Beam pipeline blocks, and what is final is a file; so a thread counts files. That is
true of every runner whose output can be listed.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Self

import rich.progress
from rich.console import Console

from pipeline import parquet, store
from pipeline.job import Job, read_crawl
from pipeline.read.parts import FEW_INPUTS
from schemas.manifest import Manifest

# where the last file of each of a stage's parts appears; shard has parts of two kinds
LAST_FILES: Final[Mapping[str, tuple[str, ...]]] = {
    "extract": ("documents",),
    "filter_text": ("verdicts/filter_text",),
    "fetch": ("images",),
    "filter_images": ("kept",),
    "shard": ("tables/drops", "index"),
}
ESTIMATED: Final = ("extract", "shard")  # their parts are planned inside the stage


class Progress:
    """Watches a stage's folder while the block runs."""

    def __init__(self, console: Console | None, *, every: float | None = None) -> None:
        self._console = console
        self._every = every or (0.5 if console and console.is_terminal else 10.0)

    @classmethod
    def silent(cls) -> Self:
        return cls(None)

    @contextmanager
    def watch(self, job: Job, stage: str) -> Iterator[None]:
        if self._console is None:
            yield
            return
        terminal = self._console.is_terminal
        total, start = expected(job, stage), time.monotonic()
        stop = threading.Event()
        bar = rich.progress.Progress(
            rich.progress.TextColumn(f"{stage:14}"),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TextColumn("parts"),
            rich.progress.TimeElapsedColumn(),
            rich.progress.TextColumn("{task.fields[news]}", markup=False),
            console=self._console,
            disable=not terminal,
        )
        task = bar.add_task(stage, total=total, news="")

        def look() -> None:
            while not stop.wait(self._every):
                try:
                    done, news = count(job, stage), news_of(job, stage)
                except (OSError, ValueError):  # also a lease that is just being made
                    continue  # a bar is no reason to fail: the stage will say so, if it matters
                known = max(total, done)
                bar.update(task, completed=done, total=known, news=news)
                if not terminal:
                    about = "about " if stage in ESTIMATED else ""
                    told = f"{done} of {about}{known} parts"
                    self._say(stage, f"{told}, {news}" if news else told, start)

        watcher = threading.Thread(target=look, daemon=True)
        with bar:
            watcher.start()
            try:
                yield
            finally:
                stop.set()
                watcher.join()
            done = count(job, stage)
            bar.update(task, completed=done, total=done, news="")
        if not terminal:
            self._say(stage, f"done, {done} parts", start)

    def _say(self, stage: str, what: str, start: float) -> None:
        assert self._console is not None
        self._console.print(f"{stage}: {what}, {time.monotonic() - start:.0f} s")


def count(job: Job, stage: str) -> int:
    paths = [path for folder in LAST_FILES[stage] for path in store.listing(job.path(folder))]
    mine = [path for path in paths if is_fetched(path) == (stage == "fetch")]
    if stage == "fetch":  # not the commits of those who are at work
        mine = [path for path in mine if path.rpartition("/")[2].count("-") == 2]
    return sum(store.ASIDE not in path for path in mine)


def is_fetched(path: str) -> bool:
    """Whether a file is a part of fetch, by its own name: the run folder's may be anything."""
    return path.rsplit("/", 1)[-1].startswith("fetch-")


def news_of(job: Job, stage: str) -> str:
    """What the holders of partitions tell of themselves with their leases."""
    if stage != "fetch":
        return ""
    told = [
        json.loads(store.read_bytes(path) or b"{}") for path in store.listing(job.path("leases"))
    ]
    news = [one["news"] for one in told if one.get("news")]
    if not news:
        return ""
    done, ok, left, hosts = (sum(one[name] for one in news)
                             for name in ("done", "ok", "left", "hosts"))  # fmt: skip
    images = sum(one["done"] / max(1.0, one["seconds"]) for one in news)
    size = sum(one["bytes"] / max(1.0, one["seconds"]) for one in news) / 1e6
    slowest = max((item for one in news for item in one["slowest"].items()),
                  key=lambda item: item[1], default=("", 0.0))  # fmt: skip
    return (
        f"{done:,} URLs asked, {ok / max(1, done):.0%} ok, {images:,.0f}/s, {size:,.1f} MB/s, "
        f"{hosts:,} hosts, slowest {slowest[0]} {slowest[1]:.1f} s, "
        f"{left:,} left, {left / max(0.1, images):,.0f} s"
    )


def expected(job: Job, stage: str) -> int:
    """Parts of a stage; an estimate where the step that cuts them is part of it."""
    if stage == "fetch":
        return job.partitions
    if stage != "extract":
        parts = sum(1 for _ in parquet.read_rows(job.parts_table("extract"), ["part"]))
        return parts + (_shards(job) if stage == "shard" else 0)
    crawl = read_crawl(job.output)
    if len(crawl.inputs) >= FEW_INPUTS or not crawl.sizes:
        return len(crawl.inputs)
    return sum(max(1, -(-size // crawl.part_size)) for size in crawl.sizes)


def _shards(job: Job) -> int:
    """Shards that hold what filter_images kept: as many as the plan, or nearly."""
    manifest = Manifest.from_json(store.read_bytes(job.manifest("filter_images")).decode())
    return -(-manifest.ledger["bytes.kept"] // job.settings.shard_bytes)
