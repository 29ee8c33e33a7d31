"""Manners that outlive a holder, and are the same by whatever name or way a host is asked."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count, pairwise
from pathlib import Path
from typing import Any, Final

import pytest
from PIL import Image

from pipeline.fetch.partition import MOMENT
from pipeline.job import Fetching
from pipeline.media.pixels import Encoding
from pipeline.store import store
from pipeline.words.urls import host_of, partition_of
from schemas.verdict import OK, Reason
from tests.fetch.hostile import answer, picture, to
from tests.fetch.stage import CONTACT, FAST, PARTITIONS, do, job_for, rows, start
from tests.fetch.world import Plan, World, world

NONE: Final[dict[str, Any]] = {"status": 404}
OPEN: Final = {"/robots.txt": NONE, "/ai.txt": NONE}
TOLD: Final = Fetching(on=True, contact=CONTACT)
QUICK: Final = replace(TOLD, rates=FAST)


def fetched(
    folder: Path, plan: Plan, urls: list[str], told: Fetching = TOLD
) -> tuple[dict[str, dict[str, Any]], World]:
    """(row by URL, the servers with what they were asked)."""
    with world(plan, folder) as servers:
        lines = f"* 127.0.0.1:{servers.plain}"
        job = job_for(folder, urls, replace(told, host_map=lines))
        do(job)
    return {row["url"]: row for row in rows(job)}, servers


def times(servers: World, *hosts: str) -> list[float]:
    return sorted(one["time"] for one in servers.asked if one["host"] in hosts)


def test_what_a_host_asked_of_one_holder_the_next_one_keeps(tmp_path: Path) -> None:
    """Its own URL is told 429 for ten minutes; then a redirect of another domain leads to it."""
    busy = {"status": 429, "headers": {"Retry-After": "600"}}
    plan = {
        "busy.test": {**OPEN, "/a.jpg": busy, "/b.jpg": answer(picture(1))},
        "far.test": {**OPEN, "/b.jpg": to("http://busy.test/b.jpg")},
    }
    found, servers = fetched(tmp_path, plan, ["http://busy.test/a.jpg", "http://far.test/b.jpg"])
    first, second = found["http://busy.test/a.jpg"], found["http://far.test/b.jpg"]
    assert (first["status"], first["value"], first["decision"]) == (Reason.DEFERRED, 600, "allowed")
    assert (second["status"], second["decision"]) == (Reason.DEFERRED, "undecided")
    asked = [one["path"] for one in servers.asked if one["host"] == "busy.test"]
    assert asked == ["/robots.txt", "/ai.txt", "/a.jpg"]


def test_a_host_that_wants_to_be_left_alone_holds_nobody_up_and_is_left_alone(
    tmp_path: Path,
) -> None:
    """Two URLs wait for their turn when it says so; and a refetch keeps to it."""
    far = {"status": 429, "headers": {"Retry-After": "999999999"}}
    plan: Plan = {"rest.test": {**OPEN, **{f"/{n}.jpg": far for n in range(4)}},
            "good.test": {**OPEN, "/a.jpg": answer(picture(1))}}  # fmt: skip
    urls = [*(f"http://rest.test/{n}.jpg" for n in range(4)), "http://good.test/a.jpg"]
    with world(plan, tmp_path) as servers:
        told = replace(TOLD, host_map=f"* 127.0.0.1:{servers.plain}")
        job = job_for(tmp_path, urls, told)
        do(job)
        found = Counter(row["status"] for row in rows(job))
        assert found == {Reason.DEFERRED: 4, OK: 1}
        (left,) = store.listing(job.path("leases"))
        assert "rest.test" in Path(left).read_text()
        asked = len(times(servers, "rest.test"))
        again = replace(told, round=2, again=(str(Reason.DEFERRED),))
        job = job_for(tmp_path, urls, again)
        do(job)
        assert len(times(servers, "rest.test")) == asked
        assert Counter(row["status"] for row in rows(job)) == found


def test_a_host_is_asked_for_no_more_images_than_it_may_be(tmp_path: Path) -> None:
    hosts = ("cap.test", "cap.test.")
    plan = {host: {**OPEN, **{f"/{n}.jpg": answer(picture(n)) for n in range(6)}}
            for host in hosts}  # fmt: skip
    urls = [f"http://{host}/{n}.jpg" for host in hosts for n in range(6)]
    few = replace(TOLD, host_images=3, rates="requests = inf\nconnections = 20\n")
    found, servers = fetched(tmp_path, plan, urls, few)
    assert Counter(row["status"] for row in found.values()) == {OK: 3, Reason.DEFERRED: 9}
    assert len([one for one in servers.asked if one["path"].endswith(".jpg")]) == 3


def test_redirects_of_another_domain_count_too(tmp_path: Path) -> None:
    plan = {
        "cap.test": {**OPEN, **{f"/{n}.jpg": answer(picture(n)) for n in range(5)}},
        "far.test": {**OPEN, **{f"/{n}.jpg": to(f"http://cap.test/{n}.jpg") for n in range(2, 5)}},
    }
    urls = [*(f"http://cap.test/{n}.jpg" for n in range(2)),
            *(f"http://far.test/{n}.jpg" for n in range(2, 5))]  # fmt: skip
    found, servers = fetched(tmp_path, plan, urls, replace(QUICK, host_images=3))
    assert Counter(row["status"] for row in found.values()) == {OK: 3, Reason.DEFERRED: 2}
    late = [row for row in found.values() if row["status"] == Reason.DEFERRED]
    assert [(row["value"], row["limit"]) for row in late] == [(3, 3), (3, 3)]
    asked = [one for one in servers.asked if one["host"] == "cap.test"]
    assert len([one for one in asked if one["path"].endswith(".jpg")]) == 3


def test_so_do_those_of_its_neighbours(tmp_path: Path) -> None:
    """In one partition, and one asks for it again when the first has ended."""
    plan: dict[str, dict[str, Any]] = {"img.site.test": {**OPEN}}
    for host in range(4):
        for n in range(3):
            plan["img.site.test"][f"/{host}{n}.jpg"] = answer(picture(3 * host + n))
        plan[f"w{host}.site.test"] = {**OPEN, **{
            f"/{n}.jpg": to(f"http://img.site.test/{host}{n}.jpg") for n in range(3)}}  # fmt: skip
    urls = [f"http://w{host}.site.test/{n}.jpg" for host in range(4) for n in range(3)]
    quick = "requests = inf\nconnections = 4\ndomain_requests = inf\ndomain_connections = 9\n"
    found, servers = fetched(tmp_path, plan, urls, replace(TOLD, host_images=3, rates=quick))
    assert Counter(row["status"] for row in found.values()) == {OK: 3, Reason.DEFERRED: 9}
    asked = [one for one in servers.asked if one["host"] == "img.site.test"]
    assert len([one for one in asked if one["path"].endswith(".jpg")]) == 3


def test_what_leads_on_within_a_host_counts_once(tmp_path: Path) -> None:
    plan: dict[str, dict[str, Any]] = {"cap.test": {**OPEN}}
    for n in range(4):
        plan["cap.test"] |= {f"/{n}.jpg": to(f"/real{n}.jpg"), f"/real{n}.jpg": answer(picture(n))}
    urls = [f"http://cap.test/{n}.jpg" for n in range(4)]
    found, _ = fetched(tmp_path, plan, urls, replace(QUICK, host_images=2))
    assert Counter(row["status"] for row in found.values()) == {OK: 2, Reason.DEFERRED: 2}


def test_a_slow_pace_is_kept_after_a_kill(tmp_path: Path) -> None:
    """At once: no renewal of the lease has been due yet. The pause is longer than START."""
    plan = {"slow.test": {**OPEN, "/a.jpg": answer(picture(1))}}
    with world(plan, tmp_path) as servers:
        told = replace(TOLD, host_map=f"* 127.0.0.1:{servers.plain}", rates="requests = 0.16\n")
        job = job_for(tmp_path, ["http://slow.test/a.jpg"], told)
        with start(job) as process:
            while not times(servers, "slow.test"):
                time.sleep(0.05)
            time.sleep(2 * MOMENT)
        with start(job) as process:
            while len(times(servers, "slow.test")) < 2:
                time.sleep(0.05)
                process.check_alive()
        first, second = times(servers, "slow.test")
    assert second - first >= 1 / 0.16 - 0.1


def test_all_hosts_of_a_domain_have_its_rate_together(tmp_path: Path) -> None:
    """With what redirects lead to, and their rules: one at a start, and then 8 a second."""
    hosts = [f"w{number}.wide.test" for number in range(4)]
    plan = {
        host: {
            **OPEN,
            "/0.jpg": to(f"http://{hosts[number - 1]}/1.jpg"),
            "/1.jpg": answer(picture(number)),
        }
        for number, host in enumerate(hosts)
    }
    urls = [f"http://{host}/{n}.jpg" for host in hosts for n in range(2)]
    quick = "requests = 50\nconnections = 4\ndomain_requests = 8\ndomain_connections = 9\n"
    found, servers = fetched(tmp_path, plan, urls, replace(TOLD, rates=quick))
    assert {row["status"] for row in found.values()} == {OK}
    asked = times(servers, *hosts)
    assert len(asked) == 4 * 2 + 4 * 3
    assert max(sum(first <= one < first + 1 for one in asked) for first in asked) <= 9


def test_one_leap_too_many_is_told_with_its_limit(tmp_path: Path) -> None:
    leaps = [_url_of(number % PARTITIONS) for number in range(5)]  # each to another partition
    plan = {host_of(url): {**OPEN, "/a.jpg": to(further)}
            for url, further in pairwise(leaps)}  # fmt: skip
    plan[host_of(leaps[4])] = {**OPEN, "/a.jpg": answer(picture(1))}
    urls = leaps[:2]
    found, _ = fetched(tmp_path, plan, urls, QUICK)
    assert found[urls[1]]["status"] == OK
    late = found[urls[0]]
    assert (late["status"], late["value"], late["limit"]) == (Reason.TOO_MANY_REDIRECTS, 4, 3)


_names: Final = count()


def _url_of(partition: int) -> str:
    """A URL of that partition, of a domain that no other has."""
    urls = (f"http://leap{number}.test/a.jpg" for number in _names)
    return next(url for url in urls if partition_of(url, PARTITIONS)[0] == partition)


def test_a_redirect_gives_nobody_a_name_and_password(tmp_path: Path) -> None:
    plan = {"a.test": {**OPEN, "/a.jpg": to("http://me:secret@a.test/b.jpg"),
                       "/b.jpg": answer(picture(1))}}  # fmt: skip
    found, servers = fetched(tmp_path, plan, ["http://a.test/a.jpg"])
    assert found["http://a.test/a.jpg"]["status"] == OK
    assert {one["password"] for one in servers.asked} == {""}


def test_what_a_redirect_asks_for_is_heard(tmp_path: Path) -> None:
    moved = {**to("/b.jpg"), "headers": {"Location": "/b.jpg", "X-Robots-Tag": "noai"}}
    plan = {"a.test": {**OPEN, "/a.jpg": moved, "/b.jpg": answer(picture(1))}}
    found, servers = fetched(tmp_path, plan, ["http://a.test/a.jpg"])
    assert found["http://a.test/a.jpg"]["status"] == Reason.NOAI
    assert "/b.jpg" not in [one["path"] for one in servers.asked]


def test_a_short_rest_is_waited_for_by_the_next_holder(tmp_path: Path) -> None:
    plan = {
        "busy.test": {**OPEN, "/a.jpg": {"status": 503, "headers": {"Retry-After": "2"}},
                      "/b.jpg": answer(picture(1))},
        "far.test": {**OPEN, "/b.jpg": to("http://busy.test/b.jpg")},
    }  # fmt: skip
    once = replace(TOLD, tries=1)
    urls = ["http://busy.test/a.jpg", "http://far.test/b.jpg"]
    found, servers = fetched(tmp_path, plan, urls, once)
    assert found["http://busy.test/a.jpg"]["status"] == Reason.HTTP_STATUS
    assert found["http://far.test/b.jpg"]["status"] == OK
    *_, told, next_ = times(servers, "busy.test")[:4]  # robots.txt, ai.txt, a.jpg, robots.txt
    assert next_ - told >= 2


def test_a_dot_behind_its_name_does_not_make_a_host_bear_twice_its_rate(tmp_path: Path) -> None:
    hosts = ("q.test", "q.test.")
    plan = {host: {**OPEN, **{f"/{n}.jpg": answer(picture(n)) for n in range(8)}}
            for host in hosts}  # fmt: skip
    urls = [f"http://{host}/{n}.jpg" for host in hosts for n in range(8)]
    wide = replace(TOLD, rates="requests = 8\ndomain_requests = inf\n")
    found, servers = fetched(tmp_path, plan, urls, wide)
    assert {row["status"] for row in found.values()} == {OK}
    asked = times(servers, *hosts)
    assert len(asked) == 20
    for first in asked:  # as in the hostile world: one more for each connection
        assert sum(first <= one < first + 1 for one in asked) <= 8 + 3


def test_a_delay_that_robots_txt_asks_for_counts_from_robots_txt_on(tmp_path: Path) -> None:
    rules = {"text": "User-agent: *\nCrawl-delay: 0.7\n", "headers": {"Content-Type": "text/plain"}}
    plan: Plan = {"slow.test": {**OPEN, "/robots.txt": rules, "/a.jpg": answer(picture(1))}}
    found, servers = fetched(tmp_path, plan, ["http://slow.test/a.jpg"])
    assert found["http://slow.test/a.jpg"]["status"] == OK
    first, second, third = times(servers, "slow.test")
    assert min(second - first, third - second) >= 0.6  # the log's clock, not the client's


def test_rules_are_read_whatever_their_type_is_called(tmp_path: Path) -> None:
    types = ("", "application/octet-stream", "text/plain", "text/html")
    plan: dict[str, dict[str, Any]] = {}
    for number, kind in enumerate(types):
        rules = {"text": "User-agent: *\nDisallow: /\n", "headers": {"Content-Type": kind}}
        plan[f"t{number}.test"] = {**OPEN, "/robots.txt": rules, "/a.jpg": answer(picture(1))}
    found, _ = fetched(tmp_path, plan, [f"http://{host}/a.jpg" for host in plan])
    assert [row["status"] for row in found.values()] == [Reason.ROBOTS_TXT] * len(types)


def test_where_robots_txt_is_busy_nothing_else_is_asked_for(tmp_path: Path) -> None:
    plan = {"busy.test": {**OPEN, "/robots.txt": {"status": 429}, "/a.jpg": answer(picture(1))}}
    found, servers = fetched(tmp_path, plan, ["http://busy.test/a.jpg"])
    assert found["http://busy.test/a.jpg"]["status"] == Reason.RULES_UNREACHABLE
    assert [one["path"] for one in servers.asked] == ["/robots.txt"]


class Service(BaseHTTPRequestHandler):
    """Of Spawning's kind; opts out what is called so."""

    asked: list[list[str]]

    def do_POST(self) -> None:  # as the server calls it
        urls = self.rfile.read(int(self.headers["Content-Length"])).decode().split("\n")
        self.asked.append(urls)
        told = {"urls": [{"url": url, "optOut": "out" in url} for url in urls]}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(told).encode())

    def log_message(self, *_: object) -> None:
        """Not to the test's output."""


