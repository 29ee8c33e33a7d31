"""Guard: where a connection may go. A host name in, addresses that are open to strangers out.

In:      a name, looked up once and remembered (a failure too), so many look-ups at a time.
Out:     its globally routable addresses, pinned: the connection is made to these, and what the
         name says a moment later changes nothing.
Refused: every other address, whoever named it: once when the name is looked up, and again where
         the socket is made, which no literal address and no redirect gets past. That is all that is
         not globally routable by the IANA registries, as Python's ipaddress has them and where it
         lacks some; IPv6 beyond global unicast (2000::/3); and an IPv6 address that carries such an
         IPv4 one: mapped and compatible (RFC 4291, 2.5.5), NAT64 (RFC 6052), 6to4 (RFC 3056),
         ISATAP (RFC 5214), Teredo (RFC 4380).
The one way past it is a HostMap that the user wrote: names that stand for loopback, for tests.
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
import re
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, Final

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import AsyncResolver

LOOKUPS: Final = 64  # at a time; more only wait in the name server
REMEMBERED: Final = 600.0  # seconds that an answer holds
UNKNOWN: Final = 120.0  # seconds that "no such host" holds
_MAP_LINE: Final = re.compile(
    r"(\S+)\s+([\d.]+(?=:|$)|[^.\s]+)(?::(\d{0,5}))?"
)  # IPv6 takes no port

Lookup = Callable[[str], Awaitable[Sequence[str]]]  # a name's addresses; OSError where it has none


class ForbiddenAddressError(Exception):
    """A host at an address that is not globally routable. No OSError: nobody is to try again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HostMap:
    """Names, as patterns, that stand for an address of the user's: `*.test 127.0.0.1:8080`."""

    lines: tuple[tuple[str, str, int | None], ...] = ()  # pattern, address, port

    @classmethod
    def parse(cls, text: str) -> HostMap:
        """Raises ValueError for a line that is no pair of pattern and address."""
        lines = []
        for number, line in enumerate(text.splitlines(), 1):
            if not (entry := line.partition("#")[0].strip()):
                continue
            parts = _MAP_LINE.fullmatch(entry)
            port = int(parts[3]) if parts and parts[3] else None
            is_port = port is None or 0 < port < 65_536
            if parts is None or not is_address(parts[2]) or not is_port:
                raise ValueError(
                    f"line {number} of the host map is {line.strip()!r}: write a name or pattern "
                    "and an address, as in *.test 127.0.0.1:8080"
                )
            lines.append((parts[1].lower(), parts[2], port))
        return cls(lines=tuple(lines))

    def find(self, host: str) -> tuple[str, int | None] | None:
        for pattern, address, port in self.lines:
            if fnmatchcase(host, pattern):
                return address, port
        return None

    def allows(self, address: str) -> bool:
        """Loopback alone, and only where the map names it."""
        return address.startswith(("127.", "::1")) and any(
            address == allowed for _, allowed, _ in self.lines
        )


@dataclass(slots=True)
class _Known:
    """What a name was looked up to be."""

    until: float = -math.inf  # the answer holds, by time.monotonic()
    addresses: Sequence[str] = ()
    failure: tuple[type[Exception], str] | None = None  # no exception: it would hold its frames
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)  # while it is looked up


