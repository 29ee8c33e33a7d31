"""Members: exact ends, bounded memory, and what is no record."""

from __future__ import annotations

import io
import tracemalloc
import zlib
from pathlib import Path

import pytest

from pipeline.read.members import Member, members
from schemas.verdict import Reason
from tests.read.crawls import (
    LIMITS,
    gzipped,
    http,
    page,
    pages,
    read,
    starts,
    urls,
    warc,
    zstd,
)

PAGES = pages(12)
ALL = [f"http://example.com/{number}" for number in range(12)]


def walk(crawl: bytes, *, max_bytes: int = 4 << 20) -> list[Member]:
    return list(members(io.BytesIO(crawl), keep=False, max_bytes=max_bytes))


def test_the_walk_and_the_reader_see_the_same_members(tmp_path: Path) -> None:
    crawl = gzipped(PAGES, a_member=2)

    kept = list(members(io.BytesIO(crawl), keep=True, max_bytes=4 << 20))

    assert [member.offset for member in kept] == starts(crawl)[:-1]
    assert [(m.offset, m.length, m.data) for m in walk(crawl)] == [
        (m.offset, m.length, None) for m in kept
    ]
    assert b"".join(member.data or b"" for member in kept) == b"".join(PAGES)


def test_a_member_over_the_limit_is_told_with_value_and_limit_and_reading_goes_on() -> None:
    crawl = gzipped([PAGES[0], warc(http(bytes(50_000))), PAGES[1]])
    size = len(warc(http(bytes(50_000))))

    exactly = walk(crawl, max_bytes=size)
    beyond = walk(crawl, max_bytes=size - 1)

    assert [member.damage for member in exactly] == [None, None, None]
    problem = beyond[1].damage
    assert problem is not None
    assert (problem.reason, problem.value, problem.limit) == (
        Reason.RECORD_TOO_LARGE,
        size,
        size - 1,
    )
    assert beyond[1].sound
    assert beyond[2].offset == exactly[2].offset


def test_a_record_over_two_members_is_too_large_together() -> None:
    record = page(0, size=4000)
    crawl = gzipped([record[:2000], record[2000:], PAGES[1]])

    joined = list(members(io.BytesIO(crawl), keep=True, max_bytes=len(record)))
    refused = list(members(io.BytesIO(crawl), keep=True, max_bytes=len(record) - 1))

    assert [member.data for member in joined] == [record, PAGES[1]]
    problem = refused[0].damage
    assert problem is not None
    assert (problem.reason, problem.value, problem.limit, refused[0].data) == (
        Reason.RECORD_TOO_LARGE,
        len(record),
        len(record) - 1,
        None,
    )
    assert [member.data for member in refused[1:]] == [PAGES[1]]


@pytest.mark.parametrize("form", ["gzip", "zstd"])
def test_a_bomb_never_gets_memory(form: str) -> None:
    engine = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(engine.compress(bytes(1 << 20)) for _ in range(64)) + engine.flush()
    crawl = bomb if form == "gzip" else zstd([bytes(64 << 20)])
    tracemalloc.start()

    found = list(members(io.BytesIO(crawl), keep=True, max_bytes=1 << 20))

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found[0].damage is not None
    assert found[0].damage.value == 64 << 20
    assert peak < 8 << 20


def test_a_file_in_one_member_over_the_limit_is_unpacked_aside_and_read_whole(
    tmp_path: Path,
) -> None:
    records = pages(300, size=20_000)
    for form, crawl in {
        "gz": gzipped(records, a_member=300),
        "zst": zstd(records, a_frame=300),
    }.items():
        path = tmp_path / f"crawl.{form}"
        path.write_bytes(crawl)
        assert sum(map(len, records)) > LIMITS.record_bytes

        found = read(path)

        assert [record.place for record in found] == list(range(300))
        assert {record.offset for record in found} == {0}
        assert not [record for record in found if record.problem]


def test_blocks_that_know_no_records_are_joined_and_over_the_limit_unpacked_aside(
    tmp_path: Path,
) -> None:
    """As bgzip writes them: a member each 64 KiB, wherever records begin."""
    records = pages(300, size=20_000)
    plain = b"".join(records)
    blocks = [plain[at : at + (64 << 10)] for at in range(0, len(plain), 64 << 10)]
    path = tmp_path / "crawl.warc.gz"
    path.write_bytes(gzipped(blocks))

    found = read(path)

    assert [record.url for record in found] == [f"http://example.com/{n}" for n in range(300)]
    assert not [record for record in found if record.problem]


def test_a_record_over_the_limit_in_a_plain_file_is_stepped_over(tmp_path: Path) -> None:
    large = warc(http(bytes(LIMITS.record_bytes)), url="http://example.com/large")
    path = tmp_path / "crawl.warc"
    path.write_bytes(PAGES[0] + large + PAGES[1])

    records = read(path)

    assert urls(records) == ALL[:2]
    problem = records[1].problem
    assert problem is not None
    assert (problem.reason, problem.limit) == (Reason.RECORD_TOO_LARGE, LIMITS.record_bytes)


def test_a_plain_warc_inside_a_record_is_only_a_payload(tmp_path: Path) -> None:
    outer = warc(http(b"".join(pages(5, seed=3))), url="http://example.com/outer")
    path = tmp_path / "crawl.warc"
    path.write_bytes(PAGES[0] + outer + PAGES[1])

    assert urls(read(path)) == [ALL[0], "http://example.com/outer", ALL[1]]


def test_blank_lines_around_records_are_nobodys(tmp_path: Path) -> None:
    path = tmp_path / "crawl.warc"
    path.write_bytes(b"\r\n\r\n" + PAGES[0] + b"\r\n" * 50_000 + PAGES[1] + b"\n\n\n")

    assert urls(read(path)) == ALL[:2]
    assert len(read(path)) == 2


@pytest.mark.parametrize("form", ["gzip", "plain", "zstd"])
def test_zeros_behind_the_last_record_are_padding_and_other_bytes_are_a_loss(
    tmp_path: Path, form: str
) -> None:
    crawl = {"gzip": gzipped(PAGES), "plain": b"".join(PAGES), "zstd": zstd(PAGES)}[form]
    path = tmp_path / "crawl"

    path.write_bytes(crawl + bytes(200_000))
    assert len(read(path)) == 12
    path.write_bytes(crawl + bytes(200_000) + b"x")
    assert [r.offset for r in read(path) if r.problem] == [len(crawl)]


def test_what_is_no_crawl_at_all_is_one_loss(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_bytes(b"<html>not a crawl</html>" * 1000)

    records = read(path)

    assert [(r.offset, r.length, r.type) for r in records] == [(0, 24_000, "damaged")]


@pytest.mark.parametrize("form", ["gzip", "zstd", "plain"])
def test_a_file_is_recognised_behind_a_damaged_first_member(tmp_path: Path, form: str) -> None:
    crawl = {"gzip": gzipped(PAGES), "plain": b"".join(PAGES), "zstd": zstd(PAGES)}[form]
    path = tmp_path / "crawl"
    path.write_bytes(b"\0" * 6 + crawl[6:])

    assert urls(read(path)) == ALL[1:]


def test_a_header_without_length_costs_its_record_only(tmp_path: Path) -> None:
    path = tmp_path / "crawl.warc"
    path.write_bytes(PAGES[0] + page(1).replace(b"Content-Length", b"Content-Girth") + PAGES[2])

    records = read(path)

    assert urls(records) == [ALL[0], ALL[2]]
    assert [(r.offset, r.type) for r in records if r.problem] == [(len(PAGES[0]), "damaged")]
