"""run: which stages are whole, which must be done; sweep, do them in order, never hang.

In:   a run folder, what the user chose, and Beam's options.
Out:  every stage whole, run.json written first, each stage's manifest written last, and times in
      STAGE.host.json, the only file that knows of hosts and clocks.
A stage is whole when its manifest carries its fingerprint. A killed run leaves parts behind:
extract and shard keep those that carry the fingerprint; the others start again; what was being
written aside, and parts of another fingerprint, are swept first.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import apache_beam as beam
from apache_beam.metrics.metric import MetricsFilter
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.transforms.environments import SubprocessSDKEnvironment

from pipeline import stages
from pipeline.account.manifest import part_names, read_manifest
from pipeline.job import SECONDS, Crawl, Job, Settings, read_run, run_text
from pipeline.local import memory
from pipeline.local.beam_once import introspect_once
from pipeline.local.workers import end_when_a_worker_dies
from pipeline.run import layout, worker
from pipeline.run.failure import failed, quiet_local_runner
from pipeline.run.progress import Progress
from pipeline.stage import Stage
from pipeline.store import parquet, store
from pipeline.store.forms import files
from pipeline.store.raw import CLOUD
from schemas.manifest import Manifest

PATTERN: Final = "*?["  # what a name in a bucket may not hold, since Beam cannot quote it
RUNNERS_HERE: Final = ("FnApiRunner", "DirectRunner", "BundleBasedDirectRunner")


def check_output(output: str) -> None:
    """Raises ValueError for what is no path to write to, as far as that can be seen from here."""
    if not output:
        raise ValueError("output is '': name a folder")
    if not _is_utf8(output):
        raise ValueError(f"output is {output!a}, which is not UTF-8: choose another name")
    if not store.is_local(output):
        _check_bucket(output)
        return
    try:
        there = next(path for path in (Path(output), *Path(output).parents) if path.exists())
    except OSError as error:
        raise _unmade(output, error) from error
    if not there.is_dir():
        raise ValueError(f"output is {output}, but {there} is a file: choose another folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"output is {output}, but {there} may not be written to: choose another "
                         "folder, or change its permissions")  # fmt: skip


def _is_utf8(name: str) -> bool:
    """Whether a name from the command line is text, and no bytes that Python smuggles through."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unmade(output: str, error: OSError) -> ValueError:
    return ValueError(
        f"output is {output}, which cannot be made ({error.strerror}): choose another folder"
    )


def _check_bucket(output: str) -> None:
    scheme, _, rest = output.partition("://")
    if scheme not in CLOUD:
        raise ValueError(
            f"output is {output}, but {scheme}:// is not written to: choose a local folder, "
            f"{' or '.join(f'{name}://' for name in sorted(CLOUD))}"
        )
    if not rest.partition("/")[0]:
        raise ValueError(f"output is {output}, which names no bucket: add it, and a folder")
    if mark := next((one for one in rest if one in PATTERN), ""):
        raise ValueError(
            f"output is {output}, but a listing of a bucket takes {mark} for a pattern, and would "
            f"find files of other folders: choose a name without {' '.join(PATTERN)}"
        )


def prepare(output: str, crawl: Crawl, settings: Settings, opt_out: str | None = None) -> Job:
    """Write run.json, or check that the folder holds this very run; beside it the list it names.

    Raises:
        ValueError: where the folder holds another run, what is no run, or links out of it.
    """
    layout.check(output)
    path = store.join(output, "run.json")
    if store.exists(path):
        check_same(output, read_run(output)["crawl"], crawl)
    elif stray := next(_strays(output), None):
        raise ValueError(
            f"{output} is not empty and holds no run (it has {stray}): choose an empty folder"
        )
    if store.is_local(output):
        try:
            Path(output).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unmade(output, error) from error
    with store.held(output):  # not under the hands of another run
        if opt_out is not None and settings.opt_out:
            store.write_bytes(store.join(output, settings.opt_out), opt_out.encode())
        store.write_bytes(path, run_text(crawl, settings).encode())
        lists = layout.opt_out_lists(output)
        store.remove(one for one in lists if one != store.join(output, settings.opt_out))
    return stages.make_job(output, crawl, settings)


def _strays(output: str) -> Iterator[str]:
    """Files of a folder without run.json, but for what a run that was killed has left before it.

    Of a local folder one by one: it may be the root of a disk.
    """
    base = store.join(output, "")
    return (path for path in store.walk(output) if not layout.is_first(path.removeprefix(base)))


def check_same(output: str, old: Mapping[str, Any], crawl: Crawl) -> None:
    """Raises ValueError for the first thing in which a run's crawl is another one now."""
    new = json.loads(json.dumps(asdict(crawl)))
    for name, value in new.items():
        if old.get(name, value) != value:  # a run of before may lack one
            match name:
                case "inputs" | "indexes":
                    why = _of_lists(name, old[name], value)
                case "ends":
                    pairs = zip(crawl.inputs, old[name], value, strict=True)
                    changed = next(one for one, was, now in pairs if was != now)
                    why = f"{changed} has other bytes now"
                case "sizes":
                    why = _of_sizes(crawl.inputs, old[name], value)
                case _:
                    why = f"its {name} is {old[name]}, now {value}"
            raise ValueError(
                f"{output} holds another run: {why}; give the same again, or choose another output"
            )


