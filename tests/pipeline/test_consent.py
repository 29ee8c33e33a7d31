"""What pages and images ask for in their responses, by the whole way, and verified."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.crawl import encoded, picture
from tests.pipeline.bad_crawls import (
    Fates,
    command,
    html_of,
    image_of,
    image_record,
    page_record,
    pages_of,
    run_here,
    write,
)
from tests.pipeline.runs import rows
from tests.read.crawls import http, warc
from tests.verify.damage import parts, rewrite

SITE = "https://pictures.example.net/"
ASKED = {  # name of an image: the header of its response, and what the recipe makes of it
    "free.jpg": (None, "kept"),
    "listed.jpg": ("X-Robots-Tag: noindex", "kept"),
    "noai.jpg": ("X-Robots-Tag: otherbot: noai, noindex", "noai"),
    "noimageai.jpg": ("x-robots-tag: noimageai", "noimageai"),
    "reserved.jpg": ("TDM-Reservation: 1", "tdm_reserved"),
}


@pytest.fixture(scope="module")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pages with their own picture and two of these, and one with nothing but one that asks."""
    records, names = [], list(ASKED)
    for page, shown in zip((1, 4, 5), (names[:2], names[2:4], names[4:]), strict=True):
        records.append(page_record(page, *(SITE + name for name in shown)))
        records.append(image_record(f"https://good-{page}.example.org/own.jpg", image_of(page)))
    for number, (name, (header, _)) in enumerate(ASKED.items()):
        body = encoded(picture(8_000_000 + number))
        records.append(asking(SITE + name, body, header))
    records += [page_record(2), asking("https://good-2.example.org/own.jpg", image_of(2),
                                       "X-Robots-Tag: noai")]  # fmt: skip
    return write(tmp_path_factory.mktemp("asking") / "crawl.warc", b"".join(records))


def asking(url: str, body: bytes, header: str | None) -> bytes:
    headers = ["Content-Type: image/jpeg", *([header] if header else [])]
    return warc("\r\n".join(["HTTP/1.1 200 OK", *headers, "", ""]).encode() + body, url=url)


def test_an_image_whose_response_asks_not_to_be_used_goes_alone(
    crawl: Path, tmp_path: Path
) -> None:
    run_here(tmp_path / "run", crawl)
    fates = Fates(tmp_path / "run")
    assert fates.nodes(SITE) == {name: outcome for name, (_, outcome) in ASKED.items()}
    assert fates.kept == pages_of((1, 4, 5))
    assert fates.dropped == {"https://good-2.example.org/page": "no_image"}
    stored = {row["url"]: row for row in rows(tmp_path / "run", "images")}
    assert stored[SITE + "noai.jpg"]["robots"] == ["noai", "noindex"]
    assert stored[SITE + "reserved.jpg"]["tdm_reservation"]
    assert "| noai | 0 | 1 |" in (tmp_path / "run" / "README.md").read_text()


def test_the_recipe_off_asks_nobody(crawl: Path, tmp_path: Path) -> None:
    run_here(tmp_path / "run", crawl, "--recipe=off")
    assert set(Fates(tmp_path / "run").nodes(SITE).values()) == {"kept"}


def test_a_later_capture_of_an_image_that_asks_counts_and_an_earlier_one_does_not(
    tmp_path: Path,
) -> None:
    url, body = "https://good-3.example.org/own.jpg", image_of(3)
    image = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n"
    free, asks = image + b"\r\n" + body, image + b"X-Robots-Tag: noai\r\n\r\n" + body
    for name, first, second, kept in (("later", free, asks, False), ("earlier", asks, free, True)):
        records = [
            warc(http(html_of(3)), url="https://good-3.example.org/page"),
            warc(first, url=url, date="2024-01-01T00:00:00Z"),
            warc(second, url=url, date="2025-01-01T00:00:00Z"),
        ]
        output = tmp_path / name
        crawl = write(tmp_path / f"{name}.warc", b"".join(records))
        run_here(output, crawl, code=0 if kept else 3)
        assert bool(Fates(output).kept) == kept


def test_an_image_that_was_kept_although_it_asks_is_found(crawl: Path, tmp_path: Path) -> None:
    run_here(tmp_path / "run", crawl)

    def ask(rows: list[dict[str, Any]]) -> None:
        (row,) = (row for row in rows if row["url"] == SITE + "free.jpg")
        row["robots"] = ["noai"]

    (path,) = parts(tmp_path / "run", "images")
    rewrite(path, "images", ask)
    counted = command("verify", tmp_path / "run")
    assert counted.code == 1
    assert "filter_images" in "".join(
        line for line in counted.out.splitlines() if "FAILED" in line or "DIFFERS" in line
    )
