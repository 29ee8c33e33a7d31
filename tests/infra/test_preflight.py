"""The preflight names what a machine lacks and the command that brings it, in plain sh."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("sh", "id", "awk", "df", "head", "tail", "mktemp", "rm", "make")


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A PATH with the tools of a bare system, and this Python as python3."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found is not None, f"{tool} is on no PATH here"
        (folder / tool).symlink_to(found)
    script(folder, "python3", f'exec {sys.executable} "$@"')
    return folder


def script(folder: Path, name: str, body: str) -> None:
    path = folder / name
    path.unlink(missing_ok=True)  # else it is the system's own tool that is written over
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def preflight(bare: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "infra/preflight.sh", *arguments],
        cwd=ROOT,
        env={"PATH": str(bare), **more},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_machine_that_has_everything_passes_in_silence(bare: Path) -> None:
    done = preflight(bare, "1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert preflight(bare, "python").stdout == "python3\n"


def test_missing_python_is_named_with_the_command_of_the_package_manager(bare: Path) -> None:
    (bare / "python3").unlink()
    script(bare, "apt-get", "exit 1")
    sudo = "" if os.getuid() == 0 else "sudo "
    for asked in ("1", "python"):
        done = preflight(bare, asked)
        assert done.returncode == 1
        assert "missing: Python 3.11 or newer" in done.stderr
        assert f"bring: {sudo}apt-get install -y python3 python3-venv\n" in done.stderr


@pytest.mark.parametrize(
    ("manager", "command"),
    [
        ("dnf", "dnf install -y python3.11"),
        ("apk", "apk add python3"),
        ("pacman", "pacman -S --noconfirm python"),
        ("brew", "brew install python@3.11"),
    ],
)
def test_other_systems_get_their_own_command(bare: Path, manager: str, command: str) -> None:
    (bare / "python3").unlink()
    script(bare, manager, "exit 1")
    assert command in preflight(bare, "1").stderr


def test_a_system_without_a_known_package_manager_gets_an_address(bare: Path) -> None:
    (bare / "python3").unlink()
    assert "https://www.python.org/downloads/" in preflight(bare, "1").stderr


@pytest.mark.parametrize(("version", "status"), [((3, 10), 1), ((3, 11), 0)])
def test_python_3_11_is_new_enough_and_3_10_is_not(
    bare: Path, version: tuple[int, int], status: int
) -> None:
    # an interpreter that says it is of that version, whatever runs the test
    told = f"import sys; sys.version_info = {version!r}; exec(sys.argv[1]) if sys.argv[1:] else 0"
    script(bare, "python3", f'shift; exec {sys.executable} -c "{told}" "$@"')
    assert preflight(bare, "python").returncode == status


def test_a_shim_on_the_path_that_does_not_run_is_passed_over(bare: Path) -> None:
    script(bare, "python3.11", "echo no such version >&2; exit 127")
    assert preflight(bare, "python").stdout == "python3\n"


def test_a_python_without_venv_is_named(bare: Path) -> None:
    script(bare, "apt-get", "exit 1")
    script(bare, "python3", f'case "$2" in *ensurepip*) exit 1;; esac; exec {sys.executable} "$@"')
    done = preflight(bare, "1")
    assert done.returncode == 1
    assert "missing: the venv module of python3" in done.stderr
    assert "apt-get install -y python3-venv\n" in done.stderr


def test_a_named_interpreter_is_the_only_candidate(bare: Path) -> None:
    assert preflight(bare, "python", PYTHON="python9").returncode == 1
    script(bare, "python9", f'exec {sys.executable} "$@"')
    assert preflight(bare, "python", PYTHON="python9").stdout == "python9\n"


def test_too_little_disk_is_named_with_what_is_free_and_what_is_needed(bare: Path) -> None:
    own = (bare / "df").resolve()
    before = own.read_bytes()
    script(
        bare, "df", "printf 'F 1024-blocks Used Available C M\\n/ 9 9 %s 9 /\\n' $((2000 * 1024))"
    )
    assert preflight(bare, "2000").returncode == 0
    done = preflight(bare, "2001")
    assert done.returncode == 1
    assert "2000 MB are free here, 2001 MB are needed" in done.stderr
    assert "free 1 MB" in done.stderr
    assert own.read_bytes() == before


def test_all_that_lacks_is_named_at_once(bare: Path) -> None:
    (bare / "python3").unlink()
    (bare / "make").unlink()
    done = preflight(bare, "1000000000")
    assert done.stderr.count("missing: ") == 3
    assert done.stderr.count("bring: ") == 3


def test_an_index_out_of_reach_is_named_with_how_to_name_another(bare: Path) -> None:
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(bare), "HOME": str(bare)}
    done = preflight(bare, "network", sys.executable, **offline)
    assert done.returncode == 1
    assert "missing: a package index that pip can reach" in done.stderr
    assert "PIP_INDEX_URL" in done.stderr


def test_it_says_how_it_is_used_when_asked_for_nothing(bare: Path) -> None:
    for arguments in ((), ("2GB",)):
        done = preflight(bare, *arguments)
        assert done.returncode == 2
        assert "usage: " in done.stderr
