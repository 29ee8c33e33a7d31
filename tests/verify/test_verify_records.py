"""warcio's word on a crawl is taken where it reads all of it, and never where it does not."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from pipeline.read.parts import whole
from pipeline.read.records import Limits, read_part
from pipeline.verify.crawl import CannotJudgeError, count_records
from tests.verify.small_crawl import write_crawl

TYPES = {
    "records.type.warcinfo": 1,
    "records.type.request": 21,
    "records.type.response": 21,
    "records.type.revisit": 1,
}


@pytest.fixture(scope="module")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("records") / "small.warc.gz"
    write_crawl(path)
    return path


def test_records_are_counted_by_type(crawl: Path) -> None:
    assert count_records(str(crawl)) == TYPES


def test_a_limit_counts_the_first_records(crawl: Path) -> None:
    assert sum(count_records(str(crawl), limit=7).values()) == 7
    assert count_records(str(crawl), limit=44) == TYPES
    assert count_records(str(crawl), limit=45) == TYPES


def test_plain_records_and_many_in_one_member_count_alike(crawl: Path, tmp_path: Path) -> None:
    plain = gzip.decompress(crawl.read_bytes())
    (tmp_path / "plain.warc").write_bytes(plain)
    (tmp_path / "one.warc.gz").write_bytes(gzip.compress(plain))
    assert count_records(str(tmp_path / "plain.warc")) == TYPES
    assert count_records(str(tmp_path / "one.warc.gz")) == TYPES


def test_zstd_is_not_counted_rather_than_found_empty(crawl: Path, tmp_path: Path) -> None:
    path = tmp_path / "small.warc.zst"
    path.write_bytes(zstandard.compress(gzip.decompress(crawl.read_bytes())))
    with pytest.raises(CannotJudgeError, match="zstd"):
        count_records(str(path))


@pytest.mark.parametrize("keep", [100, 5_000, -1, -9])
def test_a_crawl_that_was_cut_off_is_not_counted(crawl: Path, tmp_path: Path, keep: int) -> None:
    path = tmp_path / "cut.warc.gz"
    path.write_bytes(crawl.read_bytes()[:keep])
    with pytest.raises(CannotJudgeError, match=r"stops behind \d+ records"):
        count_records(str(path))


def test_a_plain_body_that_ends_early_is_not_counted(crawl: Path, tmp_path: Path) -> None:
    plain = gzip.decompress(crawl.read_bytes())
    path = tmp_path / "cut.warc"
    path.write_bytes(plain[: plain.rindex(b"HTTP/1.1") + 10])
    with pytest.raises(CannotJudgeError, match="bytes"):
        count_records(str(path))


def test_a_flipped_bit_is_not_counted(crawl: Path, tmp_path: Path) -> None:
    data = bytearray(crawl.read_bytes())
    data[len(data) // 2] ^= 1
    path = tmp_path / "flipped.warc.gz"
    path.write_bytes(data)
    with pytest.raises(CannotJudgeError):
        count_records(str(path))


def test_what_is_no_crawl_and_what_is_not_there_is_not_counted(tmp_path: Path) -> None:
    (tmp_path / "prose.warc").write_bytes(b"once upon a time\n" * 9)
    with pytest.raises(CannotJudgeError, match="stops behind 0 records"):
        count_records(str(tmp_path / "prose.warc"))
    with pytest.raises(CannotJudgeError, match="cannot be opened"):
        count_records(str(tmp_path / "nowhere.warc"))


# files in which a record or a member is damaged, or that warcio reads none of
NOT_JUDGED = {
    "block-sized-records.warc.lz4", "warcfile.warc.lz4", "clipped.warc.gz",
    "IAH-20080430204825-00000-blackbook-truncated.arc.gz", "example-space-in-url.arc",
    "example-trunc.warc",
}  # fmt: skip
DAMAGED = {"bad.arc"}  # warcio goes on where our reader finds damage


def test_our_reader_and_warcio_agree_on_every_sound_crawl_of_the_shared_data(
    shared_data: Callable[[str], Path],
) -> None:
    refused, agreed = set(), 0
    for path in sorted(shared_data("warc").rglob("*")):
        if not path.is_file() or not {".warc", ".arc"} & set(path.suffixes):
            continue
        if path.name in DAMAGED:
            continue
        try:
            theirs = count_records(str(path))
        except CannotJudgeError:
            refused.add(path.name)
            continue
        records = read_part(whole(str(path), 0), limits=Limits())
        assert theirs == Counter(f"records.type.{record.type}" for record in records), path
        agreed += 1
    assert refused == NOT_JUDGED
    assert agreed >= 30
