"""Beam once: what Beam works out again and again, though it cannot change, is worked out once.

In:   Beam, imported by whoever calls.
Out:  the same answers sooner. A local run of a small crawl spent two fifths of its processor in
      them (7.9 against 4.7 s for 16 pages), and a run into a bucket 0.2 s for every file.

- state and timers of a DoFn: read from the signatures of all its methods, for each step of each
  bundle; here by its class, as none of our steps has any.
- a view of the options: made by a new parser of hundreds of arguments each time; here one parsing
  for each class and list of flags, of which every view has a copy.
- a session of boto3 for every file, which reads S3's whole model from disk; here one a process.
"""

from __future__ import annotations

import copy
from functools import cache
from types import SimpleNamespace
from typing import Any


@cache
def introspect_once() -> None:
    """For local runners and their workers; nothing at a second call."""
    from apache_beam.options import pipeline_options  # noqa: PLC0415
    from apache_beam.transforms import userstate  # noqa: PLC0415

    told: dict[type, tuple[set[Any], set[Any]]] = {}
    specs_of = userstate.get_dofn_specs

    def get_dofn_specs(dofn: Any) -> tuple[set[Any], set[Any]]:  # noqa: ANN401
        kind = type(dofn)
        if kind not in told:
            told[kind] = specs_of(dofn)
        return told[kind]

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
