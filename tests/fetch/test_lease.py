"""Lease: one holder at a time, on a disk and in a bucket; what a dead one held is free again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from pipeline.fetch import lease as lease_module
from pipeline.fetch.lease import SECONDS, SKEW, Lease, LostLeaseError, S3Cell, cell_of
from pipeline.store import store

HOLD = """
import sys, time
from pipeline.fetch.lease import Lease
with Lease.take(sys.argv[1]):
    print("held", flush=True)
    time.sleep(600)
"""
ROOT = Path(__file__).resolve().parents[2]
LOOK = 10.0  # seconds of the test's clock between two looks


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
    monkeypatch.setattr(lease_module, "LOOK", LOOK)
    return clock


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture(params=["disk", "bucket"])
def path(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where a lease may lie; nothing is there yet, the folder neither."""
    if request.param == "disk":
        return str(tmp_path / "leases" / "00001.host.json")
    monkeypatch.setenv("AWS_ENDPOINT_URL", request.getfixturevalue("server"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "of-the-test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    bucket = f"run-{tmp_path.name.replace('_', '-').lower()[-40:]}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    path = f"s3://{bucket}/leases/00001.host.json"
    assert isinstance(cell_of(path), S3Cell)
    return path


def told(path: str) -> dict[str, Any]:
    found = cell_of(path).read()
    assert found is not None
    read: dict[str, Any] = json.loads(found[0])
    return read


def put(path: str, **changes: object) -> None:
    """A lease as another holder would have written it."""
    with Lease.take(path):
        mine = told(path)
    assert cell_of(path).write(json.dumps(mine | changes).encode(), version=None)


def test_a_cell_is_changed_only_by_who_knows_what_is_there(path: str) -> None:
    cell = cell_of(path)
    assert cell.read() is None
    first = cell.write(b"one", version=None)
    assert first is not None
    assert cell_of(path).write(b"two", version=None) is None
    second = cell_of(path).write(b"two", version=first)
    assert second is not None
    assert cell.write(b"three", version=first) is None
    cell.remove(version=first)
    assert cell.read() == (b"two", second)
    cell.remove(version=second)
    assert cell.read() is None
    cell.remove(version=second)
    assert cell.write(b"four", version=second) is None
    assert cell.read() is None


def test_a_lease_tells_who_holds_it_and_is_gone_when_let_go(path: str, clock: Clock) -> None:
    with Lease.take(path) as lease:
        first = told(path)
        assert (first["process"], first["until"]) == (os.getpid(), clock.now + SECONDS)
        clock.now += 2 * SECONDS  # late, but nobody else has come
        lease.renew({"asked": 7}, {})
        renewed = told(path)
        assert (renewed["until"], renewed["news"]) == (clock.now + SECONDS, {"asked": 7})
        assert lease.until == clock.now + SECONDS
        assert renewed["token"] == first["token"]
    assert cell_of(path).read() is None
    assert clock.waits == 0


def test_a_second_taker_waits_until_the_first_lets_go(path: str, clock: Clock) -> None:
    with ExitStack() as first:
        held = first.enter_context(Lease.take(path))

        def meanwhile() -> None:
            if clock.waits == 20:
                first.close()
            elif clock.waits < 20:
                held.renew({}, {})

        clock.meanwhile = meanwhile
        with Lease.take(path) as second:
            assert clock.waits == 20  # longer than a lease that nobody renews
            assert told(path)["token"] == second.token != held.token


def test_of_many_at_once_one_holds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = store.write_bytes

    def slow(path: str, data: bytes) -> None:
        time.sleep(0.02)
        write(path, data)

    monkeypatch.setattr(store, "write_bytes", slow)
    monkeypatch.setattr(lease_module, "LOOK", 0.001)
    path, inside, most, taken = str(tmp_path / "leases" / "1"), 0, 0, 0
    put(path, until=0)  # all see that it is free, and replace it
    count = threading.Lock()

    def work() -> None:
        nonlocal inside, most, taken
        for _ in range(3):
            with Lease.take(path) as lease:
                with count:
                    inside, most, taken = inside + 1, max(most, inside + 1), taken + 1
                time.sleep(0.001)
                lease.renew({}, {})
                with count:
                    inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (taken, most, inside) == (12, 1, 0)


def test_what_hosts_have_told_a_holder_the_next_one_finds(path: str, clock: Clock) -> None:
    with Lease.take(path) as first:
        assert first.rests == {}
        first.rests = {"host a.example": (clock.now + 600, clock.now + 600)}
    with Lease.take(path) as second:
        assert clock.waits == 0
        assert second.rests == first.rests
        second.renew({}, second.rests)
        put_back = told(path)
        second.rests = {}
    assert cell_of(path).read() is None
    dead = json.dumps(put_back | {"process": 2**22 + 1}).encode()  # killed: no more than renewed
    assert cell_of(path).write(dead, version=None)
    with Lease.take(path) as third:
        assert third.rests == first.rests


def test_what_a_killed_process_held_is_taken_over_at_once(path: str, clock: Clock) -> None:
    command = [sys.executable, "-c", HOLD, path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        held = told(path)
        assert held["process"] == holder.pid
        clock.now = held["until"] - SECONDS

        def meanwhile() -> None:
            if clock.waits == 2:
                holder.send_signal(signal.SIGKILL)
                os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)  # its parent knows not

        clock.meanwhile = meanwhile
        with Lease.take(path):
            assert clock.waits == 2  # for one that lives
            assert told(path)["process"] == os.getpid()
            assert int(told(path)["begun"]) < int(held["begun"])


@pytest.mark.parametrize("number", ["nobody's", "somebody else's"])
def test_what_a_process_held_that_is_gone_without_a_trace_is_free(
    path: str, clock: Clock, number: str
) -> None:
    gone = subprocess.Popen(["true"])
    assert gone.wait() == 0
    process = gone.pid if number == "nobody's" else os.getpid()
    put(path, process=process, begun="1", until=clock.now + SECONDS)
    with Lease.take(path):
        assert clock.waits == 0


@pytest.mark.parametrize("process", ["of this number", "of another"])
def test_a_lease_of_another_machine_is_taken_over_when_it_has_run_out_and_not_before(
    path: str, clock: Clock, process: str
) -> None:
    end = clock.now + 30.5 + SKEW
    number = os.getpid() if process == "of this number" else 2**22 + 1  # more than there can be
    put(path, machine="elsewhere", process=number, begun="1", until=end - SKEW)
    with Lease.take(path):
        assert end <= clock.now <= end + LOOK
        assert told(path)["process"] == os.getpid()
        assert told(path)["machine"] != "elsewhere"


def test_a_dead_machine_s_clock_that_was_ahead_holds_nobody_up(path: str, clock: Clock) -> None:
    started = clock.now
    put(path, machine="elsewhere", until=clock.now + 3_700)
    with Lease.take(path):
        assert SECONDS < clock.now - started <= SECONDS + 2 * LOOK


def test_a_live_machine_whose_clock_is_behind_keeps_what_it_holds(path: str, clock: Clock) -> None:
    """By as much as a lease holds."""
    cell = cell_of(path)
    put(path, machine="elsewhere", until=clock.now)
    mine = told(path)

    def meanwhile() -> None:
        found = cell.read()
        assert found is not None
        if clock.waits < 40:  # it renews, by its own clock
            mine.update(until=clock.now, news={"done": clock.waits})
            assert cell.write(json.dumps(mine).encode(), version=found[1])

    clock.meanwhile = meanwhile
    with Lease.take(path):
        assert clock.waits > 40


def test_a_container_of_this_machine_is_another_machine(path: str, clock: Clock) -> None:
    """The same number is somebody else there."""
    with Lease.take(path):
        machine = told(path)["machine"]
    host, boot, space = machine.split(" ")
    assert space == str(Path("/proc/self/ns/pid").readlink())
    put(path, machine=f"{host} {boot} pid:[1]", process=2**22 + 1, until=clock.now + 50.5)
    with Lease.take(path):
        assert clock.waits > 1


def test_who_did_not_renew_in_time_learns_it_and_takes_nothing_back(
    path: str, clock: Clock
) -> None:
    with Lease.take(path) as first:
        clock.now += SECONDS + SKEW + 1
        with Lease.take(path) as second:
            with pytest.raises(LostLeaseError, match=r"did not renew its lease for 120 s"):
                first.renew({}, {})
            second.renew({"asked": 1}, {})
            first.cell.remove(version=first.version)  # as the end of its block does
            assert told(path)["token"] == second.token
        with pytest.raises(LostLeaseError):  # nor does it make one that is not there
            first.renew({}, {})
        assert cell_of(path).read() is None


@pytest.mark.parametrize(
    "data", [b"\0\0\0", b'{"until": 9', b"{}", b"\xff\xfe", b'{"until": 0}', b"[1]", b'"x"']
)
def test_a_lease_that_cannot_be_read_holds_nothing(
    tmp_path: Path, clock: Clock, data: bytes
) -> None:
    path = tmp_path / "00001.host.json"
    path.write_bytes(data)
    with Lease.take(str(path)) as lease:
        assert clock.waits == 0
        assert told(str(path))["token"] == lease.token
    assert not path.exists()


def test_a_file_that_was_killed_while_it_was_made_is_free(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "00001.host.json"
    path.touch()
    with Lease.take(str(path)) as lease:
        assert clock.waits == 0
        assert told(str(path))["token"] == lease.token
    assert not path.exists()
