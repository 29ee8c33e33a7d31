"""Fetch is killed again and again: what was committed is not asked for twice, nothing is lost."""

from __future__ import annotations

import asyncio
import errno
import gzip
import io
import random
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from PIL import Image

from pipeline.fetch import commits, partition
from pipeline.fetch.commits import AWAY, read_brought
from pipeline.fetch.hosts import wire
from pipeline.fetch.hosts.host import retry_after
from pipeline.job import Fetching, Job
from pipeline.media.look import Looked, Lookers
from pipeline.store import store
from schemas.verdict import OK, Reason
from tests.fetch.hostile import Hosts, answer
from tests.fetch.stage import (
    CONTACT,
    FAST,
    PARTITIONS,
    do,
    fetch_partition,
    job_for,
    rows,
    rows_brought,
    start,
)
from tests.fetch.world import World, world
from tests.soak import SOAK

KILLS: Final = 12 if SOAK else 2
# what they answer does not depend on when they are asked
STEADY: Final = ("good", "page", "cut", "noai", "loop", "abroad", "back", "forbids", "empty",
                 "private")  # fmt: skip
# what differs between two rounds of the same answers
OF_TIME: Final = ("date", "decided", "attempt", "pack", "pack_offset")
NONE: Final = {"status": 404}
SLOW: Final = Fetching(on=True, contact=CONTACT, commit_seconds=0.3, rates=(
    "requests = 4\nconnections = 2\ndomain_requests = 4\n"), requests=8)  # fmt: skip
QUICK: Final = replace(SLOW, rates=FAST)


def facts(job: Job) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name not in OF_TIME}
            for row in rows(job)]  # fmt: skip


def committed(job: Job) -> set[str]:
    known = (read_brought(job, partition).known for partition in range(PARTITIONS))
    return {url for one in known for url, row in one.items() if row.status != AWAY}


def asked_since(servers: World, moment: float) -> Iterator[str]:
    for request in servers.asked:
        if request["time"] > moment:
            yield f"http://{request['host']}{request['path']}"


@pytest.fixture
def steady(tmp_path: Path) -> Hosts:
    hosts = Hosts()
    for _ in range(3):
        for kind in STEADY:
            hosts.add(kind)
            hosts.add("good")
    return hosts


def test_killed_at_random_moments_nothing_committed_is_asked_for_again(
    steady: Hosts, tmp_path: Path
) -> None:
    chance = random.Random(8)
    for name in ("straight", "killed"):
        (tmp_path / name).mkdir()
    with world(steady.plan, tmp_path) as servers:
        told = replace(SLOW, host_map=steady.map(servers.plain))
        straight = job_for(tmp_path / "straight", steady.must, replace(told, rates=FAST))
        do(straight)
        job = job_for(tmp_path / "killed", steady.must, told)
        safe: set[str] = set()
        met = 0
        for _ in range(KILLS):
            moment = time.time()
            with start(job) as process:
                while not any(True for _ in asked_since(servers, moment)):
                    time.sleep(0.05)
                    process.check_alive()
                time.sleep(chance.uniform(0.1, 3 if SOAK else 1.5))
            assert not safe & set(asked_since(servers, moment))
            more = committed(job)
            assert safe <= more
            met += len(more) > len(safe)
            safe = more
        assert met > 0
        moment = time.time()
        do(replace(job, settings=replace(job.settings, fetching=replace(told, rates=FAST))))
        assert not safe & set(asked_since(servers, moment))
    assert facts(job) == facts(straight)
    assert {row["url"]: row["status"] for row in rows(job)} == steady.must
    _is_clean(job)


def _is_clean(job: Job) -> None:
    """One file of rows a partition, no pack without a row, no lease, nothing written aside."""
    left = [path.removeprefix(job.output) for path in store.listing(job.output)]
    settled = [path for path in left if path.startswith("/images/")]
    assert len(settled) == PARTITIONS
    packs = {path.rpartition("/")[2] for path in left if path.startswith("/packs/")}
    assert packs == {row["pack"] for row in rows(job)} - {None}
    assert not [path for path in left if path.startswith("/leases/") or store.ASIDE in path]


