"""Entry of the Flex Template: template parameters in, the same `interloom run` as on a laptop out.

In:   what the launcher passes: --name=value for each parameter of metadata.json and for Beam.
Out:  `interloom run INPUT... --name=value`, whose graph the launcher takes for the Dataflow job.
See it:  python infra/dataflow/main.py --input=a.warc.gz --output=out --stage=extract

Parameters are named with underscores, as Dataflow shows them; the options of interloom have dashes.
Empty values are left out: the console sends every optional parameter that was not filled in.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent


def to_command(arguments: Sequence[str], *, ours: frozenset[str]) -> list[str]:
    """Arguments of `interloom` that mean what the launcher said.

    Raises:
        ValueError: for an argument that is not --name=value.
    """
    inputs: list[str] = []
    options: list[str] = []
    for argument in arguments:
        name, equals, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--"):
            raise ValueError(f"{argument!r} is no --name=value, which is all the launcher passes")
        if name == "input":
            inputs += value.split()
        elif name == "fetch":
            options += [{"on": "--fetch", "off": "--no-fetch"}[value]] if value else []
        elif name in ours:
            options += [f"--{name.replace('_', '-')}={value}"] if value else []
        elif value or not equals:
            options.append(argument)  # for Beam, which checks it
    # the image holds Beam and this code: nothing is staged for workers to install
    if not any(option.startswith("--sdk_location") for option in options):
        options.append("--sdk_location=container")
    return ["run", *inputs, *options]


def parameters() -> frozenset[str]:
    """Names of the template's parameters that are options of `interloom run`."""
    described = json.loads((HERE / "metadata.json").read_text(encoding="utf-8"))
    names = frozenset(parameter["name"] for parameter in described["parameters"])
    return names - {"input", "sdk_container_image"}


def main() -> None:
    """Run interloom as the launcher asks."""
    from pipeline.cli import main as interloom  # noqa: PLC0415  # so that the rest needs no Beam

    sys.argv = ["interloom", *to_command(sys.argv[1:], ours=parameters())]
    interloom()


if __name__ == "__main__":
    main()
