"""Progress of a run: a rich bar on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

EVERY: Final = 10.0  # seconds between plain lines

Tell = Callable[[int, str], None]  # steps done, what to say beside


@contextmanager
def watch(
    console: Console, what: str, *, total: int, done: int = 0, on: bool = True
) -> Iterator[Tell]:
    """A function that is told how far the work is; it is silent where not `on`."""
    if not on:
        yield _silent
        return
    if not console.is_terminal:
        yield _plain(console, what, total)
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(bar_width=None), MofNCompleteColumn(),
        TimeRemainingColumn(), TextColumn("{task.fields[told]}"),
    )  # fmt: skip
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(what, total=total, completed=done, told="")
        yield lambda steps, told: progress.update(task, completed=steps, told=told)


def _silent(_steps: int, _told: str) -> None:
    pass


def _plain(console: Console, what: str, total: int) -> Tell:
    last = [0.0]

    def tell(steps: int, told: str) -> None:
        now = time.monotonic()
        if steps == total or now - last[0] >= EVERY:
            last[0] = now
            console.print(f"{what} {steps:,}/{total:,} {told}")

    return tell
