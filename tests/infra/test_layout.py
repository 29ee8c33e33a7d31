"""The top level is what the house allows, and what is said of files agrees with the disk."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

from schemas.manifest import StageName

ROOT = Path(__file__).resolve().parents[2]
ROOMS = {"pipeline", "filters", "training", "schemas", "tests", "infra"}
PACKAGES = ROOMS - {"tests", "infra"}
STAGE = re.compile(rf"(?:^|/)(?:{'|'.join(StageName)})(?:/|$)")
FILES = {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "Makefile", "constraints.txt"}


def tracked() -> list[Path]:
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip("not a git checkout: no list of the project's files")
    paths = [Path(name) for name in done.stdout.split("\0") if name]
    return [path for path in paths if (ROOT / path).exists()]


def test_the_top_level_is_what_the_house_allows() -> None:
    top = {path.parts[0] for path in tracked()}
    assert {name for name in top if not name.startswith(".")} == ROOMS | FILES


def test_no_module_is_called_utils_or_helpers() -> None:
    bad = {"utils", "util", "helpers", "common", "misc"}
    assert [path for path in tracked() if bad & set(path.with_suffix("").parts)] == []


def test_no_file_is_longer_than_400_lines() -> None:
    python = [path for path in tracked() if path.suffix == ".py"]
    assert python
    long = {str(path): (ROOT / path).read_text().count("\n") for path in python}
    assert {path: lines for path, lines in long.items() if lines > 400} == {}


def test_every_module_says_what_it_is() -> None:
    python = [path for path in tracked() if path.suffix == ".py" and path.parts[0] != "tests"]
    assert python
    silent = [
        str(path) for path in python if not ast.get_docstring(ast.parse((ROOT / path).read_text()))
    ]
    assert silent == []


def stage_literals(path: Path) -> list[str]:
    """Strings of a module that are a stage's name, or a path with such a folder."""
    tree = ast.parse((ROOT / path).read_text())
    nodes = [node for node in ast.walk(tree) if not isinstance(node, ast.Expr)]  # no docstring
    parts = [part for node in nodes for part in ast.iter_child_nodes(node)]
    texts = [part.value for part in parts if isinstance(part, ast.Constant)]
    return [text for text in texts if isinstance(text, str) and STAGE.search(text)]


def test_a_stage_is_called_by_its_name_in_few_files() -> None:
    code = [path for path in tracked() if path.suffix == ".py" and path.parts[0] in PACKAGES]
    named = {str(path): found for path in code if (found := stage_literals(path))}
    assert set(stage_literals(Path("schemas/manifest.py"))) == set(StageName)
    assert len(named) <= 3, named  # `fetch` is the name of an option, too


def test_tests_hold_no_package_that_could_shadow_one() -> None:
    assert [path for path in tracked() if path.match("tests/**/__init__.py")] == []
    stems = [path.name for path in tracked() if path.match("tests/**/test_*.py")]
    assert sorted(stems) == sorted(set(stems))


def test_the_tree_in_the_readme_is_on_the_disk() -> None:
    named = set(re.findall(r"^ *([a-z]+)/(?:\s|$)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert named >= ROOMS, f"README.md shows no tree line for {sorted(ROOMS - named)}"
    assert [name for name in named if not (ROOT / name).is_dir()] == []


def test_make_lists_every_target_a_reader_may_call() -> None:
    text = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert phony is not None
    done = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = set(re.findall(r"^  make (\w+) ", done.stdout, re.MULTILINE))
    assert listed == set(phony[1].split())


def test_ci_runs_make_test_and_nothing_else() -> None:
    lines = (ROOT / ".ci/run").read_text().splitlines()
    commands = [line for line in lines if line and not line.startswith("#")]
    assert commands == ["set -eu", 'cd "$(dirname "$0")/.."', "exec make test"]
