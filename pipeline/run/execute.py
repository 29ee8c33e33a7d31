"""run: which stages are whole, which must be done; sweep, do them in order, never hang.

In:   a run folder with its run.json (layout.py), and Beam's options.
Out:  every stage whole, its manifest written last, and its times in STAGE.host.json. A stage that
      fails ends the run with one line; the whole traceback is in STAGE.failure.host.json, which the
      stage's next start removes.
A stage is whole when its manifest carries its fingerprint. Of what a killed run left, extract
and shard keep parts with their fingerprint (`keeps_parts`), fetch keeps every committed row
(`keeps_all`), the filter stages start again. Other parts, and files that were being written, are
swept first.
"""

from __future__ import annotations

import json
import os
import re
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

import apache_beam as beam
from apache_beam.metrics.metric import MetricsFilter
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.transforms.environments import SubprocessSDKEnvironment

from pipeline import stages
from pipeline.account.manifest import part_names, read_manifest
from pipeline.job import SECONDS, Job
from pipeline.local import memory
from pipeline.local.beam import introspect_once, quiet_local_runner
from pipeline.local.workers import end_when_a_worker_dies, worker_command
from pipeline.run import layout
from pipeline.run.progress import Progress
from pipeline.stage import Stage
from pipeline.store import parquet, store
from pipeline.store.store import files_of
from schemas.manifest import Manifest

_STEP: Final = re.compile(r"(?<! ) *+\[while running '([^']+)'\]")
# kinds of errors whose messages are written for the user: the kind is left out
_OWN_ERRORS: Final = re.compile(
    r"^(?:(?:RuntimeError|ValueError|OSError|[\w.]*FullDiskError): )+(?:\[Errno \d+\] )?"
)
RUNNERS_HERE: Final = ("FnApiRunner", "DirectRunner", "BundleBasedDirectRunner")


class StageFailedError(RuntimeError):
    """A stage ended with an error; what was whole before stays whole."""


def whole(job: Job, stage: Stage) -> Manifest | None:
    """The manifest of a stage that needs nothing done."""
    files = job.manifest(stage.name), job.parts_table(stage.name)
    if not all(map(store.exists, files)):
        return None
    manifest = read_manifest(job, stage.name)
    return manifest if manifest.fingerprint == job.fingerprints[stage.name] else None


def execute(
    job: Job,
    *,
    todo: Sequence[Stage] | None = None,
    options: Sequence[str] = (),
    runner: str = "FnApiRunner",
    say: Callable[[str], None] = print,
    progress: Progress | None = None,
) -> None:
    """Do the stages that are not whole (all, or those named), in order, alone in the folder."""
    if left := layout.foreign(job.output):
        say(f"left as it is, since no run has written it: {left[0]!r} in {job.output}"
            + (f", and {len(left) - 1:,} more" if left[1:] else ""))  # fmt: skip
    with store.held(job.output):
        for stage in stages.STAGES if todo is None else todo:
            if whole(job, stage) is not None:
                say(f"{stage.name}: whole, nothing to do")
                tidy(job, stage)
                continue
            if store.exists(job.manifest(stage.name)):
                lost = not store.exists(job.parts_table(stage.name))
                why = "its table of parts is lost" if lost else "settings or versions have changed"
                say(f"{stage.name}: {why}, so it is done again")
            _check_before(job, stage, runner)
            sweep(job, stage)
            started = time.time()
            job_here = job.doing(stage.name)
            if (deadline := job.settings.fetching.deadline) is not None:
                job_here = replace(job_here, until=started + deadline)
            with (progress or Progress.silent()).watch(job_here, stage):
                seconds_by_task = run_stage(job_here, stage, runner=runner, options=options)
            write_host(job, stage, started=started, runner=runner, seconds_by_task=seconds_by_task)
            if runner in RUNNERS_HERE and whole(job, stage) is None:
                raise RuntimeError(f"{stage.name} ended without a manifest: the runner lost a step")
            tidy(job, stage)


def _check_before(job: Job, stage: Stage, runner: str) -> None:
    """Raises ValueError where a stage before is not whole, or memory cannot hold the documents."""
    for before in stages.STAGES[: stages.STAGES.index(stage)]:
        if whole(job, before) is None:
            raise ValueError(
                f"{stage.name} needs {before.name} first: run that stage, or all of them"
            )
    if runner in RUNNERS_HERE and stage.groups:
        memory.check(read_manifest(job, stage.reads).ledger["documents.kept"])


def run_stage(job: Job, stage: Stage, *, runner: str, options: Sequence[str]) -> dict[str, float]:
    """One Beam job, to its end. Returns the seconds that its workers spent, by task."""
    pipeline = open_pipeline(runner, options)
    stage.dataflow(pipeline, job.doing(stage.name))
    try:
        with end_when_a_worker_dies():
            result = pipeline.run()
            result.wait_until_finish()
    except Exception as error:
        raise stage_failure(error, job, stage) from error
    if runner not in RUNNERS_HERE:
        return {}  # the service keeps its own times
    counters = result.metrics().query(MetricsFilter().with_namespace(SECONDS))["counters"]
    return {counter.key.metric.name: counter.result / 1_000_000 for counter in counters}


