"""A world of good and bad hosts: it ends, nothing is lost, and each URL has the reason it must."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.job import Fetching, Job
from schemas.verdict import OK
from tests.fetch.hostile import KINDS, Hosts, build
from tests.fetch.nginx import NGINX, nginx
from tests.fetch.stage import CONTACT, do, job_for, rows
from tests.fetch.world import world

Asked = list[dict[str, Any]]

HOSTS = int(os.environ.get("INTERLOOM_HOSTS", 2 * (len(KINDS) - 1)))  # else each bad one once
RATE = 5.0
QUICK = Fetching(on=True, contact=CONTACT, connect=1, read=1, total=2, tries=2,
                 image_bytes=1 << 22)  # fmt: skip


NO_NGINX = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


@pytest.fixture(scope="module", params=["all by one", pytest.param("nginx", marks=NO_NGINX)])
def fetched(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Job, Hosts, Asked]:
    """What is in it after the stage, and what its servers were asked for; by nginx, the good."""
    folder, hosts = tmp_path_factory.mktemp("world"), build(HOSTS)
    (folder / "good").mkdir()
    with ExitStack() as running:
        servers = [running.enter_context(world(hosts.plan, folder, secure=["localhost"]))]
        if request.param == "nginx":
            servers.append(running.enter_context(nginx(hosts.files, folder / "good")))
        secure = f"*.secure.* 127.0.0.1:{servers[0].secure}"
        mapped = hosts.map(servers[0].plain, good=servers[-1].plain)
        rates = f"requests = {RATE}\nconnections = 2\ndomain_requests = 100\n"
        told = replace(QUICK, host_map=f"{secure}\n{mapped}", rates=rates)
        job = job_for(folder, hosts.must, told)
        do(job, servers[0].trust)
        asked = [one for server in servers for one in server.asked]
    by_nginx = {one["host"] for one in servers[-1].asked}
    assert (by_nginx == set(hosts.files)) == (request.param == "nginx")
    return job, hosts, asked


def test_every_url_has_the_reason_that_its_host_gives(fetched: tuple[Job, Hosts, Asked]) -> None:
    job, hosts, _ = fetched
    found = {row["url"]: row["status"] for row in rows(job)}
    wrong = {url: (status, found.get(url)) for url, status in hosts.must.items()
             if found.get(url) != status}  # fmt: skip
    assert wrong == {}
    assert len(found) == len(hosts.must)


def test_what_is_ok_lies_in_the_packs_as_it_was_served(fetched: tuple[Job, Hosts, Asked]) -> None:
    job, _, _ = fetched
    good = [row for row in rows(job) if row["status"] == OK]
    assert len(good) > HOSTS
    for row in good:
        with Path(job.path("packs", row["pack"])).open("rb") as pack:
            pack.seek(row["pack_offset"])
            data = pack.read(row["bytes"])
        assert hashlib.sha256(data).hexdigest() == row["sha256"]
        assert (row["width"], row["height"], row["format"]) == (240, 160, "jpeg")
        assert (row["decision"], row["http_status"]) == ("allowed", 200)


def test_no_host_was_asked_faster_than_it_may_be(fetched: tuple[Job, Hosts, Asked]) -> None:
    """Starts of RATE a second: in any span of a second there are RATE + 1 at most, and one more
    for each connection, since a new one is on its way for longer than one that stays."""
    _, _, told = fetched
    times = defaultdict(list)
    for request in told:
        times[request["host"]].append(request["time"])
        assert CONTACT in request["agent"]
    assert len(times) > HOSTS // 2
    for host, asked in times.items():
        for first in asked:
            assert sum(first <= one < first + 1 for one in asked) <= RATE + 3, host


def test_what_robots_txt_forbids_was_never_asked_for(fetched: tuple[Job, Hosts, Asked]) -> None:
    _, _, told = fetched
    asked = Counter((one["host"], one["path"]) for one in told)
    kinds = {"forbids", "forbidsai", "fails", "busyrules", "silent"}
    closed = [host for host, _ in asked if host.split(".")[1] in kinds]
    assert closed
    assert not [host for host in closed if asked[host, "/a/b.jpg"]]
    assert not [host for host, path in asked if path == "/private/x.jpg" and "cdn" in host]
    once = {host: asked[host, path] for host, path in asked if path == "/robots.txt"}
    assert max(once.values()) == 2
    # of those that fail, and of those to which a redirect leads back: each pass begins anew
    again = [host for host, count in once.items() if count > 1]
    kinds = {host.split(".")[1] for host in again if not host.startswith("there")}
    assert kinds <= {"fails", "silent", "back"}
