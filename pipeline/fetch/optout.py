"""Opt-out: who does not want to be trained on, by lists of the user's and by a service.

In:   a file of domains and URLs, a line each (`example.org`: it and all below it; `https://...`:
      all that begins so); a service that is asked for many URLs at once.
Out:  which URLs are opted out. A service that does not answer lets nothing pass: what it was asked
      for is DEFERRED.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import aiohttp

from pipeline.domain import host_of
from pipeline.extract.urls import normal_url

BATCH: Final = 1_000  # URLs a request, as Spawning's service takes them
TRIES: Final = 4
KEY: Final = "INTERLOOM_OPT_OUT_KEY"  # environment: a key belongs on no command line


class OptOutService(Protocol):
    """Somebody who knows which URLs are opted out."""

    async def opted_out(self, urls: Sequence[str]) -> Sequence[bool]:
        """One answer a URL, of at most BATCH; OSError or aiohttp.ClientError for none."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class OptOutList:
    """Domains, with all below them, and beginnings of URLs."""

    domains: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> OptOutList:
        lines = [line.partition("#")[0].strip() for line in text.splitlines()]
        domains, urls = set(), []
        for line in filter(None, lines):
            if "://" in line:
                urls.append(normal_url(line))
                continue
            name = line.removeprefix("*.").rstrip(".")
            host = host_of(f"http://{name}/")
            if "/" in name or " " in name or "/" in host:
                raise ValueError(
                    f"opt-out list has {line!r}: write a domain, or a URL with https://"
                )
            domains.add(host)
        return cls(domains=frozenset(domains), prefixes=tuple(urls))

    def __contains__(self, url: str) -> bool:
        scheme, mark, rest = url.partition("://")
        place, slash, path = rest.partition("/")
        url = f"{scheme}{mark}{place.rpartition('@')[2]}{slash}{path}"  # whoever is named before
        labels = host_of(url).rstrip(".").split(".")
        above = (".".join(labels[at:]) for at in range(len(labels)))
        return any(one in self.domains for one in above) or url.startswith(self.prefixes)


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
        known = {one["url"]: bool(one["optOut"]) for one in told}
        if missing := [url for url in urls if url not in known]:
            raise OSError(f"{self.url} has not answered for {missing[0]}")
        return [known[url] for url in urls]


@dataclass(kw_only=True)
class OptOuts:
    """What the list says, and the service."""

    listed: OptOutList = field(default_factory=OptOutList)
    service: OptOutService | None = None
    pause: float = 1.0  # seconds before the second try; twice as long before each further one

    async def opted_out(self, urls: Sequence[str]) -> list[bool | None]:
        """For each URL whether it is opted out; None where nobody could say."""
        said: list[bool | None] = [url in self.listed for url in urls]
        if self.service is not None:
            open_ = [at for at, out in enumerate(said) if not out]
            for start in range(0, len(open_), BATCH):
                batch = open_[start : start + BATCH]
                answers = await self._ask(self.service, [urls[at] for at in batch])
                for at, answer in zip(batch, answers, strict=True):
                    said[at] = answer
        return said

    async def _ask(self, service: OptOutService, urls: Sequence[str]) -> Sequence[bool | None]:
        for attempt in range(TRIES):
            try:
                return await service.opted_out(urls)
            except (aiohttp.ClientError, OSError, TimeoutError, KeyError, TypeError, ValueError):
                if attempt + 1 < TRIES:
                    await asyncio.sleep(self.pause * 2**attempt)
        return [None] * len(urls)
