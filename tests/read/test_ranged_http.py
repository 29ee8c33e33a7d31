"""http input: the same records as from disk, by ranges, through a server that refuses at first."""

from __future__ import annotations

import io
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from pipeline.read import ranged_http
from pipeline.read.inputs import expand
from pipeline.read.parts import Part, cut, whole
from pipeline.read.ranged_http import AHEAD, Patience, RangedHttp
from pipeline.read.raw import open_raw, size_of
from pipeline.read.records import read_part
from tests.read.crawls import LIMITS, gzipped, pages, read, starts
from tests.read.web_server import Web, serving

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
    monkeypatch.setattr(ranged_http, "PATIENT", Patience(attempts=6, sleep=slept.append))
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
