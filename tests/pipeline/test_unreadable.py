"""Records at which interloom itself fails, in whole runs: dropped, told, never too many."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from pipeline.extract import reader
from pipeline.read import payload
from schemas.manifest import Ledger
from tests.pipeline import in_reader
from tests.pipeline.bad_crawls import (
    Fates,
    command,
    good,
    pages_of,
    run_here,
    url_of,
    write,
)
from tests.pipeline.runs import counts, rows, tree
from tests.read.crawls import arc, gzipped, http, warc

REPORTED = "through a fault of interloom and not of theirs. Please report it with these lines:"


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the extractor fail at the pages with these numbers, until it is told otherwise."""

    def fail_at(*numbers: int) -> None:
        serve = partial(in_reader.failing_at, pages_of(numbers))
        monkeypatch.setattr(reader, "_serve", serve)

    return fail_at


def test_a_record_at_which_we_fail_is_dropped_with_its_place_and_the_run_goes_on(
    tmp_path: Path, failing: Callable[..., None]
) -> None:
    failing(2, 4)
    crawl = write(tmp_path / "crawl.warc.gz", gzipped(good(1, 2, 3, 4)))
    output = tmp_path / "run"
    ended = run_here(output, crawl, "--recipe=off")  # and verify finds nothing wrong
    assert Fates(output).kept == pages_of((1, 3))
    assert counts(output, "extract")["records.dropped.unreadable_record"] == 2
    dropped = [row for row in rows(output, "tables/drops") if row["reason"] == "unreadable_record"]
    assert [(row["kind"], row["url"], row["value"]) for row in dropped] == [
        ("record", url_of(2), None),
        ("record", url_of(4), None),
    ]
    for row in dropped:
        assert row["excerpt"].startswith("ZeroDivisionError in pipeline/extract/outcome.py:")
        line = f"{row['excerpt']}: byte {row['row']:,} of {crawl}, {row['url']!r}"
        assert line in ended.out
    assert f"2 records could not be read, {REPORTED}" in ended.out
    assert f"2 records could not be read, {REPORTED}" in command("stats", output).out


