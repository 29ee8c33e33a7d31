"""A stage that failed: one line that says why and what to do, and the rest where it is kept.

In:   what the runner raised; from another process that is a text of tracebacks, a hundred lines.
Out:  StageFailedError, whose message is the last cause with its step, and
      STAGE.failure.host.json with the whole traceback, which the stage's next start removes.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from typing import Final, TextIO, cast

from pipeline.store import store
from schemas.terminal import PlainStream

_STEP: Final = re.compile(r"(?<! ) *+\[while running '([^']+)'\]")
# of an error that is worded for the reader the kind says nothing more
_WORDED: Final = re.compile(
    r"^(?:(?:RuntimeError|ValueError|OSError|[\w.]*FullDiskError): )+(?:\[Errno \d+\] )?"
)
# loggers through which the local runner tells of its workers
_LOGGERS: Final = (
    "apache_beam.runners.common",
    "apache_beam.runners.portability.fn_api_runner.fn_runner",
    "apache_beam.runners.portability.fn_api_runner.worker_handlers",
    "apache_beam.runners.portability.local_job_service",
    "apache_beam.runners.worker.data_plane",
)
_TOLD: Final = (
    "[while running ",  # an error of a step: it is logged by the worker, and then raised
    "No semi_persistent_directory",  # only a container has one; a worker here imports what it runs
    "Failed to read inputs in the data plane",  # a worker is gone: workers.py says so
    "Error closing worker_handler",  # the same
    "Logging client failed",  # the run is gone: it has said why
    "If direct_num_workers is not equal to 1",  # it does not know our worker processes (worker.py)
)


class StageFailedError(RuntimeError):
    """A stage ended with an error; what was whole before stays whole."""


def failed(error: Exception, *, stage: str, path: str) -> StageFailedError:
    """The error to end with; the whole traceback goes to `path`, if anything can be written."""
    text = "".join(traceback.format_exception(error))
    message, step = cause_of(text)
    facts = {"message": message, "step": step, "traceback": text.splitlines()}
    try:
        store.write_bytes(path, (json.dumps(facts, indent=1, ensure_ascii=False) + "\n").encode())
        rest = f"the whole traceback is in {path}"
    except OSError as unkept:
        rest = f"its traceback could not be kept in {path} ({unkept.strerror})"
    place = f" at '{step}'" if step else ""
    return StageFailedError(f"{stage} failed{place}: {message} ({rest})")


def cause_of(text: str) -> tuple[str, str]:
    """The message of the last error in a text of tracebacks, in one line, and the step it names.

    What is said last stands behind the last line of a stack; those lines are indented.
    """
    lines = text.rstrip().splitlines()
    stack = [number for number, line in enumerate(lines) if line.startswith("  ")]
    message = " ".join(line.strip() for line in lines[stack[-1] + 1 if stack else 0 :])
    steps = _STEP.findall(message)
    return _WORDED.sub("", _STEP.sub("", message)).strip(), steps[-1] if steps else ""


def quiet_local_runner() -> None:
    """Leave out of the local runner's logs what is said elsewhere, or says nothing."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    return is_news(record.getMessage())


def quiet_worker() -> None:
    """The same for what a worker prints."""
    sys.stderr = cast("TextIO", _News(sys.stderr))


def is_news(text: str) -> bool:
    return not any(mark in text for mark in _TOLD)


class _News(PlainStream):
    """Standard error without what the runner is told as well."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._ends = ""  # what would only end a line that was left out

    def write(self, text: str) -> int:
        if is_news(text) and text != self._ends:
            self._ends = ""
            return super().write(text)
        self._ends = "" if text == self._ends else "\n"
        return len(text)
