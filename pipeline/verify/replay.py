"""Replay: what was decided is decided again, from what lies at rest, by the functions of the run.

In:   documents/, objections/, images/ and wanted/ of a run, its recipe and its opt-out list.
Out:  verdicts, wanted URLs and kept rows of the stages that group, and the tables, made again in a
      folder that is removed; a check for each stage that its files come out to the byte, and its
      counts to the number.
Not:  where package versions differ from the run's, or the documents do not fit in memory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from pipeline.account.manifest import other_versions
from pipeline.local import memory
from pipeline.run.execute import run_stage
from pipeline.shard.report.part_tables import write_tables
from pipeline.stage import Stage
from pipeline.stages import EXTRACT, SHARD
from pipeline.verify.at_rest import RunAtRest, StageAtRest, read_parts
from pipeline.verify.checks import Check, compare, named, not_counted
from schemas.manifest import PartResult

KIND = "files made again"


def check_replay(run: RunAtRest, at_rest: StageAtRest) -> Iterator[Check]:
    stage, job = at_rest.stage, run.job
    if other := other_versions(job, stage):
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
            made = read_parts(again.parts_table(stage.name))
            yield _same_counts(at_rest, made)
            yield _same_files(at_rest, made.values())
        elif stage is SHARD:
            parts = run.stages[EXTRACT.name].named_parts
            yield _same_files(at_rest, (write_tables(part, again) for part in parts))


def _names_of(stage: Stage) -> tuple[str, ...]:
    """How all that a stage writes begins, below the run folder."""
    return (f"{stage.name}.", *(f"{table}/" for table in stage.tables))


def _same_files(at_rest: StageAtRest, results: Iterable[PartResult]) -> Check:
    """Of the stage's files those of the tables that were made again."""
    made = {file.path: file for result in results for file in result.files}
    tables = {path.rpartition("/")[0] for path in made}
    written = {file.path: file for file in at_rest.files
               if file.path.rpartition("/")[0] in tables}  # fmt: skip
    paths = sorted({*made, *written})
    wrong = [path for path in paths if made.get(path) != written.get(path)]
    return compare(at_rest.name, KIND, len(paths) - len(wrong), len(paths), note=named(wrong))


def _same_counts(at_rest: StageAtRest, made: Mapping[str, PartResult]) -> Check:
    wrong = [part for part, result in made.items() if result.counts != at_rest.counts(part)]
    count = len(at_rest.parts)
    note = named(wrong)
    return compare(at_rest.name, "counts made again", count - len(wrong), count, note=note)
