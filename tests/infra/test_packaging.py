"""What a user installs: four packages, torch with training only, and pins from anywhere."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"pipeline", "filters", "training", "schemas"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
LINES = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line[0] != "#"]
PINS = [line.split(";")[0] for line in LINES]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built by the hatchling that is installed, so without a network."""
    at = tmp_path_factory.mktemp("wheel")
    build = ("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index")
    command = [sys.executable, "-m", "pip", *build, "--wheel-dir", str(at), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (made,) = at.glob("*.whl")
    return made


def test_the_wheel_holds_the_four_packages_and_its_metadata_only(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    about = f"interloom-{PROJECT['version']}.dist-info"
    assert {name.split("/")[0] for name in names} == PACKAGES | {about}
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)
    assert f"{about}/licenses/LICENSE" in names


def test_the_wheel_holds_every_file_that_its_packages_need(wheel: Path) -> None:
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    there = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == there


def wanted(*extras: str) -> dict[str, Requirement]:
    """Requirements of extras of ours, those that name each other followed."""
    found: dict[str, Requirement] = {}
    for text in [text for extra in extras for text in EXTRAS[extra]]:
        requirement = Requirement(text)
        if requirement.name == "interloom":
            found |= wanted(*requirement.extras)
        else:
            found[canonicalize_name(requirement.name)] = requirement
    return found


def third_party(package: str) -> set[str]:
    """Top-level modules that a package imports, of neither ours nor Python's."""
    names: set[str] = set()
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.split(".")[0])
    return names - PACKAGES - sys.stdlib_module_names - {"_typeshed"}  # only for type checkers


@pytest.mark.parametrize(
    ("package", "extras"),
    [("schemas", ()), ("filters", ()), ("pipeline", ("pipeline",)), ("training", ("gguf",))],
)
def test_what_a_package_imports_is_declared_and_not_left_to_others_to_bring(
    package: str, extras: tuple[str, ...]
) -> None:
    declared = set(wanted(*extras)) | {
        canonicalize_name(Requirement(text).name) for text in PROJECT["dependencies"]
    }
    brought_by = packages_distributions()
    undeclared = {
        name: brought_by.get(name)
        for name in third_party(package)
        if not declared & {canonicalize_name(one) for one in brought_by.get(name, [])}
    }
    assert undeclared == {}


def test_torch_comes_with_training_only_and_pinned() -> None:
    for extra in ("pipeline", "s3", "gcp"):
        assert "torch" not in wanted(extra), extra
    # unpinned it brings several GB of CUDA
    assert [str(one.specifier) for one in wanted("training").values() if one.name == "torch"] == [
        "==2.13.0"
    ]


def test_a_beam_extra_that_would_downgrade_others_is_not_asked_for() -> None:
    asked = [one.extras for one in wanted(*EXTRAS).values() if one.name == "apache-beam"]
    assert asked
    assert not set().union(*asked) & {"torch", "transformers", "test", "interactive", "dataframe"}


def test_constraints_are_names_and_versions_without_a_place() -> None:
    assert len(PINS) > 50
    pin = r"[\w.-]+==[\w.+!]+(; python_version < \"3\.\d+\")?"
    assert [line for line in LINES if not re.fullmatch(pin, line)] == []
    names = [canonicalize_name(line.split("==")[0]) for line in PINS]
    assert names == list(dict.fromkeys(names))
    assert not [name for name in names if re.match(r"nvidia|triton|interloom", name)]


def test_constraints_pin_what_the_dev_extra_asks_for_within_its_limits() -> None:
    pins = (line.split("==") for line in PINS)
    pinned: dict[str, str] = {canonicalize_name(name): version for name, version in pins}
    asked = wanted("dev") | {
        canonicalize_name(r.name): r for r in map(Requirement, PROJECT["dependencies"])
    }
    assert "apache-beam" in asked
    wrong = {
        name: (str(one.specifier), pinned.get(name))
        for name, one in asked.items()
        if name not in pinned or not one.specifier.contains(pinned[name])
    }
    assert wrong == {}
