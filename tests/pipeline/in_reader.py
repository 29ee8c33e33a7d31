"""What tests change inside the process that reads parts: disks that are full, pages that kill it.

A test puts one of these in the place of `reader._serve`; the new process imports it from here, and
what it changes of the modules there, it changes in that process alone.
"""

from __future__ import annotations

import errno
import io
import os
import signal
from collections.abc import Callable, Collection
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any, Final

from pipeline.extract import outcome, page, reader
from pipeline.job import Job
from pipeline.problem import Problem
from pipeline.read import payload
from pipeline.read.payload import Headers
from schemas.verdict import Reason

_serve: Final = reader._serve
_parse_headers: Final = payload.parse_headers
_read_page: Final = page.read_page
LIMIT: Final = 1.0  # seconds of processor time a page


class Disk:
    """A disk on which, from some file of a name on, no file has room for more than 100 bytes."""

    def __init__(self) -> None:
        self._name, self._left = "", 0

    def fill(self, name: str, *, after: int) -> None:
        self._name, self._left = name, after

    def empty(self) -> None:
        self._name = ""

    def is_full_for(self, path: Path) -> bool:
        if not self._name or self._name not in str(path):
            return False
        self._left -= 1
        return self._left < 0

    def opener(self) -> Callable[..., IO[Any]]:
        """In the place of Path.open."""
        real = Path.open

        def opened(path: Path, mode: str = "r", **named: Any) -> IO[Any]:  # noqa: ANN401
            if mode == "xb" and self.is_full_for(path):
                return io.BufferedWriter(FullFile(path, mode))
            return real(path, mode, **named)

        return opened


class FullFile(io.FileIO):
    """A file on a full disk."""

    def write(self, data: Any) -> int:  # noqa: ANN401  # any buffer
        if self.tell() + len(data) > 100:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


def on_disk(disk: Disk, *asked: Any) -> None:  # noqa: ANN401
    Path.open = disk.opener()  # type: ignore[method-assign,assignment]
    _serve(*asked)


def with_deadly_pages(log: str, asked: Connection, job: Job, *others: Any) -> None:  # noqa: ANN401
    """A page whose text holds DEADLY-WORD does what the word says; the log has a line a process."""
    with Path(log).open("a") as handle:
        handle.write(f"{os.getpid()}\n")
    reader.SECONDS = LIMIT  # type: ignore[misc]
    vars(outcome)["read_page"] = _read_deadly
    _serve(asked, job, *others)


def _read_deadly(html: bytes, **named: Any) -> Any:  # noqa: ANN401
    for word, act in DEADLY.items():
        if f"DEADLY-{word}".encode() in html:
            act()
    return _read_page(html, **named)


def failing_at(urls: Collection[str], *asked: Any) -> None:  # noqa: ANN401
    """The extractor raises at the pages with these URLs."""

    def read(html: bytes, *, url: str, **named: Any) -> Any:  # noqa: ANN401
        if url in urls:
            raise ZeroDivisionError(html)
        return _read_page(html, url=url, **named)

    vars(outcome)["read_page"] = read
    _serve(*asked)


def with_poisoned_headers(*asked: Any) -> None:  # noqa: ANN401
    vars(payload)["parse_headers"] = parse_poisoned
    _serve(*asked)


def parse_poisoned(block: bytes, *, too_long: Reason) -> Headers | Problem:
    if b"X-Poison" in block:
        raise ZeroDivisionError
    return _parse_headers(block, too_long=too_long)


def _burn() -> None:
    while True:
        pass


def _raise() -> None:
    raise OSError(errno.EIO, "Input/output error")


DEADLY: Final[dict[str, Callable[[], None]]] = {
    "BURN": _burn,
    "FAULT": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "KILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "RAISE": _raise,
}
