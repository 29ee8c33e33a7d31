"""`kill -9` of the whole process group inside every stage's own work; a rerun gives the same bytes.

Where:  when the n-th part of a stage appears, n seeded; inside a filter stage's grouping; between
        a stage's parts table and its manifest, and while the manifest is written.
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

from pipeline.progress import LAST_FILES
from pipeline.store import ASIDE
from tests.pipeline.runs import ROOT, SMALL, environment, interloom, tree

WORKERS: Final = 2
DICE: Final = random.Random(8)
MAP_ONLY: Final = ("extract", "shard")
# (stage, module, function, call): where a run is stopped, to be killed there
PAUSES: Final = [
    ("filter_text", "pipeline.dedup_text", "_choose", 7),
    ("filter_text", "pipeline.dedup_text", "_but_first", 40),
    ("filter_text", "pipeline.account", "stage_settings", 2),
    ("fetch", "pipeline.fetch", "fetch_partition", 2),
    ("fetch", "pipeline.account", "stage_settings", 3),
    ("filter_images", "pipeline.dedup_images", "_compare", 9),
    ("filter_images", "pipeline.dedup_images", "_other_sets", 5),
    ("filter_images", "pipeline.account", "stage_settings", 4),
    ("extract", "pipeline.account", "stage_settings", 1),
    ("shard", "pipeline.account", "stage_settings", 5),
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


def stamps(output: Path, stage: str) -> dict[str, int]:
    """When each part of a stage became whole: its last file's name and time."""
    folders = [LAST_FILES[stage], *(["index"] if stage == "shard" else [])]
    return {
        f"{folder}/{path.name}": path.stat().st_mtime_ns
        for folder in folders
        for path in (output / folder).glob("*.parquet")
        if ASIDE not in path.name and ("fetch-" in path.name) == (stage == "fetch")
    }


@pytest.mark.parametrize("stage", LAST_FILES)
def test_killed_when_the_nth_part_appears_a_rerun_gives_the_same_bytes(
    stage: str,
    crawl: list[Path],
    reference: Path,
    tmp_path: Path,
    say: Callable[[str], None],
) -> None:
    output = tmp_path / "run"
    nth = DICE.randint(1, len(stamps(reference, stage)) - 1)
    command = ["pipeline", "run", *map(str, crawl), "-o", str(output), *SMALL,
               f"--workers={WORKERS}"]  # fmt: skip
    process = start(command, tmp_path / "log")
    kill_when(process, lambda: len(stamps(output, stage)) >= nth, tmp_path / "log")
    before = stamps(output, stage)
    interloom(*command[1:])
    after = stamps(output, stage)
    again = [name for name, stamp in before.items() if after[name] != stamp]
    say(
        f"{stage}: killed at part {nth} of {len(after)}, {len(before)} whole before, "
        f"{len(after) - len(before) + len(again)} written after, {len(again)} of them again"
    )
    if stage in MAP_ONLY:
        assert not again  # so the kill cost no more than the parts in flight
    assert tree(output) == tree(reference)


@pytest.mark.parametrize(("stage", "module", "function", "call"), PAUSES)
def test_killed_inside_a_grouping_or_before_the_manifest_a_rerun_gives_the_same_bytes(
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
    pause = ["tests.pipeline.pause", module, function, str(call), str(marker), "--"]
    process = start([*pause, *arguments], tmp_path / "log")
    kill_when(process, marker.exists, tmp_path / "log")
    assert not (output / f"{stage}.manifest.json").exists()
    interloom(*arguments)
    assert tree(output) == tree(reference)
