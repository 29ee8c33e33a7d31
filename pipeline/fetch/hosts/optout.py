"""Opt-out: who does not want to be trained on, by the user's list and by a service.

In:   the run's list (opt_out_list.py); a service that is asked for many URLs at once.
Out:  which URLs are opted out. A service that does not answer lets nothing pass: what it was asked
      for is DEFERRED.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

import aiohttp

from pipeline.words.opt_out_list import OptOutList

BATCH: Final = 1_000  # URLs a request, as Spawning's service takes them
TRIES: Final = 4
SECONDS: Final = 60.0  # for one answer
KEY: Final = "INTERLOOM_OPT_OUT_KEY"  # environment: a key belongs on no command line


class OptOutService(Protocol):
    """Somebody who knows which URLs are opted out."""

    async def opted_out(self, urls: Sequence[str]) -> Sequence[bool]:
        """One answer a URL, of at most BATCH; OSError or aiohttp.ClientError for none."""
        ...


@asynccontextmanager
async def service_at(url: str, *, agent: str) -> AsyncIterator[SpawningService | None]:
    """None where there is no URL. The user has named it, so it may be at any address."""
    if not url:
        yield None
        return
    timeout = aiohttp.ClientTimeout(total=SECONDS)
    async with aiohttp.ClientSession(headers={"User-Agent": agent}, timeout=timeout) as session:
        yield SpawningService(url=url, session=session)


@dataclass(frozen=True, kw_only=True)
class SpawningService:
    """Asks as Spawning's API is asked: URLs as lines, opt-outs as JSON."""

    url: str
    session: aiohttp.ClientSession

    async def opted_out(self, urls: Sequence[str]) -> Sequence[bool]:
        headers = {"Content-Type": "text/plain"}
        if key := os.environ.get(KEY):
            headers["Authorization"] = f"API {key}"
        data = "\n".join(urls).encode()
        async with self.session.post(self.url, data=data, headers=headers) as response:
            response.raise_for_status()
            told = (await response.json(content_type=None))["urls"]
        known: dict[str, bool] = {}
        for one in told:
            known[one["url"]] = bool(one["optOut"]) or known.get(one["url"], False)
        if missing := [url for url in urls if url not in known]:
            raise OSError(f"{self.url} has not answered for {missing[0]}")
        return [known[url] for url in urls]


@dataclass(kw_only=True)
class OptOuts:
    """What the list says, and the service."""

    listed: OptOutList = field(default_factory=OptOutList)
    service: OptOutService | None = None
    pause: float = 1.0  # seconds before the second try; twice as long before each further one
    _known: dict[str, bool | None] = field(default_factory=dict)  # what the service has said

    async def ask_ahead(self, urls: Iterable[str]) -> None:
        """Ask the service for many at a time, of those that the list does not name."""
        if self.service is None:
            return
        open_ = [url for url in urls if url not in self.listed and url not in self._known]
        for start in range(0, len(open_), BATCH):
            batch = open_[start : start + BATCH]
            self._known.update(zip(batch, await self._ask(self.service, batch), strict=True))

    async def opted_out(self, url: str) -> bool | None:
        """Whether it is; None where nobody could say."""
        if url in self.listed:
            return True
        await self.ask_ahead([url])  # one behind a redirect was not asked for before
        return self._known[url] if self.service is not None else False

    async def _ask(self, service: OptOutService, urls: Sequence[str]) -> Sequence[bool | None]:
        for attempt in range(TRIES):
            try:
                return await service.opted_out(urls)
            except (aiohttp.ClientError, OSError, TimeoutError, KeyError, TypeError, ValueError,
                    RecursionError):  # fmt: skip
                if attempt + 1 < TRIES:
                    await asyncio.sleep(self.pause * 2**attempt)
        return [None] * len(urls)
