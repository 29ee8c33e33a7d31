"""Metrics of a run: a JSON line a step, the same for TensorBoard, and what the last steps were.

    OUT/metrics.jsonl       one object a step: step, loss, ... ; a resumed run cuts it back to its
                            checkpoint, so it reads as if the run had never stopped
    OUT/metrics.host.jsonl  seconds, tokens and images a second, stall: what differs between runs
    OUT/tensorboard/        both
    OUT/evaluations.jsonl   one object an evaluation (loop.py)

Out:     files that are whole after every line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TextIO

from torch.utils.tensorboard import SummaryWriter

from schemas.from_json import json_object

METRICS: Final = "metrics.jsonl"
HOST: Final = "metrics.host.jsonl"
EVALUATIONS: Final = "evaluations.jsonl"


class Metrics:
    """Writes a step's numbers; `start` is the step that a run goes on from."""

    def __init__(self, output: Path, *, start: int, on: bool = True) -> None:
        self._files: dict[str, TextIO] = {}
        self._board: SummaryWriter | None = None
        if not on:  # one rank writes for all
            return
        for name in (METRICS, HOST):
            cut(output / name, start)
            self._files[name] = (output / name).open("a")
        self._board = SummaryWriter(str(output / "tensorboard"), purge_step=start + 1)

    def step(self, number: int, values: Mapping[str, Any], host: Mapping[str, float]) -> None:
        """The numbers of a step, counted from 1."""
        if self._board is None:
            return
        for name, told in ((METRICS, values), (HOST, host)):
            self._files[name].write(json.dumps({"step": number, **told}) + "\n")
            self._files[name].flush()
            for key, value in told.items():
                if isinstance(value, (int, float)):
                    self._board.add_scalar(key, value, number)

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        if self._board is not None:
            self._board.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a metrics file; one that a kill cut short is left out.

    Raises:
        ValueError: for a line that is none of ours.
    """
    if not path.exists():
        return
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True), start=1):
        if not line.endswith(b"\n"):
            continue
        try:
            told = json_object(line)
            if type(told.get("step")) is not int:
                raise ValueError("it has no step")
        except ValueError as error:
            raise ValueError(
                f"{path}, line {number:,} is no step of a run ({error}): take the line out, or "
                "move the file elsewhere"
            ) from error
        yield told


def cut(path: Path, last: int) -> None:
    """Leave out what was told of steps after `last`, and a line that a kill cut short."""
    kept = [line for line in read(path) if line["step"] <= last]
    if path.exists():
        aside = path.with_name(path.name + ".aside")
        aside.write_text("".join(json.dumps(line) + "\n" for line in kept))
        aside.replace(path)
