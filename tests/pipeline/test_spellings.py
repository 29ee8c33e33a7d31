"""One page, one image, however a crawl spells its URL; what lies at rest keeps the page's own."""

from __future__ import annotations

from pathlib import Path

from tests.pipeline.bad_crawls import Fates, html_of, image_of, image_record, run_here, write
from tests.pipeline.runs import rows
from tests.read.crawls import http, warc


def test_captures_are_joined_by_what_a_browser_would_ask_for(tmp_path: Path) -> None:
    old, new = "HTTP://Example.org:80/a", "http://example.org/a"
    records = [
        warc(http(html_of(1)), url=old, date="2024-01-01T00:00:00Z"),
        warc(http(html_of(2)), url=new, date="2025-01-01T00:00:00Z"),
        image_record("HTTPS://Good-2.example.ORG:443/x/../own.jpg", image_of(2)),
    ]
    output = tmp_path / "run"
    run_here(output, write(tmp_path / "crawl.warc", b"".join(records)))
    fates = Fates(output)
    assert fates.kept == {new}  # with its picture, or it would be dropped
    assert fates.dropped == {old: "older_capture"}
    assert [row["url"] for row in rows(output, "documents")] == [old, new]
