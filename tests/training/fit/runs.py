"""Training runs of tests as processes of their own, so that they can be killed."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch

from tests.training.shards import picture, prose, write_run

ROOT: Final = Path(__file__).resolve().parents[3]
TINY: Final = (
    "optimizer.warmup=2", "data.rows=4", "data.micro_rows=2", "data.sequence_length=96",
    "data.window=16", "data.vocabulary=512", "run.threads=1", "run.checkpoint_every=3",
    "run.deterministic=true", "run.heldout=4",
)  # fmt: skip


@contextmanager
def torch_as_before() -> Iterator[None]:
    """Around commands in this process, which set its threads and determinism."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(before[0])
    torch.use_deterministic_algorithms(before[1])


def write_documents(folder: Path, *, documents: int = 40, heldout: int = 4) -> Path:
    """A run folder of documents of uneven lengths, with none to three images."""
    dice = random.Random(5)
    made = []
    for number in range(documents + heldout):
        document: list[str | bytes] = [prose(dice.randint(5, 60), seed=number)]
        for k in range(dice.randint(0, 3)):
            image = picture(dice.randint(70, 160), dice.randint(70, 160), colour=number * 5 + k)
            document += [image, prose(dice.randint(3, 40), seed=100 * number + k)]
        made.append(document)
    write_run(folder, made[:documents], shards=2, heldout=made[documents:])
    return folder


def command(shards: Path, output: Path, *settings: str) -> list[str]:
    flags = [flag for one in (*TINY, *settings) for flag in ("--set", one)]
    fit = ["fit", "--shards", str(shards), "-o", str(output), *flags]
    return ["-m", "training.cli", *fit]


def start(arguments: Sequence[str], *, ranks: int = 1) -> subprocess.Popen[str]:
    launch = [sys.executable]
    if ranks > 1:
        launch += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    return subprocess.Popen(
        [*launch, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def finish(process: subprocess.Popen[str], *, code: int = 0) -> str:
    told, _ = process.communicate(timeout=400)
    assert process.returncode == code, told
    return told


def steps(output: Path) -> list[dict[str, Any]]:
    path = output / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
