"""Common Crawl's index as input: the wanted records, each once, whatever lies between them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.extract.steps import Input, cut_input, list_inputs
from pipeline.job import Crawl
from pipeline.read.index import FARTHEST, MOST_RANGES, index_parts, ranges_of
from pipeline.read.inputs import expand
from pipeline.read.parts import GAP, Part, from_json, near_ranges, to_json
from pipeline.read.records import read_part
from schemas.verdict import Reason
from tests.read.crawls import LIMITS, gzipped, pages, read, starts, urls
from tests.read.web_server import Web, serving

PAGES = pages(40, size=1000)
CRAWL = gzipped(PAGES)
PLACES = starts(CRAWL)
OURS = ("filename", "offset", "length")
Row = tuple[str | None, int | None, int | None]
THEIRS = ("warc_filename", "warc_record_offset", "warc_record_length")


def runs_of(
    names: list[str], *, base: str = "", limit: int | None = None
) -> dict[str, list[list[int]]]:
    return {name: runs.tolist() for name, runs in ranges_of(names, base=base, limit=limit)}


def row(number: int, name: str = "1.warc.gz") -> tuple[str, int, int]:
    return name, PLACES[number], PLACES[number + 1] - PLACES[number]


def write(path: Path, rows: Sequence[Row], names: tuple[str, ...] = OURS) -> str:
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

    ranges = dict(ranges_of([index], base=str(tmp_path)))
    files = expand([index], base=str(tmp_path))

    assert files == tuple(sorted(ranges))
    assert files == (f"{tmp_path}/1.warc.gz", f"{tmp_path}/2.warc.gz")
    found = [urls(read(Path(), index_parts(f, 0, ranges[f], part_size=1 << 20))) for f in files]
    assert found == [[f"http://example.com/{n}" for n in (3, 4, 11, 30)], ["http://example.com/7"]]


def test_touching_ranges_are_one(tmp_path: Path) -> None:
    index = write(tmp_path / "i.csv", [row(5), row(4), row(9), row(4)])

    assert runs_of([index]) == {"1.warc.gz": [[PLACES[4], PLACES[6]], [PLACES[9], PLACES[10]]]}


def test_indexes_are_read_together_and_other_inputs_passed_over(tmp_path: Path) -> None:
    one = write(tmp_path / "1.csv", [row(4)])
    two = write(tmp_path / "2.parquet", [row(5)])

    assert runs_of([one, "crawl.warc.gz", two]) == {"1.warc.gz": [[PLACES[4], PLACES[6]]]}
    assert runs_of(["crawl.warc.gz"]) == {}


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_limit_is_the_first_records_of_each_file(tmp_path: Path, limit: int) -> None:
    (tmp_path / "1.warc.gz").write_bytes(CRAWL)
    index = write(tmp_path / "i.csv", [row(20), row(20), row(6), row(5)])

    ((_, runs),) = ranges_of([index], base=str(tmp_path), limit=limit)

    found = urls(read(Path(), index_parts(f"{tmp_path}/1.warc.gz", 0, runs, part_size=1)))
    assert found == [f"http://example.com/{n}" for n in (5, 6, 20)][:limit]


def test_near_ranges_come_with_one_request_and_what_lies_between_is_not_read() -> None:
    runs = np.array([(PLACES[n], PLACES[n + 1]) for n in (2, 5, 9)])
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
    runs = np.array([(n * 100, n * 100 + 10) for n in range(2 * MOST_RANGES + 1)])

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
    runs = np.array([(PLACES[5], PLACES[6]), (PLACES[8], PLACES[9])])

    records = read(Path(), index_parts(f"{tmp_path}/1.warc.gz", 0, runs, part_size=1 << 20))

    assert [(r.offset, r.problem is None) for r in records] == [
        (PLACES[5], False),
        (PLACES[8], True),
    ]


@pytest.mark.parametrize("ending", ["parquet", "csv", "csv.gz"])
@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("a", -1, 1), "offset of -1 in row 3, the minimum is 0, the maximum 99,999,999,999,999"),
        (("a", FARTHEST + 1, 1), "offset of 100000000000000 in row 3, the minimum is 0, the max"),
        (("a", 0, 0), "length of 0 in row 3, the minimum is 1, the maximum"),
        (("a", None, 1), "offset of None in row 3"),
        (("a", 1, None), "length of None in row 3"),
        (("", 1, 1), "no filename in row 3; leave the row out"),
    ],
)
def test_a_row_that_names_no_place_is_refused_with_its_number_and_value(
    tmp_path: Path, ending: str, row: Row, message: str
) -> None:
    index = write(tmp_path / f"i.{ending}", [("a", 0, 1), ("b", FARTHEST, FARTHEST), row])

    with pytest.raises(ValueError, match=rf"i\.{ending}: {message}"):
        list(ranges_of([index]))
    with pytest.raises(ValueError, match=message):  # at choosing already
        expand([index])


def test_a_row_is_numbered_over_all_batches(tmp_path: Path) -> None:
    rows = [("a", n, 1) for n in range(100_000)]
    index = write(tmp_path / "i.parquet", [*rows, ("a", 5, 0)])

    with pytest.raises(ValueError, match="length of 0 in row 100,001"):
        expand([index])


@pytest.mark.parametrize("ending", ["parquet", "csv"])
@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("file", "offset", "length"), "no column filename or warc_filename, only url, file, off"),
        (("filename", "offset", "size"), "no column length or warc_record_length, only"),
    ],
)
def test_an_index_without_a_column_is_refused_with_those_that_it_has(
    tmp_path: Path, ending: str, names: tuple[str, ...], message: str
) -> None:
    index = write(tmp_path / f"i.{ending}", [("a", 0, 1)], names)

    with pytest.raises(ValueError, match=message):
        expand([index])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("filename,offset,length,offset\na,0,1,0\n", "2 columns are called offset; keep one"),
        ("filename,offset,length\na,x,1\n", "not a readable index .*; get it again"),
        ("filename,offset,length\na,0.5,1\n", "not a readable index .*truncated.*; get it again"),
        ("filename,offset,length\na,0,1,2\n", "not a readable index .*Expected 3 columns, got 4"),
        ("", "not a readable index .*Empty CSV file"),
    ],
)
def test_a_csv_that_is_no_index_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "i.csv"
    path.write_text(text)

    with pytest.raises(ValueError, match=message):
        expand([str(path)])


@pytest.mark.parametrize("ending", ["parquet", "csv", "csv.gz"])
def test_an_index_that_breaks_off_is_refused(tmp_path: Path, ending: str) -> None:
    whole = Path(write(tmp_path / f"i.{ending}", [("a.warc", n, 7) for n in range(1000)]))
    cut = tmp_path / f"cut.{ending}"
    cut.write_bytes(whole.read_bytes()[:-3])

    with pytest.raises(ValueError, match=r"cut\..*: not a readable index .*; get it again"):
        expand([str(cut)])


def test_a_name_that_is_a_number_is_a_name(tmp_path: Path) -> None:
    index = write(tmp_path / "i.csv", [("0017", 0, 1), ("true", 0, 1)])

    assert expand([index]) == ("0017", "true")


def test_two_spellings_that_the_base_makes_one_are_one_file(tmp_path: Path) -> None:
    rows = [("a.warc", 10, 10), (f"{tmp_path}/a.warc", 0, 10), ("a.warc", 40, 10)]
    index = write(tmp_path / "i.csv", rows)

    assert runs_of([index], base=str(tmp_path)) == {f"{tmp_path}/a.warc": [[0, 20], [40, 50]]}


@given(
    rows=st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 60), st.integers(1, 9)), min_size=1
    ),
    limit=st.none() | st.integers(1, 5),
    cut=st.integers(1, 4),
)
def test_runs_are_the_records_in_order_each_once_up_to_the_limit(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, int, int]],
    limit: int | None,
    cut: int,
) -> None:
    folder = tmp_path_factory.mktemp("indexes")
    indexes = [
        write(folder / f"{n}.parquet", rows[n::cut]) for n in range(cut) if rows[n::cut]
    ]  # one index or several: the same

    found = runs_of(indexes, limit=limit)

    assert found == one_by_one(read_in_order(rows, cut), limit)


def read_in_order(rows: list[tuple[str, int, int]], cut: int) -> list[tuple[str, int, int]]:
    return [row for n in range(cut) for row in rows[n::cut]]


def one_by_one(rows: list[tuple[str, int, int]], limit: int | None) -> dict[str, list[list[int]]]:
    """What the runs are to be, told a record at a time."""
    runs: dict[str, list[list[int]]] = {name: [] for name, _, _ in rows}
    records = dict.fromkeys(runs, 0)
    for name, offset, length in sorted(rows, key=lambda row: row[:2]):
        known, end = runs[name], offset + length
        if records[name] == limit:
            continue
        if known and offset < known[-1][1]:  # lies in what is wanted: listed twice
            known[-1][1] = max(end, known[-1][1])
            continue
        records[name] += 1
        if known and offset == known[-1][1]:
            known[-1][1] = end
        else:
            known.append([offset, end])
    return runs


@given(
    runs=st.lists(st.tuples(st.integers(1, 50), st.integers(1, 50)), min_size=1, max_size=60),
    part_size=st.integers(1, 300),
)
def test_parts_hold_all_runs_in_order_and_no_run_more_than_fills_one(
    runs: list[tuple[int, int]], part_size: int
) -> None:
    places = np.cumsum([step for run in runs for step in run]).reshape(-1, 2)

    parts = list(index_parts("x", 0, places, part_size=part_size))

    assert [list(run) for part in parts for run in part.ranges] == places.tolist()
    for part in parts:
        sizes = [end - start for start, end in part.ranges]
        assert sum(sizes[:-1]) < part_size
        assert (part.start, part.end) == (part.ranges[0][0], part.ranges[-1][1])
    for part in parts[:-1]:
        assert sum(end - start for start, end in part.ranges) >= part_size


def test_neither_other_columns_nor_more_rows_than_a_batch_are_held_to_name_the_files(
    tmp_path: Path,
) -> None:
    rows = 1_200_000
    table = pa.table({
        "filename": pa.array(["a.warc.gz"] * rows),
        "offset": pa.array(np.arange(rows)),
        "length": pa.array(np.ones(rows, dtype=np.int32)),
        "other": pa.array(np.random.default_rng(1).integers(0, 1 << 60, rows)),
    })  # fmt: skip
    pyarrow.parquet.write_table(table, tmp_path / "i.parquet")
    index, size = str(tmp_path / "i.parquet"), table.nbytes
    del table

    before = most_arrow_bytes(lambda: list(pyarrow.parquet.ParquetFile(index).iter_batches()))
    named = most_arrow_bytes(lambda: expand([index]))

    assert before >= size  # the measure can fail
    assert named < size / 3


def most_arrow_bytes(act: Callable[[], object]) -> int:
    """How much more Arrow held at its most while `act` ran."""
    usual = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(usual)  # its maximum begins anew
    pa.set_memory_pool(pool)
    try:
        act()
        return int(pool.max_memory())
    finally:
        pa.set_memory_pool(usual)


def test_an_index_comes_to_extract_as_parts_that_are_small_and_other_inputs_whole(
    tmp_path: Path,
) -> None:
    (tmp_path / "1.warc.gz").write_bytes(CRAWL)
    (tmp_path / "2.warc.gz").write_bytes(CRAWL)
    index = write(tmp_path / "i.csv", [("1.warc.gz", n * 100, 50) for n in range(2500)])
    run_folder(tmp_path, inputs=("1.warc.gz", "2.warc.gz"), indexes=(index,))

    *parts, other = list_inputs(str(tmp_path))

    assert [len(one.ranges) for one in parts if isinstance(one, Part)] == [1000, 1000, 500]
    assert [list(cut_input(one)) for one in parts] == [[one] for one in parts]
    assert isinstance(other, Input)
    assert (other.name, other.number, other.walked) == ("2.warc.gz", 1, True)


def test_an_index_that_names_another_file_than_at_the_runs_start_is_refused(
    tmp_path: Path,
) -> None:
    index = write(tmp_path / "i.csv", [row(3, "2.warc.gz")])
    run_folder(tmp_path, inputs=("1.warc.gz",), indexes=(index,))

    with pytest.raises(ValueError, match=r"2\.warc\.gz is named by an index, and is no input"):
        list(list_inputs(str(tmp_path)))


def run_folder(folder: Path, **crawl: tuple[str, ...]) -> None:
    text = json.dumps({"crawl": asdict(Crawl(**crawl))})  # type: ignore[arg-type]
    (folder / "run.json").write_text(text)


def test_an_index_without_rows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "i.csv"
    path.write_text("url,filename,offset,length\n")

    with pytest.raises(ValueError, match="the index has no row"):
        expand([str(path)])


def test_a_row_behind_the_end_of_its_file_is_a_damaged_record(tmp_path: Path) -> None:
    """Of a download that was cut short, or a wrong row; those before it are read."""
    (tmp_path / "1.warc.gz").write_bytes(CRAWL)
    name, _, length = row(3)
    far = [(name, len(CRAWL) + at, length) for at in (0, 9_000, 10**9)]
    index = write(tmp_path / "index.csv", [row(3), row(7), *far])
    ((file, ranges),) = ranges_of([index], base=str(tmp_path))
    found = read(Path(), index_parts(file, 0, ranges, part_size=1 << 20))
    assert urls(found[:2]) == ["http://example.com/3", "http://example.com/7"]
    assert [(one.type, one.problem and one.problem.reason) for one in found[2:]] == [
        ("damaged", Reason.DAMAGED_RECORD)
    ] * 3
    assert [one.offset for one in found[2:]] == [len(CRAWL), len(CRAWL) + 9_000, 10**9 + len(CRAWL)]
