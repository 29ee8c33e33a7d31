"""Beam's local runner, mended: what cannot change is worked out once, and logs are short.

In:   Beam, imported by whoever calls.
Out:  the same answers sooner; no log line that repeats the error of the run. Without it a local run
      of a small crawl spent two fifths of its processor time here (7.9 against 4.7 s for 16 pages),
      and a run into a bucket 0.2 s for every file.

- state and timers of a DoFn: read from the signatures of all its methods, for each step of each
  bundle; here by its class, as none of our steps has any.
- a view of the options: made by a new parser of hundreds of arguments each time; here one parsing
  for each class and list of flags, of which every view has a copy.
- a session of boto3 for every file, which reads S3's whole model from disk; here one a process.
"""

from __future__ import annotations

import copy
import logging
import sys
from functools import cache
from types import SimpleNamespace
from typing import Any, Final, TextIO, cast

from schemas.terminal import PlainStream

# loggers through which the local runner tells of its workers
_LOGGERS: Final = (
    "apache_beam.runners.common",
    "apache_beam.runners.portability.fn_api_runner.fn_runner",
    "apache_beam.runners.portability.fn_api_runner.worker_handlers",
    "apache_beam.runners.portability.local_job_service",
    "apache_beam.runners.worker.data_plane",
)
_KNOWN: Final = (
    "[while running ",  # an error of a step: it is logged by the worker, and then raised
    "No semi_persistent_directory",  # only a container has one; a worker here imports what it runs
    "Failed to read inputs in the data plane",  # a worker has died: workers.py says so
    "Error closing worker_handler",  # the same
    "Logging client failed",  # the run has ended, and printed why
    "If direct_num_workers is not equal to 1",  # it does not know of our worker processes
)


@cache
def introspect_once() -> None:
    """For local runners and their workers; nothing at a second call."""
    from apache_beam.options import pipeline_options  # noqa: PLC0415
    from apache_beam.transforms import userstate  # noqa: PLC0415

    specs: dict[type, tuple[set[Any], set[Any]]] = {}
    specs_of = userstate.get_dofn_specs

    def get_dofn_specs(dofn: Any) -> tuple[set[Any], set[Any]]:  # noqa: ANN401
        kind = type(dofn)
        if kind not in specs:
            specs[kind] = specs_of(dofn)
        return specs[kind]

    userstate.get_dofn_specs = get_dofn_specs
    options, parsed = pipeline_options.PipelineOptions, dict[Any, Any]()
    make = options.__init__

    def once(self: Any, flags: Any = None, **kwargs: Any) -> None:  # noqa: ANN401
        if flags is None or kwargs:  # of the process's arguments; with values of its own
            make(self, flags, **kwargs)
            return
        key = type(self), tuple(flags)
        if key not in parsed:
            make(self, flags)
            parsed[key] = copy.deepcopy(self._visible_options)
            return
        self._flags = flags
        self._visible_options = copy.deepcopy(parsed[key])
        names = self._visible_option_list()
        self._all_options = {name: getattr(self._visible_options, name) for name in names}

    options.__init__ = once  # type: ignore[method-assign]


@cache
def one_session() -> None:
    """Of boto3, for all that Beam opens in a bucket; its clients may be used by many threads."""
    from apache_beam.io.aws.clients.s3 import boto3_client  # noqa: PLC0415

    beams = vars(boto3_client)
    if (real := beams["boto3"]) is not None:  # it comes with an extra
        session = cache(real.session.Session)
        beams["boto3"] = SimpleNamespace(session=SimpleNamespace(Session=session))


@cache
def quiet_local_runner() -> None:
    """Leave out of the local runner's logs what is printed elsewhere, or means nothing here."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(lambda record: _is_news(record.getMessage()))


def quiet_worker() -> None:
    """The same for what a worker prints."""
    sys.stderr = cast("TextIO", _FilteredStderr(sys.stderr))


def _is_news(text: str) -> bool:
    return not any(mark in text for mark in _KNOWN)


class _FilteredStderr(PlainStream):
    """Standard error without errors that the runner hears of and prints itself."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._ends = ""  # what would only end a line that was left out

    def write(self, text: str) -> int:
        if _is_news(text) and text != self._ends:
            self._ends = ""
            return super().write(text)
        self._ends = "" if text == self._ends else "\n"
        return len(text)
