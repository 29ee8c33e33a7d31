"""Pace: no host is asked sooner than its rate lets it, or by more connections than it bears."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from itertools import chain

import pytest

from pipeline.fetch.hosts.pace import Pace, Rate, Rates, turn

MANY = 1_000  # a limit of connections that none of these reaches
SLACK = 0.002  # seconds between a start and the clock's being read for it

CDN = """
requests = 2
connections = 3

["*.CDN.example"]
requests = 100.5

["img1.cdn.example"]
requests = 7

["static.example"]
domain_requests = inf
"""


def test_an_empty_file_leaves_the_defaults() -> None:
    assert Rates.parse("") == Rates()
    assert Rates().of_host("example.org") == Rate(
        requests=4.0, connections=2, domain_requests=8.0, domain_connections=8
    )


def test_a_table_changes_what_it_names_and_takes_the_rest_from_the_top() -> None:
    rates = Rates.parse(CDN)
    assert rates.of_host("other.example") == Rate(requests=2, connections=3)
    assert rates.of_host("img7.cdn.example") == Rate(requests=100.5, connections=3)
    assert rates.of_host("static.example").domain_requests == math.inf


def test_of_two_patterns_the_first_in_the_file_counts() -> None:
    assert Rates.parse(CDN).of_host("img1.cdn.example").requests == 100.5


def test_a_pattern_speaks_for_a_domain_that_it_names_or_that_lies_above_it() -> None:
    rates = Rates.parse(CDN)
    assert rates.of_domain("cdn.example").requests == 100.5
    assert rates.of_domain("static.example").domain_requests == math.inf
    assert rates.of_domain("example").requests == 2
    assert rates.of_host("cdn.example").requests == 2  # a host is only what its pattern says


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("requests = 0", "requests is 0: choose more than 0"),
        ("requests = -1.5", "requests is -1.5: choose more than 0"),
        ("requests = nan", "requests is nan: choose more than 0"),
        ("domain_connections = 0", "domain_connections is 0: choose more than 0"),
        ("connections = 1.5", "connections is 1.5: choose a whole number"),
        ("connections = inf", "connections is inf: choose a whole number"),
        ('["*.a.example"]\nconnections = -2', "connections is -2: choose more than 0"),
        ("requests = true", "requests is True: choose a number"),
        ('requests = "4"', "requests is '4': choose a number"),
        ("speed = 4", "no such name as 'speed': choose of requests, connections, domain_requests"),
        ('["*.a.example"]\n["*.a.example".deep]\nrequests = 1', "no such name as 'deep'"),
        ("requests 4", "rates: .*see README"),
    ],
)
def test_a_rate_that_cannot_be_is_refused_with_its_value_and_a_remedy(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Rates.parse(text)


async def starts(
    count: int, paces: Sequence[Pace], slots: asyncio.Semaphore | None = None
) -> list[float]:
    """When each of so many requests began that all want to begin at once."""
    clock, seen = asyncio.get_running_loop(), list[float]()
    everywhere = asyncio.Semaphore(MANY) if slots is None else slots

    async def ask() -> None:
        async with turn(paces, everywhere):
            seen.append(clock.time())

    await asyncio.gather(*(ask() for _ in range(count)))
    return seen


def assert_spread(seen: Sequence[float], rate: float) -> None:
    """At most rate * T + 1 in any T: from each to the k-th after it there are k / rate or more."""
    assert len(seen) > 10
    for first, start in enumerate(seen):
        for later, other in enumerate(seen[first:]):
            assert other - start >= later / rate - SLACK, (first, later)


def test_requests_that_come_together_start_one_by_one() -> None:
    async def run() -> list[float]:
        return await starts(20, [Pace(requests=100, connections=MANY)])

    assert_spread(asyncio.run(run()), rate=100)


@pytest.mark.parametrize("work", [0.02, 0.1])
def test_what_waited_for_the_stage_does_not_start_in_a_burst(work: float) -> None:
    async def run() -> list[float]:
        clock, everywhere = asyncio.get_running_loop(), asyncio.Semaphore(6)
        seen, pace = list[float](), Pace(requests=100, connections=MANY)

        async def ask() -> None:
            async with turn([pace], everywhere):
                seen.append(clock.time())

        async def occupy() -> None:
            async with everywhere:
                await asyncio.sleep(work)

        others = [asyncio.create_task(occupy()) for _ in range(6)]  # other hosts' slow requests
        await asyncio.sleep(0)
        assert everywhere.locked()
        await asyncio.gather(*(ask() for _ in range(20)), *others)
        return seen

    assert_spread(asyncio.run(run()), rate=100)


def test_the_slower_of_a_host_and_its_domain_counts() -> None:
    async def run() -> list[list[float]]:
        domain = Pace(requests=50, connections=MANY)
        hosts = [Pace(requests=200, connections=MANY) for _ in range(3)]
        return await asyncio.gather(*(starts(6, [host, domain]) for host in hosts))

    per_host = asyncio.run(run())
    assert [len(seen) for seen in per_host] == [6, 6, 6]
    assert_spread(sorted(chain(*per_host)), rate=50)


@pytest.mark.parametrize(("connections", "everywhere", "most"), [(3, MANY, 3), (MANY, 4, 4)])
def test_no_more_are_under_way_than_there_are_connections(
    connections: int, everywhere: int, most: int
) -> None:
    now = peak = 0

    async def run() -> None:
        pace, slots = (
            Pace(requests=math.inf, connections=connections),
            asyncio.Semaphore(everywhere),
        )

        async def ask() -> None:
            nonlocal now, peak
            async with turn([pace], slots):
                now += 1
                peak = max(peak, now)
                await asyncio.sleep(0.001)
                now -= 1

        await asyncio.gather(*(ask() for _ in range(30)))

    asyncio.run(run())
    assert (now, peak) == (0, most)


def test_a_request_that_fails_leaves_its_places_to_the_next() -> None:
    async def run() -> None:
        pace, slots = Pace(requests=math.inf, connections=1), asyncio.Semaphore(1)
        with pytest.raises(OSError, match="no answer"):
            async with turn([pace], slots):
                raise OSError("no answer")
        async with asyncio.timeout(60), turn([pace], slots):
            assert pace.slots.locked()
            assert slots.locked()
        assert not pace.slots.locked()
        assert not slots.locked()

    asyncio.run(run())


@pytest.mark.parametrize("where", ["host", "rest", "stage"])
def test_a_request_that_is_given_up_while_it_waits_holds_no_place(where: str) -> None:
    async def run() -> None:
        pace = Pace(requests=math.inf, connections=1)
        slots = asyncio.Semaphore(0 if where == "stage" else 1)
        if where == "host":
            await pace.slots.acquire()
        if where == "rest":
            pace.rest(600)
        waiting = asyncio.create_task(starts(1, [pace], slots))
        await asyncio.sleep(0.01)
        assert pace.slots.locked()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert pace.slots.locked() == (where == "host")  # by whom it was held before
        assert slots.locked() == (where == "stage")

    asyncio.run(run())


def test_a_host_that_asks_for_rest_is_left_alone_also_by_those_that_wait() -> None:
    async def run() -> tuple[float, list[float]]:
        clock, everywhere = asyncio.get_running_loop(), asyncio.Semaphore(MANY)
        pace, seen, over = Pace(requests=100, connections=MANY), list[float](), 0.0

        async def ask() -> None:
            nonlocal over
            async with turn([pace], everywhere):
                seen.append(clock.time())
                if len(seen) == 3:  # its answer is 429
                    over = clock.time() + 0.15
                    pace.rest(0.15)
                    pace.rest(0.01)  # a shorter one does not end the longer
                    assert pace.resting + clock.time() >= over

        await asyncio.gather(*(ask() for _ in range(12)))
        return over, seen

    over, seen = asyncio.run(run())
    assert [start >= over for start in seen] == [False] * 3 + [True] * 9
    assert_spread(seen, rate=100)


def test_slowing_down_counts_and_never_makes_faster() -> None:
    async def run() -> list[float]:
        pace = Pace(requests=200, connections=MANY)
        pace.slow_down(0.02)
        pace.slow_down(0.001)
        return await starts(12, [pace])

    assert_spread(asyncio.run(run()), rate=50)
