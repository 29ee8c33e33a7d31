"""A local worker process: Beam's own, which prints no traceback that the run tells once anyway.

In:   the environment by which Beam's runner tells a worker where its services listen.
Out:  whatever a worker prints, but for the traceback of an error that it hands to the runner, and
      its last words when the run that it works for is gone: that one has said why.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import signal
import sys
import threading
from typing import Final, TextIO, cast

import grpc  # type: ignore[import-untyped]  # comes with Beam, without types
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.runners.worker import sdk_worker_main
from apache_beam.transforms.environments import SubprocessSDKEnvironment

from pipeline.failure import is_news

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
_RUN: Final = "INTERLOOM_RUN"  # the process of the run that a worker works for


class _Told:
    """Standard error without what the runner is told as well."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._ends = ""  # what would only end a line that was left out

    def write(self, text: str) -> int:
        if is_news(text) and text != self._ends:
            self._ends = ""
            return self._stream.write(text)
        self._ends = "" if text == self._ends else "\n"
        return len(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def local_runner(workers: int) -> FnApiRunner:
    """Beam's local runner with so many processes; one worker runs in this process."""
    if workers == 1:
        return FnApiRunner()
    python = shlex.quote(sys.executable)
    command = f"{_RUN}={os.getpid()} exec {python} -m pipeline.worker"
    environment = SubprocessSDKEnvironment.from_command_string(command)
    return FnApiRunner(default_environment=environment)


def _end_with_the_run() -> None:
    """Die when the run does, also while still starting, when Beam would wait two minutes."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(os.environ[_RUN]):
        sys.exit(1)  # it has ended before we asked


def _in_thread(args: threading.ExceptHookArgs) -> None:
    if not isinstance(args.exc_value, grpc.RpcError):
        threading.__excepthook__(args)


if __name__ == "__main__":
    _end_with_the_run()
    sys.stderr = cast("TextIO", _Told(sys.stderr))
    threading.excepthook = _in_thread
    try:
        sdk_worker_main.main(sys.argv)
    except grpc.RpcError:  # the run is gone
        sys.exit(1)
