"""Members: exact ends, bounded memory, and the way on behind damage for bounded work."""

from __future__ import annotations

import io
import random
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pipeline.read.walk.members import BUDGET, NAMED, PROOF, Effort, Member, members
from schemas.verdict import Reason
from tests.read.crawls import (
    LIMITS,
    gzipped,
    http,
    page,
    pages,
    planted,
    read,
    starts,
    stored,
    urls,
    warc,
    zstd,
)

ANY_EXAMPLE = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
PAGES = pages(12)
ALL = [f"http://example.com/{number}" for number in range(12)]
FORMS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda record: gzipped([record]),
    "gzip, stored": stored,
    "zstd": lambda record: zstd([record]),
    "plain": lambda record: record,
}


def walk(crawl: bytes, *, effort: Effort | None = None, max_bytes: int = 4 << 20) -> list[Member]:
    stream = io.BytesIO(crawl)
    return list(members(stream, keep=False, max_bytes=max_bytes, effort=effort))


def test_the_walk_and_the_reader_see_the_same_members(tmp_path: Path) -> None:
    crawl = gzipped(PAGES, a_member=2)

    kept = list(members(io.BytesIO(crawl), keep=True, max_bytes=4 << 20))

    assert [member.offset for member in kept] == starts(crawl)[:-1]
    assert [(m.offset, m.length, m.data) for m in walk(crawl)] == [
        (m.offset, m.length, None) for m in kept
    ]
    assert b"".join(member.data or b"" for member in kept) == b"".join(PAGES)


@given(victim=st.integers(0, 10), place=st.floats(0, 1), length=st.integers(1, 600))
@pytest.mark.parametrize("form", ["gzip", "gzip, stored", "zstd"])
@ANY_EXAMPLE
def test_damage_inside_one_member_costs_that_record_and_no_other(
    tmp_path: Path, form: str, victim: int, place: float, length: int
) -> None:
    """A run of zeros anywhere in a member: header, deflate or trailer, up to all of it."""
    coded = [FORMS[form](record) for record in PAGES]
    hurt = bytearray(coded[victim])
    start = min(len(hurt) - 1, int(place * len(hurt)))
    hurt[start : start + length] = bytes(len(hurt[start : start + length]))
    coded[victim], sound = bytes(hurt), coded[victim]
    path = tmp_path / "crawl"
    path.write_bytes(b"".join(coded))

    records = read(path)

    lost = [] if coded[victim] == sound else [ALL[victim]]
    assert [url for url in ALL if url not in urls(records)] in ([], lost)
    if lost and ALL[victim] not in urls(records):
        offset = sum(map(len, coded[:victim]))
        assert [r.offset for r in records if r.problem] == [offset]
        assert next(r.problem.reason for r in records if r.problem) is Reason.DAMAGED_RECORD


@given(victim=st.integers(0, 10), left=st.floats(0, 1))
@pytest.mark.parametrize("form", ["gzip", "gzip, stored", "zstd", "plain"])
@ANY_EXAMPLE
def test_a_record_that_was_cut_short_costs_no_other(
    tmp_path: Path, form: str, victim: int, left: float
) -> None:
    coded = [FORMS[form](record) for record in PAGES]
    whole = coded[victim]
    coded[victim] = whole[: int(left * len(whole))]
    crawl = b"".join(coded)
    # not to be seen where the next bytes happen to be the lost ones, or where the told length
    # happens to end on an empty line of the next record
    told = sum(map(len, coded[:victim])) + len(whole) - 4
    assume(coded[victim] == whole or (whole not in crawl and crawl[told:][:4].count(b"\n") < 2))
    path = tmp_path / "crawl"
    path.write_bytes(crawl)

    found = urls(read(path))

    assert [url for url in ALL if url not in found] in ([], [ALL[victim]])


def test_two_damaged_members_in_a_row_are_two_losses(tmp_path: Path) -> None:
    crawl = bytearray(gzipped(PAGES))
    places = starts(bytes(crawl))
    for victim in (3, 4):
        crawl[places[victim] + 60 : places[victim] + 90] = bytes(30)
    path = tmp_path / "crawl"
    path.write_bytes(crawl)

    records = read(path)

    assert [r.offset for r in records if r.problem] == [places[3], places[4]]
    assert urls(records) == ALL[:3] + ALL[5:]