def _of_lists(name: str, old: list[str], new: list[str]) -> str:
    more, less = sorted(set(new) - set(old)), sorted(set(old) - set(new))
    return f"{more[0]} is not among its {name}" if more else f"{less[0]} is, and is not named now"


def _of_sizes(inputs: Sequence[str], old: list[int], new: list[int]) -> str:
    told = zip(inputs, old, new, strict=True)
    return next(f"{name} had {was:,} bytes, now {now:,}" for name, was, now in told if was != now)


def whole(job: Job, stage: Stage) -> Manifest | None:
    """The manifest of a stage that needs nothing done."""
    if not store.exists(job.manifest(stage.name)):
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
                say(f"{stage.name}: settings or versions have changed, so it is done again")
            _check_before(job, stage, runner)
            sweep(job, stage)
            started = time.time()
            here = job.doing(stage.name)
            if (deadline := job.settings.fetching.deadline) is not None:
                here = replace(here, until=started + deadline)
            with (progress or Progress.silent()).watch(here, stage):
                spent = run_stage(here, stage, runner=runner, options=options)
            write_host(job, stage, started=started, runner=runner, spent=spent)
            if runner in RUNNERS_HERE and whole(job, stage) is None:
                raise RuntimeError(f"{stage.name} ended without a manifest: the runner lost a step")
            tidy(job, stage)


def _check_before(job: Job, stage: Stage, runner: str) -> None:
    for before in stages.STAGES[: stages.STAGES.index(stage)]:
        if whole(job, before) is None:
            raise ValueError(
                f"{stage.name} needs {before.name} first: run that stage, or all of them"
            )
    if runner in RUNNERS_HERE and stage.groups:
        memory.check(read_manifest(job, stage.reads).ledger["documents.kept"])


def run_stage(job: Job, stage: Stage, *, runner: str, options: Sequence[str]) -> dict[str, float]:
    """One Beam job, to its end; the seconds that its workers say they spent on what."""
    pipeline = open_pipeline(runner, options)
    stage.dataflow(pipeline, job.doing(stage.name))
    try:
        with end_when_a_worker_dies():
            result = pipeline.run()
            result.wait_until_finish()
    except Exception as error:
        path = _failure(job, stage)
        raise failed(error, stage=stage.name, path=path) from error
    if runner not in RUNNERS_HERE:
        return {}  # the service keeps its own times
    found = result.metrics().query(MetricsFilter().with_namespace(SECONDS))["counters"]
    return {one.key.metric.name: one.result / 1_000_000 for one in found}


def open_pipeline(runner: str, options: Sequence[str]) -> beam.Pipeline:
    chosen = PipelineOptions(list(options))
    if runner in RUNNERS_HERE:
        quiet_local_runner()
        introspect_once()
    if runner == "FnApiRunner":
        workers = chosen.view_as(DirectOptions).direct_num_workers
        return beam.Pipeline(runner=local_runner(workers), options=chosen)
    return beam.Pipeline(runner=runner, options=chosen)


def local_runner(workers: int) -> FnApiRunner:
    """Beam's local runner with so many processes; one worker runs in this process."""
    if workers == 1:
        return FnApiRunner()
    environment = SubprocessSDKEnvironment.from_command_string(worker.command())
    return FnApiRunner(default_environment=environment)


def write_host(
    job: Job, stage: Stage, *, started: float, runner: str, spent: dict[str, float]
) -> None:
    """Times and hosts, which differ between runs of the same bytes."""
    facts = {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "seconds": round(time.time() - started, 3),
        "runner": runner,
        "cores": os.cpu_count(),
        "spent": {name: round(seconds, 3) for name, seconds in sorted(spent.items())},
    }
    text = json.dumps(facts, indent=1) + "\n"
    store.write_bytes(job.path(f"{stage.name}.host.json"), text.encode())


def sweep(job: Job, stage: Stage) -> None:
    """Remove what a killed or outdated attempt of a stage left."""
    of_all = (job.manifest(stage.name), job.parts_table(stage.name), _failure(job, stage))
    store.remove(path for path in of_all if store.exists(path))
    store.remove(layout.asides(job.output))
    fits = set(_fitting(job, stage)) if stage.keeps_parts else set()
    for table, form in () if stage.keeps_all else stage.tables.items():
        found = files(job.output, table, form)
        store.remove(path for path, part in found if part not in fits)
    if stage.tidy is not None:
        stage.tidy(job, None)


def tidy(job: Job, stage: Stage) -> None:
    """What a stage that is whole now has no use for."""
    if stage.tidy is not None and whole(job, stage) is not None:
        store.remove(layout.asides(job.output))
        stage.tidy(job, part_names(job.parts_table(stage.name)))


def _failure(job: Job, stage: Stage) -> str:
    return job.path(f"{stage.name}.failure.host.json")


def _fitting(job: Job, stage: Stage) -> Iterator[str]:
    """Parts whose last file carries the stage's fingerprint, so that all of them are whole."""
    for table in stage.last:
        for path, part in files(job.output, table, stage.tables[table]):
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
    """What a host file tells; raises ValueError for one that is damaged."""
    try:
        seconds = store.read_json(path).get("seconds")
        if not isinstance(seconds, int | float):
            raise ValueError("it tells no seconds")
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}): remove it, it only tells times") from error
    return seconds


def manifests(job: Job) -> dict[str, Manifest]:
    """The manifest of every stage that is whole."""
    found = {stage.name: whole(job, stage) for stage in stages.STAGES}
    return {stage: manifest for stage, manifest in found.items() if manifest is not None}
