"""Means: what all partitions of a worker share.

In:   the job.
Out:  the connections and the room for bodies, the decoding processes, the opt-out list and service,
      the rates, and the requests that may be under way at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pipeline.fetch.hosts.guard import Guard
from pipeline.fetch.hosts.optout import OptOutService, service_at
from pipeline.fetch.hosts.pace import Rates
from pipeline.fetch.hosts.texts import read_texts
from pipeline.fetch.hosts.wire import Wire
from pipeline.job import Job
from pipeline.media.look import Lookers, default_processes
from pipeline.words.opt_out_list import OptOutList, opted_out


@dataclass(frozen=True, kw_only=True)
class Means:
    """Use `open_means`."""

    wire: Wire
    lookers: Lookers
    service: OptOutService | None
    listed: OptOutList
    rates: Rates
    everywhere: asyncio.Semaphore  # requests under way
    # held by a partition that puts off its rest: all do so at the deadline, and rows take memory
    deferring: asyncio.Lock

    @property
    def are_in_use(self) -> bool:
        """Whether a further request would have to wait."""
        return self.everywhere.locked() or self.wire.is_full


@asynccontextmanager
async def open_means(job: Job) -> AsyncIterator[Means]:
    fetching = job.settings.fetching
    rates, mapped = read_texts(fetching)
    decoders = fetching.decoders or default_processes()
    async with (
        Wire(guard=Guard(mapped=mapped), fetching=fetching) as wire,
        Lookers(processes=decoders, encoding=fetching.encoding) as lookers,
        service_at(fetching.opt_out_service, agent=fetching.user_agent) as service,
    ):
        yield Means(
            wire=wire,
            lookers=lookers,
            service=service,
            listed=opted_out(job),
            rates=rates,
            everywhere=asyncio.Semaphore(fetching.requests),
            deferring=asyncio.Lock(),
        )
