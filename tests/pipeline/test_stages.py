"""A stage is a value: one more, added in one place, is done, kept, shown and redone as all are."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest

from pipeline import stages
from pipeline.account.manifest import ListParts, WriteManifest
from pipeline.job import Job, Settings
from pipeline.stage import Stage
from pipeline.store import parquet, store
from schemas.manifest import Ledger, PartResult
from schemas.tables import VERDICTS
from tests.pipeline.bad_crawls import command, good


def audit(root: beam.Pipeline, job: Job) -> None:
    """Looks at every part and drops nothing."""
    parts = root | "List parts" >> ListParts(job, of=stages.EXTRACT)
    done = parts | "Write verdicts" >> beam.Map(partial(write_part, job=job))
    _ = done | "Account" >> WriteManifest(job, stage=AUDIT)


def write_part(part: str, job: Job) -> PartResult:
    ledger = Ledger()
    for _ in parquet.read_rows(job.part("documents", part), ["id"]):
        ledger.see("documents")
        ledger.keep("documents")
    path = job.part(f"verdicts/{job.stage}", part)
    parquet.write_rows(path, VERDICTS, [], fingerprint=job.fingerprint, counts=ledger)
    return PartResult(part=part, fingerprint=job.fingerprint, counts=dict(ledger))


def settings(_: Settings) -> dict[str, Any]:
    return {}


AUDIT = Stage(
    name="audit",
    dataflow=audit,
    tables={"verdicts/audit": store.PART_NAMES},
    last=("verdicts/audit",),
    reads=stages.EXTRACT.name,
    revision=1,
    shaped_by=("pyarrow",),
    settings=settings,
)


@pytest.fixture
def six(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "STAGES", (*stages.STAGES, AUDIT))


@pytest.mark.usefixtures("six")
def test_a_sixth_stage_is_added_in_one_place_and_a_run_does_it(tmp_path: Path) -> None:
    crawl, run = tmp_path / "crawl.warc", tmp_path / "run"
    crawl.write_bytes(b"".join(good(1, 2, 3)))
    assert command("run", crawl, "-o", run, "--no-fetch", "--workers=1").code == 0
    made = json.loads((run / "audit.manifest.json").read_text())
    assert made["counts"] == {"documents.kept": 3, "documents.seen": 3}
    assert made["versions"].keys() == {"audit", "interloom", "pyarrow"}

    # a foreign file stays, its own parts are swept; it is done again alone
    (run / "audit.manifest.json").unlink()
    (run / "verdicts/audit/notes.txt").write_text("mine")
    (run / "verdicts/audit/000009-00000000000000.parquet").write_text("left")
    said = command("run", "-o", run, "--workers=1").out
    assert "left as it is, since no run has written it: 'verdicts/audit/notes.txt'" in said
    assert "shard: whole, nothing to do" in said
    assert "audit: done, 1 parts" in said
    assert len(list((run / "verdicts/audit").iterdir())) == 2
    assert "audit" in command("stats", run).out
