"""Mutants: what must hold is broken, one line each (mutants.toml), and a test must fail.

    python -m tests.mutants            every mutant, with the test that catches it
    python -m tests.mutants lease      those whose name holds a word

Each is made in a copy of the packages, so the tree stays as it is. A mutant that no test catches,
or whose line is not there any more, ends the command with 1.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[1]
COPIED: Final = ("pipeline", "filters", "training", "schemas", "tests", "infra")
MINUTES: Final = 5  # that the tests of one mutant may take


class Mutant(NamedTuple):
    name: str
    file: str
    line: str  # a part of the file that stands there once
    broken: str
    tests: str  # files and folders in which a test catches it


def mutants() -> list[Mutant]:
    read = tomllib.loads((ROOT / "tests" / "mutants.toml").read_text())
    return [Mutant(**one) for one in read["mutant"]]


def copy_to(folder: Path) -> None:
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy2(path, folder)


def caught_by(mutant: Mutant, folder: Path) -> str:
    """The first test that fails, or "" where none does."""
    path = folder / mutant.file
    whole = path.read_text()
    if whole.count(mutant.line) != 1:
        return ""
    path.write_text(whole.replace(mutant.line, mutant.broken))
    try:
        tests = [name for name in mutant.tests.split() if (folder / name).exists()]
        command = [sys.executable, "-P", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
        ran = subprocess.run(
            [*command, *tests],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(folder)},
            capture_output=True,
            text=True,
            timeout=MINUTES * 60,
            check=False,
        )
        failed = re.search(r"^(?:FAILED|ERROR) (\S+)", ran.stdout, re.MULTILINE)
        return failed[1] if failed is not None else ""
    except subprocess.TimeoutExpired:
        return ""
    finally:
        path.write_text(whole)


def main(word: str = "") -> int:
    lost = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_to(folder)
        for mutant in mutants():
            if word in mutant.name:
                test = caught_by(mutant, folder)
                lost += not test
                print(f"{mutant.name:<50} {test or 'LOST'}", flush=True)
    return min(lost, 1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
