"""Common Crawl's index as input: the wanted records, each once, whatever lies between them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from pipeline.read.index import MOST_RANGES, index_parts, ranges_of
from pipeline.read.inputs import expand
from pipeline.read.parts import GAP, from_json, near_ranges, to_json
from pipeline.read.records import read_part
from tests.read.crawls import LIMITS, gzipped, pages, read, starts, urls
from tests.read.web_server import Web, serving

PAGES = pages(40, size=1000)
CRAWL = gzipped(PAGES)
PLACES = starts(CRAWL)
OURS = ("filename", "offset", "length")
THEIRS = ("warc_filename", "warc_record_offset", "warc_record_length")


def row(number: int, name: str = "1.warc.gz") -> tuple[str, int, int]:
    return name, PLACES[number], PLACES[number + 1] - PLACES[number]


def write(path: Path, rows: list[tuple[str, int, int]], names: tuple[str, ...] = OURS) -> str:
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    table = pa.table({"url": ["http://a.test/"] * len(rows), **columns})
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(table, path)
    elif path.suffix == ".gz":
        with pa.CompressedOutputStream(str(path), "gzip") as stream:
            pyarrow.csv.write_csv(table, stream)
    else:
        pyarrow.csv.write_csv(table, path)
    return str(path)


@pytest.mark.parametrize("ending", ["parquet", "csv", "csv.gz"])
@pytest.mark.parametrize("names", [OURS, THEIRS])
def test_the_wanted_records_are_read_each_once_in_the_order_of_the_file(
    tmp_path: Path, ending: str, names: tuple[str, ...]
) -> None:
    (tmp_path / "1.warc.gz").write_bytes(CRAWL)
    (tmp_path / "2.warc.gz").write_bytes(CRAWL)
    wanted = [row(30), row(3), row(4), row(3), row(7, "2.warc.gz"), row(11)]
    index = write(tmp_path / f"index.{ending}", wanted, names)

    ranges = ranges_of([index], base=str(tmp_path))
    files = expand([index], base=str(tmp_path))

    assert files == tuple(sorted(ranges))
    assert files == (f"{tmp_path}/1.warc.gz", f"{tmp_path}/2.warc.gz")
    found = [urls(read(Path(), index_parts(f, 0, ranges[f], part_size=1 << 20))) for f in files]
    assert found == [[f"http://example.com/{n}" for n in (3, 4, 11, 30)], ["http://example.com/7"]]


def test_touching_ranges_are_one(tmp_path: Path) -> None:
    index = write(tmp_path / "i.csv", [row(5), row(4), row(9), row(4)])

    assert ranges_of([index]) == {"1.warc.gz": ((PLACES[4], PLACES[6]), (PLACES[9], PLACES[10]))}


def test_indexes_are_read_together_and_other_inputs_passed_over(tmp_path: Path) -> None:
    one = write(tmp_path / "1.csv", [row(4)])
    two = write(tmp_path / "2.parquet", [row(5)])

    assert ranges_of([one, "crawl.warc.gz", two]) == {"1.warc.gz": ((PLACES[4], PLACES[6]),)}
    assert ranges_of(["crawl.warc.gz"]) == {}


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_limit_is_the_first_records_of_each_file(tmp_path: Path, limit: int) -> None:
    (tmp_path / "1.warc.gz").write_bytes(CRAWL)
    index = write(tmp_path / "i.csv", [row(20), row(20), row(6), row(5)])

    (runs,) = ranges_of([index], base=str(tmp_path), limit=limit).values()

    found = urls(read(Path(), index_parts(f"{tmp_path}/1.warc.gz", 0, runs, part_size=1)))
    assert found == [f"http://example.com/{n}" for n in (5, 6, 20)][:limit]


def test_near_ranges_come_with_one_request_and_what_lies_between_is_not_read() -> None:
    runs = tuple((PLACES[n], PLACES[n + 1]) for n in (2, 5, 9))
    with serving(Web(files={"/1.warc.gz": CRAWL})) as web:
        (part,) = index_parts(web.url + "1.warc.gz", 0, runs, part_size=1 << 20)
        records = list(read_part(part, limits=LIMITS))

        assert urls(records) == [f"http://example.com/{n}" for n in (2, 5, 9)]
        assert web.asked == [f"bytes={PLACES[2]}-{PLACES[10] - 1}"]


def test_a_gap_at_the_bound_is_near_and_one_byte_more_is_not() -> None:
    near = ((0, 10), (10 + GAP, 20 + GAP))
    far = ((0, 10), (11 + GAP, 20 + GAP))

    assert list(near_ranges(near)) == [near]
    assert list(near_ranges(far)) == [far[:1], far[1:]]


def test_parts_end_at_the_part_size_and_at_the_most_ranges() -> None:
    runs = tuple((n * 100, n * 100 + 10) for n in range(2 * MOST_RANGES + 1))

    by_number = list(index_parts("x", 0, runs, part_size=1 << 30))
    by_size = list(index_parts("x", 0, runs[:10], part_size=40))

    assert [len(part.ranges) for part in by_number] == [MOST_RANGES, MOST_RANGES, 1]
    assert [len(part.ranges) for part in by_size] == [4, 4, 2]
    assert len({part.name for part in by_number}) == 3
    assert from_json(to_json(by_number[0])) == by_number[0]


def test_a_damaged_record_of_an_index_is_one_loss_and_no_search_leaves_the_range(
    tmp_path: Path,
) -> None:
    crawl = bytearray(CRAWL)
    crawl[PLACES[5] : PLACES[5] + 40] = bytes(40)
    (tmp_path / "1.warc.gz").write_bytes(crawl)
    runs = ((PLACES[5], PLACES[6]), (PLACES[8], PLACES[9]))

    records = read(Path(), index_parts(f"{tmp_path}/1.warc.gz", 0, runs, part_size=1 << 20))

    assert [(r.offset, r.problem is None) for r in records] == [
        (PLACES[5], False),
        (PLACES[8], True),
    ]


@pytest.mark.parametrize(
    ("rows", "names", "message"),
    [
        ([("a", 1, 1)], ("file", "offset", "length"), "no column filename or warc_filename, only"),
        ([("a", -1, 1)], OURS, "offset of -1, the minimum is 0"),
        ([("a", 0, 0)], OURS, "length of 0, the minimum is 1"),
        ([("a", None, 1), ("a", 1, 1)], OURS, "1 rows without offset"),
    ],
)
def test_an_index_that_cannot_be_used_is_refused_with_its_value(
    tmp_path: Path, rows: list[tuple[str, int, int]], names: tuple[str, ...], message: str
) -> None:
    index = write(tmp_path / "i.parquet", rows, names)

    with pytest.raises(ValueError, match=message):
        ranges_of([index])


def test_an_index_without_rows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "i.csv"
    path.write_text("url,filename,offset,length\n")

    with pytest.raises(ValueError, match="the index has no row"):
        expand([str(path)])
