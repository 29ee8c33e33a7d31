"""Guard: a name leads to what was looked up once; no name and no literal to an inner address."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace, TracebackType

import aiohttp
import pytest

from pipeline.fetch.hosts import guard as guard_module
from pipeline.fetch.hosts.guard import (
    LOOKUPS,
    REMEMBERED,
    UNKNOWN,
    ForbiddenAddressError,
    Guard,
    HostMap,
)

PUBLIC, OTHER = "93.184.216.34", "2606:4700::1111"


@dataclass
class Dns:
    """A name server whose answers may differ from one question to the next; the last one stays."""

    answers: dict[str, list[Sequence[str] | Exception]]
    asked: list[str] = field(default_factory=list)
    now: int = 0
    most: int = 0

    async def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.001)
        self.now -= 1
        left = self.answers.get(host, [OSError("no such host")])
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The guard's time, which passes only when a test says so."""
    clock = SimpleNamespace(now=1_000.0)
    monkeypatch.setattr(guard_module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


async def hosts(guard: Guard, name: str, port: int = 443) -> list[tuple[str, int]]:
    return [(one["host"], one["port"]) for one in await guard.resolve(name, port)]


def test_a_name_leads_to_all_its_public_addresses_by_number() -> None:
    async def run() -> None:
        guard = Guard(lookup=Dns({"a.example": [[PUBLIC, OTHER]]}))
        four, six = await guard.resolve("a.example", 443)
        assert (four["host"], four["port"], four["family"]) == (PUBLIC, 443, socket.AF_INET)
        assert (six["host"], six["port"], six["family"]) == (OTHER, 443, socket.AF_INET6)
        assert {four["flags"], six["flags"]} == {socket.AI_NUMERICHOST}
        assert four["hostname"] == "a.example"

    asyncio.run(run())


@pytest.mark.parametrize(
    ("answer", "error"), [([PUBLIC], None), (OSError("no"), OSError), (["10.0.0.1"], Exception)]
)
def test_many_who_ask_at_once_cost_one_look_up(
    answer: Sequence[str] | Exception, error: type[Exception] | None
) -> None:
    async def run() -> None:
        dns = Dns({"a.example": [answer], "b.example": [[OTHER]]})
        guard = Guard(lookup=dns)
        asking = [hosts(guard, "a.example", port) for port in range(50)]
        said = await asyncio.gather(*asking, hosts(guard, "b.example"), return_exceptions=True)
        assert sorted(dns.asked) == ["a.example", "b.example"]
        assert said.pop() == [(OTHER, 443)]
        if error is None:
            assert said == [[(PUBLIC, port)] for port in range(50)]
        assert all(error is None or isinstance(one, error) for one in said)

    asyncio.run(run())


def test_one_who_gives_up_waiting_takes_no_answer_from_the_others() -> None:
    async def run() -> None:
        guard = Guard(lookup=Dns({"a.example": [[PUBLIC]]}))
        first, second = (asyncio.create_task(hosts(guard, "a.example")) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == [(PUBLIC, 443)]
        assert first.cancelled()

    asyncio.run(run())


def test_an_answer_holds_for_its_time_and_a_failure_for_a_shorter_one(
    clock: SimpleNamespace,
) -> None:
    async def run() -> None:
        dns = Dns({"a.example": [[PUBLIC], [OTHER]], "b.example": [OSError("none"), [PUBLIC]]})
        guard = Guard(lookup=dns)
        for passed, a, b in ((0, PUBLIC, None), (UNKNOWN - 1, PUBLIC, None), (2, PUBLIC, PUBLIC)):
            clock.now += passed
            assert await hosts(guard, "a.example") == [(a, 443)]
            if b is None:
                with pytest.raises(OSError, match="none"):
                    await guard.resolve("b.example")
            else:
                assert await hosts(guard, "b.example") == [(b, 443)]
        assert dns.asked == ["a.example", "b.example", "b.example"]
        clock.now += REMEMBERED - UNKNOWN
        assert await hosts(guard, "a.example") == [(OTHER, 443)]
        assert UNKNOWN < REMEMBERED

    asyncio.run(run())


def frames(error: BaseException) -> int:
    count, at = 0, error.__traceback__
    while isinstance(at, TracebackType):
        count, at = count + 1, at.tb_next
    return count


@pytest.mark.parametrize("answer", [OSError("none"), ["127.0.0.1"]])
def test_a_failure_that_is_told_often_does_not_grow(answer: Sequence[str] | Exception) -> None:
    async def run() -> list[int]:
        guard, seen = Guard(lookup=Dns({"a.example": [answer]})), list[int]()
        for _ in range(20):
            with pytest.raises((OSError, ForbiddenAddressError)) as told:
                await guard.resolve("a.example")
            seen.append(frames(told.value))
        return seen

    seen = asyncio.run(run())
    assert seen[-1] <= seen[1] + 1  # all its tracebacks would be kept, with what their frames hold


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "::1", "::ffff:169.254.169.254"])
def test_a_name_of_an_inner_address_is_refused_and_nobody_is_to_try_again(address: str) -> None:
    async def run() -> None:
        dns = Dns({"a.example": [[address]]})
        guard = Guard(lookup=dns)
        for _ in range(2):
            with pytest.raises(ForbiddenAddressError, match="a.example is " + address):
                await guard.resolve("a.example")
        assert dns.asked == ["a.example"]
        assert not issubclass(ForbiddenAddressError, OSError)

    asyncio.run(run())


