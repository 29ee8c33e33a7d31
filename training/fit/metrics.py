"""Metrics of a run: a JSON line a step, the same for TensorBoard, and progress on the terminal.

    OUT/metrics.jsonl       one object a step: step, loss, ... ; a resumed run cuts it back to its
                            checkpoint, so it reads as if the run had never stopped
    OUT/metrics.host.jsonl  seconds, tokens and images a second, stall: what differs between runs
    OUT/tensorboard/        both
    OUT/evaluations.jsonl   one object an evaluation (evaluate/losses.py)

Out:     files that are whole after every line; a bar on a terminal, elsewhere a plain line every
         few seconds.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

from schemas.from_json import json_object

METRICS: Final = "metrics.jsonl"
HOST: Final = "metrics.host.jsonl"
EVALUATIONS: Final = "evaluations.jsonl"


# step from 1, its numbers, those of this host
Write = Callable[[int, Mapping[str, Any], Mapping[str, float]], None]


@contextmanager
def writer(output: Path, *, start: int, on: bool) -> Iterator[Write]:
    """A function that writes a step's numbers; `start` is the step that a run goes on from."""
    if not on:  # one rank writes for all
        yield lambda _number, _values, _speeds: None
        return
    for name in (METRICS, HOST):
        cut(output / name, start)
    with (
        (output / METRICS).open("a") as metrics,
        (output / HOST).open("a") as host,
        closing(SummaryWriter(str(output / "tensorboard"), purge_step=start + 1)) as board,
    ):

        def write(number: int, values: Mapping[str, Any], speeds: Mapping[str, float]) -> None:
            for file, numbers in ((metrics, values), (host, speeds)):
                file.write(json.dumps({"step": number, **numbers}) + "\n")
                file.flush()
                for key, value in numbers.items():
                    if isinstance(value, (int, float)):
                        board.add_scalar(key, value, number)

        yield write


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a metrics file; one that a kill cut short is left out."""
    if not path.exists():
        return
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True), start=1):
        if not line.endswith(b"\n"):
            continue
        try:
            values = json_object(line)
            if type(values.get("step")) is not int:
                raise ValueError("it has no step")
        except ValueError as error:
            raise ValueError(
                f"{path}, line {number:,} is no step of a run ({error}): take the line out, or "
                "move the file elsewhere"
            ) from error
        yield values


def cut(path: Path, last: int) -> None:
    """Remove the lines of steps after `last`, and a line that a kill cut short."""
    kept = [line for line in read(path) if line["step"] <= last]
    if path.exists():
        aside = path.with_name(path.name + ".aside")
        aside.write_text("".join(json.dumps(line) + "\n" for line in kept))
        aside.replace(path)


EVERY: Final = 10.0  # seconds between plain lines

Show = Callable[[int, str], None]  # steps done, what to print beside them


@contextmanager
def watch(
    console: Console, what: str, *, total: int, done: int = 0, on: bool = True
) -> Iterator[Show]:
    """A function that shows how far the work is; it is silent where not `on`."""
    if not on or not console.is_terminal:
        yield _plain(console, what, total) if on else lambda _steps, _text: None
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(bar_width=None), MofNCompleteColumn(),
        TimeRemainingColumn(), TextColumn("{task.fields[text]}"),
    )  # fmt: skip
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(what, total=total, completed=done, text="")
        yield lambda steps, text: progress.update(task, completed=steps, text=text)


def _plain(console: Console, what: str, total: int) -> Show:
    last = [0.0]

    def show(steps: int, text: str) -> None:
        now = time.monotonic()
        if steps == total or now - last[0] >= EVERY:
            last[0] = now
            console.print(f"{what} {steps:,}/{total:,} {text}")

    return show
