"""Crawls that are truncated, corrupt, empty, odd or hostile, in whole runs.

Every run must end well and balance (`run_here` verifies it), name each loss with its reason, and
lose nothing else: the good pages around what is wrong must come out.
"""

from __future__ import annotations

import random
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import pytest

from pipeline.read import compressed
from pipeline.read.codec import TRIAL
from pipeline.read.members import BUDGET, NAMED
from pipeline.read.parts import cut
from pipeline.read.records import Limits, read_part
from tests.pipeline.bad_crawls import (
    Fates,
    good,
    page_record,
    pages_of,
    run_here,
    url_of,
    write,
)
from tests.pipeline.runs import counts, rows
from tests.read.crawls import dictionary, gzipped, http, planted, warc, zstd

IAH: Final = "IAH-20080430204825-00000-blackbook-truncated"
HERITRIX: Final = {"bad_url": 1, "other_media": 2}  # the robots of a dns: record; a style sheet

# file of shared/data/warc -> what is lost of it, and why
LOST: Final[Mapping[str, dict[str, int]]] = {
    f"{IAH}.arc": HERITRIX,
    f"{IAH}.arc.gz": HERITRIX,
    f"{IAH}.warc": HERITRIX,
    f"{IAH}.warc.gz": HERITRIX,
    # bad_url: what wget keeps under metadata: addresses
    "IAH-urls-wget.warc.gz": {"bad_url": 3, "http_status": 9, "other_media": 2},
    "bad.arc": {"damaged_record": 2, "other_media": 1},  # lengths of -1 and abc; robots.txt
    "block-sized-records.warc": {"other_media": 3},
    "block-sized-records.warc.gz": {"other_media": 3},
    "clipped.warc.gz": {"damaged_record": 1},  # deflate breaks off
    "example-bad.warc.gz.bad": {"http_status": 1},
    "example-space-in-target-uri.warc.gz": {"bad_url": 1},
    "example-space-in-url.arc": {"truncated_payload": 1},  # 1,579 bytes are left of 1,591
    "example-trunc.warc": {"damaged_record": 1},
    "example-wget-bad-target-uri.warc.gz": {"bad_url": 2},
    "main-page.warc.gz": {"bad_url": 3, "other_media": 15},
    "post-blackout.warc.gz": {"bad_url": 3, "other_media": 10},
    "post-test.warc.gz": {"other_media": 3},  # JSON
    "sopa-wikipedia-homepage.warc.gz": {"bad_url": 3, "other_media": 15},
}
# file -> pages read from it; those that are in no table hold none
PAGES: Final[Mapping[str, int]] = {
    f"{IAH}.arc": 2, f"{IAH}.arc.gz": 2, f"{IAH}.warc": 2, f"{IAH}.warc.gz": 2,
    "IAH-urls-wget.warc.gz": 2, "clueweb-quirk.warc.gz": 29,
    "example-bad-non-chunked.warc.gz": 1, "example-bad.warc.gz.bad": 1,
    "example-iana.org-chunked.warc": 1, "example-resource.warc.gz": 1,
    "example-wget-bad-target-uri.warc.gz": 1, "example-wrong-chunks.warc.gz": 1,
    "example.arc": 1, "example.arc.gz": 1, "example.warc": 1, "example.warc.gz": 1,
    "main-page.warc.gz": 1, "post-blackout.warc.gz": 1, "sopa-wikipedia-homepage.warc.gz": 1,
    "warcfile.warc": 16, "warcfile.warc.gz": 16, "whirlwind.warc": 1, "whirlwind.warc.gz": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def shared_run(
    shared_data: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run over every WARC and ARC that others made, but those in a compression not read."""
    found = sorted(
        path
        for path in shared_data("warc").rglob("*")
        if path.is_file() and (".warc" in path.name or ".arc" in path.name)
    )
    crawls = [path for path in found if path.suffix != ".lz4"]
    assert (len(crawls), len(found)) == (36, 38)
    output = tmp_path_factory.mktemp("shared") / "run"
    run_here(output, *crawls, "--recipe=off")
    return output


def test_each_loss_of_the_shared_crawls_has_its_reason(shared_run: Path) -> None:
    lost = Fates(shared_run).lost()
    assert {Path(name).name: reasons for name, reasons in lost.items()} == LOST


def test_every_readable_page_of_the_shared_crawls_is_there(shared_run: Path) -> None:
    read = Counter(Path(row["input"]).name for row in rows(shared_run, "documents"))
    assert read == PAGES
    fates = Fates(shared_run)
    assert set(fates.dropped.values()) == {"no_image", "same_record", "older_capture"}
    assert "http://en.wikipedia.org/wiki/Main_Page" in fates.kept


@pytest.fixture(scope="module")
def odd_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over one file of each kind of oddity, each with good pages of its own."""
    folder = tmp_path_factory.mktemp("odd")
    crawls = folder / "crawls"
    write(crawls / "twice.warc", b"".join([*good(1, 2), *good(1)]))
    write(crawls / "members.warc.gz", gzipped(good(3, 4, 5), a_member=3))
    write(crawls / "nested.warc.gz", gzipped([*good(6), *_nested(), *good(7)]))
    write(crawls / "half.warc.gz", gzipped([*good(8), *good(9)])[:-400])
    write(crawls / "hurt.warc.gz", _hurt(gzipped(good(10)), gzipped(good(11, 12))))
    records = good(13, 14, 15)
    write(crawls / "dictionary.warc.zst", zstd(records, dictionary=dictionary(records * 20)))
    write(crawls / "empty.warc.gz", b"")
    write(crawls / "empty-member.warc.gz", gzipped([b""]))
    write(crawls / "nothing.warc", warc(b"software: none\r\n", kind="warcinfo", url=""))
    write(crawls / "text.warc", b"This is no crawl.\n" * 9)
    write(folder / "one" / "same.warc.gz", gzipped(good(16)))
    write(folder / "two" / "same.warc.gz", gzipped(good(17)))
    twice = crawls / "members.warc.gz"
    spelt = f"{crawls}/../crawls/./members.warc.gz"
    others: list[str | Path] = [
        folder / "one",
        folder / "two",
        twice,
        spelt,
        _indexed(folder / "three"),
    ]
    run_here(folder / "run", crawls, *others)
    return folder / "run"


def _nested() -> list[bytes]:
    """Crawls as payloads: plain, so that its headers stand in the file, and compressed."""
    plain, packed = b"".join(good(90)), gzipped(good(91))
    return [warc(http(payload).replace(b"text/html", b"application/warc"), url=f"http://a.b/{place}")
            for place, payload in enumerate((plain, packed))]  # fmt: skip


def _hurt(first: bytes, behind: bytes) -> bytes:
    """A member that is damaged in its middle, between good ones."""
    lost = bytearray(gzipped([page_record(92)]))
    lost[len(lost) // 2] ^= 0xFF
    return first + bytes(lost) + behind


def _indexed(folder: Path) -> Path:
    """An index that lists a page twice and its picture once, of a crawl that holds more."""
    members = [gzipped([record]) for record in good(18, 93)]
    crawl = write(folder / "indexed.warc.gz", b"".join(members))
    first, second = len(members[0]), len(members[1])
    listed = [(0, first), (first, second), (0, first)]
    lines = [f"{crawl},{offset},{length}" for offset, length in listed]
    return write(folder / "index.csv", "\n".join(["filename,offset,length", *lines]).encode())


def test_good_pages_around_what_is_odd_all_come_out(odd_run: Path) -> None:
    fates = Fates(odd_run)
    assert fates.kept == pages_of([*range(1, 9), *range(10, 19)])
    assert fates.dropped == {
        url_of(1): "same_record",  # listed twice: the first stays
        url_of(9): "no_image",  # its picture was lost with the file's end
    }


def test_a_record_listed_twice_is_read_twice_and_kept_once(odd_run: Path) -> None:
    found = [row for row in Fates(odd_run).documents if row["url"] == url_of(1)]
    assert [(row["row"], row["outcome"], row["reason"]) for row in found] == [
        (0, "kept", None),
        (2, "dropped", "same_record"),
    ]
    assert len({row["id"] for row in found}) == 1


def test_an_input_named_twice_or_in_two_spellings_is_one(odd_run: Path) -> None:
    assert counts(odd_run, "extract")["documents.kept"] == 19
    assert Fates(odd_run).pages()["crawls/members.warc.gz"] == pages_of([3, 4, 5])


def test_two_inputs_of_one_base_name_are_two(odd_run: Path) -> None:
    pages = Fates(odd_run).pages()
    assert pages["one/same.warc.gz"] == pages_of([16])
    assert pages["two/same.warc.gz"] == pages_of([17])


def test_a_crawl_inside_a_record_is_one_loss_and_never_read(odd_run: Path) -> None:
    fates = Fates(odd_run)
    assert fates.lost()["crawls/nested.warc.gz"] == {"other_media": 2}
    assert not pages_of([90, 91]) & (fates.kept | set(fates.dropped))


def test_only_what_an_index_lists_is_read_and_what_it_lists_twice_once(odd_run: Path) -> None:
    assert Fates(odd_run).pages()["three/indexed.warc.gz"] == pages_of([18])


def test_damage_costs_its_record_and_empty_files_cost_nothing(odd_run: Path) -> None:
    damaged = {"damaged_record": 1}
    assert Fates(odd_run).lost() == {
        "crawls/half.warc.gz": damaged,
        "crawls/hurt.warc.gz": damaged,
        "crawls/nested.warc.gz": {"other_media": 2},
        "crawls/text.warc": damaged,
    }
    told = counts(odd_run, "extract")
    assert told["records.type.warcinfo"] == 1
    assert told["records.seen"] == told["records.kept"] + 5


class CountingZlib:
    """zlib, counting the decompressors that are made and the bytes that they give."""

    def __init__(self) -> None:
        self.made = self.given = 0

    def decompressobj(self, bits: int) -> CountingDecompressor:
        self.made += 1
        return CountingDecompressor(self, zlib.decompressobj(bits))

    def __getattr__(self, name: str) -> object:
        return getattr(zlib, name)


class CountingDecompressor:
    def __init__(self, counter: CountingZlib, engine: zlib._Decompress) -> None:
        self._counter = counter
        self._engine = engine

    def decompress(self, data: bytes, *most: int) -> bytes:
        plain = self._engine.decompress(data, *most)
        self._counter.given += len(plain)
        return plain

    def __getattr__(self, name: str) -> object:
        return getattr(self._engine, name)


def test_magics_planted_by_the_thousand_behind_damage_cost_bounded_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = random.Random(8)
    magics = [b"\x1f\x8b\x08\x00" + noise.randbytes(16) for _ in range(8_000)]
    openings = [planted(number) for number in range(800)]  # each begins like a record, and breaks
    hostile = gzipped([page_record(92)])[:-30] + b"".join([*magics, *openings])
    crawl = gzipped(good(20)) + hostile + gzipped(good(21, 22))
    counting = CountingZlib()
    monkeypatch.setattr(compressed, "zlib", counting)

    path = write(tmp_path / "hostile.warc.gz", crawl)
    parts = list(cut(str(path), 0, part_size=1 << 16))
    records = [record for part in parts for record in read_part(part, limits=Limits())]

    read = {record.url for record in records if record.problem is None}
    assert pages_of([20, 21, 22]) < read
    assert 1 <= sum(record.problem is not None for record in records) <= NAMED + 1
    passes = 2  # the walk that cuts, and the parts' readers
    planted_magics = len(magics) + len(openings)
    assert passes * planted_magics <= counting.made <= 1.5 * passes * planted_magics
    assert counting.given <= passes * (planted_magics * TRIAL + BUDGET)
