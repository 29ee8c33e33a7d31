"""Progress of a stage: how many of its files are there, on a terminal as a bar, else as lines.

`run()` of a Beam pipeline blocks, and what is final is a file; so a thread counts files. That is
true of every runner whose output can be listed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Self

import rich.progress
from rich.console import Console

from pipeline import parquet, store
from pipeline.job import Job, read_crawl
from pipeline.read.parts import FEW_INPUTS

# where the last file of each of a stage's parts appears
LAST_FILES: Final = {
    "extract": "documents",
    "filter_text": "verdicts/filter_text",
    "fetch": "images",
    "filter_images": "kept",
    "shard": "tables/drops",
}


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
            console=self._console,
            disable=not terminal,
        )
        task = bar.add_task(stage, total=total)

        def look() -> None:
            while not stop.wait(self._every):
                done = count(job, stage)
                bar.update(task, completed=done, total=max(total, done))
                if not terminal:
                    self._say(stage, f"{done} of {total} parts", start)

        watcher = threading.Thread(target=look, daemon=True)
        with bar:
            watcher.start()
            try:
                yield
            finally:
                stop.set()
                watcher.join()
            done = count(job, stage)
            bar.update(task, completed=done, total=done)
        if not terminal:
            self._say(stage, f"done, {done} parts", start)

    def _say(self, stage: str, what: str, start: float) -> None:
        assert self._console is not None
        self._console.print(f"{stage}: {what}, {time.monotonic() - start:.0f} s")


def count(job: Job, stage: str) -> int:
    paths = store.listing(job.path(LAST_FILES[stage]))
    mine = [path for path in paths if is_fetched(path) == (stage == "fetch")]
    return sum(store.ASIDE not in path for path in mine)


def is_fetched(path: str) -> bool:
    """Whether a file is a part of fetch, by its own name: the run folder's may be anything."""
    return path.rsplit("/", 1)[-1].startswith("fetch-")


def expected(job: Job, stage: str) -> int:
    """Parts of a stage; of extract an estimate, since the walk that cuts them is part of it."""
    if stage == "fetch":
        return job.partitions
    if stage != "extract":
        return sum(1 for _ in parquet.read_rows(job.parts_table("extract"), ["part"]))
    crawl = read_crawl(job.output)
    if len(crawl.inputs) >= FEW_INPUTS or not crawl.sizes:
        return len(crawl.inputs)
    return sum(max(1, -(-size // crawl.part_size)) for size in crawl.sizes)
