"""Damage: reading goes on at the next whole member, for bounded work, and is counted."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pipeline.read.codec import Attempt, ByteWindow, Plain
from pipeline.read.compressed import GzipMembers
from pipeline.read.members import BUDGET, NAMED, Member, members
from schemas.verdict import Reason
from tests.read.crawls import (
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


def walk(crawl: bytes, *, max_bytes: int = 4 << 20) -> list[Member]:
    return list(members(io.BytesIO(crawl), keep=False, max_bytes=max_bytes))


class Effort:
    """What reading costs: candidates that were tried, and bytes read and decoded."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.trials, self.work = 0, 0
        trial, read = GzipMembers.trial, GzipMembers.read

        def counted_trial(codec: GzipMembers, window: ByteWindow, offset: int) -> bool:
            self.trials += 1
            return trial(codec, window, offset)

        def counted_read(
            codec: GzipMembers, window: ByteWindow, offset: int, plain: Plain
        ) -> Attempt:
            attempt = read(codec, window, offset, plain)
            self.work += attempt.work
            return attempt

        patch.setattr(GzipMembers, "trial", counted_trial)
        patch.setattr(GzipMembers, "read", counted_read)


@pytest.fixture
def effort(monkeypatch: pytest.MonkeyPatch) -> Effort:
    return Effort(monkeypatch)


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


def test_what_lies_between_two_cut_images_is_read() -> None:
    """A picture's bytes are stored, and its cut block claims what follows up to its length."""
    noise = random.Random(3)
    image = warc(http(noise.randbytes(60_000)), url="http://example.com/i.jpg")
    cut = gzipped([image])[:40_000]
    between = gzipped(pages(300, size=1500, seed=4))

    walked = walk(gzipped(PAGES) + cut + between + cut + gzipped(PAGES))

    assert sum(member.damage is None for member in walked) == 2 * len(PAGES) + 300
    assert sum(member.damage is not None for member in walked) == 2


def test_a_bit_that_flips_in_a_stored_block_leaves_the_end_of_its_member_known() -> None:
    crawl = bytearray(b"".join(stored(record) for record in PAGES))
    places = starts(bytes(crawl))
    crawl[places[5] + 200] ^= 1

    found = walk(bytes(crawl))

    assert [member.offset for member in found] == places[:-1]
    assert [m.offset for m in found if m.damage] == [places[5]]
    assert all(member.sound for member in found)


@pytest.mark.parametrize("hurt", [0, 8, 10, 12, *range(40, 60_000, 1999)])
def test_a_crawl_inside_a_damaged_record_adds_at_most_its_own_records_and_is_counted(
    tmp_path: Path, hurt: int
) -> None:
    """A small .warc.gz between bytes that zlib stores as they are: planted, or by accident."""
    noise = random.Random(5).randbytes(20_000)
    inner = pages(10, size=1500, seed=9)
    outer = warc(http(noise + gzipped(inner) + noise), url="http://example.com/outer")
    coded = bytearray(gzipped([outer]))
    coded[hurt % len(coded) : hurt % len(coded) + 12] = b"\xff" * 12
    before, after = gzipped(PAGES[:4]), gzipped(PAGES[4:])
    path = tmp_path / "crawl"
    path.write_bytes(before + coded + after)

    records = read(path)

    own = [record for record in records if not len(before) < record.offset < len(before + coded)]
    assert urls(own) == ALL
    assert [r.offset for r in own if r.problem] == [len(before)]
    planted = [record for record in records if record not in own]
    assert {record.url for record in planted} <= {
        "",
        *(f"http://example.com/{n}" for n in range(10)),
    }
    assert sum(record.resumed for record in records) >= bool(planted)
    assert "http://example.com/outer" not in urls(records)


def test_a_record_that_is_planted_behind_a_damaged_beginning_is_read_and_counted(
    tmp_path: Path,
) -> None:
    """What the docstring of members.py says that a planted member can do."""
    outer = bytearray(stored(warc(http(b"x" * 999 + gzipped(pages(2, seed=9)) + b"y" * 999))))
    outer[:4] = bytes(4)
    path = tmp_path / "crawl"
    path.write_bytes(gzipped(PAGES[:4]) + outer + gzipped(PAGES[4:]))

    records = read(path)

    assert urls(records) == [*ALL[:4], *ALL[:2], *ALL[4:]]
    assert sum(record.problem is not None for record in records) == 2
    assert sum(record.resumed for record in records) == 2


def test_a_long_crawl_inside_a_damaged_record_is_decoded_once(effort: Effort) -> None:
    noise = random.Random(5).randbytes(2_000)
    inside = gzipped(pages(400, size=1500, seed=9))
    outer = bytearray(stored(warc(http(noise + inside + noise))))
    outer[:4] = bytes(4)

    walk(gzipped(PAGES[:4]) + outer + gzipped(PAGES[4:]))

    plain = 400 * len(page(0, size=1500))
    assert effort.work < 2 * (len(inside) + plain)


def test_planted_magics_cost_one_short_trial_each(effort: Effort) -> None:
    noise = random.Random(1)
    filling = b"".join(b"\x1f\x8b\x08\x00" + noise.randbytes(16) for _ in range(50_000))
    broken = gzipped([PAGES[0]])[:-30]

    found = walk(broken + filling + gzipped(PAGES[1:]))

    assert [bool(member.damage) for member in found] == [True] + [False] * 11
    assert 50_000 <= effort.trials <= 50_100
    assert effort.work < 100_000


def test_planted_members_that_pass_the_trial_are_not_counted_by_the_thousand(
    effort: Effort,
) -> None:
    broken = bytes(4) + gzipped(PAGES[:1])[4:]  # its end is as it should be, so much is believed
    filling = b"".join(planted(number) for number in range(5_000))

    found = walk(broken + filling + gzipped(PAGES[1:]))

    assert sum(member.damage is None for member in found) == 11
    assert sum(member.damage is not None for member in found) == NAMED
    assert effort.work < BUDGET + len(filling)


def test_planted_members_that_each_decode_far_cost_a_budget_and_no_more(effort: Effort) -> None:
    """Each opens like a record, then runs through all that is behind it: a square of work."""
    block = b"\x00\x80\x00\x7f\xff"  # stored, 128 bytes, not the last
    head = b"WARC/1.0\r\nWARC-Type: response\r\n"
    cell = b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + block + head
    cell += bytes(128 - len(head) - 15) + block  # every cell's blocks line up with the next one's
    filling = cell * 20_000 + b"\xff" * 300  # and there all of them break

    found = walk(gzipped([PAGES[0]])[:-30] + filling + gzipped(PAGES[1:]))

    assert sum(member.damage is None for member in found) == 11
    assert effort.work < 2 * BUDGET + 4 * len(filling)
    assert effort.trials < 200_000


def test_what_lies_behind_damage_is_decoded_once_and_its_first_member_twice(
    effort: Effort,
) -> None:
    records = pages(1200, size=4000)
    crawl = gzipped(records)
    walk(crawl)
    sound, effort.work = effort.work, 0

    walked = walk(crawl[:10] + bytes(30) + crawl[40:])

    assert len(walked) == 1200
    assert effort.work <= sound + len(crawl) // 1200 + 2 * len(records[0])
