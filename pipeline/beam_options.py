"""Beam's own options on our command line: told apart from the inputs, and checked at once.

In:      what our options left over: inputs, and `--name=value` for Beam.
Out:     the inputs, and the options that Beam takes.
Refused: an option that neither knows: ValueError with the nearest name.
"""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterable, Sequence
from typing import Final

from apache_beam.options.pipeline_options import PipelineOptions

OURS: Final = ("--recipe", "--language", "--part-size", "--partitions", "--limit", "--base",
               "--shard-size", "--heldout", "--heldout-by", "--lid-model", "--stop-words",
               "--flagged-words", "--stage", "--runner", "--workers", "--output")  # fmt: skip


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """(inputs, Beam options)."""
    options = [argument for argument in arguments if argument.startswith("-")]
    inputs = [argument for argument in arguments if not argument.startswith("-")]
    known = beam_options()
    for option in options:
        name = option.split("=", 1)[0]
        if name not in known:
            near = difflib.get_close_matches(name, [*OURS, *known], n=1)
            hint = f": did you mean {near[0]}?" if near else ""
            raise ValueError(f"no such option {name}{hint} (Beam's are given as --name=value)")
    return inputs, options


def beam_options() -> set[str]:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for kind in {PipelineOptions, *_below(PipelineOptions)}:
        if adds := kind.__dict__.get("_add_argparse_args"):
            adds.__get__(None, kind)(parser)
    return {text for action in parser._actions for text in action.option_strings}


def _below(kind: type[PipelineOptions]) -> Iterable[type[PipelineOptions]]:
    for below in kind.__subclasses__():
        yield below
        yield from _below(below)


def local_options(workers: int) -> list[str]:
    """Options that make the local runner use so many processes.

    Raises:
        ValueError: for workers under 1.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}: choose 1 or more")
    mode = "in_memory" if workers == 1 else "multi_processing"
    return [f"--direct_running_mode={mode}", f"--direct_num_workers={workers}"]
