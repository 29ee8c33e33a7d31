"""The README's diffs are true: applied to a copy, they give a run with one more stage and rule, and
a model with another connector.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.verify.small_crawl import write_crawl

ROOT: Final = Path(__file__).resolve().parents[2]
COPIED: Final = ("pipeline", "filters", "schemas", "training")
DIFF: Final = re.compile(r"```diff\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages with all diffs of the README applied."""
    folder = tmp_path_factory.mktemp("changed")
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    diffs = DIFF.findall((ROOT / "README.md").read_text())
    assert len(diffs) == 3
    for diff in diffs:
        subprocess.run(
            ["git", "apply", "-"], cwd=folder, input=diff, text=True, check=True, timeout=60
        )
    return folder


def python(folder: Path, *arguments: str) -> str:
    """What a module of the copy prints."""
    ran = subprocess.run(
        [sys.executable, "-P", "-m", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def run(changed: Path) -> Path:
    crawl = changed / "small.warc.gz"
    write_crawl(crawl)
    python(changed, "pipeline", "run", str(crawl), "-o", "run", "--no-fetch", "--workers=1",
           "--part-size=0.125", "--heldout=0.4")  # fmt: skip
    return changed / "run"


def test_a_stage_is_done_and_verified(changed: Path, run: Path) -> None:
    counts = json.loads((run / "audit.manifest.json").read_text())["counts"]
    assert counts == {"documents.seen": 9, "documents.kept": 9}
    assert "audit" in python(changed, "pipeline", "stats", "run")
    assert "everything that could be counted balances" in python(
        changed, "pipeline", "verify", "run"
    )


def test_a_rule_is_in_the_manifest_and_in_the_report(run: Path) -> None:
    settings = json.loads((run / "filter_text.manifest.json").read_text())["settings"]
    assert "spam_page" in {rule["reason"] for rule in settings["recipe"]["document"]}
    assert "spam page" in (run / "report.html").read_text()


def test_a_connector_trains(changed: Path, run: Path) -> None:
    python(changed, "training.cli", "fit", "--shards", str(run), "-o", "model", "--set",
           "optimizer.steps=2", "--set", "optimizer.warmup=0", "--set", "data.rows=2")  # fmt: skip
    lines = (changed / "model" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]
