"""Pace: how often a host, and a registered domain, may be asked, and by how many connections.

In:   the rates of a run: the defaults, and other ones by pattern of host from a file (CDNs).
Out:  turns. A turn is taken for every request, be it an image, a redirect, robots.txt or a retry,
      of the host and of its registered domain, so that img1 to img9 of a site are one.
Starts are evenly spaced: in no span of T seconds are there more than rate * T + 1 of them.
"""

from __future__ import annotations

import asyncio
import math
import time
import tomllib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, Final

LOOK: Final = 1.0  # seconds of a rest between two looks whether it is still to be waited for


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """What a host may be asked, and all hosts of a registered domain together."""

    requests: float = 4.0  # a second; inf: as fast as it answers
    connections: int = 2
    domain_requests: float = 8.0
    domain_connections: int = 8

    def __post_init__(self) -> None:
        for name in ("requests", "domain_requests", "connections", "domain_connections"):
            value = getattr(self, name)
            if not value > 0:
                raise ValueError(f"rate: {name} is {value}: choose more than 0")
            if name.endswith("connections") and not isinstance(value, int):
                raise ValueError(f"rate: {name} is {value}: choose a whole number")


_NAMES: Final = tuple(Rate.__dataclass_fields__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rates:
    """The default, and the rates of hosts that match a pattern; the first that matches counts."""

    default: Rate = Rate()
    others: tuple[tuple[str, Rate], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Rates:
        """Of a TOML file: the default's values at its top, and `["*.cdn.example"]` tables.

        Raises:
            ValueError: for what is no TOML, a name that is none, or a value that cannot be.
        """
        try:
            read = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise ValueError(f"rates: {error}: see README for how the file is written") from error
        tables = {name: value for name, value in read.items() if isinstance(value, dict)}
        default = _rate({name: value for name, value in read.items() if name not in tables}, Rate())
        others = tuple((name.lower(), _rate(value, default)) for name, value in tables.items())
        return cls(default=default, others=others)

    def of_host(self, host: str) -> Rate:
        return self._first_of(host)

    def of_domain(self, domain: str) -> Rate:
        """By a pattern for the domain itself, or for what is below it."""
        return self._first_of(domain, f"x.{domain}")

    def _first_of(self, *names: str) -> Rate:
        matches = (rate for pattern, rate in self.others
                   if any(fnmatchcase(name, pattern) for name in names))  # fmt: skip
        return next(matches, self.default)


def _rate(values: Mapping[str, Any], default: Rate) -> Rate:
    for name, value in values.items():
        if name not in _NAMES:
            raise ValueError(f"rates: no such name as {name!r}: choose of {', '.join(_NAMES)}")
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"rates: {name} is {value!r}: choose a number")
    return replace(default, **values)


@dataclass(kw_only=True, eq=False)  # a URL remembers those that it has entered
class Pace:
    """Turns at one host or domain."""

    requests: float
    connections: int
    images: int = 0  # asked for
    _last: float = -math.inf
    _next: float = -math.inf
    _wished: float = -math.inf
    slots: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self.slots = asyncio.Semaphore(self.connections)

    def slow_down(self, seconds: float) -> None:
        """Never faster than one request in so many seconds: robots.txt asks for it."""
        self.requests = min(self.requests, 1 / seconds)
        self._next = max(self._next, self._last + seconds)

    def rest(self, seconds: float) -> None:
        """No turn for so long: the host asked for it."""
        self._wished = max(self._wished, asyncio.get_running_loop().time() + seconds)
        self._next = max(self._next, self._wished)

    @property
    def resting(self) -> float:
        """Seconds until the next turn."""
        return max(0.0, self._next - asyncio.get_running_loop().time())

    @property
    def wished(self) -> float:
        """Of these, the seconds that the host itself asked for."""
        return max(0.0, self._wished - asyncio.get_running_loop().time())

    def take(self) -> None:
        self._last = asyncio.get_running_loop().time()
        self._next = self._last + 1 / self.requests

    def until(self) -> tuple[float, float]:
        """The moments of `resting` and `wished`, in seconds since 1970, for the next holder."""
        return time.time() + self.resting, time.time() + self.wished

    def resume(self, resting: float, wished: float) -> None:
        """Where the last holder was, at those moments."""
        self.rest(wished - time.time())
        self._next = max(self._next, asyncio.get_running_loop().time() + resting - time.time())


@asynccontextmanager
async def turn(
    paces: Sequence[Pace],
    everywhere: asyncio.Semaphore,
    *,
    given_up: Callable[[], bool] = lambda: False,
) -> AsyncIterator[None]:
    """A turn at all of them at once, taken at the moment at which nothing is waited for any more.

    A turn that was taken earlier and then waited would start beside the one after it. A host
    that is given up meanwhile (it wants to be left alone for a day) is not waited for, and no turn
    is taken: the caller has to look.
    """
    async with AsyncExitStack() as held:
        for pace in paces:
            await held.enter_async_context(pace.slots)
        while True:
            while not given_up() and (wait := max(pace.resting for pace in paces)) > 0:
                await asyncio.sleep(min(wait, LOOK))
            await everywhere.acquire()
            if given_up() or all(pace.resting == 0 for pace in paces):
                break
            everywhere.release()
        held.callback(everywhere.release)
        for pace in () if given_up() else paces:
            pace.take()
        yield
