"""Partition: the URLs of some registered domains, asked for by one holder, many hosts at a time.

In:   errands: wanted URLs, or those that a redirect of another partition has led here; what earlier
      holders have committed.
Out:  commits (packs and rows) as it goes; the errands that lead to other partitions; and the rows
      of other partitions' URLs, which are brought home when all are done.
It always ends: every request has its time, a host that fails is given up, and at the deadline
what was not answered is DEFERRED.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

from pipeline.fetch.commits import AWAY, Commits, Errand, Known
from pipeline.fetch.hosts.host import Host, Hosts
from pipeline.fetch.hosts.pace import Rates
from pipeline.fetch.hosts.permission import OptOuts, OptOutService
from pipeline.fetch.hosts.request import Ending, Requester, row_of
from pipeline.fetch.hosts.wire import Wire
from pipeline.fetch.lease import Lease, LostLeaseError
from pipeline.job import Job
from pipeline.media.look import Lookers, Reencoded
from pipeline.problem import Problem
from pipeline.words.consent import OptOutList
from pipeline.words.urls import host_of, partition_of
from schemas.verdict import FORBIDDING, OK, UNDECIDED, Reason

MOMENT: Final = 1.0  # seconds that the lease's renewal waits for further hosts that ask for a rest
BEAT: Final = 5.0  # seconds between two renewals of the lease, and two looks at the commits
GRACE: Final = 10.0  # seconds after the deadline, for the decoding of what has come
NOT_ASKED: Final = FORBIDDING | {Reason.DEFERRED}  # statuses of which a host has seen no request
SLOWEST: Final = 3  # hosts that the lease's news names


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What all partitions of a worker share. Use `open_resources` (worker.py)."""

    wire: Wire
    lookers: Lookers
    service: OptOutService | None
    listed: OptOutList
    rates: Rates
    # held by a partition that puts off its rest: all do so at the deadline, and rows take memory
    deferring: asyncio.Lock


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
    resources: Resources
    counts: Counter[str] = field(default_factory=Counter)
    serving: Sequence[asyncio.Future[list[None]]] = ()  # a host's: done with its last URL
    writing: asyncio.Future[None] | None = None  # a commit
    renewing: asyncio.Future[None] | None = None  # the lease
    finishing: set[asyncio.Future[None]] = field(default_factory=set)  # what has come
    started: float = field(default_factory=time.monotonic)

    async def fetch(self) -> Counter[str]:
        """Rows by reason."""
        job, shared = self.job, self.resources
        self.hosts = Hosts(wire=shared.wire, rates=shared.rates, rests=dict(self.lease.rests),
                           until=self.until)  # fmt: skip
        self._count_asked()
        self.known = ()  # as large as the partition
        self.requester = Requester(
            hosts=self.hosts,
            opt_outs=OptOuts(listed=shared.listed, service=shared.service),
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
        for row in self.known:
            if row.round == fetching.round and row.status not in NOT_ASKED:
                for url in {host_of(url): url for url in row.urls if self._is_mine(url)}.values():
                    self.hosts.of(url).paces[0].images += 1

    async def _work(self) -> None:
        hosts: asyncio.Future[Any] = asyncio.ensure_future(self._all())
        beat: asyncio.Future[Any] = asyncio.ensure_future(self._beat())
        try:
            left = None if math.isinf(self.until) else max(0.0, self.until - time.time())
            await asyncio.wait({hosts, beat}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            _raise_of(beat, hosts)
            await cancel_all(hosts)
            come = asyncio.gather(*self.finishing)
            await asyncio.wait({beat, come}, timeout=GRACE, return_when=asyncio.FIRST_COMPLETED)
            _raise_of(beat, come)
            await cancel_all(come)
            if self.open:  # the deadline
                async with self.resources.deferring:
                    await self._defer_all()
            await asyncio.shield(self._commit())
            _raise_of(beat)
        except BaseException:
            self.commits.give_up()
            raise
        finally:
            await cancel_all(beat, hosts, *self.finishing)
            # a thread cannot be cancelled, and the lease is let go only after it
            threads = (thread for thread in (self.renewing, self.writing) if thread is not None)
            await asyncio.gather(*threads, return_exceptions=True)
            self.lease.rests = self.hosts.rests_left()

    async def _all(self) -> None:
        await self.requester.opt_outs.ask_ahead([errand.at for errand in self.open.values()])
        queues: dict[Host, deque[Errand]] = defaultdict(deque)
        for errand in self.open.values():
            queues[self.hosts.of(errand.at)].append(errand)
        self.serving = [self._serve(host, queue) for host, queue in queues.items()]
        await asyncio.gather(*self.serving)

    def _serve(self, host: Host, queue: deque[Errand]) -> asyncio.Future[list[None]]:
        """All URLs of a host, by as many connections as it may have."""
        at_once = min(host.paces[0].connections, len(queue))
        return asyncio.gather(*(self._connect(queue) for _ in range(at_once)))

    async def _connect(self, queue: deque[Errand]) -> None:
        while queue:
            ended = await self.requester.run(queue.popleft())
            if isinstance(ended, Errand):
                # its new host is another partition's: the row says so, for a later start
                self._write(Ending(errand=ended), {"status": AWAY, "value": ended.hops})
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
            if ending.response is not None:
                self.resources.wire.release(ending.response)

    async def _see(self, ending: Ending) -> None:
        """What is seen of the bytes; those that are packed were seen before."""
        if not ending.body:
            self._write(ending)
            return
        sha256 = hashlib.sha256(ending.body).hexdigest()
        if sha256 in self.commits.places:
            self._write(ending, {"sha256": sha256})
            return
        look = await self.resources.lookers.look(ending.body)
        if isinstance(look, Problem):
            self._write(replace(ending, problem=look))
            return
        if isinstance(look, Reencoded):
            ending, look = replace(ending, body=look.body), look.look
        self._write(ending, look.columns(size=len(ending.body)))

    def _write(self, ending: Ending, seen: Mapping[str, Any] | None = None) -> None:
        row = {**row_of(ending, round_=self.job.settings.fetching.round), **(seen or {})}
        self.commits.add(row, b"" if seen is None else ending.body)
        del self.open[ending.errand.url]
        self.counts[row["status"]] += 1

    async def _defer_all(self) -> None:
        """No host was asked for these."""
        late = Problem(reason=Reason.DEFERRED)
        for errand in list(self.open.values()):
            self._write(Ending(errand=errand, problem=late, decision=UNDECIDED))
            if self.commits.is_due():
                await asyncio.shield(self._commit())

    def _commit(self) -> asyncio.Future[None]:
        """Write the open commit, behind that which is being written: it may point into its pack."""
        self.writing = asyncio.ensure_future(self._write_behind(self.writing))
        return self.writing

    async def _write_behind(self, earlier: asyncio.Future[None] | None) -> None:
        """In a thread: a disk or bucket takes its time, and the hosts are not to wait for it."""
        if earlier is not None:
            await earlier  # raises what it raised
        if (commit := self.commits.cut()) is not None:
            await asyncio.to_thread(commit.write)

    async def _beat(self) -> None:
        """Renew the lease, write what is due, until cancelled."""
        wait = min(BEAT, self.job.settings.fetching.commit_seconds)
        while True:
            # no wait_for: Python 3.11's forgets that it was cancelled where both happen at once
            with suppress(TimeoutError):  # or as soon as a host has asked for a rest
                async with asyncio.timeout(wait):
                    await self.hosts.long_rest.wait()
                await asyncio.sleep(MOMENT)
            self.hosts.long_rest.clear()
            left = max(0.0, self.lease.until - time.time())
            news, rests = self._news(), self.hosts.rests_left()
            self.renewing = asyncio.ensure_future(asyncio.to_thread(self.lease.renew, news, rests))
            try:
                async with asyncio.timeout(left):
                    await asyncio.shield(self.renewing)
            except TimeoutError as error:
                raise LostLeaseError("the lease could not be renewed in time") from error
            if self.writing is None or self.writing.done():
                _raise_of(*filter(None, [self.writing]))
                if self.commits.is_due():
                    self._commit()  # beside the renewals, which must not wait for it

    def _news(self) -> dict[str, Any]:
        """For the progress line."""
        hosts, rows = self.hosts.known.values(), sum(self.counts.values())
        slowest = sorted(hosts, key=lambda host: host.seconds / max(1, host.asked))[-SLOWEST:]
        return {
            "commits": self.commits.name,
            "asked": rows,
            "done": rows - self.counts[AWAY],
            "ok": self.counts[OK],
            "bytes": sum(host.bytes for host in hosts),
            "seconds": time.monotonic() - self.started,
            "hosts": sum(not host.done() for host in self.serving),
            "slowest": {host.origin: round(host.seconds / max(1, host.asked), 2)
                        for host in slowest if host.asked},
        }  # fmt: skip


def _raise_of(*tasks: asyncio.Future[Any]) -> None:
    """Raise what a task that has ended has raised."""
    for task in tasks:
        if task.done():
            task.result()


async def cancel_all(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
