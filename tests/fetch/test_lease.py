"""Lease: one holder at a time, on a disk and in a bucket; what a dead one held is free again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from pipeline.fetch import lease as lease_module
from pipeline.fetch.lease import (
    SECONDS,
    SKEW,
    BucketLease,
    Lease,
    LostLeaseError,
    S3Object,
    hold,
    lease_at,
    read_lease,
)
from pipeline.store import store

# a holder with a child of its own, which has no part in the lock
HOLD = """
import subprocess, sys, time
from pipeline.fetch.lease import lease_at
lease = lease_at(sys.argv[1])
assert lease.take()
lease.renew({}, {"host a.example": (2e9, 2e9)})
print(subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL).pid, flush=True)
time.sleep(600)
"""
ROOT = Path(__file__).resolve().parents[2]
LOOK = 10.0  # seconds of the test's clock between two tries


class Clock:
    """The module's time: it passes when somebody waits, and then `meanwhile` happens."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.waits = 0
        self.meanwhile: Callable[[], None] = lambda: None

    def time(self) -> float:
        return self.now

    monotonic = time

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.waits += 1
        assert self.waits < 1_000, "it waits for ever"
        self.meanwhile()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(lease_module, "time", clock)
    return clock


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def bucket(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A lease in a bucket; nothing is there yet."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "of-the-test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    name = f"run-{tmp_path.name.replace('_', '-').lower()[-40:]}"
    boto3.client("s3").create_bucket(Bucket=name)
    return f"s3://{name}/leases/00001.host.json"


@pytest.fixture
def disk(tmp_path: Path) -> str:
    """A lease on a disk; nothing is there yet, the folder neither."""
    return str(tmp_path / "leases" / "00001.host.json")


@pytest.fixture(params=["disk", "bucket"])
def path(request: pytest.FixtureRequest) -> str:
    where: str = request.getfixturevalue(request.param)
    return where


@contextmanager
def holding(path: str, clock: Clock | None = None) -> Iterator[Lease]:
    """As `hold`, by the test's clock."""
    lease = lease_at(path)
    while not lease.take():
        assert clock is not None, "it is held"
        clock.sleep(LOOK)
    try:
        yield lease
    finally:
        lease.let_go()


def content(path: str) -> dict[str, Any]:
    if store.is_local(path):
        data = store.read_bytes(path)
    else:
        current = in_bucket(path).read()
        assert current is not None
        data = current[0]
    read: dict[str, Any] = json.loads(data)
    return read


def exists(path: str) -> bool:
    return Path(path).exists() if store.is_local(path) else in_bucket(path).read() is not None


def in_bucket(path: str) -> S3Object:
    lease = lease_at(path)
    assert isinstance(lease, BucketLease)
    assert isinstance(lease.at, S3Object)
    return lease.at


def put(bucket: str, **changes: object) -> None:
    """A lease as another holder would have written it."""
    with holding(bucket):
        mine = content(bucket)
    assert in_bucket(bucket).write(json.dumps(mine | changes).encode(), version=None)


def test_an_object_is_changed_only_by_who_knows_its_version(bucket: str) -> None:
    cell = in_bucket(bucket)
    assert cell.read() is None
    first = cell.write(b"one", version=None)
    assert first is not None
    assert in_bucket(bucket).write(b"two", version=None) is None
    second = in_bucket(bucket).write(b"two", version=first)
    assert second is not None
    assert cell.write(b"three", version=first) is None
    cell.remove(version=first)
    assert cell.read() == (b"two", second)
    cell.remove(version=second)
    assert cell.read() is None
    cell.remove(version=second)
    assert cell.write(b"four", version=second) is None
    assert cell.read() is None


def test_a_lease_says_what_its_holder_does_and_is_gone_when_let_go(path: str, clock: Clock) -> None:
    with holding(path) as lease:
        clock.now += 2 * SECONDS  # late, but nobody else has come
        lease.renew({"asked": 7}, {})
        assert content(path)["news"] == {"asked": 7}
        assert lease.until >= clock.now + SECONDS
    assert not exists(path)


def test_a_lease_in_a_bucket_says_by_whom_and_until_when_it_is_held(
    bucket: str, clock: Clock
) -> None:
    with holding(bucket) as lease:
        first = content(bucket)
        assert first["until"] == lease.until == clock.now + SECONDS
        clock.now += 7
        lease.renew({}, {})
        renewed = content(bucket)
        assert renewed["until"] == lease.until == clock.now + SECONDS
        assert renewed["token"] == first["token"]


def test_a_second_taker_waits_until_the_first_lets_go(path: str, clock: Clock) -> None:
    with ExitStack() as first:
        held = first.enter_context(holding(path))

        def meanwhile() -> None:
            if clock.waits == 20:
                first.close()
            elif clock.waits < 20:
                held.renew({}, {})

        clock.meanwhile = meanwhile
        with holding(path, clock) as second:
            assert clock.waits == 20  # longer than a lease in a bucket that nobody renews
            second.renew({"asked": 1}, {})
            assert content(path)["news"] == {"asked": 1}


def test_an_event_loop_goes_on_while_a_lease_is_waited_for(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_module, "LOOK", 0.001)
    order: list[str] = []

    async def work(name: str) -> None:
        async with hold(path) as lease:
            order.append(name)
            await asyncio.sleep(0.05)
            lease.renew({}, {})
            order.append(name)

    async def run() -> None:
        await asyncio.gather(work("one"), work("two"))

    asyncio.run(run())
    assert order in (["one", "one", "two", "two"], ["two", "two", "one", "one"])
    assert not exists(path)


def test_of_many_at_once_one_holds_it(disk: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every renewal and every end replaces or removes the file that the others try to lock."""
    inside, most, taken = 0, 0, 0
    count = threading.Lock()

    def work() -> None:
        nonlocal inside, most, taken
        for number in range(10):
            lease = lease_at(disk)
            while not lease.take():
                time.sleep(0.0001)
            with count:
                inside, most, taken = inside + 1, max(most, inside + 1), taken + 1
            for _ in range(3):
                lease.renew({}, {"host a.example": (2e9, 2e9)} if number % 2 else {})
            with count:
                inside -= 1
            lease.let_go()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (taken, most, inside) == (40, 1, 0)


def test_what_hosts_asked_of_a_holder_the_next_one_knows(path: str, clock: Clock) -> None:
    with holding(path) as first:
        assert first.rests == {}
        first.rests = {"host a.example": (clock.now + 600, clock.now + 600)}
    with holding(path) as second:
        assert second.rests == first.rests
        second.renew({}, second.rests)
        second.rests = {}
    assert not exists(path)


def test_what_a_killed_process_held_on_a_disk_is_free_at_once(disk: str, clock: Clock) -> None:
    """With what hosts asked of it, and whatever processes it has left behind."""
    command = [sys.executable, "-c", HOLD, disk]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as holder:
        assert holder.stdout is not None
        child = int(holder.stdout.readline())

        def meanwhile() -> None:
            if clock.waits == 50:  # it lives, however long it renews nothing
                holder.send_signal(signal.SIGKILL)
                os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)  # its parent knows not

        clock.meanwhile = meanwhile
        try:
            with holding(disk, clock) as lease:
                assert clock.waits == 50
                assert lease.rests == {"host a.example": (2e9, 2e9)}
        finally:
            holder.kill()
            os.kill(child, signal.SIGKILL)


def test_what_a_dead_holder_had_in_a_bucket_is_taken_over_when_it_has_run_out_and_not_before(
    bucket: str, clock: Clock
) -> None:
    end = clock.now + 30.5 + SKEW
    rests = {"host a.example": (2e9, 2e9)}
    put(bucket, token="elsewhere", until=end - SKEW, rests=rests)
    with holding(bucket, clock) as lease:
        assert end <= clock.now <= end + LOOK
        assert content(bucket)["token"] != "elsewhere"
        assert lease.rests == rests


def test_a_dead_machine_s_clock_that_was_ahead_holds_nobody_up(bucket: str, clock: Clock) -> None:
    started = clock.now
    put(bucket, token="elsewhere", until=clock.now + 3_700)
    with holding(bucket, clock):
        assert SECONDS < clock.now - started <= SECONDS + 2 * LOOK


def test_a_live_machine_whose_clock_is_behind_keeps_what_it_holds(
    bucket: str, clock: Clock
) -> None:
    """By as much as a lease holds."""
    cell = in_bucket(bucket)
    put(bucket, token="elsewhere", until=clock.now)
    mine = content(bucket)

    def meanwhile() -> None:
        current = cell.read()
        assert current is not None
        if clock.waits < 40:  # it renews, by its own clock
            mine.update(until=clock.now, news={"done": clock.waits})
            assert cell.write(json.dumps(mine).encode(), version=current[1])

    clock.meanwhile = meanwhile
    with holding(bucket, clock):
        assert clock.waits > 40


def test_who_did_not_renew_in_time_learns_it_and_takes_nothing_back(
    bucket: str, clock: Clock
) -> None:
    first = lease_at(bucket)
    assert first.take()
    clock.now += SECONDS + SKEW + 1
    with holding(bucket) as second:
        with pytest.raises(LostLeaseError, match=r"did not renew its lease for 120 s"):
            first.renew({}, {})
        second.renew({"asked": 1}, {})
        first.let_go()
        assert content(bucket)["news"] == {"asked": 1}
    with pytest.raises(LostLeaseError):  # nor does it make one that is not there
        first.renew({}, {})
    assert not exists(bucket)


def test_whose_file_is_removed_or_another_s_learns_it_and_takes_nothing_back(disk: str) -> None:
    """As where NFS has lost the lock."""
    first = lease_at(disk)
    assert first.take()
    Path(disk).unlink()
    with pytest.raises(LostLeaseError, match="another worker has taken the partition over"):
        first.renew({}, {})
    assert not exists(disk)
    with holding(disk) as second:
        second.renew({"asked": 1}, {})
        with pytest.raises(LostLeaseError):
            first.renew({}, {})
        first.let_go()
        second.renew({"asked": 2}, {})
        assert content(disk)["news"] == {"asked": 2}


DATA = [b"", b"\0\0\0", b'{"until": 9', b"{}", b"\xff\xfe", b'{"until": 9e9}', b"[1]", b'"x"',
        b'{"rests": {"a": 7}}']  # fmt: skip


@pytest.mark.parametrize("data", DATA)
def test_a_file_that_nobody_has_locked_is_free_whatever_it_says(disk: str, data: bytes) -> None:
    """Also one whose holder was killed while it was made."""
    Path(disk).parent.mkdir()
    Path(disk).write_bytes(data)
    with holding(disk) as lease:
        assert lease.rests == {}
    assert not exists(disk)


def test_the_file_of_an_earlier_version_keeps_its_rests() -> None:
    rests = {"host a.example": [1.0, 2.0]}
    told = {"token": "a", "until": 3.5, "machine": "m", "process": 7, "begun": "1", "rests": rests}
    assert read_lease(json.dumps(told).encode()) == (3.5, None, {"host a.example": (1.0, 2.0)})


def test_a_link_is_not_followed(disk: str, tmp_path: Path) -> None:
    Path(disk).parent.mkdir()
    Path(disk).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=r"00001\.host\.json"):
        lease_at(disk).take()
    assert not (tmp_path / "elsewhere").exists()
