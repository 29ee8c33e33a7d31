"""A slow host holds up no other partition: told by who was asked, in the servers' logs."""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

import pytest

from pipeline.fetch import commits, partition, worker
from pipeline.fetch.lease import lease_at
from pipeline.fetch.partition import Holder
from pipeline.job import Fetching
from pipeline.store import parquet, store
from pipeline.words.urls import host_of, partition_of
from schemas.verdict import OK, Reason
from tests.fetch.hostile import answer, picture, to
from tests.fetch.stage import (
    CONTACT,
    FAST,
    do,
    do_elsewhere,
    fetch_partition,
    job_for,
    rows,
    start,
)
from tests.fetch.world import World, world
from tests.soak import SOAK

NONE: Final[dict[str, Any]] = {"status": 404}
OPEN: Final = {"/robots.txt": NONE, "/ai.txt": NONE}
TOLD: Final = Fetching(on=True, contact=CONTACT, rates="requests = 20\ndomain_requests = 20\n")
PLACES: Final = (0, 1) if SOAK else (0,)  # partitions in which a host is slow
RULES: Final = "User-agent: *\nDisallow: /private\n"
DRIP: Final = {"text": RULES + "# and so on\n" * 99, "how": "drip"}
# by kind, what is slow of a host
SLOW: Final[Mapping[str, Mapping[str, Any]]] = {
    "delay": {"/robots.txt": {"text": RULES + "Crawl-delay: 86400\n"}},
    "drip": {"/robots.txt": DRIP},
    "ai": {"/ai.txt": DRIP},
    "rest": {"*": {"status": 429, "headers": {"Retry-After": "200"}}},
    "hang": {"*": {"how": "hang"}},
}
_names: Final = count()


class Plan:
    """Hosts of domains of their own, in the partition that a test wants."""

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions
        self.hosts: dict[str, dict[str, Any]] = {}
        self.urls: list[str] = []

    def add(self, kind: str, place: int, *, images: int = 2) -> str:
        names = (f"{kind}{number}.test" for number in _names)
        host = next(name for name in names if self._place(name) == place)
        paths = {f"/{n}.jpg": answer(picture(next(_names))) for n in range(images)}
        self.urls += [f"http://{host}{path}" for path in paths]
        answers = {} if kind in {"rest", "hang"} else paths
        self.hosts[host] = {**OPEN, **answers, **SLOW.get(kind, {})}
        return host

    def _place(self, host: str) -> int:
        return partition_of(f"http://{host}/", self.partitions)[0]


def images_asked(servers: World) -> list[str]:
    """Hosts whose images were asked for, in order."""
    return [one["host"] for one in servers.asked if one["path"].endswith(".jpg")]


@pytest.mark.parametrize("slow", PLACES)
@pytest.mark.parametrize("kinds", [["delay"], ["drip"], ["ai", "rest", "hang"]])
def test_under_a_deadline_quick_hosts_of_every_partition_are_asked(
    kinds: list[str], slow: int, tmp_path: Path
) -> None:
    plan = Plan(2)
    for kind in kinds:
        plan.add(kind, slow)
    quick = [plan.add("quick", place) for place in range(2)]
    with world(plan.hosts, tmp_path) as servers:
        told = replace(TOLD, host_map=f"* 127.0.0.1:{servers.plain}")
        job = job_for(tmp_path, plan.urls, told, partitions=2)
        do(replace(job, until=time.time() + 5))
        asked = images_asked(servers)
    assert sorted(host for host in asked if host in quick) == sorted(quick * 2)
    found = {row["url"]: row["status"] for row in rows(job)}
    assert found == {url: OK if host_of(url) in quick else Reason.DEFERRED for url in plan.urls}


