"""What tests share: where the real data lies, and a count of what was skipped for lack of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """Path of a file or folder of the shared data; skips only where there is none of it at all."""

    def find(relative: str) -> Path:
        if not SHARED.is_dir():
            pytest.skip("no shared data here: needs ../shared/data/" + relative)
        path = SHARED / relative
        if not path.exists():
            pytest.fail(f"{path} is missing although the shared data is here")
        return path

    return find
