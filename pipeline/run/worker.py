"""A local worker process: Beam's own, which ends with its run, and says nothing that the run says.

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
from typing import Final

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
_RUN: Final = "INTERLOOM_RUN"  # the process of the run that a worker works for


def command() -> str:
    """The shell command that starts a worker of this process, from the same modules.

    It is deaf to what a terminal or a supervisor sends to the whole group: its run answers that.
    """
    path = os.pathsep.join(folder or os.getcwd() for folder in sys.path)  # noqa: PTH109
    variables = f"{_RUN}={os.getpid()} PYTHONPATH={shlex.quote(path)}"
    # -P: where the user stands may be another folder of the name of ours
    python = f"{shlex.quote(sys.executable)} -P -m {__name__}"
    return f"trap '' INT TERM; {variables} exec {python}"


def main() -> None:
    _end_with_the_run()  # before the imports, which take seconds
    import grpc  # type: ignore[import-untyped]  # noqa: PLC0415  # Beam's, without types
    from apache_beam.runners.worker import sdk_worker_main  # noqa: PLC0415

    from pipeline.local.beam_once import introspect_once  # noqa: PLC0415
    from pipeline.run.failure import quiet_worker  # noqa: PLC0415

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
        sys.exit(1)  # it has ended before we asked


if __name__ == "__main__":
    main()
