"""Files: every file of a run against the digest that it was written with; what no stage wrote.

In:   a run at rest. The manifest holds the digest of the parts table, which holds those of all
      other files; the manifest itself is made again from run.json and the table, and run.json from
      what it says: each must come out to the byte.
Out:  a check of run.json and of the opt-out list; of each stage one of its manifest, one of its
      files, and one of the files that lie among them and are not its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from pipeline.account.manifest import make_manifest
from pipeline.job import run_text, shortened
from pipeline.run import layout
from pipeline.run.execute import seconds_of
from pipeline.stages import NAMES, STAGES
from pipeline.store import store
from pipeline.store.store import ENDED, OPT_OUT
from pipeline.verify.at_rest import RunAtRest, StageAtRest
from pipeline.verify.checks import (
    FILES,
    MANIFEST,
    RUN,
    STRAYS,
    Check,
    Outcome,
    compare,
    expect_none,
    named,
    not_counted,
)
from schemas.manifest import StoredFile

HOST: Final = "host files that cannot be read"


def check_files(run: RunAtRest) -> Iterator[Check]:
    of_run = _check_run(run)
    yield of_run
    yield from _check_opt_out(run)
    for at_rest in run.stages.values():
        yield _check_host(run, at_rest.name)
        if of_run.outcome is Outcome.OK:
            yield _check_manifest(run, at_rest)
        else:
            yield not_counted(at_rest.name, MANIFEST, "run.json is not as it was written")
        yield _check_stored(run, at_rest)
    for stage, why in run.unusable.items():
        if why:
            yield Check(stage=stage, kind=MANIFEST, outcome=Outcome.FAILED, note=why)
        else:
            yield not_counted(stage, MANIFEST, "a stage before it is not whole")
    yield from _check_strays(run)


def _check_run(run: RunAtRest) -> Check:
    """It carries its own digest: it may be written anew after all manifests."""
    text = store.read_bytes(run.job.path("run.json"))
    again = run_text(run.crawl, run.job.settings).encode()
    return compare(RUN, "run.json", _short(text), _short(again))


def _check_opt_out(run: RunAtRest) -> Iterator[Check]:
    if not (name := run.job.settings.opt_out):
        return
    path = run.job.path(name)
    here = _short(store.read_bytes(path)) if store.exists(path) else "missing"
    yield compare(RUN, name, here, name.removeprefix(OPT_OUT).removesuffix(".txt"))


def _short(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _check_host(run: RunAtRest, stage: str) -> Check:
    """Its times may differ between runs; that it can be read may not."""
    path = run.job.path(f"{stage}.host.json")
    try:
        if store.exists(path):
            seconds_of(path)
    except ValueError as error:
        return expect_none(stage, HOST, [shortened(error)])
    return expect_none(stage, HOST, [])


def _check_manifest(run: RunAtRest, at_rest: StageAtRest) -> Check:
    """Its text, against that of a manifest made from run.json and the parts table."""
    job, stage, was = run.job, at_rest.stage, at_rest.manifest
    table = store.digest(job.parts_table(stage.name), stage.name)
    of_parts = {result.fingerprint for result in at_rest.parts.values()}
    if job.fingerprints[stage.name] != was.fingerprint and of_parts <= {was.fingerprint}:
        why = "run.json has other inputs, settings or versions: give the command of the run again"
        return compare(
            stage.name, MANIFEST, was.fingerprint, job.fingerprints[stage.name], note=why
        )
    again = make_manifest(
        job, stage, at_rest.sums(), len(at_rest.named_parts), table.sha256
    ).to_json()
    text = store.read_bytes(job.manifest(stage.name)).decode(errors="replace")
    lines = zip(text.splitlines(), again.splitlines(), strict=False)
    other = next((f"{line.strip()} is not {made.strip()}" for line, made in lines if line != made),
                 "" if text == again else "it has more or fewer lines")  # fmt: skip
    note = f"{other}, by run.json and {stage.name}.parts.parquet" if other else ""
    return compare(stage.name, MANIFEST, _short(text.encode()), _short(again.encode()), note=note)


def _check_stored(run: RunAtRest, at_rest: StageAtRest) -> Check:
    wrong = {file.path: why for file in at_rest.files if (why := _difference(run, file))}
    fingerprints = {result.fingerprint for result in at_rest.parts.values()}
    if len(fingerprints) > 1:
        wrong[f"{at_rest.name}.parts.parquet"] = "names parts of several fingerprints"
    count = len(at_rest.files)
    note = named([f"{path} {why}" for path, why in wrong.items()])
    check = compare(at_rest.name, FILES, count - len(wrong), count, note=note)
    return replace(check, paths=tuple(wrong))


def _difference(run: RunAtRest, file: StoredFile) -> str:
    try:
        return store.difference(run.job.output, file)
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"


def _check_strays(run: RunAtRest) -> Iterator[Check]:
    """Files that no whole stage wrote, by the stage that writes such names."""
    output = run.job.output
    strays = {RUN: layout.foreign(output)} | {name: list[str]() for name in run.stages}
    written = {"run.json", run.job.settings.opt_out}
    for name, at_rest in run.stages.items():
        written |= {f"{name}.manifest.json", f"{name}.parts.parquet"}
        written |= {file.path for file in at_rest.files}
    for path in layout.own(output):
        name = store.name_below(output, path)
        if name not in written and not name.endswith(".host.json") and store.ASIDE not in name:
            stage = stage_of(name)
            if stage in strays:  # what an unfinished one has left is swept at its next start
                strays[stage].append(name)
    for stage, names in strays.items():
        yield expect_none(stage, STRAYS, sorted(names))


def stage_of(name: str) -> str:
    """The stage that writes a file of this name below a run folder; RUN for none of them."""
    folder, _, file = name.rpartition("/")
    for stage in STAGES:
        form = stage.tables.get(folder)
        if form is not None and form(file):
            return stage.name
        if not folder and file.startswith(f"{stage.name}."):
            return stage.name
    if folder == ENDED:
        return NAMES[0]
    return NAMES[-1] if Path(name).suffix in {".html", ".md"} else RUN
