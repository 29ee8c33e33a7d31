"""Run interloom on a disk where one file is written by half and no further, to be killed there.

    python -m tests.pipeline.half_written NAME MARKER -- ARGUMENTS OF interloom

The file is a run's own, in the midst of its write(): half of the bytes are on the disk, under the
name of a file that is not whole yet. Then MARKER is made. Nothing else is different.
"""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path
from typing import IO, Any
from unittest import mock

from pipeline.store.store import ASIDE

_open = Path.open


class HalfFile(io.FileIO):
    """A file whose first write() stores half of its bytes and does not return."""

    marker: Path

    def write(self, data: Any) -> int:  # noqa: ANN401  # any buffer
        super().write(memoryview(data)[: len(data) // 2])
        self.marker.touch()
        time.sleep(600)
        return len(data)


def opening(name: str, marker: Path) -> Any:  # noqa: ANN401  # as Path.open, of many modes
    def opened(path: Path, mode: str = "r", **named: Any) -> IO[Any]:  # noqa: ANN401
        if mode != "xb" or not path.name.startswith(name + ASIDE):
            return _open(path, mode, **named)
        raw = HalfFile(path, mode)
        raw.marker = marker
        return io.BufferedWriter(raw)

    return opened


if __name__ == "__main__":
    file_name, file_marker, dashes, *arguments = sys.argv[1:]
    assert dashes == "--"
    from pipeline.cli import main

    sys.argv = ["interloom", *arguments]
    with mock.patch.object(Path, "open", opening(file_name, Path(file_marker))):
        main()
