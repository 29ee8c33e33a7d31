"""Reader: a process that reads the parts of a worker, since a page may end the process it is in.

In:   Parts, one after the other; Beam's worker waits for each.
Out:  the result of extract_part, and the seconds that were spent on what.
Ended: a page that takes more than SECONDS of processor time ends the process, by a timer of the
      kernel that no parser can delay; a fault in a parser ends it, too. The record is noted
      (ended.py), and a new process reads the part again without that record: READER_DIED.
      Limits on bytes, elements and attributes come first (limits.py): this is the last resort.
What ends the process from outside (SIGKILL, so also a machine without memory) ends the stage.

The process imports no Beam, so it is there in half a second.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import RawArray
from multiprocessing.util import Finalize
from typing import Any, Final

from pipeline.extract.ended import add_ended, read_ended
from pipeline.job import Job
from pipeline.media.look import close_pools, end_with_parent
from pipeline.read.parts import Part
from schemas.manifest import PartResult
from schemas.verdict import Reason

SECONDS: Final = 60.0  # of processor time a page; the slowest within the limits takes some 3
FAULTS: Final = frozenset(
    {signal.SIGPROF, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT}
)  # by which a page ends its process: SIGPROF is the timer's
MOMENT: Final = 5.0  # seconds in which an idle process ends by itself
NOTHING: Final = -1  # in place of an offset: no record is being read


class ReaderTracebackError(Exception):
    """Where in the reader's process an error was raised, as text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Read:
    """What came of a part."""

    result: PartResult
    seconds: Mapping[str, float]


class Reader:
    """One process, started at the first part, and again after a page has ended it."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._process: Any = None  # of a context: typeshed has no common type for them

    def read(self, part: Part) -> Read:
        """Read a part to its end.

        Raises:
            RuntimeError: the process was ended by something else than a record.
            Exception: what extract_part raised there.
        """
        while True:
            if self._process is None:
                self._start()
            try:
                self._ours.send(part)
                answer = self._ours.recv()
            except (EOFError, OSError):
                self._note_end(part)
                continue
            if isinstance(answer, Read):
                return answer
            error, text = answer
            raise error from ReaderTracebackError(text)

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
        self._ours, theirs = context.Pipe()
        self._at = RawArray("q", [NOTHING, 0])
        self._process = context.Process(
            target=_serve, args=(theirs, self._job, self._at, os.getpid())
        )
        self._process.start()
        theirs.close()
        # at exit, a reader that was never closed lets its process end before that is waited for
        Finalize(self, self._ours.close, exitpriority=10)

    def _note_end(self, part: Part) -> None:
        """Note the record at which the process died, or raise where no record ended it."""
        code, (offset, place) = self._end(), self._at
        if -code in FAULTS and offset != NOTHING:
            add_ended(self._job, part.name, (offset, place), Reason.READER_DIED)
            return
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with {code}"
        raise RuntimeError(
            f"the process that reads {part.input} was ended {how}: what is whole stays; look at "
            "memory and disk, then run the same command again to go on"
        )

    def _end(self) -> int:
        process, self._process = self._process, None
        process.join()
        return int(process.exitcode)

    def close(self) -> None:
        """End the process, also in the middle of a part."""
        if self._process is not None:
            self._ours.close()
            self._process.join(MOMENT)
            self._process.kill()
            self._end()


@contextmanager
def _watch(at: Any, offset: int, place: int) -> Iterator[None]:  # noqa: ANN401
    """Share with the worker which record is being read, and bound its processor time."""
    at[:] = offset, place
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        at[0] = NOTHING


def _serve(parts: Connection, job: Job, at: Any, parent: int) -> None:  # noqa: ANN401
    """In the new process: read parts until the worker closes its end."""
    from pipeline.extract.document import Tools  # noqa: PLC0415  # with parsers
    from pipeline.extract.part import extract_part  # noqa: PLC0415

    end_with_parent(parent)
    for number in (signal.SIGINT, signal.SIGTERM):  # they go to the group: the run answers
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    tools = Tools(job=job, watch=partial(_watch, at))
    while True:
        try:
            part = parts.recv()
        except EOFError:
            close_pools()
            return
        answer: Read | tuple[Exception, str]
        try:
            result = extract_part(part, tools, ended=read_ended(job, part.name))
            answer = Read(result=result, seconds=dict(tools.seconds))
        except Exception as error:  # noqa: BLE001  # raised again in the worker
            answer = _sendable(error), "".join(traceback.format_exception(error))
        tools.seconds.clear()
        parts.send(answer)


def _sendable(error: Exception) -> Exception:
    """The error itself where another process can have it."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  # our own bytes
    except Exception:  # noqa: BLE001  # whatever a foreign class raises in being made again
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
