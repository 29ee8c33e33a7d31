"""What the tests of whole runs share: commands in processes of their own, and what they leave."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq

from pipeline.stages import FETCH, NAMES, STAGES
from pipeline.store.store import ASIDE

ROOT: Final = Path(__file__).resolve().parents[2]
# small parts and shards, so that a little crawl has many of each
SMALL: Final = ("--part-size=0.0625", "--shard-size=0.125", "--heldout=0.2", "--partitions=4",
                "--no-fetch")  # fmt: skip
STAGE = {stage.name: stage for stage in STAGES}


def interloom(*arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", *map(str, arguments)],
        cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    if check:
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return done


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONWARNINGS": "default", "COLUMNS": "200"}


def run(crawl: Sequence[str | Path], output: Path, *options: str) -> Path:
    interloom("run", *crawl, "-o", output, *SMALL, *options)
    return output


def tree(output: Path, *folders: str) -> dict[str, str]:
    """sha256 of every file but those that hold times and hosts; of some folders only, if named."""
    files = [path for path in sorted(output.rglob("*")) if path.is_file()]
    names = {path.relative_to(output).as_posix(): path for path in files}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in names.items()
        if not name.endswith(".host.json") and (not folders or name.split("/")[0] in folders)
    }


def rows(output: Path, folder: str) -> list[dict[str, Any]]:
    """All rows of a folder's parts, in the order of the parts."""
    paths = sorted((output / folder).glob("*.parquet"))
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def counts(output: Path, stage: str) -> dict[str, int]:
    found: dict[str, int] = json.loads((output / f"{stage}.manifest.json").read_text())["counts"]
    return found


def parts(output: Path, stage: str) -> dict[str, int]:
    """When each part of a stage became whole: its last file's name and time."""
    return {
        f"{folder}/{path.name}": path.stat().st_mtime_ns
        for folder in STAGE[stage].last
        for path in (output / folder).glob("*.parquet")
        if ASIDE not in path.name and path.name.startswith("fetch-") == (stage == "fetch")
    }


def before(stage: str, reference: Path, output: Path) -> None:
    """A copy of a run as it was before a stage began: what earlier stages wrote, and run.json."""
    shutil.copytree(reference, output)
    ahead = STAGES[NAMES.index(stage) :]
    for folder in (folder for one in ahead if not one.keeps_all for folder in one.tables):
        shutil.rmtree(output / folder)
    gone = [path for one in ahead for path in output.glob(f"{one.name}.*")]
    gone += [output / "report.html", output / "README.md"]  # shard's
    gone += (output / "images").glob("fetch-*") if FETCH in ahead else ()
    for path in gone:
        path.unlink()


def members(session: int) -> list[int]:
    """Ids of the processes of a session, those that only wait to be buried left out."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:  # pid (name) state parent group session ...
            state, _, _, its = stat.read_text().rpartition(")")[2].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(its) == session and state != "Z":
            found.append(int(stat.parent.name))
    return found
