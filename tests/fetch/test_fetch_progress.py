"""Progress of fetch: what is left is of all URLs, in whatever partition, round or start."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.fetch.commits import AWAY, Commits, Errand
from pipeline.fetch.hosts.request import Ending, row_of
from pipeline.fetch.progress import Urls
from pipeline.fetch.steps import settle
from pipeline.job import Fetching, Job
from pipeline.problem import Problem
from pipeline.store import store
from pipeline.words.urls import partition_of
from schemas.verdict import Reason
from tests.fetch.stage import CONTACT, PARTITIONS, job_for

TOLD = Fetching(on=True, contact=CONTACT)
URLS = [f"http://site{number}.test/a.jpg" for number in range(20)]


def commit(job: Job, urls: Sequence[str], status: str = Reason.TIMED_OUT) -> None:
    """As holders do, each of its own partition."""
    round_ = job.settings.fetching.round
    for partition in range(PARTITIONS):
        commits = Commits.begin(job, partition, {})
        for url in urls:
            if partition_of(url, PARTITIONS)[0] == partition:
                ending = Ending(errand=Errand(url, url), problem=Problem(reason=Reason.TIMED_OUT))
                commits.add(row_of(ending, round_=round_) | {"status": status})
        if (one := commits.cut()) is not None:
            one.write()


def hold(job: Job, partition: int, **news: int) -> None:
    (name,) = {path.rsplit("/", 1)[-1].rpartition("-")[0]
               for path in store.beginning(job.path("images", f"fetch-{partition:05d}-"))
               } or {"fetch-none-yet"}  # fmt: skip
    told = {"commits": name, "bytes": 0, "seconds": 10.0, "hosts": 1, "slowest": {}}
    data = json.dumps({"until": 0, "news": told | news}).encode()
    store.write_bytes(job.path("leases", f"{partition:05d}.host.json"), data)


def test_what_is_left_is_of_partitions_too_that_nobody_has_begun(tmp_path: Path) -> None:
    job = job_for(tmp_path, URLS, TOLD)
    meter = Urls(job)
    assert (meter.total, meter.look()) == (20, (0, ""))
    commit(job, URLS[:6])
    its = sum(partition_of(url, PARTITIONS)[0] == 1 for url in URLS[:6])
    assert 0 < its < 6
    hold(job, 1, asked=20, done=its + 2, ok=2)  # it has not said yet that `its` are written
    done, line = meter.look()
    assert done == 8
    assert line.startswith("25% ok, 2/s, ")
    assert line.endswith(" 6 s left")  # 12 of 2 a second


def test_what_a_killed_holder_told_is_no_news_of_the_next_start(tmp_path: Path) -> None:
    job = job_for(tmp_path, URLS, TOLD)
    commit(job, URLS[:6])
    hold(job, 1, asked=20, done=9, ok=9)
    meter = Urls(job)
    assert (meter.look(), meter.total) == ((0, ""), 14)


@pytest.mark.parametrize("data", ["[1]", "null", "{}", '{"news": 5}', '{"news": {"done": 1}}', ""])
def test_a_lease_that_tells_nothing_of_use_is_no_news(tmp_path: Path, data: str) -> None:
    job = job_for(tmp_path, URLS, TOLD)
    meter = Urls(job)
    store.write_bytes(job.path("leases", "00000.host.json"), data.encode())
    assert meter.look() == (0, "")


def test_what_has_led_away_is_not_done_but_by_who_brings_it_home(tmp_path: Path) -> None:
    job = job_for(tmp_path, URLS, TOLD)
    meter = Urls(job)
    commit(job, URLS[:6], AWAY)
    assert meter.look()[0] == 0
    commit(job, URLS[:3])
    assert meter.look()[0] == 3


def test_another_start_has_only_the_rest_to_ask_for(tmp_path: Path) -> None:
    job = job_for(tmp_path, URLS, TOLD)
    commit(job, URLS[:6])
    commit(job, URLS[6:8], AWAY)
    meter = Urls(job)
    assert meter.total == 14
    commit(job, URLS[6:])
    for partition in range(PARTITIONS):
        settle(partition, [], job)
    assert meter.look()[0] == 14  # what is settled was counted as it came
    assert Urls(job).total == 0
    off = replace(job, settings=replace(job.settings, fetching=Fetching()))
    assert Urls(off).total == 0


def test_a_refetch_has_what_it_was_told_to_ask_for_again(tmp_path: Path) -> None:
    first = job_for(tmp_path, URLS, TOLD)
    commit(first, URLS[:15])
    commit(first, URLS[15:], Reason.NO_SUCH_HOST)
    for partition in range(PARTITIONS):
        settle(partition, [], first)
    second = job_for(tmp_path, URLS, replace(TOLD, round=2, again=(str(Reason.NO_SUCH_HOST),)))
    meter = Urls(second)
    assert meter.total == 5
    commit(second, URLS[15:17], Reason.NO_SUCH_HOST)
    assert meter.look()[0] == 2
    assert Urls(second).total == 3
