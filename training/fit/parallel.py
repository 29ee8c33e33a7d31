"""Ranks: torchrun's processes as one training run; alone, a world of one.

In:   torchrun's environment (RANK, WORLD_SIZE, LOCAL_RANK).
Out:  a World that knows its device, sums numbers over ranks and wraps a model in DDP.
See:  torchrun --nproc-per-node 2 -m training.cli fit ...
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

PATIENCE: Final = timedelta(days=2)


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    rank: int
    size: int
    device: torch.device
    patient: dist.ProcessGroup | None = None  # for waits: a rank may count tokens for hours

    @property
    def first(self) -> bool:
        """Whether this rank writes and prints for all."""
        return self.rank == 0

    def sums(self, *numbers: float) -> list[float]:
        """Each number summed over all ranks, in float64; every rank calls it at the same place."""
        if self.size == 1:
            return list(numbers)
        summed = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        dist.all_reduce(summed)
        return [float(number) for number in summed]

    def gather(self, texts: list[str]) -> list[str]:
        """The texts of all ranks, in the order of ranks."""
        if self.size == 1:
            return texts
        of_ranks: list[list[str]] = [[] for _ in range(self.size)]
        dist.all_gather_object(of_ranks, texts)
        return [text for of_rank in of_ranks for text in of_rank]

    def wait(self) -> None:
        """Wait until every rank has come here."""
        if self.size > 1:
            dist.barrier(group=self.patient)

    def autocast(self, precision: torch.dtype) -> torch.autocast:
        """A context in which matrices are multiplied in this precision; float32: as they are."""
        return torch.autocast(self.device.type, dtype=precision, enabled=precision != torch.float32)

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model whose backward averages gradients over ranks."""
        if self.size == 1:
            return model
        ids = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=ids, gradient_as_bucket_view=True)


ALONE = World(rank=0, size=1, device=torch.device("cpu"))


@contextmanager
def world() -> Iterator[World]:
    """The ranks of this run, joined on entry and left on exit."""
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    device = _device(int(os.environ.get("LOCAL_RANK", "0")))
    if size == 1:
        yield World(rank=0, size=1, device=device)
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        patient = dist.new_group(backend="gloo", timeout=PATIENCE)
        yield World(rank=rank, size=size, device=device, patient=patient)
    finally:
        dist.destroy_process_group()


def _device(local_rank: int) -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device


def without_sync(model: nn.Module, *, last: bool) -> AbstractContextManager[object]:
    """A context in which backward leaves gradients on their rank, but for the last micro-batch."""
    if last or not isinstance(model, DistributedDataParallel):
        return nullcontext()
    synchronised: AbstractContextManager[object] = model.no_sync()
    return synchronised