def test_a_pack_without_rows_is_removed_and_rows_without_bytes_are_brought_anew(
    steady: Hosts, tmp_path: Path
) -> None:
    with world(steady.plan, tmp_path) as servers:
        told = replace(QUICK, host_map=steady.map(servers.plain))
        job = job_for(tmp_path, steady.must, told)
        do(job)
        before = facts(job)
        names = sorted({row["pack"] for row in rows(job)} - {None})
        lost, short = (Path(job.path("packs", name)) for name in names[:2])
        gone = {row["url"] for row in rows(job) if row["pack"] in {lost.name, short.name}}
        orphan = Path(job.path("packs", "fetch-00000-1-aaaaaaaa-0-0.tar"))
        orphan.write_bytes(lost.read_bytes())
        lost.unlink()
        short.write_bytes(short.read_bytes()[:600])
        moment = time.time()
        do(job)
        again = {url for url in asked_since(servers, moment) if url in steady.must}
    assert facts(job) == before
    assert not orphan.exists()
    assert again <= gone
    _is_clean(job)


def test_bodies_that_have_no_room_wait_for_each_other_and_all_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "BUFFERED", 20_000)
    hosts = Hosts()
    for _ in range(12):
        hosts.add("good")
    with world(hosts.plan, tmp_path) as servers:
        told = replace(QUICK, requests=64, total=30, host_map=hosts.map(servers.plain))
        job = job_for(tmp_path, hosts.must, told, partitions=1)
        fetch_partition(0, job)
    assert sorted(rows_brought(job, 0)) == sorted(hosts.must.values())


def test_bodies_that_unpack_to_far_more_have_no_more_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A megabyte of a kilobyte: on the wire there is room for all of them at once."""
    held: list[int] = []
    release = wire.Wire.release

    def released(one: wire.Wire, response: wire.Response) -> None:
        held.append(one._buffered)
        release(one, response)

    monkeypatch.setattr(wire, "BUFFERED", 1 << 20)
    monkeypatch.setattr(wire.Wire, "release", released)
    out = io.BytesIO()
    Image.new("RGB", (700, 500)).save(out, "BMP")
    body = gzip.compress(out.getvalue())
    what = answer(body, headers={"Content-Encoding": "gzip"})
    plan = {f"a.big{n}.test": {"/robots.txt": NONE, "/ai.txt": NONE, "/a.bmp": what}
            for n in range(16)}  # fmt: skip
    with world(plan, tmp_path) as servers:
        told = replace(QUICK, requests=64, total=30, host_map=f"* 127.0.0.1:{servers.plain}")
        urls = [f"http://{host}/a.bmp" for host in plan]
        job = job_for(tmp_path, urls, told, partitions=1)
        fetch_partition(0, job)
    assert rows_brought(job, 0) == [OK] * 16
    assert len(out.getvalue()) > len(body) * 100
    assert max(held) <= (1 << 20) + len(out.getvalue())


def test_no_body_is_held_when_all_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor those that were asked for again: they would leave less and less room."""
    held: list[int] = []
    leave = wire.Wire.__aexit__

    async def left(one: wire.Wire, *error: object) -> None:
        held.extend((one._buffered, one._complete))
        await leave(one, *error)

    monkeypatch.setattr(wire.Wire, "__aexit__", left)
    hosts = Hosts()
    for kind in (*STEADY, "busy", "tired", "huge", "endlessimage", "bomb", "short"):
        hosts.add(kind)
    for status, more in ((500, {}), (429, {"Retry-After": "0"}), (503, {"Retry-After": "9999"})):
        host = f"{status}.body{status}.test"
        large = {"status": status, "size": 9_000, "headers": more}
        hosts.plan[host] = {"/robots.txt": NONE, "/ai.txt": NONE, "/a.jpg": large}
        hosts.url(host, "/a.jpg", Reason.DEFERRED if status == 503 else Reason.HTTP_STATUS)
    with world(hosts.plan, tmp_path) as servers:
        told = replace(QUICK, host_map=hosts.map(servers.plain), image_bytes=1 << 20, tries=2)
        job = job_for(tmp_path, hosts.must, told, partitions=1)
        fetch_partition(0, job)
    assert held == [0, 0]


