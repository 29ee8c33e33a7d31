"""What signals and deaths do to a stream's worker processes."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.forked import Forked
from tests.training.shards import write_run
from tests.training.stream.endless import endless_stream
from tests.training.stream.feeds import documents, feed

PATIENCE = 60  # seconds; only a failing test waits for so long


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run with its counts, which streams only read."""
    run = tmp_path_factory.mktemp("run")
    write_run(run, documents(16))
    feed(str(run))
    return str(run)


@contextmanager
def endless(folder: str) -> Iterator[tuple[Forked, list[int]]]:
    """A stream in a process group of its own, and its two workers."""
    process = Forked(endless_stream, folder)
    try:
        workers = [int(word) for word in lines(process, 1)[0].split()]
        assert len(workers) == 2
        yield process, workers
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill_group(signal.SIGKILL)
        process.wait(code=None, seconds=PATIENCE)


def becomes_true(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE
    while not (held := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    return held


def lines(process: Forked, count: int) -> list[str]:
    """What the stream has printed, once these are at least so many lines."""
    assert becomes_true(lambda: process.stdout.count("\n") >= count), process.output
    return process.stdout.splitlines()


def steps(process: Forked, count: int) -> None:
    """Wait for so many steps from here on."""
    before = len(lines(process, 1))
    assert {line.split()[0] for line in lines(process, before + count)[1:]} == {"step"}


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def all_end(pids: list[int]) -> bool:
    return becomes_true(lambda: not any(map(alive, pids)))


def test_signals_to_the_whole_group_are_the_main_process_s_to_answer(folder: str) -> None:
    with endless(folder) as (process, workers):
        for worker in workers:
            os.kill(worker, signal.SIGTERM)
        steps(process, 40)  # more than were made ahead
        process.kill_group(signal.SIGINT)
        process.wait(code=0, seconds=PATIENCE)
        assert process.stdout.endswith("interrupted\n")
        assert process.stderr == "", "no worker says a word"
        assert all_end(workers)


def test_no_worker_outlives_a_killed_stream(folder: str) -> None:
    with endless(folder) as (process, workers):
        steps(process, 2)
        os.kill(process.pid, signal.SIGKILL)
        assert all_end(workers)


def test_a_worker_that_dies_ends_the_stream_with_an_error(folder: str) -> None:
    with endless(folder) as (process, workers):
        steps(process, 2)
        os.kill(workers[0], signal.SIGKILL)
        process.wait(code=1, seconds=PATIENCE)
        last = process.stderr.splitlines()[-1]
        assert last.startswith("ChildProcessError: a worker process died")
        assert all_end(workers)
