"""Runs that fail on their way: a full disk, a dead worker, a signal; a rerun gives the same bytes.

A failing run ends, with 1 and one line that says why and what to do; what it did stays.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from pipeline.extract import reader
from pipeline.run.execute import cause_of
from pipeline.store.store import ASIDE, FullDiskError, write_bytes
from tests.pipeline.bad_crawls import command
from tests.pipeline.in_reader import Disk, on_disk
from tests.pipeline.processes import Running, command_line, start
from tests.pipeline.runs import SMALL, interloom, tree

HANG: Final = 60  # seconds: a failing run ends in a few; without end is what this is about


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """Of this process, and of those that read parts for it."""
    made = Disk()
    monkeypatch.setattr(Path, "open", made.opener())
    monkeypatch.setattr(reader, "_serve", partial(on_disk, made))
    return made


# (what the disk is full for, how many such files it still holds, the stage that fails at the step)
FULL: Final = [
    ("documents/", 2, "extract failed at 'Extract/Read parts'"),
    ("wanted/", 1, "filter_text failed at 'Find wanted/"),
    ("kept/", 1, "filter_images failed at 'Write kept'"),
    ("filter_images.manifest.json", 0, "filter_images failed at 'Account/Write manifest'"),
    ("shards/", 1, "shard failed at 'Write shards'"),
    ("report.html", 0, "shard failed at 'Account/Write manifest'"),
]


def one_line(code: int, err: str) -> str:
    """The line with which a run fails, and nothing else."""
    assert code == 1, err
    assert err.startswith("interloom: ")
    assert err.count("\n") == 1, err
    return err


def test_a_full_disk_is_told_with_path_and_remedy_and_each_rerun_goes_on(
    crawl: list[Path], reference: Path, tmp_path: Path, disk: Disk
) -> None:
    output = tmp_path / "run"
    arguments = ["run", *map(str, crawl), "-o", str(output), *SMALL, "--workers=1"]
    disk.fill("run.json", after=0)
    ended = command(*arguments)
    assert f"no space left to write {output}/run.json: free some" in one_line(ended.code, ended.err)
    for name, after, failed in FULL:
        disk.fill(name, after=after)
        ended = command(*arguments)
        line = one_line(ended.code, ended.err)
        assert failed in line
        assert f"no space left to write {output}/{name}" in line
        assert "free some, then run the same command again; what is whole stays" in line
        kept = json.loads((output / f"{failed.split()[0]}.failure.host.json").read_text())
        assert any("No space left on device" in text for text in kept["traceback"])
        assert not [path for path in output.rglob("*") if ASIDE in path.name]
        disk.empty()
    assert command(*arguments).code == 0
    assert tree(output) == tree(reference)
    assert not list(output.glob("*.failure.host.json"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own with room for half of what the run writes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=900k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a disk of its own can only be mounted by root; the disk above is simulated")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_really_full_fails_two_workers_without_a_hang(
    crawl: list[Path], reference: Path, small_disk: Path, tmp_path: Path
) -> None:
    output = small_disk / "run"
    arguments = ["run", *map(str, crawl), "-o", str(output), *SMALL]
    running = start([*arguments, "--workers=2"], tmp_path)
    code = running.process.wait(HANG * 5)  # it has work to do before
    line = one_line(code, running.err.read_text())
    assert f"no space left to write {output}/" in line
    more = ["mount", "-o", "remount,size=64m", str(small_disk)]
    subprocess.run(more, check=True)
    interloom(*arguments, "--workers=1")
    assert tree(output) == tree(reference)


def started(crawl: list[Path], tmp_path: Path) -> tuple[Running, list[str]]:
    """A run with two workers at work in extract, and its arguments."""
    output = tmp_path / "run"
    arguments = ["run", *map(str, crawl), "-o", str(output), *SMALL]
    running = start([*arguments, "--workers=2"], tmp_path)
    running.wait_until(lambda: any((output / "documents").glob("*.parquet")))
    assert len(running.workers()) == 2
    assert not (output / "extract.manifest.json").exists()
    return running, arguments


def test_a_worker_that_is_killed_ends_the_run_and_a_rerun_gives_the_same_bytes(
    crawl: list[Path], reference: Path, tmp_path: Path
) -> None:
    running, arguments = started(crawl, tmp_path)
    workers = running.workers()
    os.kill(workers[0], signal.SIGKILL)
    code = running.process.wait(HANG)
    line = one_line(code, running.err.read_text())
    assert "a worker of the run died" in line
    assert "run the same command again to go on" in line
    assert gone(workers)
    assert interloom(*arguments, "--workers=1").stderr == ""
    assert tree(tmp_path / "run") == tree(reference)


def gone(processes: list[int]) -> bool:
    """Whether processes end within the time that their main has left them."""
    end = time.monotonic() + HANG
    while any(command_line(process) for process in processes):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


STOPPED: Final = "interloom: stopped; what is whole stays, the same command goes on\n"


def test_sigterm_ends_the_run_and_its_workers_and_a_rerun_gives_the_same_bytes(
    crawl: list[Path], reference: Path, tmp_path: Path
) -> None:
    running, arguments = started(crawl, tmp_path)
    workers = running.workers()
    running.process.terminate()
    assert running.process.wait(HANG) == 128 + signal.SIGTERM
    assert gone(workers)
    assert running.err.read_text() == STOPPED
    interloom(*arguments, "--workers=1")
    assert tree(tmp_path / "run") == tree(reference)


def test_another_run_in_the_same_folder_is_refused_until_an_interrupt_ends_the_first(
    crawl: list[Path], tmp_path: Path
) -> None:
    running, arguments = started(crawl, tmp_path)
    ended = command(*arguments, "--workers=1")
    running.process.send_signal(signal.SIGINT)
    assert ended.code == 2
    assert f"another run is at work in {tmp_path / 'run'}: wait for its end" in ended.err
    assert running.process.wait(HANG) == 128 + signal.SIGINT
    assert running.err.read_text() == STOPPED


def remote(last: str) -> str:
    """An error as it comes from another process."""
    return f"""RuntimeError: Traceback (most recent call last):
  File "apache_beam/runners/common.py", line 1512, in process
KeyError: 'first'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/x/pipeline/shard.py", line 49, in write_shard
    with (
{last}

"""


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (remote("ValueError: too long [while running 'Cut/Walk']"), ("too long", "Cut/Walk")),
        (
            remote("RuntimeError: OSError: [Errno 28] no space [while running 'Write shards']"),
            ("no space", "Write shards"),
        ),
        (remote("KeyError: 'rows' [while running 'A']"), ("KeyError: 'rows'", "A")),
        ("RuntimeError: shard does not balance: 1 seen", ("shard does not balance: 1 seen", "")),
        (
            remote("pyarrow.lib.ArrowInvalid: not Parquet\nand more of it [while running 'B']"),
            ("pyarrow.lib.ArrowInvalid: not Parquet and more of it", "B"),
        ),
        ("ValueError", ("ValueError", "")),
    ],
)
def test_of_a_hundred_lines_of_traceback_the_last_cause_is_told(
    text: str, cause: tuple[str, str]
) -> None:
    assert cause_of(text) == cause


def test_a_file_that_may_not_grow_so_large_is_told_with_what_to_do(tmp_path: Path) -> None:
    """As under `ulimit -f`, or on a file system of 4 GB files."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    target = tmp_path / "part.parquet"
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(FullDiskError, match=rf"write {target}: raise the limit \(ulimit -f\)"):
            write_bytes(str(target), bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())
