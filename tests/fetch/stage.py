"""The stage of fetch alone, over a wanted/ of the test's own, here or where it may be killed.

An audit hook refuses every connection that does not stay on this machine, and writes it down: a
guard that fails fails the test, and nothing leaves the machine.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from pipeline.fetch.commits import HolderResult, read_brought
from pipeline.fetch.worker import Worker
from pipeline.filter_text.wanted import write_wanted
from pipeline.job import Crawl, Fetching, Job
from pipeline.media.look import close_pools
from pipeline.options.launch import choose_settings
from pipeline.options.run_options import RunOptions
from pipeline.run.execute import run_stage, sweep, tidy
from pipeline.run.layout import prepare
from pipeline.stages import FETCH, FILTER_TEXT
from pipeline.store import parquet
from pipeline.words.urls import partition_of
from tests.forked import Forked

PARTITIONS: Final = 4
CONTACT: Final = "us@example.org"
LEFT: Final = "left.txt"
# of tests for which a pace is not the point
FAST: Final = "requests = inf\nconnections = 4\ndomain_requests = inf\n"


def fetch_partition(partition: int, job: Job) -> HolderResult:
    """A partition's own URLs, by a worker that has no other."""
    worker = Worker(job, until=job.until)
    worker.take(partition, None)
    (result,) = worker.finish()
    return result


def job_for(
    folder: Path, urls: Iterable[str], fetching: Fetching, *, partitions: int = PARTITIONS
) -> Job:
    """A run whose text filters wanted these URLs."""
    settings = choose_settings(RunOptions(), None, fetching)
    crawl = Crawl(inputs=("none.warc.gz",), partitions=partitions)
    job = prepare(str(folder / "run"), crawl, settings)
    of: dict[int, list[str]] = defaultdict(list)
    for url in urls:
        of[partition_of(url, partitions)[0]].append(url)
    for partition in range(partitions):
        write_wanted(partition, of[partition], job.doing(FILTER_TEXT.name))
    return job.doing(FETCH.name)


def start(
    job: Job,
    *,
    only: Sequence[int] = (),
    workers: int = 1,
    environment: Mapping[str, str] | None = None,
) -> Forked:
    """The stage in a process of its own; or some partitions alone, one after the other."""
    return Forked(_fetch, job, only, workers, environment=environment)


def do(job: Job, environment: Mapping[str, str] | None = None) -> None:
    """The stage to its end, in this process; no connection has left the machine."""
    with _stay_here(Path(job.output).parent) as left, patch.dict(os.environ, environment or {}):
        _do(job, workers=1)
    assert not left.exists()


def do_elsewhere(job: Job, *, workers: int) -> None:
    """In a process of its own, with others below it."""
    with start(job, workers=workers) as process:
        process.wait()
    assert not (Path(job.output).parent / LEFT).exists()


def _do(job: Job, *, workers: int) -> None:
    sweep(job, FETCH)
    run_stage(job, FETCH, runner="FnApiRunner", options=[f"--direct_num_workers={workers}"])
    tidy(job, FETCH)


def rows(job: Job) -> Iterator[dict[str, Any]]:
    """The settled rows, in the order of partitions and URLs."""
    for part in parquet.read_rows(job.parts_table("fetch"), ["part"]):
        yield from parquet.read_rows(job.part("images", part["part"]))


def rows_brought(job: Job, partition: int) -> list[str]:
    """The status of each URL that a partition has committed."""
    return [known.status for known in read_brought(job, partition).known.values()]


_told: Final[list[Path]] = []  # where the hook, which no process can take off again, writes


@cache
def _hook() -> None:
    def hook(event: str, args: tuple[Any, ...]) -> None:
        if _told and event == "socket.connect" and isinstance(args[1], tuple):
            host = args[1][0]
            if host not in {"127.0.0.1", "::1", "localhost"}:
                with _told[-1].open("a") as told:
                    told.write(f"{args[1]}\n")
                raise ConnectionRefusedError(f"{host} is not here")

    sys.addaudithook(hook)


@contextmanager
def _stay_here(folder: Path) -> Iterator[Path]:
    _hook()
    _told.append(folder / LEFT)
    try:
        yield _told[-1]
    finally:
        _told.pop()


def _fetch(job: Job, only: Sequence[int], workers: int) -> None:
    with _stay_here(Path(job.output).parent):
        for partition in only:
            fetch_partition(partition, job)
        if not only:
            _do(job, workers=workers)
    close_pools()
