"""Worker processes: they run what their run runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.pipeline.bad_crawls import write
from tests.pipeline.runs import ROOT, SMALL, environment


def test_workers_import_what_their_run_imports_wherever_it_is_started(
    crawl: list[Path], tmp_path: Path
) -> None:
    """The user's folder may well have a package of the name of ours."""
    write(tmp_path / "pipeline" / "__init__.py", b"raise SystemExit('not this one')\n")
    write(tmp_path / "schemas.py", b"raise SystemExit('nor this')\n")
    command = [sys.executable, "-P", "-m", "pipeline", "run", *map(str, crawl), "-o", "run",
               *SMALL, "--stage=extract", "--workers=2"]  # fmt: skip
    done = subprocess.run(
        command, cwd=tmp_path, env=environment() | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "run" / "extract.manifest.json").exists()


def test_a_process_of_the_pipeline_does_without_torch() -> None:
    """Which would cost each process 3 s and 300 MB where the trainer is installed beside it."""
    program = (
        "import sys, pipeline.run.execute, pipeline.local.workers\n"
        "print(sorted({'torch'} & {*sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment(), capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "[]\n"
