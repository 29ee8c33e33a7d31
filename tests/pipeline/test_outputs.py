"""Names of outputs that can hold no run, and numbers that are none: 2, value, limit and remedy."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest

from pipeline.store.store import ASIDE
from tests.pipeline.bad_crawls import command, good, write
from tests.pipeline.runs import interloom, tree
from tests.read.crawls import gzipped

NAMES: Final = [
    ("", "output is '': name a folder"),
    ("/proc/x", "output is /proc/x, which cannot be made (No such file or directory): choose"),
    ("/dev/null", "output is /dev/null, but /dev/null is a file: choose another folder"),
    ("/proc", "/proc is not empty and holds no run (it has /proc/"),
    ("/tmp/" + "a" * 256, "a, which cannot be made (File name too long): choose another folder"),
    ("foo://x/y", "foo:// is not written to: choose a local folder, gs:// or s3://"),
    ("https://example.org/run", "https:// is not written to: choose a local folder"),
    ("s3://", "output is s3://, which names no bucket"),
    ("gs:///run", "output is gs:///run, which names no bucket"),
    *((f"s3://b/run{mark}x]", f"takes {mark} for a pattern") for mark in "*?["),
    ("gs://b/run[1]", "choose a name without * ? ["),
]


@pytest.fixture
def input_(tmp_path: Path) -> Path:
    return write(tmp_path / "in" / "a.warc.gz", gzipped(good(1)))


@pytest.mark.parametrize(("name", "told"), NAMES, ids=[row[0][:20] or "empty" for row in NAMES])
def test_an_output_that_can_hold_no_run_is_refused(name: str, told: str, input_: Path) -> None:
    ended = command("run", input_, "-o", name, "--no-fetch")
    assert (ended.code, ended.out) == (2, "")
    assert told in ended.err
    assert ended.err.count("\n") == 1


def test_images_are_imported_into_no_bucket_whose_name_is_a_pattern(input_: Path) -> None:
    ended = command("import-images", "s3://b/run[1]", input_)
    assert ended.code == 2
    assert "takes [ for a pattern" in ended.err


def test_an_output_whose_name_is_no_utf_8_is_refused(input_: Path, tmp_path: Path) -> None:
    name = os.fsdecode(os.fsencode(tmp_path / "run") + b"-\xff")
    ended = interloom("run", input_, "-o", name, "--no-fetch", check=False)
    assert ended.returncode == 2
    assert ended.stderr == (
        f"interloom: output is '{tmp_path}/run-\\udcff', which is not UTF-8: choose another name\n"
    )
    assert not Path(name).exists()


def test_an_output_in_which_a_run_was_killed_at_its_first_write_is_taken(
    input_: Path, tmp_path: Path
) -> None:
    left = write(tmp_path / "run" / f"run.json{ASIDE}{'0123456789abcdef' * 2}", b'{"format')
    assert command("run", input_, "-o", tmp_path / "run", "--stage=extract", "--no-fetch").code == 0
    assert not left.exists()


def test_a_local_name_is_no_pattern(input_: Path, tmp_path: Path) -> None:
    """Each of the first three would match the last; a rerun with other settings sweeps."""
    for name in ("run[1]", "run*", "run?", "run1"):
        output, kept = tmp_path / name, tree(tmp_path)
        for share in ("--heldout=0.5", "--heldout=0.25"):
            done = command("run", input_, "-o", output, "--no-fetch", "--recipe=off", share)
            assert done.code in (0, 3), done.err
        assert command("verify", output).code == 0
        assert tree(tmp_path).items() >= kept.items()


@pytest.mark.parametrize(
    ("option", "value", "kind"),
    [
        ("--part-size", "big", "number"),
        ("--heldout", "1,5", "number"),
        ("--workers", "2.5", "integer"),
        ("--limit", "", "integer"),
    ],
)
def test_what_is_no_number_is_refused_by_its_value(
    option: str, value: str, kind: str, input_: Path, tmp_path: Path
) -> None:
    ended = command("run", input_, "-o", tmp_path / "run", f"{option}={value}")
    assert ended.code == 2
    assert f"Invalid value '{value}' for '{option}': Input should be a valid {kind}" in ended.err
    assert ended.err.count("\n") == 1
