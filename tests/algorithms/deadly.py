"""Decoders that are worse than any real one, for a process that is started anew: see test_look.py.

The parent puts `look_at_all` in the place of the module's own, and the new process imports it from
here; what it changes of the modules there, it changes in that process alone.
"""

from __future__ import annotations

import io
import os
import signal
import time
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path

from PIL import Image

from pipeline.media import decode, look
from pipeline.media.look import Looked
from pipeline.media.pixels import Encoding
from pipeline.problem import Problem
from schemas.verdict import Reason

_honest_look_at_all = look._look_at_all
LIMIT = 1.0  # seconds of CPU a file


@cache
def _warm() -> None:
    """The first picture costs a process what is loaded for it, a third of the limit."""
    out = io.BytesIO()
    Image.new("RGB", (9, 9)).save(out, "PNG")
    decode.look_at(out.getvalue())


def look_at_all(
    files: Sequence[bytes], encoding: Encoding | None = None, *, log: str = os.devnull
) -> list[Looked]:
    """What the first bytes say is done; the log gets a line for each process and its batch."""
    with Path(log).open("a") as handle:
        handle.write(f"{os.getpid()} {len(files)} {sum(map(len, files))}\n")
    _warm()
    for name, ours in (("SECONDS", LIMIT), ("look_at", _look_at)):
        setattr(look, name, ours)
    return _honest_look_at_all(files, encoding)


def not_bound(_parent: int) -> None:
    """In the place of `_bound`: no process comes to work."""
    os._exit(1)


def logged(log: Path) -> partial[list[Looked]]:
    return partial(look_at_all, log=str(log))


def _look_at(data: bytes) -> Looked:
    if data.startswith(b"DIE"):
        os.kill(os.getpid(), signal.SIGKILL)
    if data.startswith(b"BURN"):
        while True:
            pass
    if data.startswith(b"WAIT"):
        time.sleep(1.5 * LIMIT)  # takes no CPU
    if data.startswith(b"HALF"):
        end = time.process_time() + 0.6 * LIMIT
        while time.process_time() < end:
            pass
    if data.startswith(b"EAT"):
        try:
            bytearray(look.MEMORY)  # none of it is touched
        except MemoryError:
            return Problem(reason=Reason.UNDECODABLE)
    if data.startswith(b"RAISE"):
        raise RecursionError("nobody foresaw this")
    return decode.look_at(data)
