"""Worker: partitions side by side, on an event loop that runs while one is taken and at the end.

In:   partitions, each with its own wanted URLs or the errands that lead to it.
Out:  what their holders leave (partition.py).
A worker takes on another partition as soon as it has requests free. A host that is slow, or wants
long pauses, needs few of them, so it holds up no other partition. Partitions that need all requests
follow one another, so that packs stay large and memory small; but not where there is a deadline,
since those that are left would have no time: they take turns at the requests. Nothing has to be
known of the partitions that are still to come, nor of other workers.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from pipeline.fetch.commits import Commits, Errand, HolderResult, read_due, read_result
from pipeline.fetch.hosts.guard import Guard, HostMap
from pipeline.fetch.hosts.pace import Rates
from pipeline.fetch.hosts.permission import service_at
from pipeline.fetch.hosts.wire import Wire
from pipeline.fetch.lease import hold
from pipeline.fetch.partition import Holder, Resources, cancel_all
from pipeline.job import Job
from pipeline.media.look import Lookers, default_processes
from pipeline.words.consent import opted_out

TICK: Final = 0.05  # seconds between two looks whether a worker has room for another partition
MOST_URLS: Final = 1 << 20  # of a worker without an answer, some 250 MB; then it takes on no more
MOST_PARTITIONS: Final = 128  # of a worker at a time: each has a lease to renew, and an open pack
THREADS: Final = 32  # that wait for disks or buckets, so that no renewal of a lease waits for them


class Worker:
    """Partitions side by side, on an event loop that runs while one is taken and at the end."""

    def __init__(self, job: Job, *, until: float) -> None:
        self._job = job
        self._until = until  # seconds since 1970
        self._runner = asyncio.Runner()
        self._runner.get_loop().set_default_executor(ThreadPoolExecutor(THREADS))
        self._resources: Resources | None = None
        self._opened = AsyncExitStack()  # the resources
        self._opening = asyncio.Lock()
        self._tasks: set[asyncio.Task[HolderResult]] = set()
        self._holders: dict[int, Holder | None] = {}  # None while the partition is read
        self._results: list[HolderResult] = []

    def take(self, partition: int, errands: Iterable[Errand] | None) -> None:
        """Begin a partition, and work until there is room for another.

        Raises:
            LostLeaseError: another holder has taken one of the partitions over.
        """
        own = None if errands is None else list(errands)
        try:
            self._runner.run(self._take(partition, own))
        except BaseException:
            self.close()
            raise

    def finish(self) -> list[HolderResult]:
        """Of all that were taken, when they have ended; raises as `take` does."""
        try:
            while self._tasks:
                self._runner.run(self._wait(None))
        finally:
            self.close()
        return self._results

    def close(self) -> None:
        """What has not ended is given up."""
        try:
            self._runner.run(self._give_up())
        finally:
            self._runner.close()

    async def _take(self, partition: int, errands: list[Errand] | None) -> None:
        self._tasks.add(asyncio.create_task(self._hold(partition, errands)))
        await self._wait(TICK)
        while self._tasks and self._is_full():
            await self._wait(TICK)

    async def _wait(self, seconds: float | None) -> None:
        """Until a partition has ended, or the time is over."""
        first = asyncio.FIRST_COMPLETED
        ended, self._tasks = await asyncio.wait(self._tasks, timeout=seconds, return_when=first)
        self._results.extend(task.result() for task in ended)

    async def _give_up(self) -> None:
        await cancel_all(*self._tasks)
        await self._opened.aclose()

    def _is_full(self) -> bool:
        """Whether another partition would only wait, or be too much to hold."""
        urls = 0
        for holder in self._holders.values():
            if holder is None or not holder.serving:  # it is only starting
                return True
            urls += len(holder.open)
        if len(self._tasks) >= MOST_PARTITIONS or urls >= MOST_URLS:
            return True
        in_use = self._resources is not None and self._resources.wire.is_in_use
        return in_use and math.isinf(self._until)

    async def _open_resources(self) -> Resources:
        """When the first partition needs them: processes are started for it."""
        async with self._opening:
            if self._resources is None:
                opening = open_resources(self._job)
                self._resources = await self._opened.enter_async_context(opening)
        return self._resources

    async def _hold(self, partition: int, errands: list[Errand] | None) -> HolderResult:
        job, fetching, counts = self._job, self._job.settings.fetching, Counter[str]()
        async with hold(job.path("leases", f"{partition:05d}.host.json")) as lease:
            self._holders[partition] = None
            try:
                brought, todo = await asyncio.to_thread(read_due, partition, errands, job)
                if todo and fetching.on:
                    holder = Holder(job=job, partition=partition, known=brought.known.values(),
                                    commits=Commits.begin(job, partition, brought.places),
                                    lease=lease, open=todo, until=self._until,
                                    resources=await self._open_resources())  # fmt: skip
                    del brought, todo
                    self._holders[partition] = holder
                    counts = await holder.fetch()
            finally:
                del self._holders[partition]
            return await asyncio.to_thread(read_result, partition, errands, job, counts)


@asynccontextmanager
async def open_resources(job: Job) -> AsyncIterator[Resources]:
    """Of one worker."""
    fetching = job.settings.fetching
    mapped = HostMap.parse(fetching.host_map)
    decoders = fetching.decoders or default_processes()
    async with (
        Wire(guard=Guard(mapped=mapped), fetching=fetching) as wire,
        Lookers(processes=decoders, encoding=fetching.encoding) as lookers,
        service_at(fetching.opt_out_service, agent=fetching.user_agent) as service,
    ):
        yield Resources(
            wire=wire,
            lookers=lookers,
            service=service,
            listed=opted_out(job),
            rates=Rates.parse(fetching.rates),
            deferring=asyncio.Lock(),
        )
