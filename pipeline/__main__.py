"""`interloom`, and `python -m pipeline`, which is the same."""

from __future__ import annotations

import sys
from typing import TextIO, cast

from pipeline.local.workers import end_by_signals


def main() -> None:
    end_by_signals()
    from pipeline.cli import main as command  # noqa: PLC0415  # importing takes time, too
    from schemas.terminal import PlainStream  # noqa: PLC0415

    sys.stderr = cast("TextIO", PlainStream(sys.stderr))
    command()


if __name__ == "__main__":
    main()
