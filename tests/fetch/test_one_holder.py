"""A registered domain is asked by one worker at a time, however many have its partition."""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import ExitStack
from dataclasses import replace
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

from pipeline.job import Fetching
from pipeline.words.urls import partition_of, registered_domain
from tests.fetch.hostile import Hosts
from tests.fetch.stage import CONTACT, PARTITIONS, do_elsewhere, job_for, rows, rows_brought, start
from tests.fetch.world import world

SLOW = Fetching(on=True, contact=CONTACT, commit_seconds=0.5,
                rates="requests = 6\nconnections = 1\ndomain_requests = 6\n")  # fmt: skip


def good_hosts(count: int) -> Hosts:
    hosts = Hosts()
    for _ in range(count):
        hosts.add("good")
    return hosts


def url_of(request: dict[str, Any]) -> str:
    return f"http://{request['host']}{request['path']}"


def test_two_processes_with_the_same_partitions_never_meet_at_a_domain(tmp_path: Path) -> None:
    hosts = good_hosts(24)
    with world(hosts.plan, tmp_path) as servers, ExitStack() as running:
        told = replace(SLOW, host_map=hosts.map(servers.plain))
        job = job_for(tmp_path, hosts.must, told)
        there = list(range(PARTITIONS))
        processes = []
        for name, order in (("one", there), ("two", there[::-1])):
            mine = replace(told, contact=f"{name}@example.org")  # so that servers tell them apart
            its = replace(job, settings=replace(job.settings, fetching=mine))
            processes.append(running.enter_context(start(its, only=order)))
        for process in processes:
            process.wait()
        asked = servers.asked
    by_domain = defaultdict(list)
    for request in asked:
        by_domain[registered_domain(url_of(request))].append(request["agent"])
    assert all(len(list(groupby(agents))) == 1 for agents in by_domain.values())
    times = {agent: [one["time"] for one in asked if one["agent"] == agent]
             for agent in {one["agent"] for one in asked}}  # fmt: skip
    first, second = times.values()
    assert max(min(first), min(second)) < min(max(first), max(second))  # at work at once
    assert max(Counter(map(url_of, asked)).values()) == 1
    brought = [status for number in there for status in rows_brought(job, number)]
    assert len(brought) == len(hosts.must)


def test_two_workers_of_a_run_are_at_work_at_once_each_on_domains_of_its_own(
    tmp_path: Path,
) -> None:
    hosts = good_hosts(24)
    with world(hosts.plan, tmp_path) as servers:
        job = job_for(tmp_path, hosts.must, replace(SLOW, host_map=hosts.map(servers.plain)))
        do_elsewhere(job, workers=2)
        asked = servers.asked
    assert {row["url"]: row["status"] for row in rows(job)} == hosts.must
    assert max(Counter(map(url_of, asked)).values()) == 1
    spans = defaultdict(list)
    for request in asked:
        spans[partition_of(url_of(request), PARTITIONS)[0]].append(request["time"])
    ends = sorted((min(times), max(times)) for times in spans.values())
    assert any(later[0] < earlier[1] for earlier, later in pairwise(ends))