@pytest.mark.parametrize("slow", PLACES)
@pytest.mark.parametrize("kind", ["delay", "drip"])
def test_without_a_deadline_nobody_waits_for_a_slow_host_which_ends_too(
    kind: str, slow: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A drip by the time of a request; of the delay, a second here."""
    monkeypatch.setattr("pipeline.fetch.hosts.permission.LONGEST_DELAY", 1.0)
    plan = Plan(2)
    late = plan.add(kind, slow)
    quick = [plan.add("quick", place) for place in range(2)]
    with world(plan.hosts, tmp_path) as servers:
        told = replace(TOLD, host_map=f"* 127.0.0.1:{servers.plain}", total=1, tries=2)
        job = job_for(tmp_path, plan.urls, told, partitions=2)
        do(job)
        asked = [one["host"] for one in servers.asked]
    found = {row["url"]: row["status"] for row in rows(job)}
    ending = OK if kind == "delay" else Reason.TIMED_OUT
    assert found == {url: OK if host_of(url) in quick else ending for url in plan.urls}
    assert asked.count(late) == (4 if kind == "delay" else 2)
    assert asked[-1] == late


@pytest.mark.parametrize("kind", ["delay", "rest"])
def test_what_may_be_asked_only_after_the_deadline_is_not_waited_for(
    kind: str, tmp_path: Path
) -> None:
    plan = Plan(1)
    plan.add(kind, 0, images=9)
    plan.add("quick", 0)
    with world(plan.hosts, tmp_path) as servers:
        told = replace(TOLD, host_map=f"* 127.0.0.1:{servers.plain}")
        job = job_for(tmp_path, plan.urls, told, partitions=1)
        until = time.time() + 40
        do(replace(job, until=until))
        assert time.time() < until - 0.25 * 40  # its share of the time was not used up
        asked = len(servers.asked)
        found = {row["url"]: row["status"] for row in rows(job)}
        assert set(found.values()) == {OK, Reason.DEFERRED}
        second = replace(told, round=2, again=(str(Reason.DEFERRED),))  # it keeps to the pause
        again = job_for(tmp_path, plan.urls, second, partitions=1)
        do(replace(again, until=time.time() + 20))
        assert len(servers.asked) == asked
    assert {row["url"]: row["status"] for row in rows(again)} == found


@pytest.mark.parametrize("slow", PLACES)
@pytest.mark.parametrize("kind", ["hang", "delay"])
def test_what_leads_to_another_partition_has_its_share_of_the_time(
    kind: str, slow: int, tmp_path: Path
) -> None:
    plan = Plan(2)
    plan.add(kind, slow)
    for place in range(2):
        near, far = plan.add("near", place), plan.add("far", 1 - place)
        plan.hosts[near]["/0.jpg"] = to(f"http://{far}/moved.jpg")
        plan.hosts[far]["/moved.jpg"] = answer(picture(place))
    with world(plan.hosts, tmp_path) as servers:
        told = replace(TOLD, host_map=f"* 127.0.0.1:{servers.plain}")
        job = job_for(tmp_path, plan.urls, told, partitions=2)
        do(replace(job, until=time.time() + 6))
        asked = [one["path"] for one in servers.asked]
    assert asked.count("/moved.jpg") == 2
    found = {row["url"]: row["status"] for row in rows(job)}
    assert {found[url] for url in plan.urls if kind not in url} == {OK}


def test_under_a_deadline_partitions_take_turns_where_slow_hosts_need_all_requests(
    tmp_path: Path,
) -> None:
    plan = Plan(2)
    slow = [plan.add("drip", 0) for _ in range(4)]
    quick = plan.add("quick", 1)
    with world(plan.hosts, tmp_path) as servers:
        told = replace(TOLD, host_map=f"* 127.0.0.1:{servers.plain}", requests=2, total=1.5,
                       tries=2)  # fmt: skip
        job = job_for(tmp_path, plan.urls, told, partitions=2)
        do(replace(job, until=time.time() + 20))
        asked = [one["host"] for one in servers.asked]
    assert asked.count(quick) == 4
    before = asked[: asked.index(quick)]
    assert len(before) <= len(slow)  # nobody is asked a second time before


@pytest.mark.parametrize("workers", [1, 2] if SOAK else [1])
def test_more_partitions_than_a_worker_has_requests(workers: int, tmp_path: Path) -> None:
    """In every partition is a host that is never at its end."""
    plan = Plan(12)
    quick = [plan.add("quick", place, images=1) for place in range(12)]
    for place in range(12):
        plan.add("delay", place, images=1)
    with world(plan.hosts, tmp_path) as servers:
        told = replace(TOLD, host_map=f"* 127.0.0.1:{servers.plain}", requests=4)
        job = job_for(tmp_path, plan.urls, told, partitions=12)
        job = replace(job, until=time.time() + 60)
        do(job) if workers == 1 else do_elsewhere(job, workers=workers)
        asked = images_asked(servers)
    assert sorted(asked) == sorted(quick)


def test_a_partition_that_another_has_holds_up_no_other(tmp_path: Path) -> None:
    plan = Plan(3)
    quick = [plan.add("quick", place) for place in range(3)]
    with world(plan.hosts, tmp_path) as servers:
        told = replace(TOLD, host_map=f"* 127.0.0.1:{servers.plain}")
        job = job_for(tmp_path, plan.urls, told, partitions=3)
        lease = lease_at(job.path("leases", "00000.host.json"))
        assert lease.take()
        with start(job) as process:
            while len(images_asked(servers)) < 4:
                time.sleep(0.05)
                process.check_alive()
            assert quick[0] not in images_asked(servers)
        lease.let_go()
        do(job)
    assert {row["status"] for row in rows(job)} == {OK}


def test_what_a_deadline_puts_off_is_written_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commits, "MOST_ROWS", 4)
    plan = Plan(2)
    for place in range(2):
        plan.add("hang", place, images=17)
    with world(plan.hosts, tmp_path) as servers:
        told = replace(TOLD, host_map=f"* 127.0.0.1:{servers.plain}")
        job = job_for(tmp_path, plan.urls, told, partitions=2)
        fetch_partition(0, replace(job, until=time.time() + 1))
    sizes = [parquet.read_table(path, ["url"]).num_rows for path in commits.list_files(job)]
    assert sorted(sizes) == [1, 4, 4, 4, 4]


def test_a_beat_ends_that_is_told_of_a_pause_when_it_is_cancelled() -> None:
    """Else the partition would never end."""

    async def end_at_once() -> bool:
        hosts, nothing = SimpleNamespace(long_rest=asyncio.Event()), cast("Any", None)
        job: Any = SimpleNamespace(settings=SimpleNamespace(fetching=TOLD))
        holder = Holder(job=job, partition=0, known=(), commits=nothing, lease=nothing, open={},
                        until=0, resources=nothing)  # fmt: skip
        holder.hosts = cast("Any", hosts)
        beat = asyncio.ensure_future(holder._beat())
        for _ in range(9):  # it waits
            await asyncio.sleep(0)
        hosts.long_rest.set()
        await asyncio.sleep(0)
        beat.cancel()
        await asyncio.wait({beat}, timeout=5 * partition.MOMENT)
        return beat.cancelled()

    assert asyncio.run(end_at_once())


@pytest.mark.parametrize(("name", "value"), [("MOST_URLS", 1), ("MOST_PARTITIONS", 1)])
def test_a_worker_takes_on_no_more_than_it_can_hold(
    name: str, value: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, name, value)
    plan = Plan(4)
    for place in range(4):
        plan.add("quick", place, images=9)
    with world(plan.hosts, tmp_path) as servers:
        told = replace(TOLD, host_map=f"* 127.0.0.1:{servers.plain}", rates=FAST)
        job = job_for(tmp_path, plan.urls, told, partitions=4)
        do(job)
        asked = images_asked(servers)
    assert len(asked) == 36
    assert asked == [host for first in dict.fromkeys(asked) for host in [first] * 9]


def test_where_requests_are_few_partitions_follow_one_another(tmp_path: Path) -> None:
    plan = Plan(2)
    for place in (0, 0, 1, 1):
        plan.add("slow", place)
    for paths in plan.hosts.values():
        paths["/0.jpg"] = {"how": "drip", "text": "x" * 3}
    with world(plan.hosts, tmp_path) as servers:
        told = replace(TOLD, host_map=f"* 127.0.0.1:{servers.plain}", requests=1, rates=FAST)
        job = job_for(tmp_path, plan.urls, told, partitions=2)
        do(job)
        asked = [partition_of(f"http://{host}/", 2)[0] for host in images_asked(servers)]
    assert asked in ([0, 0, 0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0, 0, 0])


def test_one_that_fails_ends_all_and_their_leases_are_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What others have committed stays."""
    honest = commits._Commit.write

    def write(one: commits._Commit) -> None:
        if one.name.startswith("fetch-00001"):
            one.files.close()
            raise OSError(errno.ENOSPC, "full")
        honest(one)

    monkeypatch.setattr(commits._Commit, "write", write)
    plan = Plan(3)
    plan.add("hang", 0)
    for place in range(3):
        plan.add("quick", place)
    with world(plan.hosts, tmp_path) as servers:
        told = replace(TOLD, host_map=f"* 127.0.0.1:{servers.plain}", read=1, tries=1)
        job = job_for(tmp_path, plan.urls, told, partitions=3)
        with pytest.raises(RuntimeError, match="full"):
            do(job)
        for path in store.listing(job.path("leases")):  # there for the hosts' pauses alone
            lease = lease_at(path)
            assert lease.take()
            lease.let_go()
        monkeypatch.undo()
        do(job)
    found = [row["status"] for row in rows(job)]
    assert sorted(found) == sorted([OK] * 6 + [Reason.TIMED_OUT] * 2)
