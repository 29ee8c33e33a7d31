"""The way of a record, as pipeline/README.md lists it: python -m tests.infra.record_way writes the
lines of its functions anew."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[2]
README: Final = ROOT / "pipeline" / "README.md"
_ROW: Final = re.compile(r"^\| (\d+) \| `([\w.]+)` \| `([\w/]+\.py):(\d+)` \|", re.MULTILINE)


class Step(NamedTuple):
    number: int
    function: str  # with its class
    file: str
    line: int


def steps(text: str) -> list[Step]:
    return [
        Step(int(number), function, file, int(line))
        for number, function, file, line in _ROW.findall(text)
    ]


def functions(file: str) -> dict[str, int]:
    """The functions of a file with their lines."""
    return dict(_functions(ast.parse((ROOT / file).read_text()), ""))


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, int]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef):
            yield f"{prefix}{child.name}", child.lineno
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{prefix}{child.name}.")


def written_anew(text: str) -> str:
    """The same with the lines where the functions stand now."""

    def row(match: re.Match[str]) -> str:
        line = functions(match[3])[match[2]]
        return match[0].replace(f"`{match[3]}:{match[4]}`", f"`{match[3]}:{line}`")

    return _ROW.sub(row, text)


if __name__ == "__main__":
    README.write_text(written_anew(README.read_text()))