def stage_failure(error: Exception, job: Job, stage: Stage) -> StageFailedError:
    """The error to end with; the whole traceback is kept, if anything can be written."""
    path = _failure_path(job, stage)
    text = "".join(traceback.format_exception(error))
    message, step = cause_of(text)
    facts = {"message": message, "step": step, "traceback": text.splitlines()}
    try:
        store.write_bytes(path, (json.dumps(facts, indent=1, ensure_ascii=False) + "\n").encode())
        rest = f"the whole traceback is in {path}"
    except OSError as write_error:
        rest = f"its traceback could not be kept in {path} ({write_error.strerror})"
    place = f" at '{step}'" if step else ""
    return StageFailedError(f"{stage.name} failed{place}: {message} ({rest})")


def cause_of(text: str) -> tuple[str, str]:
    """The message of the last error in a text of tracebacks, in one line, and the step it names.

    The lines of a stack are indented; the message of its error stands behind the last of them.
    """
    lines = text.rstrip().splitlines()
    stack = [number for number, line in enumerate(lines) if line.startswith("  ")]
    message = " ".join(line.strip() for line in lines[stack[-1] + 1 if stack else 0 :])
    steps = _STEP.findall(message)
    return _OWN_ERRORS.sub("", _STEP.sub("", message)).strip(), steps[-1] if steps else ""


def open_pipeline(runner: str, options: Sequence[str]) -> beam.Pipeline:
    beam_options = PipelineOptions(list(options))
    if runner in RUNNERS_HERE:
        quiet_local_runner()
        introspect_once()
    if runner == "FnApiRunner":
        workers = beam_options.view_as(DirectOptions).direct_num_workers
        return beam.Pipeline(runner=local_runner(workers), options=beam_options)
    return beam.Pipeline(runner=runner, options=beam_options)


def local_runner(workers: int) -> FnApiRunner:
    """Beam's local runner with so many processes; one worker runs in this process."""
    if workers == 1:
        return FnApiRunner()
    environment = SubprocessSDKEnvironment.from_command_string(worker_command())
    return FnApiRunner(default_environment=environment)


def write_host(
    job: Job, stage: Stage, *, started: float, runner: str, seconds_by_task: dict[str, float]
) -> None:
    """Times and hosts, which differ between runs of the same bytes."""
    facts = {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "seconds": round(time.time() - started, 3),
        "runner": runner,
        "cores": os.cpu_count(),
        "spent": {name: round(seconds, 3) for name, seconds in sorted(seconds_by_task.items())},
    }
    text = json.dumps(facts, indent=1) + "\n"
    store.write_bytes(job.path(f"{stage.name}.host.json"), text.encode())


def sweep(job: Job, stage: Stage) -> None:
    """Remove what a killed or outdated attempt of a stage left."""
    own = (job.manifest(stage.name), job.parts_table(stage.name), _failure_path(job, stage))
    store.remove(path for path in own if store.exists(path))
    store.remove(layout.asides(job.output))
    if not stage.keeps_all:
        kept = set(_whole_parts(job, stage)) if stage.keeps_parts else set()
        for table, form in stage.tables.items():
            files = files_of(job.output, table, form)
            store.remove(path for path, part in files if part not in kept)
    if stage.tidy is not None:
        stage.tidy(job, None)


def tidy(job: Job, stage: Stage) -> None:
    """Remove files that a finished stage no longer needs."""
    if stage.tidy is not None and whole(job, stage) is not None:
        store.remove(layout.asides(job.output))
        stage.tidy(job, part_names(job.parts_table(stage.name)))


def _failure_path(job: Job, stage: Stage) -> str:
    return job.path(f"{stage.name}.failure.host.json")


def _whole_parts(job: Job, stage: Stage) -> Iterator[str]:
    """Parts whose last file carries the stage's fingerprint, so that all of them are whole."""
    for table in stage.last:
        for path, part in files_of(job.output, table, stage.tables[table]):
            mark = parquet.read_mark(path, part=part)
            if mark is not None and mark.fingerprint == job.fingerprints[stage.name]:
                yield mark.part


def host_seconds(job: Job) -> dict[str, float]:
    """Seconds of each stage's last run, from its host file."""
    return {
        stage: seconds_of(job.path(f"{stage}.host.json"))
        for stage in job.stages
        if store.exists(job.path(f"{stage}.host.json"))
    }


def seconds_of(path: str) -> float:
    """The seconds in a host file; raises ValueError for one that is damaged."""
    try:
        seconds = store.read_json(path).get("seconds")
        if not isinstance(seconds, int | float):
            raise ValueError("it tells no seconds")
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}): remove it, it only tells times") from error
    return seconds


def manifests(job: Job) -> dict[str, Manifest]:
    """The manifest of every stage that is whole."""
    return {
        stage.name: manifest
        for stage in stages.STAGES
        if (manifest := whole(job, stage)) is not None
    }