def test_of_mixed_answers_only_the_public_ones_are_left() -> None:
    async def run() -> None:
        guard = Guard(
            lookup=Dns({"a.example": [["127.0.0.1", PUBLIC, "fe80::1", OTHER, "10.0.0.1"]]})
        )
        assert await hosts(guard, "a.example") == [(PUBLIC, 443), (OTHER, 443)]

    asyncio.run(run())


def test_a_name_that_turns_to_loopback_never_leads_there(clock: SimpleNamespace) -> None:
    async def run() -> None:
        guard = Guard(lookup=Dns({"a.example": [[PUBLIC], ["127.0.0.1"]]}))
        for _ in range(3):
            assert await hosts(guard, "a.example") == [(PUBLIC, 443)]
        clock.now += REMEMBERED + 1
        with pytest.raises(ForbiddenAddressError):
            await guard.resolve("a.example")

    asyncio.run(run())


def test_mapped_names_are_not_looked_up_and_keep_the_ports_of_the_map() -> None:
    async def run() -> None:
        dns = Dns({})
        guard = Guard(lookup=dns, mapped=HostMap.parse("*.test 127.0.0.1:81\nb.org 127.0.0.2\n"))
        assert await hosts(guard, "a.test", 80) == [("127.0.0.1", 81)]
        assert await hosts(guard, "b.org", 80) == [("127.0.0.2", 80)]
        assert dns.asked == []

    asyncio.run(run())


@pytest.mark.parametrize("name", ["stranger.example", "lan.test"])
def test_a_map_opens_loopback_to_its_own_names_alone(name: str) -> None:
    async def run() -> None:
        mapped = HostMap.parse("a.test 127.0.0.1\nlan.test 10.0.0.1\n")
        guard = Guard(lookup=Dns({name: [["127.0.0.1"]]}), mapped=mapped)
        with pytest.raises(ForbiddenAddressError):
            await guard.resolve(name)

    asyncio.run(run())


def test_no_more_names_are_looked_up_at_once_than_there_are_slots() -> None:
    async def run() -> None:
        dns = Dns({f"{n}.example": [[PUBLIC]] for n in range(3 * LOOKUPS)})
        guard = Guard(lookup=dns)
        await asyncio.gather(*(guard.resolve(name) for name in dns.answers))
        assert len(dns.asked) == 3 * LOOKUPS
        assert dns.most == LOOKUPS

    asyncio.run(run())


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "::1", "fe80::1%1", "a.example"])
def test_no_socket_is_made_for_an_inner_address(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with pytest.raises(ForbiddenAddressError, match=address):
        Guard().make_socket((family, socket.SOCK_STREAM, 0, "", (address, 80)))


def test_a_socket_is_made_for_a_public_address_and_for_one_of_the_map() -> None:
    guard = Guard(mapped=HostMap.parse("*.test 127.0.0.1"))
    for address, family in (
        (PUBLIC, socket.AF_INET),
        (OTHER, socket.AF_INET6),
        ("127.0.0.1", socket.AF_INET),
    ):
        with guard.make_socket((family, socket.SOCK_STREAM, 0, "", (address, 80))) as made:
            assert (made.family, made.type) == (family, socket.SOCK_STREAM)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::ffff:7f00:1]", "localhost", "a.example"])
def test_aiohttp_reaches_no_server_of_this_machine_through_a_guard(host: str) -> None:
    async def run() -> int:
        met = 0

        async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal met
            met += 1
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        guard = Guard(lookup=Dns({name: [["127.0.0.1"]] for name in ("localhost", "a.example")}))
        door = aiohttp.TCPConnector(
            resolver=guard, use_dns_cache=False, socket_factory=guard.make_socket
        )
        async with server, aiohttp.ClientSession(connector=door) as session:
            with pytest.raises(ForbiddenAddressError):
                await session.get(f"http://{host}:{port}/")
        return met

    assert asyncio.run(run()) == 0
