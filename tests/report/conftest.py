"""Fixtures of the report's tests: a run made by hand, of pages that meet every outcome."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.fabricated import Fabricate, Pages, pages_of_every_outcome


@pytest.fixture
def fabricate(tmp_path: Path) -> Fabricate:
    return Fabricate(folder=tmp_path)


@pytest.fixture
def every_outcome() -> Pages:
    return pages_of_every_outcome()
