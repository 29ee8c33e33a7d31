"""Look: images are decoded in processes of their own, which a hostile file may kill.

In:   bytes of a file.
Out:  ImageLook or Problem, as decode.py says, of the file or, where the user wants them smaller, of
      what became of it, with these bytes (pixels.py); DECODER_DIED for the one file with which
      the process was alone when it died: by a fault in a decoder, or by its limits.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from PIL import Image

from pipeline.local.workers import cores
from pipeline.media.decode import ImageLimits, ImageLook, look_at, reencode
from pipeline.media.pixels import Encoding, phash
from pipeline.problem import Problem
from schemas.verdict import Reason

SECONDS: Final = 30.0  # of CPU a file; the slowest that decode.py lets through takes some 8
MEMORY: Final = 3 << 30  # bytes of address space, for making a picture smaller as well
DATA: Final = ImageLimits().memory  # bytes that decoding may add, whatever the header tells
STATM: Final = Path("/proc/self/statm")
BATCH_BYTES: Final = 1 << 20
BATCH: Final = 16  # files
MOMENT: Final = 0.5  # seconds
BEAM_WORKER: Final = "CONTROL_API_SERVICE_DESCRIPTOR"  # set in a process of Beam's


class Reencoded(NamedTuple):
    """What is seen of a picture that was made smaller, and its bytes."""

    look: ImageLook
    body: bytes


Looked = ImageLook | Reencoded | Problem


@cache
def look_ahead() -> AheadLookers:
    """Those of this process, since they live as long."""
    return AheadLookers()


class AheadLookers:
    """One decoding process for a caller that goes on with other work while it decodes."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._lookers = Lookers()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def look(self, data: bytes) -> Future[Looked]:
        return asyncio.run_coroutine_threadsafe(self._lookers.look(data), self._loop)


@dataclass(kw_only=True)
class Lookers:
    """So many decoding processes; a file waits for its batch, a batch for a process."""

    processes: int = 1
    encoding: Encoding | None = None
    _waiting: list[tuple[bytes, asyncio.Future[Looked]]] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _alone: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(self.processes + 1)  # a further batch is on its way

    async def look(self, data: bytes) -> Looked:
        future: asyncio.Future[Looked] = asyncio.get_running_loop().create_future()
        self._waiting.append((data, future))
        if len(self._tasks) < 2 * self.processes + 1:
            task = asyncio.create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await future

    async def _work(self) -> None:
        """Batches, until nothing waits."""
        while self._waiting:
            async with self._slots:
                batch = self._take()
                if not batch:
                    return
                try:
                    looks = await self._try([data for data, _ in batch])
                    for data, future in batch:
                        look = looks.pop(0) if looks else await self._look_alone(data)
                        if not future.done():
                            future.set_result(look)
                except Exception as error:  # noqa: BLE001  # whoever waits is to have it
                    for _, future in batch:
                        if not future.done():
                            future.set_exception(error)

    def _take(self) -> list[tuple[bytes, asyncio.Future[Looked]]]:
        size = count = 0
        while count < min(BATCH, len(self._waiting)) and size < BATCH_BYTES:
            size += len(self._waiting[count][0])
            count += 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch

    async def _try(self, files: Sequence[bytes]) -> list[Looked]:
        """What is seen; nothing where the process died, with whoever was in it."""
        pool = self._pool()
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(pool, _look_at_all, files, self.encoding)
        except BrokenProcessPool:
            if _pools.get(self.processes) is pool:  # the first of those that lost it
                del _pools[self.processes]
            return []

    def _pool(self) -> ProcessPoolExecutor:
        if self.processes not in _pools:
            _pools[self.processes] = _new_pool(self.processes)
            for _ in range(self.processes):  # each call starts a process
                _pools[self.processes].submit(os.getpid)
        return _pools[self.processes]

    async def _look_alone(self, data: bytes) -> Looked:
        """In a process that no other file is in, so that its death is this file's doing."""
        async with self._alone:
            with _new_pool(1) as pool:
                loop = asyncio.get_running_loop()
                try:
                    await loop.run_in_executor(pool, os.getpid)
                except BrokenProcessPool as error:
                    raise RuntimeError(
                        "no decoding process can be started here: look at this machine's memory "
                        "and limits (ulimit -v, -u), then run again"
                    ) from error
                try:
                    looks = await loop.run_in_executor(pool, _look_at_all, [data], self.encoding)
                    return looks[0]
                except BrokenProcessPool:
                    return Problem(reason=Reason.DECODER_DIED)

    async def __aenter__(self) -> Self:
        self._pool()  # it starts while the first requests are under way
        return self

    async def __aexit__(self, *_error: object) -> None:
        for task in self._tasks:
            task.cancel()


def default_processes() -> int:
    """As many as there are cores; 1 where Beam has started this process as one a core."""
    return 1 if BEAM_WORKER in os.environ else cores()


# kept while this process lives, since a decoding process takes a second or two to start
_pools: Final[dict[int, ProcessPoolExecutor]] = {}


def close_pools() -> None:
    """End the decoding processes of this process, which the end of Python does not see to where
    multiprocessing has started it."""
    while _pools:
        _pools.popitem()[1].shutdown(cancel_futures=True)


def _new_pool(processes: int) -> ProcessPoolExecutor:
    context: Any = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    return ProcessPoolExecutor(
        processes, mp_context=context, initializer=_bound, initargs=(os.getpid(),)
    )


def _bound(parent: int) -> None:
    """In the new process: it ends with its parent, and takes no more memory than it may."""
    end_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's goes to the group: the run answers
    _allow(resource.RLIMIT_AS, MEMORY)
    phash(Image.new("L", (8, 8)))  # loads SciPy, whose OpenBLAS spins for ever without memory


def _allow(kind: int, size: int) -> None:
    """As much as `size`, or what this machine allows at most."""
    _, most = resource.getrlimit(kind)
    allowed = size if most == resource.RLIM_INFINITY else min(size, most)
    resource.setrlimit(kind, (allowed, most))


def end_with_parent(parent: int) -> None:
    """From here on this process ends within a moment of its parent.

    Looked at, for the signal that Linux sends is of a parent's thread, which may end before.
    """

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(MOMENT)
        os._exit(1)

    threading.Thread(target=look, daemon=True).start()


def _look_at_all(files: Sequence[bytes], encoding: Encoding | None) -> list[Looked]:
    return [_timed(data, encoding) for data in files]


def _timed(data: bytes, encoding: Encoding | None) -> Looked:
    """SIGPROF is left to end the process: no decoder can hold it up."""
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        look = _look_in_memory(data)
        if encoding is None or isinstance(look, Problem):
            return look
        body = reencode(data, look, encoding)
        if body is None:
            return look
        again = _look_in_memory(body)  # larger than it may be, perhaps: then it stays as it came
        return look if isinstance(again, Problem) else Reencoded(again, body)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _look_in_memory(data: bytes) -> ImageLook | Problem:
    """look_at, which fails beyond DATA: AVIF and EXIF can hold more than headers say."""
    if STATM.exists():  # not where the system is another than Linux
        held = int(STATM.read_text().split()[5]) * resource.getpagesize()
        _allow(resource.RLIMIT_DATA, held + DATA)
    try:
        return look_at(data)
    finally:
        _allow(resource.RLIMIT_DATA, MEMORY)
