"""Addresses: nothing that a registry calls special passes, in whatever form it is written."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.fetch.hosts.guard import is_global

SPECIAL = [  # IANA's registries of special-purpose addresses: all that is not globally reachable
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/29",
    "192.0.0.8/32",
    "192.0.0.11/32",  # of 192.0.0.0/24, in which only 192.0.0.9 and 192.0.0.10 are reachable
    "192.0.0.128/27",
    "192.0.0.170/31",
    "192.0.2.0/24",
    "192.88.99.2/32",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "255.255.255.255/32",
    "::1/128",
    "::/128",
    "64:ff9b:1::/48",
    "100::/64",
    "100:0:0:1::/64",
    "2001:2::/48",
    "2001:10::/28",
    "2001:db8::/32",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "ff00::/8",
]
PRIVATE = ["10.1.2.3", "100.64.1.2", "127.0.0.1", "169.254.169.254", "192.168.0.1", "224.0.0.1"]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "128.0.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2a00:1450:4001:81b::200e",
]


@pytest.mark.parametrize("network", SPECIAL)
def test_no_special_range_passes_from_its_first_address_to_its_last(network: str) -> None:
    read = ip_network(network)
    middle = read[read.num_addresses // 2]
    passed = [str(one) for one in (read[0], middle, read[-1]) if is_global(str(one))]
    assert passed == []


@pytest.mark.parametrize("network", ["fec0::/10", "4000::/3", "8000::/3", "e000::/4"])
def test_outside_of_2000_slash_3_nothing_is_given_to_strangers(network: str) -> None:
    read = ip_network(network)
    assert [str(one) for one in (read[1], read[-1]) if is_global(str(one))] == []


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_passes_up_to_the_border_of_a_special_range(address: str) -> None:
    assert is_global(address)


def mapped(address: str) -> str:
    return f"::ffff:{address}"


def compatible(address: str) -> str:
    return f"::{address}"


def nat64(address: str) -> str:
    return f"64:ff9b::{address}"


def six_to_four(address: str) -> str:
    return str(IPv6Address(0x2002 << 112 | int(IPv4Address(address)) << 80 | 1))


def isatap(address: str) -> str:
    return f"2606:4700::5efe:{address}"


def isatap_unique(address: str) -> str:
    return f"2606:4700::200:5efe:{address}"


FORMS = [mapped, compatible, nat64, six_to_four, isatap, isatap_unique]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_inside_of_another_does_not_pass(form: object, address: str) -> None:
    assert callable(form)
    assert not is_global(form(address))


@pytest.mark.parametrize("form", [mapped, nat64, six_to_four, isatap, isatap_unique])
def test_a_public_address_inside_of_another_passes(form: object) -> None:
    assert callable(form)
    assert is_global(form("8.8.8.8"))


def test_what_only_resembles_the_mark_of_isatap_carries_nothing() -> None:
    assert is_global("2606:4700::5eff:a01:203")
    assert not is_global("2606:4700::5efe:a01:203")


@pytest.mark.parametrize("address", ["8.8.8.8", "10.1.2.3"])
def test_a_nat_of_a_network_of_its_own_never_passes(address: str) -> None:
    assert not is_global(f"64:ff9b:1::{address}")


@pytest.mark.parametrize(
    ("server", "client"),
    [("10.0.0.1", "8.8.8.8"), ("8.8.8.8", "127.0.0.1"), ("8.8.8.8", "1.1.1.1")],
)
def test_a_teredo_tunnel_does_not_pass(server: str, client: str) -> None:
    hidden = int(IPv4Address(client)) ^ 0xFFFF_FFFF
    tunnel = IPv6Address(0x2001_0000 << 96 | int(IPv4Address(server)) << 64 | hidden)
    assert tunnel.teredo == (IPv4Address(server), IPv4Address(client))
    assert not is_global(str(tunnel))


@pytest.mark.parametrize("zone", ["1", "eth0"])
def test_an_address_of_one_link_does_not_pass(zone: str) -> None:
    assert is_global("2606:4700::1")
    assert not is_global(f"2606:4700::1%{zone}")
    assert not is_global(f"fe80::1%{zone}")


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "8.8.8", "8.8.8.8.8", " 8.8.8.8", "8.8.8.8 ", "8.8.8.8\n", "8.8.8.8:80",
        "8.8.8.8/32", "08.8.8.8", "0x8.8.8.8", "134744072", "256.8.8.8", "[2606:4700::1]",
        "2606:4700", "2606:4700:::1", "dns.google", "\u0668.8.8.8",
    ],
)  # fmt: skip
def test_what_is_no_address_does_not_pass(text: str) -> None:
    assert not is_global(text)


@given(st.one_of(st.ip_addresses(v=4), st.sampled_from([IPv4Address(one) for one in PRIVATE])))
def test_an_ipv4_address_is_as_open_in_ipv6_as_it_is_by_itself(address: object) -> None:
    alone = str(address)
    for form in (mapped, nat64, six_to_four):
        assert is_global(form(alone)) == is_global(alone), form(alone)
