"""Host: one site, and our manners towards it: its pace, its rules, its failures.

In:   URLs of one origin (scheme, host, port).
Out:  what it answers, after as many tries as it is worth. 429 and 503 are a host in need of rest:
      nobody asks it again before it said so (Retry-After), or for a while that doubles; nor does
      the partition's next holder, to whom the rests are handed on.
Deferred at once: what a host may be asked for only after the deadline, by its own wish or its pace.
Given up: a host that fails so often in a row, with whatever was the last failure: its other URLs
      are then not asked for, and have the same reason.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

from pipeline.fetch.hosts.pace import Pace, Rates, turn
from pipeline.fetch.hosts.permission import FILES, READ, Rules, read_rules
from pipeline.fetch.hosts.wire import Response, Wire
from pipeline.fetch.lease import START, Rests
from pipeline.job import Fetching
from pipeline.problem import Problem
from pipeline.words.urls import host_of, registered_domain
from schemas.verdict import Reason

RESTING: Final = frozenset({429, 503})
AGAIN: Final = frozenset({500, 502, 504})  # beside those
LONGEST_REST: Final = 300.0  # seconds; a host that wants more is left for a refetch
RETRIED: Final = frozenset({Reason.TIMED_OUT, Reason.CONNECTION_LOST, Reason.TRUNCATED_PAYLOAD})
# what tells that nobody is there, or nobody who can answer
FAILURES: Final = frozenset(
    {Reason.NO_SUCH_HOST, Reason.FORBIDDEN_ADDRESS, Reason.CONNECTION_FAILED, Reason.TLS_FAILED,
     Reason.TIMED_OUT, Reason.CONNECTION_LOST}
)  # fmt: skip
FREE: Final = 10  # retries of a host, and one for each RETRIES_PER images asked of it
RETRIES_PER: Final = 5
RULES_REDIRECTS: Final = 5  # RFC 9309, 2.3.1.2

Reply = Response | Problem


@dataclass(kw_only=True, eq=False)  # a key of the queues
class Host:
    """One origin."""

    origin: str
    hosts: Hosts
    paces: tuple[Pace, Pace]  # the host's, its domain's
    asked: int = 0
    retries: int = 0
    failures: int = 0
    gone: Problem | None = None
    seconds: float = 0.0  # spent in its answers
    bytes: int = 0  # of its answers
    _rules: list[Rules] | None = None
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def fetching(self) -> Fetching:
        return self.hosts.wire.fetching

    async def refuse(self, url: str) -> Problem | None:
        """What its robots.txt or ai.txt says against a URL."""
        async with self._reading:
            if self._rules is None:
                self._rules = await self._read_all_rules()
        refusals = (rules.refuse(url) for rules in self._rules)
        return next((refusal for refusal in refusals if refusal is not None), None)

    def let_in(self, entered: set[Pace]) -> Problem | None:
        """None where a further image may be asked of it, or one that has led to it before."""
        most, pace = self.fetching.host_images, self.paces[0]  # whatever its ports and spellings
        if pace in entered:
            return None
        if most is not None and pace.images >= most:
            return Problem(reason=Reason.DEFERRED, value=pace.images, limit=most)
        entered.add(pace)
        pace.images += 1
        return None

    async def ask(self, url: str, **wishes: Callable[..., Problem | None]) -> Reply:
        """What it answers, in the end."""
        self.asked += 1
        for attempt in range(1, self.fetching.tries + 1):
            reply = await self._ask_once(url, **wishes)
            rest = self._rest(reply, attempt)
            if rest is None:
                return reply
            if isinstance(reply, Response):  # the host's own wish: for all that wait for it
                self._let_rest(rest)
                if rest > LONGEST_REST:  # nor is it asked for anything else
                    self.hosts.wire.release(reply)
                    self.gone = Problem(reason=Reason.DEFERRED, value=rest, limit=LONGEST_REST)
                    return self.gone
            budget = FREE + self.asked // RETRIES_PER
            if attempt == self.fetching.tries or self.retries >= budget:
                return reply
            self.retries += 1
            if isinstance(reply, Response):
                self.hosts.wire.release(reply)
            else:
                await asyncio.sleep(rest)
        raise AssertionError("tries is 1 or more")

    def _let_rest(self, seconds: float) -> None:
        """By its own wish. A long rest is put into the lease at once: this holder may be killed."""
        self.paces[0].rest(seconds)
        if seconds >= START:
            self.hosts.long_rest.set()

    def _given_up(self) -> Problem | None:
        """Why it is not asked any more: it was given up, it wished for a longer rest than we wait
        (of us or of an earlier holder), or its next turn comes after the deadline.
        """
        if self.gone is not None:
            return self.gone
        late = max(pace.resting for pace in self.paces) > self.hosts.until - time.time()
        if late or self.paces[0].wished > LONGEST_REST:
            return Problem(reason=Reason.DEFERRED)
        return None

    async def _ask_once(self, url: str, **wishes: Any) -> Reply:  # noqa: ANN401  # Wire.get's
        if (gone := self._given_up()) is not None:
            return gone
        wire = self.hosts.wire
        await wire.wait_for_buffer()
        async with turn(self.paces, wire.slots, given_up=lambda: self._given_up() is not None):
            if (gone := self._given_up()) is not None:
                return gone
            if max(pace.resting for pace in self.paces) >= START:
                self.hosts.long_rest.set()  # a pace so slow that the next holder has to know of it
            started = time.monotonic()
            reply = await wire.get(url, **wishes)
            self.seconds += time.monotonic() - started
        if isinstance(reply, Response):
            self.bytes += len(reply.body)
            failed = reply.status in RESTING
        else:
            failed = reply.reason in FAILURES
        self.failures = self.failures + 1 if failed else 0
        most = self.fetching.host_failures
        if self.failures >= most:
            late = Problem(reason=Reason.DEFERRED, value=self.failures, limit=most)
            self.gone = reply if isinstance(reply, Problem) else late
        return reply

    def _rest(self, reply: Reply, attempt: int) -> float | None:
        """Seconds until it is worth another try; None where it never is."""
        backoff = random.uniform(0.5, 1.0) * 2**attempt  # noqa: S311  # jitter
        if isinstance(reply, Problem):
            return backoff if reply.reason in RETRIED else None
        if reply.status in RESTING:
            wished = retry_after(reply.header("retry-after"))
            return backoff if wished is None else wished
        return backoff if reply.status in AGAIN else None

    async def _read_all_rules(self) -> list[Rules]:
        """ai.txt too where robots.txt came, and no sooner than that one asks for."""
        read: list[Rules] = []
        for name in FILES:
            rules = await self._read_rules(name)
            read.append(rules)
            if rules.delay is not None:
                self.paces[0].slow_down(rules.delay)
            if rules.closed is not None:
                break
        return read

    async def _read_rules(self, name: str) -> Rules:
        host, url = self, f"{self.origin}/{name}"
        for _ in range(RULES_REDIRECTS + 1):
            reply = await host._ask_for_rules(url)
            if isinstance(reply, Problem):
                return Rules(name=name, closed=reply)
            if (target := reply.target) is None:
                return read_rules(name, status=reply.status, body=reply.body)
            if registered_domain(target) != registered_domain(url):
                # another worker's affair: it is not asked from here, and so the site is closed
                why = Problem(reason=Reason.RULES_UNREACHABLE, value=reply.status)
                return Rules(name=name, closed=why)
            host, url = self.hosts.of(target), target
        return read_rules(name, status=404, body=b"")

    async def _ask_for_rules(self, url: str) -> Reply:
        """Again where it may be chance; 429 is an answer: the host is closed."""
        for attempt in range(1, self.fetching.tries + 1):
            reply = await self._ask_once(url, most=READ)
            rest = self._rest(reply, attempt)
            if isinstance(reply, Response):
                self.hosts.wire.release(reply)
                if reply.status in RESTING:
                    self._let_rest(rest or 0.0)
                    return reply
            if rest is None or attempt == self.fetching.tries:
                return reply
            await asyncio.sleep(rest)
        raise AssertionError("tries is 1 or more")


def retry_after(value: str) -> float | None:
    """Seconds; of a date those until then (RFC 9110, 10.2.3). None for neither."""
    if value.isdecimal():
        return float(value[:9])  # 31 years are as good as more
    try:
        until = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


@dataclass(kw_only=True)
class Hosts:
    """All origins of a partition, with the paces that they share."""

    wire: Wire
    rates: Rates
    until: float = math.inf  # seconds since 1970: the deadline
    rests: Rests = field(default_factory=dict)  # that earlier holders have left
    known: dict[str, Host] = field(default_factory=dict)
    long_rest: asyncio.Event = field(default_factory=asyncio.Event)  # renews the lease at once
    _paces: dict[str, Pace] = field(default_factory=dict)

    def of(self, url: str) -> Host:
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        if origin not in self.known:
            # a dot behind a name makes another origin, and no other host
            host, domain = host_of(url).rstrip("."), registered_domain(url).rstrip(".")
            rate, wide = self.rates.of_host(host), self.rates.of_domain(domain)
            own = self._pace(f"host {host}", rate.requests, rate.connections)
            shared = self._pace(f"domain {domain}", wide.domain_requests, wide.domain_connections)
            self.known[origin] = Host(origin=origin, hosts=self, paces=(own, shared))
        return self.known[origin]

    def _pace(self, name: str, requests: float, connections: int) -> Pace:
        if name not in self._paces:
            self._paces[name] = Pace(requests=requests, connections=connections)
            if name in self.rests:
                self._paces[name].resume(*self.rests[name])
        return self._paces[name]

    def rests_left(self) -> Rests:
        """What the next holder has to wait for, of earlier ones' too."""
        now = {name: pace.until() for name, pace in self._paces.items()}
        return {name: until for name, until in {**self.rests, **now}.items()
                if max(until) > time.time()}  # fmt: skip
