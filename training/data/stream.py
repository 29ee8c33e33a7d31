"""Stream: a plan in, its batches out, read and decoded by worker processes, in the plan's order.

In:      a plan (plan.py: RankPlan to train, OnePass to evaluate) and a RowReader.
Out:     for each step its micro-batches, the plan's state after it (what a checkpoint keeps to go
         on from there), the images that were broken, and the seconds that were waited for it.
Refused: what rows.py refuses, when the turn of that row comes, with no worker's traceback.
See it:  interloom-train plan --shards DIR; a run's `stall` is the share of time in these seconds.

The plan is walked here, in the one process that owns it, and only what it names is sent to the
workers; so batches are the same for any number of them, and for none. torch's DataLoader carries
them, through shared memory and on a GPU through pinned memory.
Workers come from a fork server that has torch loaded: no thread, lock or connection of this
process is copied into them. A terminal or a scheduler sends SIGINT and SIGTERM to all processes
alike; workers obey only a SIGTERM that this process sends, so that it can end its step and save.
They end when this process does, however it dies.
Left out: DataLoader's own batching, which knows one batch size, and its base seed, which is drawn
from torch's global generator, so that a resumed run would draw other numbers than a straight one.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import forkserver, get_context, parent_process, resource_tracker
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any, Final, Protocol

import torch
from torch.utils.data import DataLoader, Dataset

from training.data.batch import Batch, Broken, collate
from training.data.plan import RowPlan
from training.data.rows import RowReader

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)  # that a whole process group is sent


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """What one optimizer step is made of, on one rank."""

    batches: tuple[Batch, ...]
    state: Mapping[str, Any]  # of the plan, behind this step
    stall: float  # seconds that were waited here

    @property
    def tokens(self) -> int:
        return sum(batch.tokens_T.numel() for batch in self.batches)

    @property
    def images(self) -> int:
        return sum(batch.images for batch in self.batches)

    @property
    def broken(self) -> tuple[Broken, ...]:
        return tuple(image for batch in self.batches for image in batch.broken)


class Steps(Protocol):
    """What a plan must offer: RankPlan and OnePass of plan.py do."""

    def next_batch(self) -> Sequence[RowPlan]:
        """This rank's rows of the next global batch; none at the end."""
        ...

    def state_dict(self) -> Mapping[str, Any]: ...


def stream(
    plan: Steps, reader: RowReader, *, micro_rows: int, workers: int, prefetch: int = 2
) -> Generator[Step]:
    """Steps from where the plan stands on; `prefetch` micro-batches a worker are made ahead.

    A worker that died is a ChildProcessError.
    """
    for name, value, least in (
        ("micro_rows", micro_rows, 1), ("workers", workers, 0), ("prefetch", prefetch, 1),
    ):  # fmt: skip
        if value < least:
            raise ValueError(f"{name} is {value}: choose {least} or more")
    walk = _Walk(plan=plan, micro_rows=micro_rows)
    return _steps(walk, _batches(_loader(walk, reader, workers, prefetch)))


def _steps(walk: _Walk, batches: Generator[Batch]) -> Generator[Step]:
    with closing(batches):
        began = time.perf_counter()
        for first in batches:
            size, state = walk.steps.popleft()
            rest = (next(batches) for _ in range(size - 1))
            yield Step(batches=(first, *rest), state=state, stall=time.perf_counter() - began)
            began = time.perf_counter()


def _batches(loader: DataLoader[Sent]) -> Generator[Batch]:
    sent = iter(loader)
    try:
        while (batch := _next(sent)) is not None:
            if not isinstance(batch, Batch):
                raise batch
            yield batch
    finally:
        del sent  # ends the workers now, also where a traceback keeps this frame


def _next(sent: Iterator[Sent]) -> Sent | None:
    try:
        return next(sent, None)
    except (RuntimeError, ConnectionError, EOFError, FileNotFoundError) as error:
        if isinstance(error, RuntimeError) and "exited unexpectedly" not in str(error):
            raise  # an error of ours in a worker, with its traceback
        raise ChildProcessError(
            f"a worker process died ({error}), perhaps for want of memory: choose fewer "
            "data.workers or data.micro_rows"
        ) from error


Sent = Batch | ValueError | OSError  # an error is raised when its turn comes


class _MicroBatches(Dataset[Sent]):
    """Rows of the plan -> a micro-batch. To DataLoader such rows are an index."""

    def __init__(self, reader: RowReader) -> None:
        self._reader = reader

    def __getitem__(self, index: Sequence[RowPlan]) -> Sent:
        try:
            rows, broken = self._reader.read(index)
        except (ValueError, OSError) as error:
            error.add_note(traceback.format_exc())  # the traceback here is lost between processes
            return error
        return collate(rows, broken)


@dataclass(kw_only=True)
class _Walk:
    """Goes through the plan as workers become free, and notes what the steps were."""

    plan: Steps
    micro_rows: int
    steps: deque[tuple[int, Mapping[str, Any]]] = field(default_factory=deque)  # batches, state

    def __iter__(self) -> Iterator[Sequence[RowPlan]]:
        while rows := self.plan.next_batch():
            starts = range(0, len(rows), self.micro_rows)
            self.steps.append((len(starts), self.plan.state_dict()))
            yield from (rows[start : start + self.micro_rows] for start in starts)


def _loader(walk: _Walk, reader: RowReader, workers: int, prefetch: int) -> DataLoader[Sent]:
    return DataLoader(
        _MicroBatches(reader),
        sampler=walk,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=prefetch if workers else None,
        multiprocessing_context=_fork_server() if workers else None,
        worker_init_fn=partial(_set_up_worker, dict(os.environ)),
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),
    )


def _fork_server() -> BaseContext:
    """A running fork server that has the imports done and blocks signals."""
    context = get_context("forkserver")
    context.set_forkserver_preload([RowReader.__module__, __name__])
    resource_tracker.ensure_running()  # it would take the mask away again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        forkserver.ensure_running()  # the mask is inherited, by workers too
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return context


def _set_up_worker(environment: Mapping[str, str], _worker: int) -> None:
    """Called in a worker: it lives as long as its parent, whatever signals come."""
    os.environ.update(environment)  # the fork server may be older than a setting
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    parent = parent_process()
    assert parent is not None, "a worker has a parent"
    for end in (_end_with, _end_on_sigterm_of):
        threading.Thread(target=end, args=(parent,), daemon=True).start()


def _end_with(parent: BaseProcess) -> None:
    """DataLoader's own watch sees only the fork server, which lives as long as its workers."""
    parent.join()
    os._exit(1)


def _end_on_sigterm_of(parent: BaseProcess) -> None:
    while signal.sigwaitinfo((signal.SIGTERM,)).si_pid != parent.pid:
        pass
    os._exit(0)
