"""Progress of a stage: how many of its files are there, on a terminal as a bar, else as lines.

`run()` of a Beam pipeline blocks, and what is final is a file; so a thread counts files. That is
true of every runner whose output can be listed. Of fetch it counts URLs, in fetch_progress.py.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Protocol, Self

import rich.progress
from rich.console import Console

from pipeline import layout
from pipeline.account import part_names, read_manifest
from pipeline.fetch_progress import Urls
from pipeline.job import Job, read_crawl
from pipeline.read.parts import FEW_INPUTS

# where the last file of each of a stage's parts appears; shard has parts of two kinds
LAST_FILES: Final[Mapping[str, tuple[str, ...]]] = {
    "extract": ("documents",),
    "filter_text": ("verdicts/filter_text",),
    "fetch": ("images",),
    "filter_images": ("kept",),
    "shard": ("tables/drops", "index"),
}
ESTIMATED: Final = ("extract", "shard")  # their parts are planned inside the stage


class Meter(Protocol):
    """What is counted of a stage."""

    unit: str
    about: str  # "about " before a total that is estimated

    @property
    def total(self) -> int: ...

    def look(self) -> tuple[int, str]:
        """How many are done, and what else there is to tell."""
        ...

    def end(self) -> int:
        """How many are done when the stage is whole."""
        ...


class Parts:
    """Files of a stage."""

    unit = "parts"

    def __init__(self, job: Job, stage: str) -> None:
        self._job, self._stage = job, stage
        self.total = expected(job, stage)
        self.about = "about " if stage in ESTIMATED else ""

    def look(self) -> tuple[int, str]:
        return self.end(), ""

    def end(self) -> int:
        return count(self._job, self._stage)


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
        meter: Meter = Urls(job) if stage == "fetch" else Parts(job, stage)
        start = time.monotonic()
        stop = threading.Event()
        bar = rich.progress.Progress(
            rich.progress.TextColumn(f"{stage:14}"),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TextColumn(meter.unit),
            rich.progress.TimeElapsedColumn(),
            rich.progress.TextColumn("{task.fields[news]}", markup=False),
            console=self._console,
            disable=not terminal,
        )
        task = bar.add_task(stage, total=None, news="")

        def look() -> None:
            while not stop.wait(self._every):
                try:
                    done, news = meter.look()
                    known = max(meter.total, done)
                except (OSError, ValueError):  # also a lease that is just being made
                    continue  # a bar is no reason to fail: the stage will say so, if it matters
                bar.update(task, completed=done, total=known, news=news)
                if not terminal:
                    told = f"{done:,} of {meter.about}{known:,} {meter.unit}"
                    self._say(stage, f"{told}, {news}" if news else told, start)

        watcher = threading.Thread(target=look, daemon=True)
        with bar:
            watcher.start()
            try:
                yield
            finally:
                stop.set()
                watcher.join()
            done = meter.end()
            bar.update(task, completed=done, total=done, news="")
        if not terminal:
            self._say(stage, f"done, {done:,} {meter.unit}", start)

    def _say(self, stage: str, what: str, start: float) -> None:
        assert self._console is not None
        self._console.print(f"{stage}: {what}, {time.monotonic() - start:.0f} s")


def count(job: Job, stage: str) -> int:
    found = (layout.files(job.output, stage, table) for table in LAST_FILES[stage])
    return sum(1 for files in found for _ in files)


def expected(job: Job, stage: str) -> int:
    """Parts of a stage; an estimate where the step that cuts them is part of it."""
    if stage != "extract":
        parts = len(part_names(job.parts_table("extract")))
        return parts + (_shards(job) if stage == "shard" else 0)
    crawl = read_crawl(job.output)
    if len(crawl.inputs) >= FEW_INPUTS or not crawl.sizes:
        return len(crawl.inputs)
    return sum(max(1, -(-size // crawl.part_size)) for size in crawl.sizes)


def _shards(job: Job) -> int:
    """Shards that hold what filter_images kept: as many as the plan, or nearly."""
    manifest = read_manifest(job, "filter_images")
    return -(-manifest.ledger["bytes.kept"] // job.settings.shard_bytes)
