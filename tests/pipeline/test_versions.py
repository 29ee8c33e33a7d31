"""Versions of what shapes bytes: named for every stage, and another one redoes what it touches."""

from __future__ import annotations

import ast
import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest

from pipeline.account.manifest import check_versions
from pipeline.options.launch import Launch, job_of, launch
from pipeline.options.run_options import RunOptions
from pipeline.run.execute import manifests, whole
from pipeline.stage import version_of
from pipeline.stages import EXTRACT, NAMES, SHARD, STAGES, versions_here
from tests.pipeline.bad_crawls import command
from tests.pipeline.runs import ROOT, tree

# where a stage's work begins
ENTRIES: Mapping[str, tuple[str, ...]] = {
    "extract": ("pipeline.extract.steps",),
    "filter_text": (
        "pipeline.filter_text.judge",
        "pipeline.filter_text.dedup",
        "pipeline.filter_text.wanted",
    ),
    "fetch": ("pipeline.fetch.steps",),
    "filter_images": ("pipeline.filter_images.judge", "pipeline.filter_images.dedup"),
    "shard": (
        "pipeline.shard.write",
        "pipeline.shard.plan",
        "pipeline.shard.report.page",
        "pipeline.shard.report.part_tables",
    ),
}
# imported, and yet no byte at rest is of their making
ONLY_MOVE: Mapping[str, str] = {
    "aiohttp": "brings what servers say, which is input from then on",
    "apache-beam": "test_same_bytes.py compares its runners",
    "grpcio": "Beam's: by it a worker learns that its run is gone",
    "httpx": "brings an input's bytes as they are",
    "protego": "says what is not asked for: recorded with the row, and input from then on",
    "rich": "prints on a terminal",
    "stopwordsiso": "a word list: named in the settings by version and digest",
    "wordfreq": "a word list: named in the settings by version and digest",
    "yarl": "holds a URL as it is",
}


def imports_of(module: str) -> Iterator[str]:
    path = ROOT.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            inner = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name for name in inner if _is_ours(name))


def _is_ours(module: str) -> bool:
    path = ROOT.joinpath(*module.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


@cache
def packages_of(stage: str) -> set[str]:
    """The distributions whose modules a stage imports, anywhere."""
    waiting, seen, found = list(ENTRIES[stage]), set(), set()
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        if _is_ours(module):
            waiting += imports_of(module)
        elif (top := module.split(".")[0]) not in sys.stdlib_module_names:
            found.add(top)
    assert len(seen) > 10
    of = packages_distributions()
    return {name.lower().replace("_", "-") for top in found for name in of[top][:1]}


@pytest.mark.parametrize("stage", NAMES)
def test_every_package_that_a_stage_imports_is_in_its_fingerprint_or_said_to_shape_nothing(
    stage: str,
) -> None:
    before = STAGES[: NAMES.index(stage) + 1]  # a chain: what redoes an earlier stage redoes it
    named = {name for one in before for name in one.shaped_by}
    assert packages_of(stage) - named - set(ONLY_MOVE) == set()


def test_what_shapes_nothing_is_imported_all_the_same() -> None:
    assert set(ONLY_MOVE) <= {name for stage in NAMES for name in packages_of(stage)}


def upgraded(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """This Python, with another version of a package."""
    monkeypatch.setattr(
        "pipeline.stage.version", lambda name: "99.0" if name == package else version(name)
    )
    version_of.cache_clear()


@pytest.fixture
def output(reference: Path, tmp_path: Path) -> Iterator[Path]:
    """A whole run, to go on with."""
    yield Path(shutil.copytree(reference, tmp_path / "run"))
    version_of.cache_clear()


def started(output: Path) -> Launch:
    """A start without options."""
    return launch([], str(output), RunOptions(workers=1))


FIRST = {"pillow": "extract", "datasketch": "filter_text", "webdataset": "shard",
         "interloom": "extract", "pyarrow": "extract"}  # fmt: skip


@pytest.mark.parametrize("package", FIRST)
def test_an_upgrade_redoes_from_the_first_stage_that_it_touches_and_says_which_and_why(
    package: str, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree(output)
    assert started(output).news == ""
    assert tree(output) == before
    was = versions_here()[FIRST[package]][package]
    upgraded(package, monkeypatch)
    begun = started(output)
    place = NAMES.index(FIRST[package])
    assert [stage for stage in STAGES if whole(begun.job, stage)] == list(STAGES[:place])
    assert f"{package} 99.0 in place of {was}: {FIRST[package]}" in begun.news
    assert ("and all after it start again" in begun.news) == (package != "webdataset")
    assert started(output).news == ""  # it is said once; what is not done stays to be done
    assert [stage for stage in STAGES if whole(started(output).job, stage)] == list(STAGES[:place])


def test_parts_of_a_killed_stage_are_done_again_by_other_versions(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_run = tree(output)
    (output / "extract.manifest.json").unlink()
    kept = sorted((output / "documents").iterdir())[0]
    made = kept.stat().st_mtime_ns
    assert command("run", "-o", output, "--workers=1", "--stage=extract").code == 0
    assert kept.stat().st_mtime_ns == made
    assert tree(output) == whole_run
    (output / "extract.manifest.json").unlink()
    upgraded("selectolax", monkeypatch)
    assert command("run", "-o", output, "--workers=1", "--stage=extract").code == 0
    assert kept.stat().st_mtime_ns != made
    told = json.loads((output / "extract.manifest.json").read_text())
    assert told["versions"]["selectolax"] == "99.0"


def test_what_looks_at_a_run_judges_it_by_the_versions_that_made_it(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgraded("pillow", monkeypatch)
    found = manifests(job_of(str(output)))
    assert list(found) == list(NAMES)
    assert {"pillow", "interloom", "extract"} <= found["extract"].versions.keys()
    assert "99.0" not in found["extract"].versions.values()


def test_workers_of_other_versions_than_the_start_end_the_stage(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(str(output))
    check_versions(job, SHARD)
    upgraded("webdataset", monkeypatch)
    with pytest.raises(RuntimeError, match=r"shard was done by workers with webdataset 99\.0 in"):
        check_versions(job, SHARD)
    check_versions(job, EXTRACT)


def test_the_command_says_so(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    was = versions_here()["shard"]["webdataset"]
    upgraded("webdataset", monkeypatch)
    said = command("run", "-o", output, "--workers=1").out.splitlines()
    assert said[0] == f"webdataset 99.0 in place of {was}: shard starts again"
    assert "shard: settings or versions have changed, so it is done again" in said
    assert command("verify", output).code == 0
    version_of.cache_clear()
    monkeypatch.undo()
    assert command("verify", output).code == 0  # elsewhere too, by the versions that made it
