"""What the tests of runs share: a command sets torch's threads and determinism of its process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.training.fit.runs import torch_as_before


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    with torch_as_before():
        yield
