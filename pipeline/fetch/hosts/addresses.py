"""Addresses: which of them belong to the open internet. An address in, yes or no out.

Refused: all that is not globally routable by the IANA registries, as Python's ipaddress has them
         and where it lacks some; IPv6 beyond global unicast (2000::/3); and an IPv6 address that
         carries such an IPv4 one: mapped and compatible (RFC 4291, 2.5.5), NAT64 (RFC 6052), 6to4
         (RFC 3056), ISATAP (RFC 5214), Teredo (RFC 4380).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

IPv4 = ipaddress.IPv4Address
IPv6 = ipaddress.IPv6Address
_LOW: Final = (1 << 32) - 1
_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_SIX_TO_FOUR: Final = ipaddress.IPv6Network("2002::/16")
_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
# in the registries, and not in Python 3.11's lists
_SPECIAL: Final = (
    ipaddress.IPv4Network("192.0.0.0/24"),
    ipaddress.IPv4Network("192.88.99.0/24"),  # 6to4 relays, RFC 7526
    ipaddress.IPv6Network("3fff::/20"),  # documentation, RFC 9637
)
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
    return read.scope_id is None and _is_open(read) and all(map(_is_open, _carried(read)))


def _is_open(address: IPv4 | IPv6) -> bool:
    if isinstance(address, IPv6):
        if address.ipv4_mapped is not None or address in _NAT64 or address in _SIX_TO_FOUR:
            return True  # as far as what it carries is
        if address not in _UNICAST:
            return False
    return (
        address.is_global
        and not address.is_multicast
        and not any(address.version == net.version and address in net for net in _SPECIAL)
    )


def _carried(address: IPv6) -> Iterator[IPv4]:
    """The IPv4 addresses that a packet to it may end at."""
    bits = int(address)
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address in _COMPATIBLE or address in _NAT64 or bits >> 32 & _LOW in _ISATAP:
        yield IPv4(bits & _LOW)
    if address in _SIX_TO_FOUR:
        yield IPv4(bits >> 80 & _LOW)
    if address in _TEREDO:
        yield from (IPv4(bits >> 64 & _LOW), IPv4(~bits & _LOW))
