"""Ctrl-C and SIGTERM, in every phase: one line, 130 or 143, no process left; a rerun goes on.

The signals are real, to processes of their own, at moments that are seeded by the name of the case.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from pipeline.local.workers import STOPPED
from pipeline.stages import NAMES
from tests.pipeline.processes import Running, start
from tests.pipeline.runs import SMALL, interloom, members, parts, tree
from tests.pipeline.terminal import Terminal

HANG: Final = 60  # seconds: a run that is stopped ends at once; without end is what this is about

Send = Callable[[int], None]  # to a process that leads its group


def interrupt_group(pid: int) -> None:
    os.killpg(pid, signal.SIGINT)


def interrupt(pid: int) -> None:
    os.kill(pid, signal.SIGINT)


def terminate(pid: int) -> None:
    os.kill(pid, signal.SIGTERM)


def terminate_group(pid: int) -> None:
    os.killpg(pid, signal.SIGTERM)


WAYS: Final[dict[Send, int]] = {
    interrupt_group: 130,
    terminate: 143,
    interrupt: 130,
    terminate_group: 143,
}


def all_gone(session: int) -> bool:
    """Whether every process of a session ends."""
    end = time.monotonic() + HANG
    while members(session):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def stop(running: Running, way: Send) -> None:
    """Send, and see the command end as it must."""
    way(running.process.pid)
    code = running.process.wait(HANG)
    assert (code, running.err.read_text()) == (WAYS[way], f"{STOPPED}\n")
    assert all_gone(running.process.pid)


def answers_signals(pid: int) -> bool:
    """Whether a process has a handler for SIGTERM: Python itself has none."""
    caught = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())
    assert caught is not None
    return bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.parametrize("way", WAYS)
def test_stopped_while_importing(way: Send, crawl: list[Path], tmp_path: Path) -> None:
    running = start(["run", *map(str, crawl), "-o", str(tmp_path / "run"), "--no-fetch"], tmp_path)
    running.wait_until(lambda: answers_signals(running.process.pid))
    time.sleep(random.Random(f"importing/{way.__name__}").uniform(0, 1))
    stop(running, way)


@pytest.fixture
def choosing(crawl: list[Path], tmp_path: Path) -> Iterator[Running]:
    """A run that waits for ever, while choosing, in a call that does not return."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(0)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/crawl.warc.gz"
        arguments = ["run", *map(str, crawl), url, "-o", str(tmp_path / "run"), "--no-fetch"]
        running = start(arguments, tmp_path)
        asked: list[socket.socket] = []  # held, so that no answer and no end comes

        def asks() -> bool:
            with contextlib.suppress(BlockingIOError):
                asked.append(silent.accept()[0])
            return bool(asked)

        running.wait_until(asks)
        yield running
        running.process.kill()
        running.process.wait()
        for one in asked:
            one.close()


@pytest.mark.parametrize("way", [interrupt_group, terminate])
def test_stopped_while_choosing(way: Send, choosing: Running) -> None:
    stop(choosing, way)


def test_a_run_that_is_told_to_ignore_interrupts_goes_on(crawl: list[Path], tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as nohup does; what is started keeps it
    try:
        running = start(["run", *map(str, crawl), "-o", str(tmp_path / "run"), *SMALL], tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    running.wait_until(lambda: answers_signals(running.process.pid))
    interrupt_group(running.process.pid)
    running.wait_until(lambda: bool(parts(tmp_path / "run", "extract")))
    interrupt(running.process.pid)
    running.wait_until((tmp_path / "run" / "extract.manifest.json").exists)
    stop(running, terminate)


@pytest.mark.parametrize("way", WAYS)
def test_stopped_while_workers_start(way: Send, crawl: list[Path], tmp_path: Path) -> None:
    arguments = ["run", *map(str, crawl), "-o", str(tmp_path / "run"), *SMALL, "--workers=2"]
    running = start(arguments, tmp_path)
    running.wait_until(lambda: len(members(running.process.pid)) > 1)
    time.sleep(random.Random(f"starting/{way.__name__}").choice([0, 0.01, 0.1, 1]))
    stop(running, way)


@pytest.mark.parametrize(("workers", "stages"), [(1, NAMES), (2, ("filter_images",))])
def test_stopped_in_a_stage_and_gone_on_with_a_run_gives_the_same_bytes(
    workers: int, stages: tuple[str, ...], crawl: list[Path], reference: Path, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    arguments = ["run", *map(str, crawl), "-o", str(output), *SMALL, f"--workers={workers}"]
    dice = random.Random(f"stages/{workers}")
    ways = list(WAYS)
    dice.shuffle(ways)
    for stage in stages:
        number, nth = NAMES.index(stage), dice.randint(0, 2)
        begun = f"{NAMES[number - 1]}.manifest.json" if number else "run.json"
        running = start(arguments, tmp_path)
        running.wait_until((output / begun).exists)
        running.wait_until(lambda: len(parts(output, stage)) >= nth)  # noqa: B023
        stop(running, ways[number % len(ways)])
        assert not (output / "shard.manifest.json").exists()
    assert interloom(*arguments[:-1], "--workers=1").stderr == ""
    assert tree(output) == tree(reference)


@pytest.mark.parametrize(("workers", "presses"), [(1, 1), (2, 2)])
def test_ctrl_c_at_a_terminal_with_a_progress_bar_leaves_the_terminal_as_it_was(
    workers: int, presses: int, crawl: list[Path], tmp_path: Path
) -> None:
    output = tmp_path / "run"
    arguments = ["run", *map(str, crawl), "-o", str(output), *SMALL, f"--workers={workers}"]
    with Terminal(arguments) as terminal:
        terminal.read_until(lambda text: "parts" in text and bool(parts(output, "extract")))
        terminal.press("\x03" * presses)
        assert terminal.wait() == 130
        assert all_gone(terminal.pid)
    assert terminal.text.replace("\r", "").endswith(f"\n{STOPPED}\n")
    assert "Traceback" not in terminal.text
    hidden, shown = terminal.text.rfind("\x1b[?25l"), terminal.text.rfind("\x1b[?25h")
    assert 0 <= hidden < shown  # the cursor


def test_a_run_ends_where_nobody_takes_its_last_line(crawl: list[Path], tmp_path: Path) -> None:
    arguments = ["run", *map(str, crawl), "-o", str(tmp_path / "run"), "--no-fetch"]
    with Terminal(arguments) as terminal:
        deadline = time.monotonic() + HANG
        while not answers_signals(terminal.pid):
            assert time.monotonic() < deadline
        terminal.press("\x13")  # Ctrl-S: the terminal takes nothing any more
        terminate(terminal.pid)
        assert terminal.wait() == 143
        assert all_gone(terminal.pid)
