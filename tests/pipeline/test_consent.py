"""What pages and images ask for in their responses, by the whole way, and verified."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.crawl import encoded, picture
from tests.pipeline.bad_crawls import (
    SITE,
    Fates,
    command,
    html_of,
    image_of,
    image_record,
    page_record,
    run_here,
    url_of,
    write,
)
from tests.pipeline.runs import rows
from tests.read.crawls import http, warc
from tests.verify.damage import forge, parts, rewrite

EARLY, DATE, LATE = (f"{year}-01-01T00:00:00Z" for year in (2023, 2024, 2025))
NOAI = "X-Robots-Tag: noai"
META = b'<html><head><title>gone</title><meta name="robots" content="noai, noindex"></head>'

PICTURES = "https://pictures.example.net/"
ASKED = {  # name of an image: the header of its response, and what the recipe makes of it
    "free.jpg": ("X-Served-By: us", "kept"),
    "listed.jpg": ("X-Robots-Tag: noindex", "kept"),
    "noai.jpg": ("X-Robots-Tag: otherbot: noai, noindex", "noai"),
    "noimageai.jpg": ("x-robots-tag: noimageai", "noimageai"),
    "reserved.jpg": ("TDM-Reservation: 1", "tdm_reserved"),
}
SHOWN = {1: ("free.jpg", "listed.jpg"), 2: ("noai.jpg", "noimageai.jpg"), 3: ("reserved.jpg",)}
ALONE, ASKED_LATER, ASKED_EARLIER = 4, 5, 6  # pages whose only picture asks, or did

# answers to the URL of a page that was captured in 2024, of which no document comes
ANSWERS: dict[int, tuple[str, bytes]] = {
    10: ("revisit", warc(http(b"", NOAI), url=url_of(10), kind="revisit", date=LATE)),
    11: ("gone", warc(http(b"<p>no", NOAI, status="410 Gone"), url=url_of(11), date=LATE)),
    12: ("moved", warc(http(b"", NOAI, status="301 Moved"), url=url_of(12), date=LATE)),
    13: ("empty", warc(http(b"", NOAI), url=url_of(13), date=LATE)),
    14: ("reserved", warc(http(b"", "TDM-Reservation: 1"), url=url_of(14), date=LATE)),
    15: ("a PDF", warc(http(b"%PDF-1.7", NOAI).replace(b"text/html", b"application/pdf"),
                       url=url_of(15), date=LATE)),
    16: ("cut short", warc(http(html_of(16), NOAI), "WARC-Truncated: length", url=url_of(16),
                           date=LATE)),
    17: ("a page that shows nothing", warc(http(META), url=url_of(17), date=LATE)),
    18: ("an error page", warc(http(META, status="410 Gone"), url=url_of(18), date=LATE)),
    19: ("frames", warc(http(META + b"<frameset><frame src=a></frameset>"), url=url_of(19),
                        date=LATE)),
    23: ("at no time", warc(http(b"", NOAI), url=url_of(23), date="soon")),
    # and of these no page goes
    20: ("before", warc(http(b"", NOAI), url=url_of(20), kind="revisit", date=EARLY)),
    21: ("elsewhere", warc(http(b"", NOAI), url=f"{url_of(21)}/x", date=LATE)),
    22: ("asks nothing of us", warc(http(b"", "X-Robots-Tag: noindex"), url=url_of(22),
                                    date=LATE)),
}  # fmt: skip
HEARD = (*range(10, 20), 23)


# answers to the URL of a page's only picture, which was captured in 2024 without a word
OF_PICTURES: dict[int, bytes] = {
    30: warc(http(b"", NOAI), url="https://good-30.example.org/own.jpg", kind="revisit", date=LATE),
    31: warc(http(b"no", NOAI, status="410 Gone"), url="https://good-31.example.org/own.jpg",
             date=LATE),
    32: warc(http(b"", NOAI), url="https://good-32.example.org/own.jpg", date=LATE),
}  # fmt: skip


def own(number: int) -> str:
    return f"{SITE.format(number)}/own.jpg"


def asking(url: str, body: bytes, header: str, *, date: str = DATE) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n{header}\r\n\r\n"
    return warc(head.encode() + body, url=url, date=date)


def records() -> Iterator[bytes]:
    for number, names in SHOWN.items():
        yield page_record(number, *(PICTURES + name for name in names))
        yield image_record(own(number), image_of(number))
    for number, (name, (header, _)) in enumerate(ASKED.items()):
        yield asking(PICTURES + name, encoded(picture(8_000_000 + number)), header)
    for number, dates in ((ALONE, (DATE,)), (ASKED_LATER, (LATE,)), (ASKED_EARLIER, (EARLY,))):
        yield page_record(number)
        if number != ALONE:
            yield image_record(own(number), image_of(number), date=DATE)
        for date in dates:
            yield asking(own(number), image_of(number), NOAI, date=date)
    for number, answer in OF_PICTURES.items():
        yield page_record(number)
        yield image_record(own(number), image_of(number), date=DATE)
        yield answer
    yield page_record(40)  # its picture is cut short later, and that answer asks
    yield image_record(own(40), image_of(40), date=DATE)
    yield asking(own(40), image_of(40)[:999], NOAI, date=LATE)
    for number, (_, answer) in ANSWERS.items():
        yield warc(http(html_of(number)), url=url_of(number), date=DATE)
        yield image_record(own(number), image_of(number))
        yield answer


@pytest.fixture(scope="module")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("asking") / "crawl.warc", b"".join(records()))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, crawl: Path) -> Path:
    """By the recipe of OBELICS; it balances."""
    output = tmp_path_factory.mktemp("run") / "run"
    run_here(output, crawl)
    return output


def test_an_image_whose_response_asks_not_to_be_used_goes_alone(run: Path) -> None:
    fates = Fates(run)
    assert fates.nodes(PICTURES) == {name: outcome for name, (_, outcome) in ASKED.items()}
    assert {url_of(number) for number in SHOWN} <= fates.kept
    assert fates.dropped[url_of(ALONE)] == "no_image"
    stored = {row["url"]: row for row in rows(run, "images")}
    assert stored[PICTURES + "noai.jpg"]["robots"] == ["noai", "noindex"]
    assert stored[PICTURES + "reserved.jpg"]["tdm_reservation"]
    assert "| noai | 0 | 1 |" in (run / "README.md").read_text()


def test_of_an_image_s_captures_the_latest_speaks(run: Path) -> None:
    fates = Fates(run)
    for number in (ASKED_LATER, *OF_PICTURES, 40):
        assert fates.dropped[url_of(number)] == "no_image"
    assert url_of(ASKED_EARLIER) in fates.kept


def test_an_answer_without_a_document_speaks_for_the_older_captures_of_its_url(run: Path) -> None:
    fates = Fates(run)
    told = {name: fates.dropped.get(url_of(number)) for number, (name, _) in ANSWERS.items()}
    assert told == {
        name: "older_capture" if number in HEARD else None for number, (name, _) in ANSWERS.items()
    }
    said = {(row["url"], row["date"]): row for row in rows(run, "objections")}
    assert sum("/page" in url for url, _ in said) == len(ANSWERS)
    assert said[url_of(10), LATE]["robots"] == ["noai"]
    assert said[url_of(19), LATE]["robots"] == ["noai", "noindex"]
    assert said[url_of(14), LATE]["tdm_reservation"]


def test_the_recipe_off_asks_nobody(crawl: Path, tmp_path: Path) -> None:
    run_here(tmp_path / "run", crawl, "--recipe=off")
    fates = Fates(tmp_path / "run")
    assert set(fates.nodes(PICTURES).values()) == {"kept"}
    assert not fates.dropped


def test_an_image_that_was_kept_although_it_asks_is_found(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))

    def ask(rows: list[dict[str, Any]]) -> None:
        (row,) = (row for row in rows if row["url"] == PICTURES + "free.jpg")
        row["robots"] = ["noai"]

    (path,) = parts(copy, "images")
    rewrite(path, ask)
    forge(copy, path)
    counted = command("verify", copy)
    assert counted.code == 1
    wrong = [line for line in counted.out.splitlines() if "FAILED" in line or "DIFFERS" in line]
    assert "filter_images" in "".join(wrong)
