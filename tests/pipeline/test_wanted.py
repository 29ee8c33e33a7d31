"""wanted/: every URL in order, in a partition of any size, and the partitions without one too."""

from __future__ import annotations

import hashlib
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.fetch.progress import age_of
from pipeline.filter_text.wanted import NO_URL, sort_on_disk
from pipeline.verify import verify
from tests.pipeline.bad_crawls import good, html_of, page_record, run_here, url_of, write
from tests.pipeline.runs import rows
from tests.read.crawls import http, warc
from tests.verify.damage import rewrite

URLS = st.lists(st.text(st.characters(exclude_characters="\n", codec="utf-8")), max_size=30)


@given(URLS, st.integers(1, 12))
def test_any_number_of_urls_comes_in_order_from_runs_of_any_length(
    urls: list[str], run: int
) -> None:
    assert list(sort_on_disk(iter(urls), run=run)) == sorted(urls)


@pytest.mark.parametrize("runs", [1, 10])
def test_a_larger_partition_takes_no_more_memory(runs: int) -> None:
    length = 2_000
    urls = (f"https://example.org/{7**n % 1_000_003}/picture.jpg" for n in range(runs * length))
    tracemalloc.start()
    try:
        count = sum(1 for _ in sort_on_disk(urls, run=length))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == runs * length
    assert peak < 600_000  # two runs of 100 bytes a URL; all of ten would be 2 MB


def test_every_partition_is_there_and_holds_what_the_crawl_lacks(tmp_path: Path) -> None:
    lacking = [f"https://cdn.example.net/{number}.jpg" for number in range(2)]
    record = page_record(1, html=html_of(1, *lacking))
    crawl = write(tmp_path / "crawl.warc", b"".join([record, good(1)[1], *good(2)]))
    output = tmp_path / "run"
    run_here(output, crawl, "--partitions=3")
    parts = sorted((output / "wanted").iterdir())
    assert [path.name for path in parts] == [f"{number:05d}.parquet" for number in range(3)]
    found = rows(output, "wanted")
    assert [row["url"] for row in found] == lacking  # of one host, so in one partition, in order
    assert [row["sha256"] for row in found] == [
        hashlib.sha256(url.encode()).hexdigest() for url in lacking
    ]
    assert NO_URL not in lacking


def test_a_url_has_the_date_of_the_latest_page_that_needs_it(tmp_path: Path) -> None:
    shared, own = "https://cdn.example.net/shared.jpg", "https://cdn.example.net/own.jpg"
    dates = ("2015-05-05T05:05:05Z", "2021-01-01T00:00:00Z", "2019-01-01T00:00:00Z")
    pages = [warc(http(html_of(number, shared, *([own] if number == 1 else []))),
                  url=url_of(number), date=date)
             for number, date in enumerate(dates, start=1)]  # fmt: skip
    output = tmp_path / "run"
    run_here(output, write(tmp_path / "crawl.warc", b"".join([*pages, *good(9)])),
             "--partitions=1")  # fmt: skip
    found = {row["url"]: row["date"] for row in rows(output, "wanted")}
    assert found[shared] == dates[1]
    assert found[own] == dates[0]
    assert verify(str(output)).ok
    (path,) = (output / "wanted").iterdir()
    rewrite(path, lambda all_: all_[-1].update(date=dates[0]))
    assert verify(str(output)).stages == ("filter_text",)


@pytest.mark.parametrize(
    ("page", "age"),
    [
        ("2026-01-01", "under a year"),
        ("2024-11-28", "under a year"),
        ("2023-11-28", "one year"),
        ("2022-11-27", "two to four years"),
        ("2016-01-01", "five to nine years"),
        ("2009-01-01", "ten years or more"),
    ],
)
def test_an_age_is_told_in_years(page: str, age: str) -> None:
    assert age_of(f"{page}T00:00:00Z", "2024-11-28T12:00:00Z") == age