@dataclass(kw_only=True)
class Guard(AbstractResolver):
    """aiohttp's resolver and maker of sockets, which lets nothing through but the open internet."""

    mapped: HostMap = field(default_factory=HostMap)
    lookup: Lookup | None = None  # else DNS, by c-ares
    _known: dict[str, _Known] = field(default_factory=dict)
    _dns: AsyncResolver | None = None

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(LOOKUPS)

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002
    ) -> list[ResolveResult]:
        """aiohttp asks here for every new connection to a name.

        Raises:
            OSError: no such host, or nobody to ask.
            ForbiddenAddressError: all its addresses are ones that no stranger may have.
        """
        if (mapped := self.mapped.find(host)) is not None:
            address, other = mapped
            if not self.mapped.allows(address):
                _open_of(host, [address])  # raises where a stranger could not have it
            return [_result(host, address, other or port)]
        known = self._known.setdefault(host, _Known())
        async with known.lock:  # one look-up for all that wait for the same name
            if known.until < time.monotonic():
                await self._look_up(host, known)
        if known.failure is not None:
            kind, why = known.failure
            raise kind(why)
        return [_result(host, address, port) for address in known.addresses]

    async def _look_up(self, host: str, known: _Known) -> None:
        try:
            async with self._slots:
                known.addresses = _open_of(host, await (self.lookup or self._ask_dns)(host))
            known.failure, known.until = None, time.monotonic() + REMEMBERED
        except (OSError, ForbiddenAddressError) as error:
            known.failure = type(error), str(error) or host
            known.until = time.monotonic() + UNKNOWN

    async def _ask_dns(self, host: str) -> Sequence[str]:
        if self._dns is None:
            self._dns = AsyncResolver(timeout=5.0, tries=3)
        results = await self._dns.resolve(host, 0, socket.AF_UNSPEC)
        return [result["host"] for result in results]

    def make_socket(self, info: tuple[Any, ...]) -> socket.socket:
        """The last door: a socket for an address that was looked up, or stood in a URL."""
        family, kind, protocol, _, address = info
        if not (is_global(address[0]) or self.mapped.allows(address[0])):
            raise ForbiddenAddressError(f"{address[0]} is not open to strangers")
        return socket.socket(family, kind, protocol)

    async def close(self) -> None:
        if self._dns is not None:
            await self._dns.close()


def _open_of(host: str, addresses: Sequence[str]) -> list[str]:
    """Those that are open to strangers, if any is."""
    good = [address for address in addresses if is_global(address)]
    if not good:
        raise ForbiddenAddressError(f"{host} is {', '.join(addresses) or 'nowhere'}")
    return good


def _result(host: str, address: str, port: int) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0,
                         flags=socket.AI_NUMERICHOST)  # fmt: skip


IPv4 = ipaddress.IPv4Address
IPv6 = ipaddress.IPv6Address
_LOW: Final = (1 << 32) - 1
_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
# in the registries, and not in Python 3.11's lists
_SPECIAL: Final = (
    ipaddress.IPv4Network("192.0.0.0/24"),
    ipaddress.IPv4Network("192.88.99.0/24"),  # 6to4 relays, RFC 7526
    ipaddress.IPv6Network("3fff::/20"),  # documentation, RFC 9637
)
# networks that are as open as the IPv4 address within theirs, and the bits below it
_TRANSLATED: Final = {
    ipaddress.IPv6Network("::ffff:0:0/96"): 0,  # mapped
    ipaddress.IPv6Network("64:ff9b::/96"): 0,  # NAT64
    ipaddress.IPv6Network("2002::/16"): 80,  # 6to4
}
_TEREDO: Final = ipaddress.IPv6Network("2001::/32")
_ISATAP: Final = (0x0000_5EFE, 0x0200_5EFE)  # third quarter of the address


def is_address(text: str) -> bool:
    """Whether a host is a literal address, and no name."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=65_536)
def is_global(address: str) -> bool:
    """Whether a literal address is one that a stranger's server may have; False for no address."""
    try:
        read = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(read, IPv4):
        return _is_open(read)
    translated = any(read in network for network in _TRANSLATED)
    return (
        read.scope_id is None
        and (translated or (read in _UNICAST and _is_open(read)))
        and all(_is_open(IPv4(bits & _LOW)) for bits in _carried(read, int(read)))
    )


def _is_open(address: IPv4 | IPv6) -> bool:
    special = any(address in network for network in _SPECIAL)
    return address.is_global and not address.is_multicast and not special


def _carried(address: IPv6, bits: int) -> Iterator[int]:
    """The IPv4 addresses that a packet to it may end at, in the lowest 32 bits."""
    for network, below in _TRANSLATED.items():
        if address in network:
            yield bits >> below
    if bits >> 32 & _LOW in _ISATAP:
        yield bits
    if address in _TEREDO:
        yield from (bits >> 64, ~bits)
