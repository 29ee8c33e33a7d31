"""Training runs of tests, in this process or in one of their own that can be killed."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch

from tests.forked import Forked, trainer
from tests.training.shards import picture, prose, write_run

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
    """Arguments of interloom-train; the last of equal settings counts."""
    flags = [flag for setting in (*TINY, *settings) for flag in ("--set", setting)]
    return ["fit", "--shards", str(shards), "-o", str(output), *flags]


def start(arguments: Sequence[str]) -> Forked:
    return Forked(trainer, list(arguments), environment={"OMP_NUM_THREADS": "1"})


def start_ranks(arguments: Sequence[str], ranks: int) -> list[Forked]:
    """The processes that torchrun would start."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [
        Forked(
            trainer,
            list(arguments),
            environment={"OMP_NUM_THREADS": "1", "RANK": rank, "LOCAL_RANK": rank, **shared},
        )
        for rank in map(str, range(ranks))
    ]


def steps(output: Path) -> list[dict[str, Any]]:
    path = output / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
