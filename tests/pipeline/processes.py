"""Runs in processes of their own, to be disturbed from outside: start, find workers, wait."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.pipeline.runs import ROOT, environment


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """A command at work, in a process group of its own; what it prints goes to files."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    def wait_until(self, reached: Callable[[], bool], *, seconds: float = 300) -> None:
        """Wait for something that must come while the command is at work."""
        end = time.monotonic() + seconds
        while not reached():
            assert self.process.poll() is None, "ended too early: " + self.err.read_text()[-3000:]
            assert time.monotonic() < end, "never reached: " + self.err.read_text()[-3000:]
            time.sleep(0.002)

    def workers(self) -> list[int]:
        """Process ids of its workers."""
        return [
            child
            for child in children(self.process.pid)
            if "pipeline.local.workers" in command_line(child)
        ]


def start(arguments: list[str], folder: Path) -> Running:
    """`interloom ARGUMENTS`, not waited for."""
    out, err = folder / "out", folder / "err"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", *arguments],
            cwd=ROOT, env=environment(), stdout=stdout, stderr=stderr, start_new_session=True,
        )  # fmt: skip
    return Running(process=process, out=out, err=err)


def children(pid: int) -> list[int]:
    """Ids of the processes that a process has started, on a system that has /proc."""
    every = [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]
    return [one for one in every if parent(one) == pid]


def parent(pid: int) -> int | None:
    """None for a process that is gone; /proc/PID/stat: pid (name) state parent ..."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""