@contextmanager
def service() -> Iterator[tuple[str, list[list[str]]]]:
    asked: list[list[str]] = []
    handler = type("Handler", (Service,), {"asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/opts", asked
        server.shutdown()


def test_a_service_is_asked_for_a_partition_at_a_time(tmp_path: Path) -> None:
    """One request for the URLs that are wanted, and one for each that a redirect brings."""
    names = [f"/{'out' if n % 3 else 'in'}{n}.jpg" for n in range(12)]
    plan = {"a.test": {**OPEN, **{name: answer(picture(1)) for name in names},
                       "/moved.jpg": to("/out99.jpg")}}  # fmt: skip
    urls = [f"http://a.test{name}" for name in (*names, "/moved.jpg")]
    fast = replace(TOLD, rates="requests = inf\ndomain_requests = inf\n")
    with service() as (at, asked):
        found, servers = fetched(tmp_path, plan, urls, replace(fast, opt_out_service=at))
    assert sorted(map(len, asked)) == [1, len(urls)]
    for url, row in found.items():
        out = "out" in url or "moved" in url
        assert row["status"] == (Reason.OPTED_OUT if out else OK), url
        assert row["decision"] == (Reason.OPTED_OUT if out else "allowed"), url
    assert not [one for one in servers.asked if "out" in one["path"]]


def test_what_nobody_can_speak_for_is_deferred_and_nobody_was_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.fetch.hosts.permission.TRIES", 1)
    plan = {"a.test": {**OPEN, "/a.jpg": answer(picture(1))}}
    gone = asyncio.run(_closed_port())
    told = replace(TOLD, opt_out_service=f"http://127.0.0.1:{gone}/")
    found, servers = fetched(tmp_path, plan, ["http://a.test/a.jpg"], told)
    row = found["http://a.test/a.jpg"]
    assert (row["status"], row["decision"]) == (Reason.DEFERRED, "undecided")
    assert servers.asked == []


def test_pictures_are_made_smaller_where_the_user_wants_it(tmp_path: Path) -> None:
    plan = {"a.test": {**OPEN, "/a.jpg": answer(picture(1)), "/b.jpg": answer(b"no picture" * 9),
                       "/c.jpg": answer(picture(1))}}  # fmt: skip
    told = replace(TOLD, encoding=Encoding(format="webp", longest_side=100, quality=70))
    urls = [f"http://a.test/{name}.jpg" for name in "abc"]
    found, _ = fetched(tmp_path, plan, urls, told)
    row, bad, same = (found[url] for url in urls)
    assert bad["status"] == Reason.NOT_AN_IMAGE
    assert (row["format"], row["width"], row["height"]) == ("webp", 100, 67)
    assert same["pack_offset"] == row["pack_offset"]
    with (tmp_path / "run" / "packs" / row["pack"]).open("rb") as pack:
        pack.seek(row["pack_offset"])
        data = pack.read(row["bytes"])
    assert hashlib.sha256(data).hexdigest() == row["sha256"]
    with Image.open(io.BytesIO(data)) as shown:
        assert (shown.format, shown.size) == ("WEBP", (100, 67))


async def _closed_port() -> int:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        return int(server.sockets[0].getsockname()[1])
