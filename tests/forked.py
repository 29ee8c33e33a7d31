"""Forked: a function in a process of its own, which may be killed.

It is forked from a server that has imported what is heavy already: an interpreter that imports Beam
and aiohttp anew takes two seconds of a processor.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.context import ForkServerContext
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

PRELOADED: Final = ["apache_beam.runners.portability.fn_api_runner.fn_runner", "tests.fetch.stage"]
_server: Final[ForkServerContext] = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(PRELOADED)


class Forked:
    """`function(*arguments)` at work; what it prints, and an error that ends it, go to a file."""

    def __init__(
        self,
        function: Callable[..., None],
        *arguments: Any,  # noqa: ANN401  # the function's
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._log = log
        variables = {**os.environ, **(environment or {})}
        self._process = _server.Process(target=_call, args=(function, arguments, log, variables))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def output(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def check_alive(self) -> None:
        assert self._process.is_alive(), f"ended too early: {self.output[-3000:]}"

    def check_ended(self, *, seconds: float = 300) -> None:
        """Wait for an end without an error."""
        self._process.join(seconds)
        assert self._process.exitcode == 0, self.output[-4000:]

    def kill(self) -> None:
        self._process.kill()
        self._process.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()


def _call(
    function: Callable[..., None],
    arguments: tuple[Any, ...],
    log: Path,
    variables: Mapping[str, str],
) -> None:
    os.environ.clear()
    os.environ.update(variables)
    with log.open("ab", buffering=0) as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    try:
        function(*arguments)
    except BaseException:  # noqa: BLE001  # for the log; multiprocessing would flush nothing
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
