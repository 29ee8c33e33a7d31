"""Replay: what was decided is decided again, from what lies at rest, by the functions of the run.

In:   documents/, objections/, images/ and wanted/ of a run, its recipe and its opt-out list.
Out:  verdicts, wanted URLs and kept rows of the stages that group, and the tables, made again in a
      folder that is removed; a check for each stage that its files come out to the byte, and its
      counts to the number.
Not:  where package versions differ from the run's, or the documents do not fit in memory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace

from pipeline.job import Job
from pipeline.local import memory
from pipeline.run.execute import run_stage
from pipeline.shard.report.part_tables import write_tables
from pipeline.stage import Stage
from pipeline.stages import EXTRACT, SHARD
from pipeline.store import parquet
from pipeline.verify.at_rest import RunAtRest, StageAtRest
from pipeline.verify.checks import Check, compare, named, not_counted
from schemas.manifest import StoredFile

KIND = "files made again"


def check_replay(run: RunAtRest, at_rest: StageAtRest) -> Iterator[Check]:
    stage, job = at_rest.stage, run.job
    here = replace(job.settings, versions={stage.name: stage.versions})
    if other := list(stage.changes(job.settings, here)):
        yield not_counted(stage.name, KIND, f"here is {', '.join(other)}")
        return
    with tempfile.TemporaryDirectory(prefix="interloom-verify-") as scratch:
        again = replace(job.doing(stage.name), scratch=scratch, remade=_names_of(stage))
        if stage.groups:
            try:
                memory.check(run.stages[stage.reads].manifest.ledger["documents.kept"])
            except ValueError as error:
                yield not_counted(stage.name, KIND, str(error))
                return
            run_stage(again, stage, runner="FnApiRunner", options=[])
            yield from _same_counts(again, at_rest)
            made = [file for row in parquet.read_rows(again.parts_table(stage.name))
                    for file in row["files"]]  # fmt: skip
            yield _same_files(at_rest, {file["path"]: StoredFile(**file) for file in made})
        elif stage is SHARD:
            yield _same_files(at_rest, _tables(again, run.stages[EXTRACT.name].named_parts))


def _names_of(stage: Stage) -> tuple[str, ...]:
    """How all that a stage writes begins, below the run folder."""
    return (f"{stage.name}.", *(f"{table}/" for table in stage.tables))


def _tables(job: Job, parts: list[str]) -> Mapping[str, StoredFile]:
    return {file.path: file for part in parts for file in write_tables(part, job).files}


def _same_files(at_rest: StageAtRest, made: Mapping[str, StoredFile]) -> Check:
    """Of the stage's files those that were made again."""
    tables = {path.rpartition("/")[0] for path in made}
    written = {file.path: file for file in at_rest.files
               if file.path.rpartition("/")[0] in tables}  # fmt: skip
    paths = sorted({*made, *written})
    wrong = [path for path in paths if made.get(path) != written.get(path)]
    return compare(at_rest.name, KIND, len(paths) - len(wrong), len(paths), note=named(wrong))


def _same_counts(job: Job, at_rest: StageAtRest) -> Iterator[Check]:
    rows = parquet.read_rows(job.parts_table(at_rest.name), ["part", "counts"])
    wrong = [row["part"] for row in rows if dict(row["counts"]) != at_rest.counts(row["part"])]
    yield compare(at_rest.name, "counts made again", len(at_rest.parts) - len(wrong),
                  len(at_rest.parts), note=named(wrong))  # fmt: skip
