"""A run that keeps nothing ends with 3, says what it lacked and what to do, and is whole."""

from __future__ import annotations

from pathlib import Path

from tests.pipeline.bad_crawls import Fates, command, good, image_record, run_here, write
from tests.pipeline.runs import counts, rows
from tests.read.crawls import gzipped, http, warc

PAGES = 4


def test_pages_without_their_pictures_say_how_many_are_wanted(tmp_path: Path) -> None:
    records = good(*range(PAGES))[::2]  # the pages alone
    crawl = write(tmp_path / "pages.warc.gz", gzipped(records))
    output = tmp_path / "run"
    ended = run_here(output, crawl, code=3)
    assert f"0 documents: {PAGES} images wanted, none in the crawl." in ended.out
    assert f"interloom run -o {output} --contact you@example.org fetches them" in ended.out
    assert {row["url"].rsplit("/", 1)[1] for row in rows(output, "wanted")} == {"own.jpg"}
    assert set(Fates(output).dropped.values()) == {"no_image"}
    assert counts(output, "fetch")["wanted.dropped.not_fetched"] == PAGES
    assert not list((output / "shards").glob("*"))
    assert command("run", "-o", output, "--workers=1").code == 3  # whole, and still nothing
    assert command("stats", output).code == 0


def test_pages_that_the_rules_drop_and_crawls_without_a_page_say_so(tmp_path: Path) -> None:
    short = warc(http(b"<p>Too short.<img src=a.jpg alt=a>"), url="https://short.example.org/")
    image = image_record("https://short.example.org/a.jpg", b"no image")
    ended = run_here(tmp_path / "one", write(tmp_path / "short.warc", short + image), code=3)
    assert "0 documents: all 1 pages were dropped, for the reasons above." in ended.out
    advice = f"interloom explain PAGE.html --run {tmp_path / 'one'}, or try --recipe=off"
    assert advice in ended.out
    ended = run_here(tmp_path / "two", write(tmp_path / "empty.warc.gz", b""), code=3)
    assert "0 documents: no page could be read" in ended.out
