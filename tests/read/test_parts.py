"""Parts of any size give the same records in the same order: the law, and where cuts may stand."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipeline.read import members as reading
from pipeline.read.parts import (
    MAX_PART,
    MIN_PART,
    Part,
    cut,
    default_part_size,
    from_json,
    to_json,
    whole,
)
from tests.read.crawls import (
    arc,
    dictionary,
    gzipped,
    http,
    page,
    pages,
    planted,
    read,
    stored,
    warc,
    zstd,
)

# tmp_path is the same for all examples; each writes its whole file anew
ANY_EXAMPLE = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
NESTED = warc(http(gzipped(pages(5, seed=7))), url="http://example.com/nested.warc.gz")
PAGES = pages(14)


def _crawls() -> dict[str, bytes]:
    records = [*PAGES[:5], NESTED, *PAGES[5:]]
    trained = dictionary(pages(40, seed=3))
    return {
        "gzip": gzipped(records),
        "gzip, three records a member": gzipped(records, a_member=3),
        "gzip, stored": b"".join(stored(record) for record in records),
        "gzip, records cut anywhere": gzipped(_blocks(b"".join(records), 300)),
        "plain": b"".join(records),
        "zstd": zstd(records),
        "zstd, two records a frame": zstd(records, a_frame=2),
        "zstd, dictionary": zstd(records, dictionary=trained),
        "zstd, compressed dictionary": zstd(records, dictionary=trained, squeezed=True),
        "arc": b"".join(arc(f"http://a.test/{n}", http(PAGES[n])) for n in range(8)),
        "arc.gz": gzipped(arc(f"http://a.test/{n}", http(PAGES[n])) for n in range(8)),
    }


def _blocks(plain: bytes, size: int) -> list[bytes]:
    return [plain[at : at + size] for at in range(0, len(plain), size)]


CRAWLS = _crawls()


@pytest.mark.parametrize("form", CRAWLS)
@given(part_size=st.integers(1, 12_000), damage=st.lists(st.integers(0, 10**6), max_size=3))
@example(part_size=12_000, damage=[len("http://a.test/0")])  # of an ARC: a field less in its line
@ANY_EXAMPLE
def test_parts_of_any_size_give_the_same_records_also_where_bytes_are_damaged(
    tmp_path: Path, form: str, part_size: int, damage: list[int]
) -> None:
    crawl = bytearray(CRAWLS[form])
    for place in damage:
        crawl[place % len(crawl)] ^= 0x55
    path = tmp_path / "crawl"
    path.write_bytes(crawl)

    parts = list(cut(str(path), 0, part_size=part_size))

    assert read(path, parts) == read(path)
    assert [part.start for part in parts[1:]] == [part.end for part in parts[:-1]]


def _hostile(chance: random.Random, encoded: Callable[[bytes], bytes]) -> bytes:
    """Sound, cut and damaged members, planted ones, rubbish, and crawls inside of records."""
    record = encoded(chance.choice(PAGES))
    inside = b"".join(map(encoded, chance.sample(PAGES, 3)))
    outer = bytearray(encoded(warc(http(chance.randbytes(500) + inside + chance.randbytes(400)))))
    outer[chance.randrange(len(outer))] ^= 0x41
    return chance.choice(
        (
            record * 2,
            record[: chance.randrange(len(record))],
            b"".join(planted(number) for number in range(chance.randrange(1, 30))),
            chance.randbytes(chance.randrange(1, 300)),
            bytes(outer),
            b"\r\n" * chance.randrange(5) + bytes(chance.randrange(40)),
        )
    )


@pytest.mark.parametrize("bounds", ["as they are", "small"])
@given(seed=st.integers(0, 2**32), part_size=st.integers(1, 6000))
@settings(ANY_EXAMPLE, max_examples=150)
def test_parts_of_any_size_give_the_same_records_of_hostile_files(
    tmp_path: Path, bounds: str, seed: int, part_size: int
) -> None:
    chance = random.Random(seed)
    forms: tuple[Callable[[bytes], bytes], ...] = (
        stored,
        bytes,
        lambda plain: gzipped([plain]),
        lambda plain: zstd([plain]),
    )
    form = chance.choice(forms)
    path = tmp_path / "crawl"
    path.write_bytes(b"".join(_hostile(chance, form) for _ in range(chance.randrange(1, 25))))

    with pytest.MonkeyPatch.context() as patch:
        if bounds == "small":  # so that budgets are spent in small files too
            patch.setattr(reading, "BUDGET", 12_000)
            patch.setattr(reading, "NAMED", 3)
        parts = list(cut(str(path), 0, part_size=part_size))
        assert read(path, parts) == read(path)


@pytest.mark.parametrize(
    "name",
    [
        "warcio/example-wrong-chunks.warc.gz",
        "warcio/example-trunc.warc",
        "warcio/bad.arc",
        "warcio/example.warc.gz",
        "resiliparse/warcfile.warc.gz",
        "ukwa-cc0/small-arcs-and-warcs/IAH-urls-wget.warc.gz",
        "ukwa-cc0/small-arcs-and-warcs/IAH-20080430204825-00000-blackbook-truncated.arc",
    ],
)
@given(part_size=st.integers(1, 300_000))
@settings(ANY_EXAMPLE, max_examples=15)
def test_parts_of_any_size_give_the_same_records_of_real_files(
    shared_data: Callable[[str], Path], name: str, part_size: int
) -> None:
    path = shared_data("warc/" + name)

    assert read(path, cut(str(path), 0, part_size=part_size)) == read(path)


def test_no_cut_stands_inside_a_damaged_stretch(tmp_path: Path) -> None:
    """There the reader would forget how many planted members it has told apart already."""
    path = tmp_path / "crawl.warc.gz"
    filling = b"".join(planted(number) for number in range(100, 200))
    broken = bytes(4) + gzipped(PAGES[1:2])[4:]
    path.write_bytes(gzipped(PAGES[:1]) + broken + filling + gzipped(PAGES[2:]))

    parts = list(cut(str(path), 0, part_size=1))

    assert len(parts) == 13  # one of them is the stretch
    assert read(path, parts) == read(path)


def test_a_cut_stands_at_the_first_boundary_at_or_after_the_part_size(tmp_path: Path) -> None:
    path = tmp_path / "crawl.warc"
    record = page(0)
    path.write_bytes(record * 4)

    exactly = list(cut(str(path), 3, part_size=len(record)))
    beyond = list(cut(str(path), 3, part_size=len(record) + 1))

    assert [part.start for part in exactly] == [n * len(record) for n in range(4)]
    assert [part.start for part in beyond] == [0, 2 * len(record)]


def test_an_empty_input_is_one_part_without_records(tmp_path: Path) -> None:
    path = tmp_path / "empty.warc.gz"
    path.write_bytes(b"")

    parts = list(cut(str(path), 0, part_size=1))

    assert [(part.start, part.end) for part in parts] == [(0, 0)]
    assert read(path, parts) == read(path) == []


@pytest.mark.parametrize("limit", range(1, 17))
@pytest.mark.parametrize("form", ["gzip", "gzip, three records a member", "plain", "zstd"])
def test_a_limit_gives_the_first_records_of_an_input_however_it_is_cut(
    tmp_path: Path, form: str, limit: int
) -> None:
    path = tmp_path / "crawl"
    path.write_bytes(CRAWLS[form])

    parts = list(cut(str(path), 0, part_size=1500, limit=limit))

    assert read(path, parts) == read(path)[:limit]
    assert read(path, [whole(str(path), 0, limit=limit)]) == read(path)[:limit]


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_under_one_is_refused(tmp_path: Path, limit: int) -> None:
    with pytest.raises(ValueError, match="the minimum is 1"):
        whole(str(tmp_path), 0, limit=limit)


def test_names_sort_as_the_crawl_goes() -> None:
    places = [(0, 0), (0, 9_999), (0, 10**13), (9, 1), (10, 0), (99_999, 5)]
    names = [Part(input="x", index=index, start=start, end=None).name for index, start in places]

    assert names == sorted(names)
    assert names[1] == "000000-00000000009999"


def test_a_part_survives_json_and_pickle() -> None:
    part = Part(input="é.gz", index=1, start=5, end=90, kind="gzip", ranges=((5, 9), (50, 90)))

    assert from_json(to_json(part)) == part
    assert pickle.loads(pickle.dumps(part)) == part
    assert len(pickle.dumps(part)) < 400


@pytest.mark.parametrize(
    ("total", "size"),
    [
        (0, MIN_PART),
        (16 << 20, MIN_PART),
        ((16 << 20) + 16, MIN_PART + 1),
        (1 << 30, MAX_PART),
        (1 << 40, MAX_PART),
    ],
)
def test_a_part_is_a_sixteenth_of_all_input_between_1_and_64_mib(total: int, size: int) -> None:
    assert default_part_size(total) == size
