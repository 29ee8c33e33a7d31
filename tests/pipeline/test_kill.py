"""`kill -9` of the whole process group inside every stage's own work; a rerun gives the same bytes.

Where:  when the n-th part of a stage appears, n seeded; inside a filter stage's grouping; in the
        midst of the write() of each manifest, and of run.json. Earlier stages are whole already.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from pipeline.stages import NAMES
from pipeline.store.store import ASIDE
from tests.pipeline.runs import ROOT, SMALL, STAGE, before, environment, interloom, parts, tree
from tests.soak import SOAK

WORKERS: Final = 2
# a mechanism each; every stage and every moment are for soak
KILLED: Final = NAMES if SOAK else ("extract", "fetch", "filter_images")
# (stage, module, function, call): where a run is stopped, to be killed there
PAUSES: Final = [
    ("filter_text", "pipeline.filter_text.dedup", "keep_latest", 7),
    ("fetch", "pipeline.fetch.steps", "fetch_own", 2),
]
if SOAK:
    PAUSES.extend(
        [
            ("filter_text", "pipeline.filter_text.dedup", "_but_first", 40),
            ("filter_images", "pipeline.filter_images.dedup", "_compare", 9),
            ("filter_images", "pipeline.filter_images.dedup", "other_sets", 5),
        ]
    )
WRITTEN: Final = [
    "run.json",
    *(f"{stage}.manifest.json" for stage in (NAMES if SOAK else ("filter_text",))),
]


def start(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT, env=environment(), stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip


def kill_when(process: subprocess.Popen[bytes], reached: Callable[[], bool], log: Path) -> None:
    """Kill the process group at the first moment that `reached` is true."""
    end = time.monotonic() + 300
    while not reached():
        assert process.poll() is None, "ended before it was killed: " + log.read_text()[-3000:]
        assert time.monotonic() < end, "never reached: " + log.read_text()[-3000:]
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def begun(output: Path, stage: str) -> set[str]:
    """Parts of which some file is there, whole or not: `packs/PART-K.tar`, `index/PART.parquet`."""
    found = set()
    for folder in () if STAGE[stage].keeps_all else STAGE[stage].tables:
        for path in (output / folder).glob("**/*.*"):
            name = path.name.partition(ASIDE)[0].rpartition(".")[0]
            found.add(name.rpartition("-")[0] if folder == "packs" else name)
    return found


def names(whole: dict[str, int]) -> set[str]:
    return {Path(name).stem for name in whole}


@pytest.mark.parametrize("stage", KILLED)
def test_killed_when_the_nth_part_appears_a_rerun_gives_the_same_bytes(
    stage: str,
    crawl: list[Path],
    reference: Path,
    tmp_path: Path,
    say: Callable[[str], None],
) -> None:
    output = tmp_path / "run"
    # of its name alone, so that a test run by itself kills where it does among all
    nth = random.Random(f"kill/{stage}").randint(1, len(parts(reference, stage)) - 1)
    command = ["pipeline", "run", *map(str, crawl), "-o", str(output), *SMALL,
               f"--workers={WORKERS}"]  # fmt: skip
    before(stage, reference, output)
    process = start(command, tmp_path / "log")
    kill_when(process, lambda: len(parts(output, stage)) >= nth, tmp_path / "log")
    whole = parts(output, stage)
    in_flight = begun(output, stage) - names(whole)
    interloom(*command[1:-1], "--workers=1")
    after = parts(output, stage)
    again = {name for name, stamp in whole.items() if after[name] != stamp}
    say(
        f"{stage}: killed at part {nth} of {len(after)}, {len(whole)} whole before, "
        f"{len(after) - len(whole) + len(again)} written after; written again: {len(again)} "
        f"that were whole, {len(in_flight)} that were begun"
    )
    if STAGE[stage].keeps_parts:
        assert not again
        assert len(in_flight) <= WORKERS
    assert tree(output) == tree(reference)


@pytest.mark.parametrize(("stage", "module", "function", "call"), PAUSES)
def test_killed_inside_a_grouping_a_rerun_gives_the_same_bytes(
    stage: str,
    module: str,
    function: str,
    call: int,
    crawl: list[Path],
    reference: Path,
    tmp_path: Path,
) -> None:
    output, marker = tmp_path / "run", tmp_path / "reached"
    arguments = ["run", *map(str, crawl), "-o", str(output), *SMALL, "--workers=1"]
    before(stage, reference, output)
    pause = ["tests.pipeline.pause", module, function, str(call), str(marker), "--"]
    process = start([*pause, *arguments], tmp_path / "log")
    kill_when(process, marker.exists, tmp_path / "log")
    assert not (output / f"{stage}.manifest.json").exists()
    interloom(*arguments)
    assert tree(output) == tree(reference)


@pytest.mark.parametrize("name", WRITTEN)
def test_killed_in_the_midst_of_a_manifest_s_write_a_rerun_gives_the_same_bytes(
    name: str, crawl: list[Path], reference: Path, tmp_path: Path
) -> None:
    output, marker = tmp_path / "run", tmp_path / "reached"
    arguments = ["run", *map(str, crawl), "-o", str(output), *SMALL, "--workers=1"]
    if name != "run.json":
        before(name.partition(".")[0], reference, output)
    seam = ["tests.pipeline.half_written", name, str(marker), "--"]
    process = start([*seam, *arguments], tmp_path / "log")
    kill_when(process, marker.exists, tmp_path / "log")
    (half,) = output.glob(f"{name}{ASIDE}*")
    assert half.read_bytes() == (whole := (reference / name).read_bytes())[: len(whole) // 2]
    assert not (output / name).exists()
    interloom(*arguments)
    assert tree(output) == tree(reference)
