"""One small run for all tests of verify, made once, and copies of it to damage."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from pipeline.options.launch import choose_crawl, choose_settings
from pipeline.options.run_options import RunOptions
from pipeline.run.execute import execute
from pipeline.run.layout import prepare
from tests.verify.small_crawl import write_crawl


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with losses of every kind, several parts, and shards of both splits."""
    crawl = tmp_path_factory.mktemp("verify") / "small.warc.gz"
    write_crawl(crawl)
    return _run_over(crawl)


@pytest.fixture(scope="session")
def empty_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over a crawl of no bytes: every stage is whole, and nothing came out."""
    crawl = tmp_path_factory.mktemp("empty") / "empty.warc.gz"
    crawl.write_bytes(b"")
    return _run_over(crawl)


def _run_over(crawl: Path, output: Path | None = None) -> Path:
    asked = RunOptions(part_size=1 / 8, shard_size=1 / 16, heldout=0.4, partitions=2,
                  fetch=False)  # fmt: skip
    output = output or crawl.parent / "run"
    job = prepare(
        str(output), choose_crawl([str(crawl)], asked, None), choose_settings(asked, None)
    )
    execute(job, options=["--direct_running_mode=in_memory"], say=lambda _: None)
    return output


@pytest.fixture
def rerun(whole_run: Path) -> Callable[[Path], object]:
    """The same command again, over what is left of a copy."""
    return partial(_run_over, whole_run.parent / "small.warc.gz")


@pytest.fixture
def run(whole_run: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may damage. Its crawl is the one that all copies share."""
    copy = tmp_path / "run"
    shutil.copytree(whole_run, copy)
    return copy
