"""A run at rest: run.json, and of each stage that is whole its manifest and its parts table.

In:      a run folder, which may be foreign or damaged.
Out:     the job that it was made by, and what each stage wrote down: counts and files by part.
Refused: a folder without a run of this format: ValueError. A stage whose manifest or table cannot
         be used is in `unusable`; without a reason where it has no manifest and one before
         it is there already.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.account.manifest import part_names, read_manifest
from pipeline.job import Crawl, Job, crawl_of, read_run, settings_of, shortened
from pipeline.run.layout import is_own
from pipeline.stage import Stage
from pipeline.stages import STAGES, make_job
from pipeline.store import parquet, store
from schemas.manifest import Ledger, Manifest, PartResult, StoredFile, total


@dataclass(frozen=True, kw_only=True, slots=True)
class StageAtRest:
    """What a whole stage wrote down."""

    stage: Stage
    manifest: Manifest
    parts: Mapping[str, PartResult]  # by part, in their order; "" for what belongs to none

    @property
    def name(self) -> str:
        return self.stage.name

    @property
    def named_parts(self) -> list[str]:
        return [part for part in self.parts if part]

    @property
    def files(self) -> list[StoredFile]:
        return [file for result in self.parts.values() for file in result.files]

    def counts(self, part: str) -> Mapping[str, int]:
        result = self.parts.get(part)
        return {} if result is None else result.counts

    def sums(self) -> Ledger:
        return total(result.counts for result in self.parts.values())


@dataclass(kw_only=True)
class RunAtRest:
    job: Job
    crawl: Crawl
    stages: dict[str, StageAtRest] = field(default_factory=dict)  # those that can be looked at
    unusable: dict[str, str] = field(default_factory=dict)  # stage -> why it cannot


def read_at_rest(output: str) -> RunAtRest:
    """Raises ValueError where there is no run of this format."""
    read = read_run(output)
    crawl = crawl_of(read)
    run = RunAtRest(job=make_job(output, crawl, settings_of(read)), crawl=crawl)
    for stage in STAGES:
        try:
            run.stages[stage.name] = _read_stage(run.job, stage)
        except (OSError, ValueError) as error:
            begun = store.exists(run.job.manifest(stage.name))
            run.unusable[stage.name] = shortened(error) if begun or not run.unusable else ""
    return run


def _read_stage(job: Job, stage: Stage) -> StageAtRest:
    """Raises OSError or ValueError, with the name of the file that is missing or damaged."""
    if not store.exists(job.manifest(stage.name)):
        raise ValueError(
            f"{stage.name} is unfinished (it has no manifest): give the command of the run again"
        )
    manifest = read_manifest(job, stage.name)
    if manifest.stage != stage.name:
        raise ValueError(f"{job.manifest(stage.name)} is of another stage")
    table = job.parts_table(stage.name)
    if not store.exists(table):
        raise ValueError(
            f"{table} is missing: remove {stage.name}.manifest.json, and give the command of the "
            "run again"
        )
    part_names(table)  # no name in it leads out of the run folder
    at_rest = StageAtRest(stage=stage, manifest=manifest, parts=read_parts(table))
    if strange := [file.path for file in at_rest.files if not is_own(file.path)]:
        raise ValueError(f"{table} names {strange[0]!r}, which no run writes")
    return at_rest


def read_parts(table: str) -> dict[str, PartResult]:
    """The rows of a parts table, by part."""
    return {
        row["part"]: PartResult(
            part=row["part"],
            fingerprint=row["fingerprint"],
            counts=dict(row["counts"]),
            files=[StoredFile(**file) for file in row["files"]],
        )
        for row in parquet.read_rows(table)
    }
