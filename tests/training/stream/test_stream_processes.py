"""What signals and deaths do to a stream's worker processes."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.training.shards import write_run
from tests.training.stream.feeds import documents, feed

ROOT = Path(__file__).parents[3]
PATIENCE = 60  # seconds; only a failing test waits for so long


@contextmanager
def endless(folder: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A stream in a process group of its own, and its two workers."""
    write_run(folder, documents(16))
    (folder / "feed").write_bytes(pickle.dumps(feed(str(folder))))
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.training.stream.endless", str(folder / "feed")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        workers = [int(word) for word in process.stdout.readline().split()]
        assert len(workers) == 2
        yield process, workers
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def all_end(pids: list[int]) -> bool:
    end = time.monotonic() + PATIENCE
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.05)
    return not any(map(alive, pids))


def steps(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline().split()[0] for _ in range(count)]


def test_signals_to_the_whole_group_are_the_main_process_s_to_answer(tmp_path: Path) -> None:
    with endless(tmp_path) as (process, workers):
        for worker in workers:
            os.kill(worker, signal.SIGTERM)
        assert steps(process, 40) == ["step"] * 40  # more than were made ahead
        os.killpg(process.pid, signal.SIGINT)
        told, errors = process.communicate(timeout=PATIENCE)
        assert told.endswith("interrupted\n")
        assert errors == "", "no worker says a word"
        assert process.returncode == 0
        assert all_end(workers)


def test_no_worker_outlives_a_killed_stream(tmp_path: Path) -> None:
    with endless(tmp_path) as (process, workers):
        steps(process, 2)
        process.kill()
        assert all_end(workers)


def test_a_worker_that_dies_ends_the_stream_with_an_error(tmp_path: Path) -> None:
    with endless(tmp_path) as (process, workers):
        steps(process, 2)
        os.kill(workers[0], signal.SIGKILL)
        _, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 1
        last = errors.splitlines()[-1]
        assert last.startswith("ChildProcessError: a worker process died")
        assert all_end(workers)
