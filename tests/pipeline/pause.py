"""Run interloom with one of its functions made to stop and wait, so that it can be killed there.

    python -m tests.pipeline.pause MODULE FUNCTION NTH MARKER -- ARGUMENTS OF interloom

The NTH call of MODULE.FUNCTION makes the file MARKER and sleeps. Nothing else is different.
"""

from __future__ import annotations

import importlib
import itertools
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def pausing(function: Callable[P, R], nth: int, marker: Path) -> Callable[P, R]:
    calls = itertools.count(1)

    @wraps(function)
    def paused(*arguments: P.args, **named: P.kwargs) -> R:
        if next(calls) == nth:
            marker.touch()
            time.sleep(600)
        return function(*arguments, **named)

    return paused


if __name__ == "__main__":
    module_name, function_name, nth, marker, dashes, *arguments = sys.argv[1:]
    assert dashes == "--"
    module = importlib.import_module(module_name)
    function = getattr(module, function_name)
    setattr(module, function_name, pausing(function, int(nth), Path(marker)))
    from pipeline.cli import main

    sys.argv = ["interloom", *arguments]
    main()