def test_verify_says_of_an_input_with_what_our_code_cannot_read_that_it_is_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A revisit whose headers our code fails at is told as a damaged record, which warcio reads."""
    monkeypatch.setattr(payload, "parse_headers", in_reader.parse_poisoned)
    monkeypatch.setattr(reader, "_serve", in_reader.with_poisoned_headers)
    poisoned = [
        warc(http(b"<p>x", "X-Poison: 1"), url="http://a.test/page"),
        warc(http(b"", "X-Poison: 1"), url="http://a.test/same", kind="revisit"),
    ]
    crawl = write(tmp_path / "crawl.warc.gz", gzipped([*good(1), *poisoned, *good(2)]))
    output = tmp_path / "run"
    run_here(output, crawl, "--recipe=off")
    assert Fates(output).kept == pages_of((1, 2))
    found = counts(output, "extract")
    assert found["records.dropped.unreadable_record"] == found["records.type.damaged"] + 1 == 2
    verified = command("verify", output)
    assert verified.code == 0
    assert "1 damaged members, behind which warcio" in verified.out


def test_more_of_them_than_the_share_fail_the_stage_and_a_larger_share_lets_it_go_on(
    tmp_path: Path, failing: Callable[..., None]
) -> None:
    failing(*range(11))
    crawl = write(tmp_path / "crawl.warc.gz", gzipped(good(*range(13))))
    output = tmp_path / "run"
    options = (str(crawl), f"-o{output}", "--workers=1", "--no-fetch", "--recipe=off")
    ended = command("run", *options)
    assert ended.code == 1
    assert "11 of 26 records are unreadable, and 10 or a share of 0.001 may be: " in ended.err
    assert ended.err.count("ZeroDivisionError in pipeline/extract/outcome.py:") == 3
    assert f"byte 0 of {crawl}, {url_of(0)!r}" in ended.err
    assert "please report these lines" in ended.err
    assert not (output / "extract.manifest.json").exists()
    assert "11 of 26" in command("run", *options).err  # what is whole stays, and so does the answer

    share = ended.err.partition("--unreadable ")[2].split()[0].rstrip(")")
    before = tree(output, "documents", "verdicts")
    failing()
    run_here(output, f"--unreadable={share}")
    after = tree(output, "documents", "verdicts")
    assert {name: after[name] for name in before} == before  # it decides on no byte
    assert Fates(output).kept == pages_of((11, 12))


def test_ten_are_let_pass_however_small_the_crawl_is(
    tmp_path: Path, failing: Callable[..., None]
) -> None:
    failing(*range(10))
    crawl = write(tmp_path / "crawl.warc.gz", gzipped(good(*range(11))))
    ended = run_here(tmp_path / "run", crawl, "--recipe=off", "--unreadable=0")
    assert f"10 records could not be read, {REPORTED}" in ended.out


def test_the_share_is_asked_of_no_stage_and_is_kept(tmp_path: Path) -> None:
    crawl = write(tmp_path / "crawl.warc.gz", gzipped(good(1)))
    plain, other = tmp_path / "plain", tmp_path / "other"
    run_here(plain, crawl, "--recipe=off")
    run_here(other, crawl, "--recipe=off", "--unreadable=0.5")
    differing = {name for name, digest in tree(plain).items() if tree(other)[name] != digest}
    assert differing == {"run.json"}
    ended = run_here(other)
    assert ended.out.count("whole, nothing to do") == 5
    assert json.loads((other / "run.json").read_text())["settings"]["unreadable"] == 0.5


BIG = "X-Big: " + "a" * (32 << 10)
MANY = [f"X-{number}: {number}" for number in range(8_000)]
HEADERS = {
    "a long line": warc(http(b"<p>x", BIG)),
    "many lines": warc(http(b"<p>x", *MANY)),
    "no end": warc(b"HTTP/1.1 200 OK\r\n" + b"a" * 100_000),
    "far from the end": warc(b"HTTP/1.1 200 OK\r\n" + b"a" * 300_000 + b"\r\n\r\nx"),
    "of an error": warc(http(b"<p>x", BIG, status="404 Not Found")),
    "a long line of WARC": warc(http(b"<p>x"), BIG),
    "many lines of WARC": warc(http(b"<p>x"), *MANY),
    "far from the end of WARC": warc(http(b"<p>x"), *MANY * 4),
    "a long URI": warc(http(b"<p>x"), url="http://a.test/" + "u" * 100_000),
    "a long URI that fits": warc(http(b"<p>x"), url="http://a.test/" + "u" * 30_000),
    "a request": warc(b"GET / HTTP/1.1\r\n\r\n", BIG, kind="request"),
}
REASONS = {
    "bad_http": {"a long line", "many lines", "no end", "far from the end", "of an error"},
    "bad_url": {"a long URI that fits"},
}


def test_headers_have_limits_with_value_and_limit(tmp_path: Path) -> None:
    """The good records around each of them are read, and verify finds nothing wrong."""
    crawls = {}
    for number, (name, record) in enumerate(HEADERS.items()):
        revisit = warc(http(b"<p>x", BIG), kind="revisit")  # is only counted
        records = [*good(1), record, revisit, *good(2)]
        data = gzipped(records) if number % 2 else b"".join(records)
        crawls[name] = write(tmp_path / f"{number:02d}.warc", data)
    output = tmp_path / "run"
    run_here(output, *crawls.values(), "--recipe=off")
    drops = [row for row in rows(output, "tables/drops") if row["kind"] == "record"]
    for number, name in enumerate(HEADERS):
        (row,) = [row for row in drops if row["part"].startswith(f"{number:06d}-")]
        wanted = next((why for why, names in REASONS.items() if name in names), "damaged_record")
        assert row["reason"] == wanted, name
        assert row["value"] > row["limit"] == (8_192 if wanted == "bad_url" else 32_768), name
    read = [row["url"] for row in rows(output, "documents")]
    assert sorted(read) == sorted([url_of(1), url_of(2)] * len(HEADERS))


LENGTHS = ("-1", "0x10", "1e999", "9" * 15, "9" * 20, "9" * 5_000, "0" * 6_000 + "4", "+4", "NaN")


def test_no_length_ends_a_run(tmp_path: Path) -> None:
    block, crawls = http(b"<p>hello"), []
    for number, length in enumerate(LENGTHS):
        line = f"Content-Length: {len(block)}".encode()
        strange = warc(block).replace(line, f"Content-Length: {length}".encode())
        arcs = [arc(f"http://a.test/{n}", block, told=length if n == 1 else None) for n in range(3)]
        crawls += [
            write(tmp_path / f"{number}.warc", b"".join([*good(1), strange, *good(2)])),
            write(tmp_path / f"{number}.warc.gz", gzipped([*good(3), strange, *good(4)])),
            write(tmp_path / f"{number}.arc", b"".join(arcs)),
            write(tmp_path / f"{number}.arc.gz", gzipped(arcs)),
        ]
    output = tmp_path / "run"
    run_here(output, *crawls, "--recipe=off")
    read = Counter(row["url"] for row in rows(output, "documents"))
    sides = [*map(url_of, (1, 2, 3, 4)), *["http://a.test/0", "http://a.test/2"] * 2]
    assert not Counter(sides * len(LENGTHS)) - read
    assert set(Ledger(counts(output, "extract")).dropped("records")) == {
        "damaged_record",
        "truncated_payload",
    }


def test_the_hostile_crawls_of_the_shared_data_run_to_their_end(
    shared_data: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = shared_data("reports/hostile")
    output = tmp_path / "run"
    safe = write(tmp_path / "safe.warc.gz", gzipped(good(1)))
    run_here(output, folder / "header.warc.gz", folder / "arc-length.arc", safe, "--recipe=off")
    dropped = Ledger(counts(output, "extract")).dropped("records")
    assert dropped == {"bad_http": 1, "damaged_record": 1}
