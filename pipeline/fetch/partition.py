"""Partition: the URLs of some registered domains, asked for by one holder, many hosts at a time.

In:   errands: wanted URLs, or those that a redirect of another partition has led here; what earlier
      holders have committed.
Out:  commits (packs and rows) as it goes; the errands that lead to other partitions; and the rows
      of other partitions' URLs, which are brought home when all are done.
It always ends: every request has its time, a host that fails is given up, and at the stage's
deadline what was not answered is DEFERRED.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

from pipeline import parquet
from pipeline.domain import host_of
from pipeline.fetch.commits import Commits, Known, read_brought, rows_that_count
from pipeline.fetch.errand import AWAY, Errand, Outcome
from pipeline.fetch.guard import Guard
from pipeline.fetch.host import Host, Hosts
from pipeline.fetch.lease import Lease, LostLeaseError
from pipeline.fetch.optout import OptOuts, service_at
from pipeline.fetch.request import Ending, Requester, row_of
from pipeline.fetch.texts import read_texts
from pipeline.fetch.wire import Wire
from pipeline.fetching import Fetching
from pipeline.job import Job
from pipeline.look import Lookers, Reencoded, default_processes
from pipeline.opt_out_list import opted_out
from pipeline.problem import Problem
from pipeline.wanted import partition_of
from schemas.verdict import FORBIDDING, OK, UNDECIDED, Reason

MOMENT: Final = 1.0  # seconds in which what several hosts ask for is told together
BEAT: Final = 5.0  # seconds between two renewals of the lease, and two looks at the commits
GRACE: Final = 10.0  # seconds after the deadline, for the decoding of what has come
NOT_ASKED: Final = FORBIDDING | {Reason.DEFERRED}  # statuses of which a host has seen nothing
SLOWEST: Final = 3  # hosts that the lease's news names


def fetch_partition(partition: int, errands: Iterable[Errand] | None, job: Job) -> Outcome:
    """Ask for what has no row yet. Without errands: for the partition's own wanted URLs.

    Raises:
        LostLeaseError: another holder has taken the partition over.
    """
    fetching, own, counts = job.settings.fetching, errands is None, Counter[str]()
    with Lease.take(job.path("leases", f"{partition:05d}.host.json")) as lease:
        brought = read_brought(job, partition)
        errands = _wanted(job, partition) if errands is None else errands
        asked = {one.url: one for one in errands}
        known = brought.known
        todo = [one for one in asked.values() if _is_open(one, known.get(one.url), fetching)]
        if todo and fetching.on:
            commits = Commits.begin(job, partition, brought.places)
            holder = Holder(job=job, partition=partition, known=known.values(), commits=commits,
                            lease=lease)  # fmt: skip
            counts = asyncio.run(holder.fetch(todo))
        outcome = Outcome(counts=counts)
        for row in rows_that_count(job, partition):
            if row["url"] not in asked:
                continue
            if row["status"] == AWAY:
                outcome.away.append(Errand(row["url"], row["final_url"], int(row["value"])))
            elif not own:
                outcome.foreign.append(row)
        return outcome


def _wanted(job: Job, partition: int) -> Iterator[Errand]:
    for row in parquet.read_rows(job.part("wanted", f"{partition:05d}"), ["url"]):
        yield Errand(row["url"], row["url"])


def _is_open(errand: Errand, known: Known | None, fetching: Fetching) -> bool:
    """Whether a URL is to be asked for: never twice, unless a refetch names what it had said."""
    if known is None:
        return True
    if known.status == AWAY:  # it may have come back here, by a later hop
        return known.hops <= errand.hops
    return known.status in fetching.again and known.round < fetching.round


@dataclass(kw_only=True)
class Holder:
    """The loop over one partition's hosts."""

    job: Job
    partition: int
    known: Collection[Known]  # what earlier holders have committed
    commits: Commits
    lease: Lease
    counts: Counter[str] = field(default_factory=Counter)
    alive: int = 0  # hosts with URLs left
    writing: asyncio.Task[None] | None = None  # a commit
    closing: bool = False  # only the last commit is still to be written
    finishing: set[asyncio.Future[None]] = field(default_factory=set)  # what has come
    started: float = field(default_factory=time.monotonic)

    async def fetch(self, errands: Iterable[Errand]) -> Counter[str]:
        """Rows by reason."""
        fetching = self.job.settings.fetching
        rates, mapped = read_texts(fetching)
        decoders = fetching.decoders or default_processes()
        self.wire = Wire(guard=Guard(mapped=mapped), fetching=fetching)
        async with (
            self.wire,
            Lookers(processes=decoders, encoding=fetching.encoding) as self.lookers,
            service_at(fetching.opt_out_service, agent=fetching.user_agent) as service,
        ):
            rests = dict(self.lease.rests)
            self.hosts = Hosts(wire=self.wire, fetching=fetching, rates=rates, rests=rests)
            self._count_asked()
            self.requester = Requester(
                hosts=self.hosts,
                opt_outs=OptOuts(listed=opted_out(self.job), service=service),
                consent=self.job.settings.recipe.consent,
                mine=self._is_mine,
            )
            await self._work(list(errands))
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

    async def _work(self, errands: list[Errand]) -> None:
        self.open = {one.url: one for one in errands}
        hosts: asyncio.Future[Any] = asyncio.ensure_future(self._all(errands))
        beat: asyncio.Future[Any] = asyncio.ensure_future(self._beat())
        try:
            left = None if math.isinf(self.job.until) else max(0.0, self.job.until - time.time())
            await asyncio.wait({hosts, beat}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            _raise_of(beat, hosts)
            await _cancelled(hosts)
            come = asyncio.gather(*self.finishing)
            await asyncio.wait({beat, come}, timeout=GRACE, return_when=asyncio.FIRST_COMPLETED)
            _raise_of(beat, come)
            await _cancelled(come)
            for errand in list(self.open.values()):  # the deadline
                self._write(_put_off(errand))
            await self._commit()
            _raise_of(beat)
        except BaseException:
            self.commits.give_up()
            raise
        finally:
            await _cancelled(beat, hosts, *self.finishing)
            self.lease.rests = self.hosts.rests_left()

    async def _all(self, errands: Iterable[Errand]) -> None:
        await self.requester.opt_outs.ask_ahead([one.at for one in errands])
        queues: dict[Host, deque[Errand]] = defaultdict(deque)
        for errand in errands:
            queues[self.hosts.of(errand.at)].append(errand)
        self.alive = len(queues)
        await asyncio.gather(*(self._empty(host, queue) for host, queue in queues.items()))

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
                self.wire.release(ending.answer)

    async def _see(self, ending: Ending) -> None:
        """What is seen of the bytes; those that are packed were seen before."""
        if not ending.body:
            self._write(ending)
            return
        sha256 = hashlib.sha256(ending.body).hexdigest()
        if sha256 in self.commits.places:
            self._write(ending, {"sha256": sha256})
            return
        look = await self.lookers.look(ending.body)
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
        fetching = self.job.settings.fetching
        while True:
            with suppress(TimeoutError):  # or as soon as a host has asked for a rest
                wait = min(BEAT, fetching.commit_seconds)
                await asyncio.wait_for(self.hosts.told.wait(), wait)
                await asyncio.sleep(MOMENT)
            self.hosts.told.clear()
            left = max(0.0, self.lease.until - time.time())
            try:
                await asyncio.wait_for(self._renew(), left)
            except TimeoutError as error:
                raise LostLeaseError("the lease could not be renewed in time") from error
            if self.writing is not None and self.writing.done():
                await self._written()  # raises what it raised
            due = self.commits.due(size=fetching.commit_bytes, seconds=fetching.commit_seconds)
            idle = self.writing is None and not self.closing
            if due and idle and (commit := self.commits.cut()) is not None:
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
            "bytes": self.wire.bytes,
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
