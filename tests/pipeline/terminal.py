"""A command at a terminal of its own: what it shows is read, and keys are pressed."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from tests.pipeline.runs import ROOT, environment

HANG: Final = 60  # seconds


class Terminal:
    """`interloom ARGUMENTS` in a session of its own, in the foreground of a terminal."""

    def __init__(self, arguments: list[str]) -> None:
        self.text = ""
        self._screen, keyboard = os.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", *arguments],
            cwd=ROOT, env=environment() | {"TERM": "xterm"},
            stdin=keyboard, stdout=keyboard, stderr=keyboard, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509  # no threads
        )  # fmt: skip
        os.close(keyboard)
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
        self._read()
        os.close(self._screen)

    def press(self, keys: str) -> None:
        os.write(self._screen, keys.encode())

    def read_until(self, reached: Callable[[str], bool]) -> None:
        """Read what comes until something is true of all of it."""
        end = time.monotonic() + HANG * 5
        while not reached(self.text):
            assert self._process.poll() is None, "ended too early: " + self.text[-3000:]
            assert time.monotonic() < end, "never reached: " + self.text[-3000:]
            self._read()

    def wait(self) -> int:
        """The exit code; what is shown meanwhile is read."""
        end = time.monotonic() + HANG
        while (code := self._process.poll()) is None:
            assert time.monotonic() < end, "does not end: " + self.text[-3000:]
            self._read()
        self._read()
        return code

    def _read(self) -> None:
        while select.select([self._screen], [], [], 0.01)[0]:
            try:
                shown = os.read(self._screen, 1 << 16)
            except OSError:  # the last process at it has gone
                return
            self.text += shown.decode(errors="replace")
