"""A refusal before anybody knows where it happened: the reason with its value and its limit.

Readers, decoders and extractors return a Problem in place of what they could not make. The
stage that called them knows the part and the row, and makes it a `schemas.verdict.Drop`.
An exception that a record's bytes caused is a Problem too: a fault of ours, which costs that record
and no other. Whatever is about the machine is none: it ends the stage.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from schemas.verdict import Reason

_ROOT: Final = Path(__file__).parents[1]
_OURS: Final = ("pipeline", "filters", "schemas")


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """Why something could not be made; value and limit are in the unit of the reason's rule."""

    reason: Reason
    value: float | None = None
    limit: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault(Problem):
    """Our own code raised."""

    reason: Reason = Reason.UNREADABLE_RECORD
    raised: str  # the kind of the exception, and where in our code


def fault_of(error: BaseException) -> Fault:
    """What an exception is for the record whose bytes caused it.

    Raises:
        BaseException: the exception itself, where it is about the machine.
    """
    if is_of_machine(error):
        raise error
    kind = type(error)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    name = module + kind.__qualname__
    return Fault(raised=f"{name} in {_place(error)}")


def is_of_machine(error: BaseException) -> bool:
    """Whether an exception says something about memory, disk, network or installation.

    The system's errors have a number; libraries raise OSError without one for bytes they refuse.
    """
    if isinstance(error, OSError):
        return error.errno is not None
    if isinstance(error, Exception):
        return isinstance(error, MemoryError | ImportError)
    return type(error).__name__ != "PanicException"  # of libraries in Rust, and no Exception


def _place(error: BaseException) -> str:
    """The innermost line of our own code that the exception came through."""
    place = "no code of interloom"
    for frame, line in traceback.walk_tb(error.__traceback__):
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(_ROOT) and path.relative_to(_ROOT).parts[0] in _OURS:
            place = f"{path.relative_to(_ROOT).as_posix()}:{line}"
    return place
