"""Processes of a local run: its workers, and how it ends before its time: at once, in one line.

In:   SIGINT, SIGTERM; a worker that dies; for a worker, the environment by which Beam's runner says
      where its services listen.
Out:  the command that starts a worker: Beam's own, which ends with its run and prints nothing that
      the run prints; exit codes 130, 143 and 1.

What is whole at rest stays whole whenever a process ends (store.py), so nothing need be unwound,
and it would not do to: Beam takes an interrupt for a failed step, its threads wait for ever for a
worker that is gone, and an object that is closed half written is whole to its bucket. So a thread
that depends on none of them prints the line and leaves the process; its workers end with it.
"""

from __future__ import annotations

import ctypes
import os
import select
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final, NoReturn

STOPPED: Final = "interloom: stopped; what is whole stays, the same command goes on"
SMALL_INPUT: Final = 128_000_000  # bytes
MOMENT: Final = 0.5  # seconds
# what is answered, where nobody has chosen otherwise: nohup and & have SIGINT ignored
DEFAULTS: Final = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
_SHOW_CURSOR: Final = "\x1b[?25h"  # a progress bar hides it
_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
_RUN: Final = "INTERLOOM_RUN"  # the process of the run that a worker works for
_ended = threading.Lock()


def end_by_signals() -> None:
    """From here on SIGINT and SIGTERM end this process, with 130 and 143.

    A thread hears of them by a pipe: the main one may be in a call that returns after minutes.
    """
    ours = [number for number, default in DEFAULTS.items() if signal.getsignal(number) == default]
    hears, rings = os.pipe()
    os.set_blocking(rings, False)
    signal.set_wakeup_fd(rings, warn_on_full_buffer=False)
    threading.Thread(target=_await_signal, args=(hears,), daemon=True).start()
    for number in ours:
        signal.signal(number, _leave_to_thread)  # with no handler of Python's nothing is rung


def _await_signal(hears: int) -> None:
    while True:
        number = os.read(hears, 1)[0]
        if number in DEFAULTS:  # libraries may have handlers for others
            _end(128 + number, STOPPED)


def _leave_to_thread(_: int, __: FrameType | None) -> None:
    pass


def _end(code: int, line: str) -> NoReturn:
    """Leave the process now, whatever its threads are at. Of two ends the first is printed."""
    _ended.acquire()  # for good
    if os.isatty(1):
        _print(1, f"{_SHOW_CURSOR}\n")  # the line begins below a bar, or below ^C
    _print(2, f"{line}\n")
    os._exit(code)


def _print(descriptor: int, text: str) -> None:
    """Write, unless a terminal that is held does not take it within a moment."""
    with suppress(OSError):  # or closed
        if select.select([], [descriptor], [], MOMENT)[1]:
            os.write(descriptor, text.encode(errors="backslashreplace"))


@contextmanager
def end_when_a_worker_dies() -> Iterator[None]:
    """Within the block a thread of the runner that ends with an error ends this process, with 1.

    Beam's local runner learns of a dead worker in a thread whose error nobody reads, while its
    main thread waits for ever.
    """
    died: list[str] = []
    left = threading.Event()
    hook = threading.excepthook

    def note(args: threading.ExceptHookArgs) -> None:
        if left.is_set():
            return
        died.append(str(args.exc_value) or "its connection broke")  # a remote call's has no text
        if not left.wait(MOMENT):  # a signal to all of us is told as such; it comes just now
            _end(1, _worker_died(died[0]))

    threading.excepthook = note
    try:
        yield
    except Exception:
        if died:  # of which this is but the echo
            _end(1, _worker_died(died[0]))
        raise
    finally:
        left.set()
        threading.excepthook = hook


def _worker_died(why: str) -> str:
    return (
        f"interloom: a worker of the run died ({why}): what is whole stays; look at memory and "
        "disk, then run the same command again to go on"
    )


def default_workers(input_bytes: int) -> int:
    """One for a small input, else one process a core that this process may use.

    Seen on 2 cores: a second process costs 3 seconds a stage, and halves the 0.25 s that a MB
    takes, so it pays from some 128 MB on (a crawl of 55 MB: 25 s by one, 38 s by two).
    """
    if 0 < input_bytes < SMALL_INPUT:
        return 1
    return cores()


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worker_command() -> str:
    """The shell command that starts a worker of this process, from the same modules.

    It ignores SIGINT and SIGTERM, which are sent to the whole group: the run handles
    them.
    """
    path = os.pathsep.join(folder or os.getcwd() for folder in sys.path)  # noqa: PTH109
    variables = f"{_RUN}={os.getpid()} PYTHONPATH={shlex.quote(path)}"
    # -P: where the user stands may be another folder of the name of ours
    python = f"{shlex.quote(sys.executable)} -P -m {__name__}"
    return f"trap '' INT TERM; {variables} exec {python}"


def main() -> None:
    """A worker."""
    _end_with_the_run()  # before the imports, which take seconds
    import grpc  # type: ignore[import-untyped]  # noqa: PLC0415  # Beam's, without types
    from apache_beam.runners.worker import sdk_worker_main  # noqa: PLC0415

    from pipeline.local.beam import introspect_once, quiet_worker  # noqa: PLC0415

    def in_thread(args: threading.ExceptHookArgs) -> None:
        if not isinstance(args.exc_value, grpc.RpcError):
            threading.__excepthook__(args)

    quiet_worker()
    introspect_once()
    threading.excepthook = in_thread
    try:
        sdk_worker_main.main(sys.argv)
    except grpc.RpcError:  # the run is gone
        sys.exit(1)


def _end_with_the_run() -> None:
    """Die when the run does, also while still starting, when Beam would wait two minutes."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(os.environ[_RUN]):
        sys.exit(1)  # the run ended before prctl took effect


if __name__ == "__main__":
    main()