@pytest.mark.parametrize("failing", [1, 2])
def test_a_commit_that_fails_while_the_hosts_end_ends_the_partition(
    failing: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Begun by the beat, or the last one: a slow disk that is full. They never overlap."""
    hosts = Hosts()
    for _ in range(8):
        hosts.add("good")
    honest = commits._Commit.write
    begun: list[str] = []

    def write(one: commits._Commit) -> None:
        begun.append(one.name)
        one.files.close()  # the pack is there
        time.sleep(1.5)
        if len(begun) == failing:
            raise OSError(errno.ENOSPC, "full")
        honest(one)

    monkeypatch.setattr(commits._Commit, "write", write)
    with world(hosts.plan, tmp_path) as servers:
        told = replace(SLOW, requests=64, host_map=hosts.map(servers.plain))
        job = job_for(tmp_path, hosts.must, told, partitions=1)
        with pytest.raises(OSError, match="full"):
            fetch_partition(0, job)
        monkeypatch.undo()
        fetch_partition(0, job)
    assert sorted(rows_brought(job, 0)) == sorted(hosts.must.values())


def test_what_has_come_before_the_deadline_is_not_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for a decoder when the time is over."""
    look = Lookers.look

    async def late(one: Lookers, data: bytes) -> Looked:
        await asyncio.sleep(3)
        return await look(one, data)

    monkeypatch.setattr(Lookers, "look", late)
    hosts = Hosts()
    for _ in range(3):
        hosts.add("good")
    hosts.add("hang")
    with world(hosts.plan, tmp_path) as servers:
        told = replace(QUICK, requests=64, host_map=hosts.map(servers.plain))
        job = job_for(tmp_path, hosts.must, told, partitions=1)
        fetch_partition(0, replace(job, until=time.time() + 2))
    found = {url: one.status for url, one in read_brought(job, 0).known.items()}
    hangs = next(url for url in hosts.must if ".hang." in url)
    assert found == hosts.must | {hangs: Reason.DEFERRED}


def test_the_deadline_waits_for_no_decoder_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(_: Lookers, __: bytes) -> Looked:
        await asyncio.sleep(3_600)
        raise AssertionError

    monkeypatch.setattr(Lookers, "look", never)
    monkeypatch.setattr(partition, "GRACE", 0.5)
    hosts = Hosts()
    hosts.add("good")
    with world(hosts.plan, tmp_path) as servers:
        told = replace(QUICK, host_map=hosts.map(servers.plain))
        job = job_for(tmp_path, hosts.must, told, partitions=1)
        fetch_partition(0, replace(job, until=time.time() + 2))
    found = {url: one.status for url, one in read_brought(job, 0).known.items()}
    assert found.keys() == hosts.must.keys()
    assert {status for url, status in found.items() if hosts.must[url] == OK} == {Reason.DEFERRED}


def test_a_write_that_fails_after_the_deadline_fails_the_partition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Begun by the beat, while what has come is decoded still."""
    look, begun = Lookers.look, list[str]()

    async def late(one: Lookers, data: bytes) -> Looked:
        await asyncio.sleep(6 if begun else 0)
        return await look(one, data)

    def write(one: commits._Commit) -> None:
        begun.append(one.name)
        one.files.close()
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(Lookers, "look", late)
    monkeypatch.setattr(commits._Commit, "write", write)
    hosts = Hosts()
    for _ in range(4):
        hosts.add("good")
    with world(hosts.plan, tmp_path) as servers:
        told = replace(SLOW, rates="requests = 2\n", host_map=hosts.map(servers.plain))
        job = job_for(tmp_path, hosts.must, told, partitions=1)
        with pytest.raises(OSError, match="full"):
            fetch_partition(0, replace(job, until=time.time() + 5))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7), ("0", 0), ("9" * 400, 999_999_999), ("soon", None), ("-1", None), ("", None),
     ("Mon, 01 Jan 2026 00:00:00 +99999999999999999", None),
     ("Thu, 01 Jan 1970 00:00:00 GMT", 0)],
)  # fmt: skip
def test_retry_after_is_read_or_left(value: str, seconds: float | None) -> None:
    assert retry_after(value) == seconds


def test_the_deadline_defers_what_is_left_and_a_refetch_asks_for_that_alone(
    steady: Hosts, tmp_path: Path
) -> None:
    with world(steady.plan, tmp_path) as servers:
        slow = replace(SLOW, rates="requests = 0.2\n", host_map=steady.map(servers.plain))
        job = job_for(tmp_path, steady.must, slow)
        do(replace(job, until=time.time() + 4))
        first = {row["url"]: row["status"] for row in rows(job)}
        deferred = {url for url, status in first.items() if status == Reason.DEFERRED}
        assert len(first) == len(steady.must)
        assert deferred
        moment = time.time()
        second = replace(slow, rates=FAST, round=2, again=(str(Reason.DEFERRED),))
        again = job_for(tmp_path, steady.must, second)
        do(again)
        asked = {url for url in asked_since(servers, moment) if url in steady.must}
    assert asked <= deferred
    assert {row["url"]: row["status"] for row in rows(again)} == steady.must
    rounds = {row["attempt"] for row in rows(again) if row["url"] in deferred}
    assert rounds == {2}
    _is_clean(again)