@pytest.mark.parametrize("form", ["gzip", "zstd", "plain"])
@pytest.mark.parametrize("cut", [(2, 6), (2, 4, 6, 8), (1, 2, 5), (0, 9)])
def test_what_lies_between_records_that_were_cut_short_is_not_lost(
    tmp_path: Path, form: str, cut: tuple[int, ...]
) -> None:
    """But for a member that zlib stored: its cut block tells that it goes on over the next ones."""
    coded = [FORMS[form](record) for record in PAGES]
    for victim in cut:
        coded[victim] = coded[victim][: len(coded[victim]) // 2]
    path = tmp_path / "crawl"
    path.write_bytes(b"".join(coded))

    found = urls(read(path))

    assert [url for url in ALL if url not in found] in ([], [ALL[victim] for victim in cut])


def test_what_lies_between_two_cut_images_is_read_where_it_is_longer_than_a_stored_block() -> None:
    """A picture's bytes are stored, and its cut block tells that it goes on over what follows.

    Where that block ends inside a member and deflate falls into step with it, as it does behind
    other cuts, the few members up to there are lost with the picture.
    """
    noise = random.Random(3)
    image = warc(http(noise.randbytes(60_000)), url="http://example.com/i.jpg")
    cut = gzipped([image])[:40_000]
    between = gzipped(pages(300, size=1500, seed=4))
    assert len(between) > PROOF

    found = walk(gzipped(PAGES) + cut + between + cut + gzipped(PAGES))

    assert sum(member.damage is None for member in found) == 2 * len(PAGES) + 300
    assert sum(member.damage is not None for member in found) == 2


def test_a_bit_that_flips_in_a_stored_block_leaves_the_end_of_its_member_known() -> None:
    crawl = bytearray(b"".join(stored(record) for record in PAGES))
    places = starts(bytes(crawl))
    crawl[places[5] + 200] ^= 1

    found = walk(bytes(crawl))

    assert [member.offset for member in found] == places[:-1]
    assert [m.offset for m in found if m.damage] == [places[5]]
    assert all(member.sound for member in found)


@pytest.mark.parametrize("hurt", [0, 8, 10, 12, *range(40, 60_000, 1999)])
def test_a_crawl_inside_a_damaged_record_is_only_a_payload(tmp_path: Path, hurt: int) -> None:
    """The measured accident: a small .warc.gz between bytes that zlib stores as they are."""
    noise = random.Random(5).randbytes(20_000)
    inside = gzipped(pages(10, size=1500, seed=9))
    outer = warc(http(noise + inside + noise), url="http://example.com/outer")
    coded = bytearray(gzipped([outer]))
    coded[hurt % len(coded) : hurt % len(coded) + 12] = b"\xff" * 12
    before, after = gzipped(PAGES[:4]), gzipped(PAGES[4:])
    path = tmp_path / "crawl"
    path.write_bytes(before + coded + after)

    records = read(path)

    assert urls(records) == ALL
    assert [r.offset for r in records if r.problem] == [len(before)]


def test_a_long_crawl_inside_a_damaged_record_is_decoded_once() -> None:
    noise = random.Random(5).randbytes(2_000)
    inside = gzipped(pages(400, size=1500, seed=9))
    outer = bytearray(stored(warc(http(noise + inside + noise))))
    outer[:4] = bytes(4)
    effort = Effort()

    found = walk(gzipped(PAGES[:4]) + outer + gzipped(PAGES[4:]), effort=effort)

    assert [member.damage is None for member in found] == [True] * 4 + [False] + [True] * 8
    assert len(inside) > 4 * PROOF, "however long it is, deflate stores it in blocks"
    assert effort.proof_bytes < 4 * len(inside)


def test_planted_magics_cost_one_short_trial_each() -> None:
    noise = random.Random(1)
    filling = b"".join(b"\x1f\x8b\x08\x00" + noise.randbytes(16) for _ in range(50_000))
    broken = gzipped([PAGES[0]])[:-30]
    effort = Effort()

    found = walk(broken + filling + gzipped(PAGES[1:]), effort=effort)

    assert [bool(member.damage) for member in found] == [True] + [False] * 11
    assert 50_000 <= effort.trials <= 50_100
    assert effort.proof_bytes < 100_000


def test_planted_members_that_pass_the_trial_are_not_counted_by_the_thousand() -> None:
    broken = bytes(4) + gzipped(PAGES[:1])[4:]  # its end is as it should be, so much is believed
    filling = b"".join(planted(number) for number in range(5_000))
    effort = Effort()

    found = walk(broken + filling + gzipped(PAGES[1:]), effort=effort)

    assert sum(member.damage is None for member in found) == 11
    assert sum(member.damage is not None for member in found) == NAMED
    assert effort.proof_bytes < BUDGET + len(filling)


def test_planted_members_that_each_decode_far_cost_a_budget_and_no_more() -> None:
    """Each opens like a record, then runs through all that is behind it: a square of work."""
    block = b"\x00\x80\x00\x7f\xff"  # stored, 128 bytes, not the last
    head = b"WARC/1.0\r\nWARC-Type: response\r\n"
    cell = b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + block + head
    cell += bytes(128 - len(head) - 15) + block  # every cell's blocks line up with the next one's
    filling = cell * 20_000 + b"\xff" * 300  # and there all of them break
    effort = Effort()

    found = walk(gzipped([PAGES[0]])[:-30] + filling + gzipped(PAGES[1:]), effort=effort)

    assert sum(member.damage is None for member in found) == 11
    assert effort.proof_bytes < 2 * BUDGET + 4 * len(filling)
    assert effort.trials < 200_000


def test_a_proof_stops_where_no_stored_block_reaches() -> None:
    crawl = bytearray(gzipped(pages(1200, size=4000)))
    crawl[10:40] = bytes(30)
    effort = Effort()

    found = walk(bytes(crawl), effort=effort)

    assert len(found) == 1200
    assert len(crawl) > 2 * PROOF
    assert effort.proof_bytes < 4 * PROOF


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
