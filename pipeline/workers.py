"""A worker that dies ends the run in seconds, and so does a signal.

Beam's local runner learns of a dead worker process in a thread of its own, whose error nobody
reads, and the main thread waits for ever. Here such an error interrupts the main thread and
becomes the run's own. Where the runner swallows even the interrupt (it may be leaving a pool
whose threads wait for the dead), the process ends itself: its other workers stop within a second
of it, and what is whole stays.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

SMALL_INPUT: Final = 128_000_000  # bytes
GRACE: Final = 5.0  # seconds for the main thread to leave the runner


class WorkerDiedError(RuntimeError):
    """A worker process ended by itself: killed, out of memory, or crashed in native code.

    The runner's threads may never end after it: leave the process by os._exit.
    """


@contextmanager
def end_when_a_worker_dies() -> Iterator[None]:
    """Raise WorkerDiedError in the block when a thread of the runner ends with an error."""
    died: list[str] = []
    left = threading.Event()
    hook = threading.excepthook

    def note(args: threading.ExceptHookArgs) -> None:
        if died or left.is_set():
            return
        why = str(args.exc_value) or "its connection broke"  # a remote call's error has no text
        died.append(
            f"a worker of the run died ({why}): what is whole stays; look at memory and disk, "
            "then run the same command again to go on"
        )
        _thread.interrupt_main()
        if not left.wait(GRACE):
            print(f"interloom: {died[0]}", file=sys.stderr, flush=True)
            os._exit(1)

    threading.excepthook = note
    try:
        yield
    except KeyboardInterrupt as interrupt:
        if not died:
            raise
        raise WorkerDiedError(died[0]) from interrupt
    finally:
        left.set()
        threading.excepthook = hook


@contextmanager
def end_by_sigterm() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt in the block, with its number, so that workers are ended.

    Where the runner does not let go of it, the process ends all the same.
    """

    def stop(number: int, _: FrameType | None) -> None:
        last = threading.Timer(GRACE, os._exit, (128 + number,))
        last.daemon = True
        last.start()
        raise KeyboardInterrupt(number)

    if threading.current_thread() is not threading.main_thread():  # no other may handle signals
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def default_workers(input_bytes: int) -> int:
    """One for a small input, else one process a core that this process may use.

    Seen on 2 cores: a second process costs 3 seconds a stage, and halves the 0.25 s that a MB
    takes, so it pays from some 128 MB on (a crawl of 55 MB: 25 s by one, 38 s by two).
    """
    if 0 < input_bytes < SMALL_INPUT:
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
