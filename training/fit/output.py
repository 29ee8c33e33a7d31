"""Output: the folder of a training run, looked at before anything is written to it.

In:      the folder that fit, or data, is about to write to; it, and what is above it, may be links.
Out:     nothing.
Refused: names of a run's own files in a folder that is no training run (a crawl's run, someone's
         project), a link or another kind of file under one of them, metrics with a line that none
         of ours is: ValueError with the remedy.

run.json is the first file of a run, so that a folder without it is nobody's that was killed.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from training.fit import metrics
from training.recipe import RUN, read_run

ASIDE: Final = f"{RUN}.aside"  # all that a kill may leave before run.json
_FOLDERS: Final = frozenset({"checkpoints", "tokenizer", "tensorboard"})
_LINES: Final = (metrics.METRICS, metrics.HOST, metrics.EVALUATIONS)
_FILES: Final = frozenset(
    {RUN, ASIDE, "samples.html", *_LINES, *(f"{one}.aside" for one in _LINES)}
)
_PAGE: Final = re.compile(r"step-\d{6,}\.html")


def check_output(output: Path) -> None:
    """Raises ValueError for a folder in which a run would touch what is not its own."""
    if not os.path.lexists(output):
        return
    if not output.is_dir():
        raise ValueError(f"output is {output}, which is no folder: choose another output")
    own = [path for path in sorted(output.iterdir()) if _is_own(path.name)]
    if name := next((path.name for path in own if path.name != ASIDE), ""):
        _check_run(output, name)
    inner = output / "tokenizer"
    for path in (*own, *(inner.iterdir() if inner in own and inner.is_dir() else ())):
        if path.is_symlink():
            raise ValueError(
                f"{path} is a link, and a run writes under that name: move it elsewhere; to have a "
                f"run on another disk, make {output} itself a link"
            )
        if not (path.is_dir() if path.name in _FOLDERS else path.is_file()):
            kind = "folder" if path.name in _FOLDERS else "regular file"
            raise ValueError(f"{path} is no {kind}, as a run has there: move it elsewhere")
    for name in _LINES:
        for _ in metrics.read(output / name):
            pass


def _check_run(output: Path, name: str) -> None:
    try:
        read_run(output)
    except ValueError as error:
        raise ValueError(
            f"{output} has {name}, a name that fit writes under, but is no training run "
            f"({error.__cause__}): choose another output"
        ) from error


def _is_own(name: str) -> bool:
    return name in _FOLDERS | _FILES or _PAGE.fullmatch(name) is not None
