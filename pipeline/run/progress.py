"""Progress of a stage: how many of its files are there, on a terminal as a bar, else as lines.

`run()` of a Beam pipeline blocks, and every finished part is a file. So a thread counts files,
which works with every runner. Of fetch it counts URLs, in fetch/progress.py.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import rich.progress
from rich.console import Console

from pipeline.account.manifest import part_names
from pipeline.job import Job
from pipeline.stage import Stage
from pipeline.store.store import files_of


class Parts:
    """Files of a stage."""

    unit = "parts"

    def __init__(self, job: Job, stage: Stage) -> None:
        self._job, self._stage = job, stage
        self.total = expected(job, stage)
        self.about = "about " if stage.planned is not None else ""

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
    def watch(self, job: Job, stage: Stage) -> Iterator[None]:
        if self._console is None:
            yield
            return
        terminal = self._console.is_terminal
        meter = Parts(job, stage) if stage.meter is None else stage.meter(job)
        start = time.monotonic()
        stop = threading.Event()
        bar = rich.progress.Progress(
            rich.progress.TextColumn(f"{stage.name:14}"),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TextColumn(meter.unit),
            rich.progress.TimeElapsedColumn(),
            rich.progress.TextColumn("{task.fields[detail]}", markup=False),
            console=self._console,
            disable=not terminal,
        )
        task = bar.add_task(stage.name, total=None, detail="")

        def look() -> None:
            while not stop.wait(self._every):
                try:
                    done, detail = meter.look()
                    known = max(meter.total, done)
                except (OSError, ValueError):  # also a lease that is just being made
                    continue  # a bar is no reason to fail: the stage will say so, if it matters
                bar.update(task, completed=done, total=known, detail=detail)
                if not terminal:
                    line = f"{done:,} of {meter.about}{known:,} {meter.unit}"
                    self._say(stage.name, f"{line}, {detail}" if detail else line, start)

        watcher = threading.Thread(target=look, daemon=True)
        with bar:
            watcher.start()
            try:
                yield
            finally:
                stop.set()
                watcher.join()
            done = meter.end()
            bar.update(task, completed=done, total=done, detail="")
        if not terminal:
            self._say(stage.name, f"done, {done:,} {meter.unit}", start)

    def _say(self, stage: str, what: str, start: float) -> None:
        assert self._console is not None
        self._console.print(f"{stage}: {what}, {time.monotonic() - start:.0f} s")


def count(job: Job, stage: Stage) -> int:
    return sum(1 for table in stage.last for _ in files_of(job.output, table, stage.tables[table]))


def expected(job: Job, stage: Stage) -> int:
    """Parts of a stage; an estimate where the step that cuts them is part of it."""
    if stage.planned is not None:
        return stage.planned(job)
    return len(part_names(job.parts_table(stage.reads))) if stage.reads else 0
