"""One generated crawl and one run over it, which the tests of this folder compare others with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crawl import write_crawl
from tests.pipeline.runs import run


@pytest.fixture(scope="session")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_crawl(tmp_path_factory.mktemp("crawl"), pages=24, warcs=3)


@pytest.fixture(scope="session")
def reference(crawl: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with one worker, never disturbed."""
    return run(crawl, tmp_path_factory.mktemp("reference") / "run", "--workers=1")
