"""Partition: the URLs of some registered domains, asked for by one holder, many hosts at a time.

In:   errands: wanted URLs, or those that a redirect of another partition has led here; what earlier
      holders have committed.
Out:  commits (packs and rows) as it goes; the errands that lead to other partitions; and the rows
      of other partitions' URLs, which are brought home when all are done.
It always ends: every request has its time, a host that fails is given up, and at the deadline
what was not answered is DEFERRED.
Side by side: a worker takes on another partition as soon as it has requests free. A host that is
slow, or wants long pauses, needs few of them, so it holds up no other partition. Partitions that
need all requests follow one another, so that packs stay large and memory small; but not where there
is a deadline, since those that are left would have no time: they take turns at the requests.
Nothing has to be known of the partitions that are still to come, nor of other workers.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from pipeline.fetch.commits import Commits, Known
from pipeline.fetch.due import read_due, read_outcome
from pipeline.fetch.errand import AWAY, Errand, Outcome
from pipeline.fetch.hosts.host import Host, Hosts
from pipeline.fetch.hosts.optout import OptOuts
from pipeline.fetch.hosts.request import Ending, Requester, row_of
from pipeline.fetch.lease import Lease, LostLeaseError, hold
from pipeline.fetch.means import Means, open_means
from pipeline.job import Job
from pipeline.media.look import Reencoded
from pipeline.problem import Problem
from pipeline.words.domain import host_of, partition_of
from schemas.verdict import FORBIDDING, OK, UNDECIDED, Reason

MOMENT: Final = 1.0  # seconds in which what several hosts ask for is told together
BEAT: Final = 5.0  # seconds between two renewals of the lease, and two looks at the commits
GRACE: Final = 10.0  # seconds after the deadline, for the decoding of what has come
NOT_ASKED: Final = FORBIDDING | {Reason.DEFERRED}  # statuses of which a host has seen nothing
SLOWEST: Final = 3  # hosts that the lease's news names
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
        self._means: Means | None = None
        self._opened = AsyncExitStack()  # the means
        self._opening = asyncio.Lock()
        self._tasks: set[asyncio.Task[Outcome]] = set()
        self._starting: set[int] = set()  # partitions that are read, and ask nobody yet
        self._holders: dict[int, Holder] = {}
        self._outcomes: list[Outcome] = []

    def take(self, partition: int, errands: Iterable[Errand] | None) -> None:
        """Begin a partition, and work until there is room for another.

        Raises:
            LostLeaseError: another holder has taken one of the partitions over.
        """
        given = None if errands is None else list(errands)
        try:
            self._runner.run(self._take(partition, given))
        except BaseException:
            self.close()
            raise

    def finish(self) -> list[Outcome]:
        """Of all that were taken, when they have ended; raises as `take` does."""
        try:
            self._runner.run(self._wait_for_all())
        finally:
            self.close()
        return self._outcomes

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
        self._outcomes.extend(one.result() for one in ended)

    async def _wait_for_all(self) -> None:
        while self._tasks:
            await self._wait(None)

    async def _give_up(self) -> None:
        await _cancelled(*self._tasks)
        await self._opened.aclose()

    def _is_full(self) -> bool:
        """Whether another partition would only wait, or be too much to hold."""
        if self._starting or len(self._tasks) >= MOST_PARTITIONS:
            return True
        if sum(len(holder.open) for holder in self._holders.values()) >= MOST_URLS:
            return True
        in_use = self._means is not None and self._means.are_in_use
        return in_use and math.isinf(self._until)

    async def _open_means(self) -> Means:
        """When the first partition needs them: processes are started for it."""
        async with self._opening:
            if self._means is None:
                opening = open_means(self._job)
                self._means = await self._opened.enter_async_context(opening)
        return self._means

    async def _hold(self, partition: int, errands: list[Errand] | None) -> Outcome:
        job, fetching, counts = self._job, self._job.settings.fetching, Counter[str]()
        async with hold(job.path("leases", f"{partition:05d}.host.json")) as lease:
            self._starting.add(partition)
            try:
                brought, todo = await asyncio.to_thread(read_due, partition, errands, job)
                if todo and fetching.on:
                    commits = Commits.begin(job, partition, brought.places)
                    holder = Holder(job=job, partition=partition, known=brought.known.values(),
                                    commits=commits, lease=lease, open=todo, until=self._until,
                                    begun=partial(self._starting.discard, partition),
                                    means=await self._open_means())  # fmt: skip
                    del brought, todo
                    self._holders[partition] = holder
                    counts = await holder.fetch()
            finally:
                self._starting.discard(partition)
                self._holders.pop(partition, None)
            return await asyncio.to_thread(read_outcome, partition, errands, job, counts)


@dataclass(kw_only=True)
class Holder:
    """The loop over one partition's hosts."""

    job: Job
    partition: int
    known: Collection[Known]  # what earlier holders have committed
    commits: Commits
    lease: Lease
    open: dict[str, Errand]  # without an answer
    until: float  # seconds since 1970
    begun: Callable[[], None]  # called when its hosts are asked
    means: Means
    counts: Counter[str] = field(default_factory=Counter)
    alive: int = 0  # hosts with URLs left
    writing: asyncio.Future[None] | None = None  # a commit
    renewing: asyncio.Future[None] | None = None  # the lease
    closing: bool = False  # only the last commit is still to be written
    finishing: set[asyncio.Future[None]] = field(default_factory=set)  # what has come
    started: float = field(default_factory=time.monotonic)

    async def fetch(self) -> Counter[str]:
        """Rows by reason."""
        job, means = self.job, self.means
        self.hosts = Hosts(wire=means.wire, fetching=job.settings.fetching, rates=means.rates,
                           rests=dict(self.lease.rests), everywhere=means.everywhere,
                           until=self.until)  # fmt: skip
        self._count_asked()
        self.known = ()  # as large as the partition
        self.requester = Requester(
            hosts=self.hosts,
            opt_outs=OptOuts(listed=means.listed, service=means.service),
            consent=job.settings.recipe.consent,
            mine=self._is_mine,
        )
        await self._work()
        return self.counts

    def _is_mine(self, url: str) -> bool:
        return partition_of(url, self.job.partitions)[0] == self.partition

    def _count_asked(self) -> None:
        """What a host was asked for in this round counts, whoever asked."""
        fetching = self.job.settings.fetching
        if fetching.host_images is None:
            return
        for one in self.known:
            if one.round == fetching.round and one.status not in NOT_ASKED:
                for url in {host_of(url): url for url in one.asked if self._is_mine(url)}.values():
                    self.hosts.of(url).paces[0].images += 1

    async def _work(self) -> None:
        hosts: asyncio.Future[Any] = asyncio.ensure_future(self._all())
        beat: asyncio.Future[Any] = asyncio.ensure_future(self._beat())
        try:
            left = None if math.isinf(self.until) else max(0.0, self.until - time.time())
            await asyncio.wait({hosts, beat}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            _raise_of(beat, hosts)
            await _cancelled(hosts)
            come = asyncio.gather(*self.finishing)
            await asyncio.wait({beat, come}, timeout=GRACE, return_when=asyncio.FIRST_COMPLETED)
            _raise_of(beat, come)
            await _cancelled(come)
            if self.open:  # the deadline
                async with self.means.deferring:
                    await self._put_off_all()
            await self._commit()
            _raise_of(beat)
        except BaseException:
            self.commits.give_up()
            raise
        finally:
            await _cancelled(beat, hosts, *self.finishing)
            # a thread cannot be cancelled, and the lease is let go only after it
            threads = (one for one in (self.renewing, self.writing) if one is not None)
            await asyncio.gather(*threads, return_exceptions=True)
            self.lease.rests = self.hosts.rests_left()

    async def _all(self) -> None:
        await self.requester.opt_outs.ask_ahead([one.at for one in self.open.values()])
        queues: dict[Host, deque[Errand]] = defaultdict(deque)
        for errand in self.open.values():
            queues[self.hosts.of(errand.at)].append(errand)
        self.alive = len(queues)
        hosts = asyncio.gather(*(self._empty(host, queue) for host, queue in queues.items()))
        self.begun()
        await hosts

    async def _empty(self, host: Host, queue: deque[Errand]) -> None:
        """All URLs of a host, by as many connections as it may have."""
        at_once = min(host.paces[0].connections, len(queue))
        await asyncio.gather(*(self._serve(queue) for _ in range(at_once)))
        self.alive -= 1

    async def _serve(self, queue: deque[Errand]) -> None:
        while queue:
            ended = await self.requester.run(queue.popleft())
            if isinstance(ended, Errand):
                self._send_away(ended)
            else:
                finishing = asyncio.ensure_future(self._finish(ended))
                self.finishing.add(finishing)
                finishing.add_done_callback(self.finishing.discard)
                await asyncio.shield(finishing)  # it has come: the deadline is too late for it
            await asyncio.sleep(0)  # what a dead host had is done without waiting for anything

    async def _finish(self, ending: Ending) -> None:
        """A row, and a place in a pack."""
        try:
            await self._see(ending)
        finally:
            if ending.answer is not None:
                self.means.wire.release(ending.answer)

    async def _see(self, ending: Ending) -> None:
        """What is seen of the bytes; those that are packed were seen before."""
        if not ending.body:
            self._write(ending)
            return
        sha256 = hashlib.sha256(ending.body).hexdigest()
        if sha256 in self.commits.places:
            self._write(ending, {"sha256": sha256})
            return
        look = await self.means.lookers.look(ending.body)
        if isinstance(look, Problem):
            self._write(replace(ending, problem=look))
            return
        if isinstance(look, Reencoded):
            ending, look = replace(ending, body=look.body), look.look
        self._write(ending, look.columns(size=len(ending.body)))

    def _write(self, ending: Ending, seen: Mapping[str, Any] | None = None) -> None:
        row = {**row_of(ending, round_=self.job.settings.fetching.round), **(seen or {})}
        self.commits.add(row, b"" if seen is None else ending.body)
        self._count(ending.errand, row["status"])

    def _send_away(self, errand: Errand) -> None:
        """Its new host is another partition's; the row says so, for a later start."""
        row = row_of(Ending(errand=errand), round_=self.job.settings.fetching.round)
        self.commits.add(row | {"status": AWAY, "value": errand.hops})
        self._count(errand, AWAY)

    def _count(self, errand: Errand, status: str) -> None:
        del self.open[errand.url]
        self.counts[status] += 1

    async def _put_off_all(self) -> None:
        for errand in list(self.open.values()):
            self._write(_put_off(errand))
            if self._is_due():
                await self._commit()

    def _is_due(self) -> bool:
        fetching = self.job.settings.fetching
        return self.commits.due(size=fetching.commit_bytes, seconds=fetching.commit_seconds)

    async def _commit(self) -> None:
        """In a thread: a disk or bucket takes its time, and the hosts are not to wait for it."""
        self.closing = True
        await self._written()
        if (commit := self.commits.cut()) is not None:
            await asyncio.to_thread(commit.write)

    async def _written(self) -> None:
        """Commits are written one after the other: a later one may point into an earlier pack."""
        if self.writing is not None:
            await self.writing
            self.writing = None

    async def _beat(self) -> None:
        """Renew the lease, write what is due, until cancelled."""
        wait = min(BEAT, self.job.settings.fetching.commit_seconds)
        while True:
            # no wait_for: Python 3.11's forgets that it was cancelled where both happen at once
            with suppress(TimeoutError):  # or as soon as a host has asked for a rest
                async with asyncio.timeout(wait):
                    await self.hosts.told.wait()
                await asyncio.sleep(MOMENT)
            self.hosts.told.clear()
            left = max(0.0, self.lease.until - time.time())
            self.renewing = asyncio.ensure_future(self._renew())
            try:
                async with asyncio.timeout(left):
                    await asyncio.shield(self.renewing)
            except TimeoutError as error:
                raise LostLeaseError("the lease could not be renewed in time") from error
            if self.writing is not None and self.writing.done():
                await self._written()  # raises what it raised
            idle = self.writing is None and not self.closing
            if idle and self._is_due() and (commit := self.commits.cut()) is not None:
                # beside the renewals, which must not wait for it
                self.writing = asyncio.create_task(asyncio.to_thread(commit.write))

    async def _renew(self) -> None:
        await asyncio.to_thread(self.lease.renew, self._news(), self.hosts.rests_left())

    def _news(self) -> dict[str, Any]:
        """What the progress line tells."""
        hosts, asked = self.hosts.known.values(), sum(self.counts.values())
        slowest = sorted(hosts, key=lambda host: host.seconds / max(1, host.asked))[-SLOWEST:]
        return {
            "commits": self.commits.name,
            "asked": asked,
            "done": asked - self.counts[AWAY],
            "ok": self.counts[OK],
            "bytes": sum(host.bytes for host in hosts),
            "seconds": time.monotonic() - self.started,
            "hosts": self.alive,
            "slowest": {host.origin: round(host.seconds / max(1, host.asked), 2)
                        for host in slowest if host.asked},
        }  # fmt: skip


def _raise_of(*tasks: asyncio.Future[Any]) -> None:
    """What those that have ended raised."""
    for one in tasks:
        if one.done():
            one.result()


async def _cancelled(*tasks: asyncio.Future[Any]) -> None:
    for one in tasks:
        one.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _put_off(errand: Errand) -> Ending:
    """Nobody was asked."""
    return Ending(errand=errand, problem=Problem(reason=Reason.DEFERRED), decision=UNDECIDED)
