"""Permission: whether a URL may be asked for, by its site's robots.txt and ai.txt and by opt-outs.

robots.txt: by RFC 9309. What answers 2xx is read (its first 500 KiB, 2.5); 4xx allows all
(2.3.1.3); 5xx, no answer, or anything else forbids all (2.3.1.4), and so does 429, which is a host
in need of rest. ai.txt (spawning.ai) has the same form, with patterns of files as its paths.
Opt-outs: the run's list (words/consent.py), and a service that is asked for many URLs at once. A
service that does not answer lets nothing pass: what it was asked for is DEFERRED.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import aiohttp
from protego import Protego

from pipeline.job import AGENT
from pipeline.problem import Problem
from pipeline.words.consent import OptOutList
from schemas.verdict import Reason

READ: Final = 500 << 10  # bytes of either file
FILES: Final = {"robots.txt": Reason.ROBOTS_TXT, "ai.txt": Reason.AI_TXT}
LONGEST_DELAY: Final = 60.0  # seconds; a longer one is taken for this
OTHER: Final = "other"
_AGENT_LINE: Final = re.compile(r"\s*user[- ]?agent\b[\s:]*([^\s#]*)", re.IGNORECASE)
_TOKEN: Final = re.compile(r"[a-z_-]")  # characters of a product token
_BARE: Final = re.compile(rb"(?im)^([ \t]*(?:dis)?allow[ \t]*:[ \t]*)(?=[^/*\s#])")


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """One file of one site; `parsed` is None where it says nothing, `closed` where it failed."""

    name: str  # of FILES
    parsed: Protego | None = None
    closed: Problem | None = None  # why nothing may be asked for: the file did not come

    def refuse(self, url: str) -> Problem | None:
        if self.closed is not None:
            return self.closed
        if self.parsed is None or self.parsed.can_fetch(url, AGENT):
            return None
        return Problem(reason=FILES[self.name])

    @property
    def delay(self) -> float | None:
        """Seconds between two requests, as far as the file asks for any."""
        delay = self.parsed.crawl_delay(AGENT) if self.parsed is not None else None
        return min(float(delay), LONGEST_DELAY) if delay else None


def read_rules(name: str, *, status: int, body: bytes) -> Rules:
    """What robots.txt or ai.txt answered."""
    if 400 <= status < 500 and status != 429:
        return Rules(name=name)
    if not 200 <= status < 300:
        return Rules(name=name, closed=Problem(reason=Reason.RULES_UNREACHABLE, value=status))
    if body[:512].removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"<":
        return Rules(name=name)  # a page that says "not found" with 200
    body = body[:READ]
    if name == "ai.txt":  # `*.jpg` and `images/` are paths anywhere
        body = _BARE.sub(rb"\1*", body)
    return Rules(name=name, parsed=Protego.parse(_of_two(body.decode("utf-8-sig", "replace"))))


def _of_two(text: str) -> str:
    """Its groups are for us, for all, or for one other: the parser gives a copy of every rule to
    each agent of its group, and a file of half agents and half rules would take hours (RFC 9309,
    2.2.1: a group is ours where its product token is).
    """
    lines = ((line, _AGENT_LINE.match(line)) for line in text.splitlines())
    return "\n".join(line if agent is None else _agent(agent[1].lower()) for line, agent in lines)


def _agent(name: str) -> str:
    """The line of a group: ours, that of all, of nobody, or of somebody else."""
    ours = name.startswith(AGENT) and not _TOKEN.match(name[len(AGENT) :])
    return f"User-agent: {AGENT if ours else name if name in {'', '*'} else OTHER}"


BATCH: Final = 1_000  # URLs a request, as Spawning's service takes them
TRIES: Final = 4
SECONDS: Final = 60.0  # for one answer
KEY: Final = "INTERLOOM_OPT_OUT_KEY"  # environment: a key belongs on no command line


# somebody who knows which URLs are opted out: one answer a URL, of at most BATCH; OSError or
# aiohttp.ClientError for none
OptOutService = Callable[[Sequence[str]], Awaitable[Sequence[bool]]]


@asynccontextmanager
async def service_at(url: str, *, agent: str) -> AsyncIterator[OptOutService | None]:
    """None where there is no URL. The user has named it, so it may be at any address."""
    if not url:
        yield None
        return
    timeout = aiohttp.ClientTimeout(total=SECONDS)
    async with aiohttp.ClientSession(headers={"User-Agent": agent}, timeout=timeout) as session:
        yield partial(ask_spawning, session, url)


async def ask_spawning(
    session: aiohttp.ClientSession, service: str, urls: Sequence[str]
) -> Sequence[bool]:
    """As Spawning's API is asked: URLs as lines, opt-outs as JSON."""
    headers = {"Content-Type": "text/plain"}
    if key := os.environ.get(KEY):
        headers["Authorization"] = f"API {key}"
    async with session.post(service, data="\n".join(urls).encode(), headers=headers) as response:
        response.raise_for_status()
        answers = (await response.json(content_type=None))["urls"]
    known: dict[str, bool] = {}
    for answer in answers:
        url = answer["url"]
        known[url] = bool(answer["optOut"]) or known.get(url, False)
    if missing := [url for url in urls if url not in known]:
        raise OSError(f"{service} has not answered for {missing[0]}")
    return [known[url] for url in urls]


@dataclass(kw_only=True)
class OptOuts:
    """The list and the service together."""

    listed: OptOutList = field(default_factory=OptOutList)
    service: OptOutService | None = None
    pause: float = 1.0  # seconds before the second try; twice as long before each further one
    _known: dict[str, bool | None] = field(default_factory=dict)  # the service's answers

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
        await self.ask_ahead([url])  # a URL behind a redirect was not among them
        return self._known[url] if self.service is not None else False

    async def _ask(self, service: OptOutService, urls: Sequence[str]) -> Sequence[bool | None]:
        for attempt in range(TRIES):
            try:
                return await service(urls)
            except (aiohttp.ClientError, OSError, TimeoutError, KeyError, TypeError, ValueError,
                    RecursionError):  # fmt: skip
                if attempt + 1 < TRIES:
                    await asyncio.sleep(self.pause * 2**attempt)
        return [None] * len(urls)
