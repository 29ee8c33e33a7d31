"""Forked: a command or a function in a process of its own, which may be killed with its workers.

It is forked from a server that has imported what is heavy already, of both halves: an interpreter
that imports Beam and aiohttp anew takes two seconds of a processor, one that imports torch and
transformers five. A process has one such server, whichever tests it runs first.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from multiprocessing import forkserver, get_context
from pathlib import Path
from tempfile import mkdtemp
from types import TracebackType
from typing import Any, Final, Self

ROOT: Final = Path(__file__).resolve().parents[1]
PRELOADED: Final = [
    __name__,
    "apache_beam.runners.portability.fn_api_runner.fn_runner",
    "tests.fetch.stage",
    "training.look.ending",
    "training.look.estimate",
    "training.look.page",
]
SERVER: Final = get_context("forkserver")


class Forked:
    """`function(*arguments)` at work in a process group of its own; what it prints is kept."""

    def __init__(
        self,
        function: Callable[..., object],
        *arguments: Any,  # noqa: ANN401  # the function's
        environment: Mapping[str, str] | None = None,
        stdin: str = os.devnull,
    ) -> None:
        self._folder = Path(mkdtemp(prefix="forked-"))
        variables = {**os.environ, **(environment or {})}
        SERVER.set_forkserver_preload(PRELOADED)
        self._process = SERVER.Process(
            target=_call, args=(function, arguments, self._folder, variables, stdin)
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def stdout(self) -> str:
        return self._read("stdout")

    @property
    def stderr(self) -> str:
        return self._read("stderr")

    @property
    def output(self) -> str:
        """Of both streams, one after the other."""
        return self.stdout + self.stderr

    def _read(self, name: str) -> str:
        path = self._folder / name
        return path.read_text() if path.exists() else ""

    def check_alive(self) -> None:
        assert self._process.is_alive(), f"ended too early: {self.output[-3000:]}"

    def wait(self, *, code: int | None = 0, seconds: float = 400) -> str:
        """Its output, once it has ended with this code; None: with any."""
        self._process.join(seconds)
        assert self._process.exitcode is not None, f"does not end: {self.output[-3000:]}"
        assert code is None or self._process.exitcode == code, self.output
        return self.output

    def kill(self) -> None:
        """The process alone: what it has started must end by itself."""
        self._process.kill()
        self._process.join()

    def kill_group(self, number: signal.Signals) -> None:
        os.killpg(self.pid, number)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()


def trainer(arguments: list[str]) -> None:
    """interloom-train."""
    from training.cli import main  # noqa: PLC0415  # not by whoever only starts it

    sys.argv = ["interloom-train", *arguments]
    main()


def _call(
    function: Callable[..., object],
    arguments: tuple[Any, ...],
    folder: Path,
    variables: Mapping[str, str],
    stdin: str,
) -> None:
    os.setsid()
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(variables)
    for stream, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    descriptor = os.open(stdin, os.O_RDONLY | os.O_NOCTTY)
    os.dup2(descriptor, 0)
    sys.stdin = os.fdopen(0, closefd=False)
    # as an interpreter of its own: signals reach it, and its workers come from its own server
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGINT, signal.default_int_handler)
    forkserver.ForkServer.__init__(forkserver._forkserver)
    function(*arguments)
