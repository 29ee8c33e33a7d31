"""Beam's own options on our command line: told apart from the inputs, and checked at once.

In:      what our options left over: inputs, and `--name=value` for Beam.
Out:     the inputs, and the options that Beam with_options.
Refused: an option that neither knows, with the nearest name; a value that Beam does not take; a
         runner that Beam has not, or that loses data: ValueError, before anything is done.
"""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterable, Sequence
from typing import Final

from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from pipeline.options.run_options import RunOptions, option_names

OURS: Final = ("--output", *option_names(RunOptions))


def check_runner(name: str) -> None:
    """Raises ValueError for a runner that is not there, or silently does less than it is told."""
    if name.removesuffix("Runner").endswith("Dask"):
        raise ValueError(f"runner is {name!r}, which runs only the last branch: choose FnApiRunner")
    known = StandardOptions.KNOWN_RUNNER_NAMES
    if name not in known and "." not in name:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ValueError(f"runner is {name!r}: {hint}choose one of {', '.join(known)}")


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """(inputs, Beam options)."""
    options = [argument for argument in arguments if argument.startswith("-")]
    inputs = [argument for argument in arguments if not argument.startswith("-")]
    parser = _parser()
    known = {text for action in parser._actions for text in action.option_strings}
    for option in options:
        name = option.split("=", 1)[0]
        if name not in known:
            near = difflib.get_close_matches(name, [*OURS, *known], n=1)
            hint = f": did you mean {near[0]}?" if near else ""
            raise ValueError(f"no such option {name}{hint} (Beam's are given as --name=value)")
    try:
        parser.parse_known_args(options)
    except argparse.ArgumentError as error:
        raise ValueError(f"{error} (Beam's options are given as --name=value)") from error
    return inputs, options


def _parser() -> argparse.ArgumentParser:
    """Beam's, of all its options; it raises where Beam's own would print a page and exit."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for kind in {PipelineOptions, *_below(PipelineOptions)}:
        if adds := kind.__dict__.get("_add_argparse_args"):
            adds.__get__(None, kind)(parser)
    return parser


def _below(kind: type[PipelineOptions]) -> Iterable[type[PipelineOptions]]:
    for below in kind.__subclasses__():
        yield below
        yield from _below(below)


def local_options(workers: int) -> list[str]:
    """Options that make the local runner use so many processes; run/execute.py chooses their kind.

    Raises:
        ValueError: for workers under 1.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}: choose 1 or more")
    return [f"--direct_num_workers={workers}"]
