"""Records: fields as others will compare them, one problem each, and nothing left out."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipeline.read.records import Record, arc_date, warc_date
from pipeline.verify.crawl import count_records
from schemas.verdict import Reason
from tests.read.crawls import LIMITS, arc, gzipped, http, page, read, warc


def one(tmp_path: Path, stored: bytes) -> Record:
    path = tmp_path / "crawl"
    path.write_bytes(gzip.compress(stored))
    (record,) = read(path)
    return record


def reason(record: Record) -> Reason | None:
    return record.problem.reason if record.problem else None


def test_a_response_has_all_its_fields(tmp_path: Path) -> None:
    body = b"<html>" + b"x" * 100
    stored = warc(http(gzip.compress(body), "Content-Encoding: gzip", "X-Robots-Tag: noai"))

    record = one(tmp_path, stored)

    assert record.type == "response"
    assert (record.status, record.media_type, record.date) == (
        200,
        "text/html",
        "2020-01-02T03:04:05Z",
    )
    assert record.record_id == "urn:uuid:00000000-0000-0000-0000-000000000000"
    assert ("x-robots-tag", "noai") in record.headers
    assert record.body == body
    assert record.payload_sha256 == hashlib.sha256(body).digest()
    assert record.problem is None


@pytest.mark.parametrize(
    ("stored", "url"),
    [
        ("http://a.test/", "http://a.test/"),
        ("<http://a.test/x>", "http://a.test/x"),
        ("http://a.test/two words", "http://a.test/two%20words"),
        ("HTTPS://a.test/", "HTTPS://a.test/"),
        ("http://a.test/é", "http://a.test/é"),
    ],
)
def test_addresses_are_as_others_ask_for_them(tmp_path: Path, stored: str, url: str) -> None:
    record = one(tmp_path, warc(http(b"x"), url=stored))

    assert (record.url, record.problem) == (url, None)


@pytest.mark.parametrize(
    "url", ["", "dns:a.test", "metadata://gnu.org/x", "http://", "http://[::1", "file:///etc", "x"]
)
def test_what_is_no_http_address_is_a_bad_url(tmp_path: Path, url: str) -> None:
    assert reason(one(tmp_path, warc(http(b"x"), url=url))) is Reason.BAD_URL
    assert reason(one(tmp_path, warc(b"x", url=url, kind="resource"))) is Reason.BAD_URL


@pytest.mark.parametrize("kind", ["request", "metadata", "warcinfo", "revisit", "conversion"])
def test_other_records_are_there_to_be_counted(tmp_path: Path, kind: str) -> None:
    record = one(tmp_path, warc(http(b"x"), kind=kind, url=""))

    assert (record.type, record.body, record.problem) == (kind, b"", None)


def test_types_are_lower_case(tmp_path: Path) -> None:
    assert one(tmp_path, warc(http(b"x"), kind="Response")).type == "response"


def test_a_record_shorter_than_told_is_truncated_with_value_and_limit(tmp_path: Path) -> None:
    block = http(b"x" * 50)
    record = one(tmp_path, warc(block, told=len(block) + 100)[:-4])

    assert record.problem is not None
    assert (record.problem.reason, record.problem.value, record.problem.limit) == (
        Reason.TRUNCATED_PAYLOAD,
        len(block),
        len(block) + 100,
    )
    assert (record.body, record.payload_sha256) == (b"", b"")
    assert record.url == "http://example.com/"


def test_a_crawler_that_says_truncated_is_believed(tmp_path: Path) -> None:
    record = one(tmp_path, warc(http(b"x"), "WARC-Truncated: length"))

    assert reason(record) is Reason.TRUNCATED_PAYLOAD


def test_a_wrong_length_of_http_is_no_problem(tmp_path: Path) -> None:
    record = one(tmp_path, warc(http(b"x" * 50, "Content-Length: 9999")))

    assert (record.problem, record.body) == (None, b"x" * 50)


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (b"<html>no status line", Reason.BAD_HTTP),
        (b"", Reason.BAD_HTTP),
        (http(b""), Reason.EMPTY_PAYLOAD),
        (http(b"5\r\nab", "Transfer-Encoding: chunked"), Reason.BAD_ENCODING),
        (http(b"\x1f\x8bxx", "Content-Encoding: gzip"), Reason.BAD_ENCODING),
        (
            http(gzip.compress(bytes(LIMITS.body_bytes + 1)), "Content-Encoding: gzip"),
            Reason.RECORD_TOO_LARGE,
        ),
        (http(gzip.compress(bytes(LIMITS.body_bytes)), "Content-Encoding: gzip"), None),
        # a status is reason enough: what is behind it is not judged
        (http(b"", status="404 Not Found"), None),
        (http(b"\x1f\x8bxx", "Content-Encoding: gzip", status="500 Sorry"), None),
    ],
)
def test_a_response_has_at_most_one_problem(
    tmp_path: Path, block: bytes, expected: Reason | None
) -> None:
    assert reason(one(tmp_path, warc(block))) is expected


def test_a_resource_is_its_block(tmp_path: Path) -> None:
    stored = warc(b"\xff\xd8jpeg", kind="resource").replace(
        b"application/http; msgtype=response", b"Image/JPEG; q=1"
    )

    record = one(tmp_path, stored)

    assert (record.body, record.media_type, record.status) == (b"\xff\xd8jpeg", "image/jpeg", None)
    assert reason(one(tmp_path, warc(b"", kind="resource"))) is Reason.EMPTY_PAYLOAD


def test_arc_records_are_responses_where_they_hold_http_and_resources_elsewhere(
    tmp_path: Path,
) -> None:
    path = tmp_path / "crawl.arc"
    path.write_bytes(
        arc("filedesc://x.arc", b"1 0 Test\nURL IP-address Archive-date Content-type Length\n\n")
        + arc("http://a.test/with space", http(b"<p>"))
        + arc("http://a.test/bare", b"<p>")
        + arc("dns:a.test", b"a.test. 1 IN A 127.0.0.1")
    )

    records = read(path)

    assert [(r.type, r.url, reason(r)) for r in records] == [
        ("warcinfo", "filedesc://x.arc", None),
        ("response", "http://a.test/with%20space", None),
        ("resource", "http://a.test/bare", None),
        ("resource", "dns:a.test", Reason.BAD_URL),
    ]
    assert {r.date for r in records} == {"2020-01-02T03:04:05Z"}


@pytest.mark.parametrize("length", ["abc", "-1"])
def test_an_arc_line_without_a_length_costs_its_record_only(tmp_path: Path, length: str) -> None:
    path = tmp_path / "crawl.arc"
    path.write_bytes(
        arc("http://a.test/1", http(b"1"))
        + arc("http://a.test/2", http(b"2"), told=length)
        + arc("http://a.test/3", http(b"3"))
    )

    assert [(r.url, reason(r)) for r in read(path)] == [
        ("http://a.test/1", None),
        ("", Reason.DAMAGED_RECORD),
        ("http://a.test/3", None),
    ]


@pytest.mark.parametrize(
    ("stored", "date"),
    [
        ("2020-01-02T03:04:05Z", "2020-01-02T03:04:05Z"),
        ("2020-01-02T03:04:05.123456789Z", "2020-01-02T03:04:05Z"),
        ("2020-01-02T03:04:05+02:00", "2020-01-02T01:04:05Z"),
        ("2020-01-02T03:04Z", "2020-01-02T03:04:00Z"),
        ("2020-01", "2020-01-01T00:00:00Z"),
        ("2020", "2020-01-01T00:00:00Z"),
        ("0999-01-01T00:00:00Z", "0999-01-01T00:00:00Z"),
        ("2020-13-01T00:00:00Z", ""),
        ("2020-02-30T00:00:00Z", ""),
        ("yesterday", ""),
        ("", ""),
    ],
)
def test_dates_are_utc_to_the_second_or_empty(stored: str, date: str) -> None:
    assert warc_date(stored) == date


def test_dates_of_arc_are_digits() -> None:
    assert arc_date("20200102030405") == "2020-01-02T03:04:05Z"
    assert arc_date("202001020304051234") == "2020-01-02T03:04:05Z"
    assert arc_date("20201302030405") == ""


def test_a_record_behind_rubbish_in_the_same_member_is_found(tmp_path: Path) -> None:
    path = tmp_path / "crawl.warc.gz"
    path.write_bytes(gzipped([page(0) + b"rubbish\r\n" * 9 + page(1), page(2)]))

    records = read(path)

    assert [(r.place, r.url, reason(r)) for r in records] == [
        (0, "http://example.com/0", None),
        (1, "", Reason.DAMAGED_RECORD),
        (2, "http://example.com/1", None),
        (0, "http://example.com/2", None),
    ]


OTHER_FORMATS = (b"\x04\x22\x4d\x18", b"BZh", b"\xfd7zXZ\x00")  # lz4, bzip2, xz


@given(st.binary(max_size=400), st.integers(0, 700))
@example(OTHER_FORMATS[0], 0)
@example(OTHER_FORMATS[1], 0)
@example(OTHER_FORMATS[2], 0)
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_bytes_make_the_reader_fail_but_those_of_a_format_that_is_refused(
    tmp_path: Path, noise: bytes, place: int
) -> None:
    record = page(0)
    path = tmp_path / "crawl"
    for hurt in (
        record[:place] + noise + record[place:],
        arc("http://a.test/", noise) + noise,
        b"http://a.test/ 1 20200101000000 text/html 5\n" + noise,
    ):
        path.write_bytes(hurt)
        if hurt.startswith(OTHER_FORMATS):
            with pytest.raises(ValueError, match="compression is not read"):
                read(path)
        else:
            read(path)
        path.write_bytes(gzip.compress(hurt))
        read(path)


@pytest.mark.parametrize("offset", ["7", "123456789"])
def test_a_header_of_the_second_version_of_arc_is_read_as_one_of_the_first(
    tmp_path: Path, offset: str
) -> None:
    """Status, checksum, redirect, offset and file name stand between the type and the length."""
    block = http(b"<p>hello")
    line = f"http://example.com/a 10.0.0.1 20040501100000 text/html 200 ABCD - {offset} f.arc.gz"
    first = b"2 0 Example\nURL IP-address Archive-date Content-type Result-code Checksum Location "
    first += b"Offset Filename Archive-length\n"
    opening = f"filedesc://f.arc 0.0.0.0 20040501100000 text/plain 200 - - 0 f.arc {len(first)}\n"
    crawl = opening.encode() + first + b"\n"
    crawl += (f"{line} {len(block)}\n".encode() + block + b"\n") * 2
    for name, data in (("a.arc", crawl), ("a.arc.gz", gzip.compress(crawl))):
        path = tmp_path / name
        path.write_bytes(data)
        said, *pages = read(path)
        assert said.type == "warcinfo"
        assert [(one.url, one.date, one.media_type, one.body) for one in pages] == [
            ("http://example.com/a", "2004-05-01T10:00:00Z", "text/html", b"<p>hello")
        ] * 2
        assert count_records(str(path)) == {"records.type.warcinfo": 1, "records.type.response": 2}
