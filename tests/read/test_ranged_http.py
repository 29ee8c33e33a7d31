"""http input: the same records as from disk, by ranges, through a server that refuses at first."""

from __future__ import annotations

import io
import random
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import NoReturn

import pytest

from pipeline.read.inputs import expand
from pipeline.read.parts import Part, cut, whole
from pipeline.read.records import read_part
from pipeline.store import web as reader
from pipeline.store.raw import open_raw, size_of
from pipeline.store.web import AHEAD, Patience, RangedHttp
from tests.read.crawls import LIMITS, gzipped, pages, read, starts
from tests.read.web_server import Reply, Web, serving

CRAWL = gzipped(pages(30, size=2000))
NOISE = random.Random(1).randbytes(3 * AHEAD + 12_345)


@pytest.fixture
def web() -> Iterator[Web]:
    with serving(Web(files={"/c.warc.gz": CRAWL, "/noise": NOISE, "/empty": b""})) as server:
        yield server


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that the reader would have slept."""
    slept: list[float] = []
    monkeypatch.setattr(reader, "PATIENT", Patience(attempts=6, sleep=slept.append))
    return slept


def test_a_crawl_on_a_server_gives_the_records_of_the_same_file_on_disk(
    web: Web, tmp_path: Path
) -> None:
    path = tmp_path / "c.warc.gz"
    path.write_bytes(CRAWL)
    url = web.url + "c.warc.gz"

    parts = list(cut(url, 0, part_size=5000))

    assert len(parts) > 3
    assert read(path, parts) == read(path, [whole(url, 0)]) == read(path)
    assert size_of(url) == len(CRAWL)


def test_a_part_in_the_middle_asks_for_its_own_bytes(web: Web) -> None:
    places = starts(CRAWL)
    part = Part(input=web.url + "c.warc.gz", index=0, start=places[4], end=places[9], kind="gzip")

    records = list(read_part(part, limits=LIMITS))

    assert [r.url for r in records] == [f"http://example.com/{n}" for n in range(4, 9)]
    assert web.asked == [f"bytes={places[4]}-{places[9] - 1}"]


@pytest.mark.parametrize("status", [403, 408, 429, 500, 502, 503, 504])
def test_a_server_that_refuses_at_first_is_asked_again_later_and_later(
    web: Web, waits: list[float], status: int
) -> None:
    web.first = [(status, {})] * 4

    with open_raw(web.url + "noise") as stream:
        assert stream.read(1000) == NOISE[:1000]

    assert len(waits) == 4
    assert [2**n / 2 <= wait <= 2**n for n, wait in enumerate(waits)] == [True] * 4


def test_retry_after_is_obeyed_as_seconds_and_as_a_date(web: Web, waits: list[float]) -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    web.first = [(429, {"Retry-After": "40"}), (503, {"Retry-After": later}), (503, {})]

    assert size_of(web.url + "noise") == len(NOISE)

    assert waits[0] == 40
    assert 80 < waits[1] <= 90
    assert waits[2] <= 4


def test_a_server_that_never_gives_in_is_an_error_with_address_and_remedy(
    web: Web, waits: list[float]
) -> None:
    web.always = 403

    with pytest.raises(OSError, match=r"c\.warc\.gz: status 403 after 6 attempts: check that"):
        read(Path(), [whole(web.url + "c.warc.gz", 0)])

    assert len(waits) == 5


def test_a_connection_that_breaks_is_tried_again(web: Web, waits: list[float]) -> None:
    web.cut = 2

    with open_raw(web.url + "noise") as stream:
        assert stream.read() == NOISE

    assert len(waits) == 2


def test_a_server_that_is_not_there_is_an_error_with_its_address(waits: list[float]) -> None:
    with pytest.raises(OSError, match=r"http://127\.0\.0\.1:1/x: ConnectError.*6 attempts"):
        size_of("http://127.0.0.1:1/x")


def test_a_long_wait_is_told_and_a_short_one_is_not(
    web: Web, waits: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    web.first = [(503, {}), (429, {"Retry-After": "5"})]

    assert size_of(web.url + "noise") == len(NOISE)

    (line,) = (record.getMessage() for record in caplog.records if record.name.startswith("pipe"))
    assert line == f"{web.url}noise: status 429 in attempt 2 of 6, asked again in 5 seconds"


@pytest.mark.parametrize(("error", "attempts"), [(socket.EAI_NONAME, 1), (socket.EAI_AGAIN, 6)])
def test_a_host_that_does_not_exist_is_an_error_at_once_and_a_silent_name_server_is_not(
    waits: list[float], monkeypatch: pytest.MonkeyPatch, error: int, attempts: int
) -> None:
    asked = []

    def look_up(host: str | bytes | None, *_: object, **__: object) -> NoReturn:
        asked.append(host)
        raise socket.gaierror(error, "as told by a name server")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)

    with pytest.raises(ValueError, match=r"^http://a\.test/x cannot be read: "):
        expand(["http://a.test/x"])

    assert (len(asked), len(waits)) == (attempts, attempts - 1)


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("/loop", "Exceeded maximum allowed redirects"),
        ("ftp://a.test/x", "unsupported protocol 'ftp://'"),
        ("http://a..test/x", "label empty or too long"),
    ],
)
def test_a_redirect_that_leads_nowhere_fails_at_once(
    web: Web, waits: list[float], location: str, message: str
) -> None:
    web.moved = {"/loop": location}

    with pytest.raises(OSError, match=f"/loop: .*{message}.*: check the address"):
        size_of(web.url + "loop")
    with pytest.raises(ValueError, match=f"/loop cannot be read: .*{message}"):
        expand([web.url + "loop"])

    assert waits == []


def test_a_redirect_is_followed_with_its_range(web: Web) -> None:
    web.moved = {"/old": "/noise"}

    with open_raw(web.url + "old") as stream:
        stream.seek(1000)
        assert stream.read(10) == NOISE[1000:1010]

    assert web.asked == ["bytes=1000-1009"] * 2


@pytest.mark.parametrize("status", [401, 404, 410])
def test_what_waiting_cannot_mend_fails_at_once(web: Web, waits: list[float], status: int) -> None:
    web.always = status

    with pytest.raises(OSError, match=f"status {status}: check the address"):
        size_of(web.url + "c.warc.gz")

    assert waits == []
    assert len(web.asked) == 1


def test_a_missing_address_is_refused_before_anything_else(web: Web) -> None:
    with pytest.raises(ValueError, match=r"gone\.warc\.gz cannot be read.*status 404"):
        expand([web.url + "gone.warc.gz"])


def test_a_file_that_changes_while_it_is_read_is_an_error(web: Web) -> None:
    with open_raw(web.url + "noise") as stream:
        stream.read(10)
        web.etag = '"2"'
        stream.seek(AHEAD * 2)
        with pytest.raises(OSError, match="changed while it was read"):
            stream.read(10)


def test_a_server_without_ranges_is_read_once_and_never_decoded(web: Web) -> None:
    web.ranges = False
    url = web.url + "c.warc.gz"

    parts = list(cut(url, 0, part_size=5000))
    asked = len(web.asked)

    assert parts == [whole(url, 0)]
    assert len(read(Path(), parts)) == 30
    assert len(web.asked) == asked + 1


def test_an_empty_file_has_no_records(web: Web) -> None:
    assert size_of(web.url + "empty") == 0
    assert read(Path(), cut(web.url + "empty", 0, part_size=1)) == []


def test_reading_and_seeking_are_those_of_a_local_file(web: Web) -> None:
    chance, local = random.Random(2), io.BytesIO(NOISE)
    with RangedHttp(web.url + "noise") as remote:
        for _ in range(60):
            place, size = chance.randrange(len(NOISE) + 10), chance.choice((1, 999, 1 << 20))
            assert remote.seek(place) == local.seek(place)
            assert remote.read(size) == local.read(size)
            assert remote.tell() == local.tell()
        assert remote.seek(-5, io.SEEK_END) == local.seek(-5, io.SEEK_END)
        assert remote.read() == local.read()


def test_reading_on_fetches_each_byte_once_and_ahead(web: Web) -> None:
    with open_raw(web.url + "noise") as stream:
        while stream.read(1 << 20):
            time.sleep(0)

    spans = [tuple(map(int, asked.removeprefix("bytes=").split("-"))) for asked in web.asked]
    assert sum(high - low + 1 for low, high in spans) == len(NOISE)
    assert max(high - low + 1 for low, high in spans) == AHEAD


@pytest.mark.parametrize(
    "said",
    [
        "",
        "bytes 5-14/{total}",
        "bytes 0-9/*",
        "bytes */{total}",
        "bytes 0-10/{total}",
        "bytes 0-9/9",
        "bytes 9-0/{total}",
        "bytes 0-9/" + "9" * 5000,
        "bytes \u0660-9/{total}",
        "items 0-9/{total}",
    ],
)
def test_another_range_than_asked_for_fails_at_once(
    web: Web, waits: list[float], said: str
) -> None:
    def lie(reply: Reply) -> None:
        told = said.format(total=len(NOISE)).encode().decode("latin-1")
        reply.headers = {"Content-Range": told} if told else {}

    web.bend = lie

    with (
        open_raw(web.url + "noise") as stream,
        pytest.raises(OSError, match=r"asked for bytes 0 to 9, got .*download the file first"),
    ):
        stream.read(10)

    assert waits == []


@pytest.mark.parametrize("more", [b"", b"more"])
def test_a_body_of_another_length_than_told_is_asked_for_again(
    web: Web, waits: list[float], more: bytes
) -> None:
    def twist(reply: Reply) -> None:
        reply.body = reply.body[:7] + more
        web.bend = None

    web.bend = twist

    with open_raw(web.url + "noise") as stream:
        assert stream.read(10) == NOISE[:10]

    assert len(waits) == 1


def test_a_server_may_give_less_than_it_is_asked_for(web: Web, waits: list[float]) -> None:
    most = 700_000

    def shorten(reply: Reply) -> None:
        first = int(reply.headers["Content-Range"].split()[1].split("-")[0])
        reply.body = reply.body[:most]
        last = first + len(reply.body) - 1
        reply.headers["Content-Range"] = f"bytes {first}-{last}/{len(NOISE)}"

    web.bend = shorten
    chance = random.Random(3)

    with open_raw(web.url + "noise") as stream:
        assert stream.read() == NOISE
    with open_raw(web.url + "noise") as stream:
        place = 0
        while place < len(NOISE):  # on and on, so that there is a piece ahead, and beyond it
            size = chance.choice((1 << 19, 1 << 20))
            assert stream.seek(place) == place
            assert stream.read(size) == NOISE[place : place + size]
            place += size + chance.choice((0, most, 2 * most))

    assert waits == []


def test_a_server_that_gives_all_where_it_gave_ranges_before_is_read_on(web: Web) -> None:
    with open_raw(web.url + "noise") as stream:
        assert stream.read(10) == NOISE[:10]
        web.ranges = False
        assert stream.read(10) == NOISE[10:20]
        stream.seek(-10, io.SEEK_END)
        assert stream.read(20) == NOISE[-10:]
        assert len(web.asked) == 2


@pytest.mark.parametrize("headers", [{}, {"Content-Range": "bytes */90"}])
def test_a_range_that_is_refused_though_it_is_there_fails_at_once(
    web: Web, waits: list[float], headers: dict[str, str]
) -> None:
    web.first = [(416, headers)]

    with open_raw(web.url + "noise") as stream:
        stream.seek(50)
        with pytest.raises(OSError, match="status 416: check the address"):
            stream.read(10)

    assert waits == []
