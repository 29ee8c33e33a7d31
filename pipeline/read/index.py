"""Common Crawl's index as input: which records of which files, as ranges of bytes.

In:      Parquet or CSV (gzip too) with filename, offset and length of each wanted record; Common
         Crawl's own names warc_filename, warc_record_offset, warc_record_length are understood.
Out:     the files that it names, and for each of them Parts that hold ranges. Touching ranges
         become one; a part ends at a part size or at a thousand ranges. Near ranges are fetched
         by one request, and what lies between them is not looked at.
Refused: a missing column, a null, an empty name, a negative offset or a length under 1, by row:
         ValueError.

Three columns are read, a batch at a time. To list the files only their names are kept in memory;
to order the records some 50 bytes for each, and the ranges of one file at a time.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from pipeline.read.parts import Part
from pipeline.store.raw import below, open_raw

MOST_RANGES: Final = 1000  # of one part, so that a part stays small
FARTHEST: Final = 10**14 - 1  # bytes: a part's name has 14 digits for where it starts
_BATCH: Final = 1 << 16  # rows
_LONGEST_HEAD: Final = 1 << 16  # bytes of a CSV's first line
_ENDINGS: Final = (".parquet", ".csv", ".csv.gz")
_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "filename": ("filename", "warc_filename"),
    "offset": ("offset", "warc_record_offset"),
    "length": ("length", "warc_record_length"),
}
_SCHEMA: Final = pa.schema({"filename": pa.string(), "offset": pa.int64(), "length": pa.int64()})
_LIMITS: Final = {"offset": (0, FARTHEST), "length": (1, FARTHEST)}

Numbers = npt.NDArray[np.int64]


def is_index(name: str) -> bool:
    return name.endswith(_ENDINGS)


def files_of(name: str, *, base: str = "") -> list[str]:
    """The crawl files that an index names; every row is checked, none is kept in memory."""
    numbers: dict[str, int] = {}
    for batch in _batches(name):
        _numbered(batch, numbers, base)
    return list(numbers)


def ranges_of(
    names: Sequence[str], *, base: str = "", limit: int | None = None
) -> Iterator[tuple[str, Numbers]]:
    """File by file the wanted runs of bytes of all indexes together: rows of [start, end).

    They are in order, touching ones are joined, and a record listed twice counts once. Names that
    are no index are skipped; `limit` is how many records of each file are wanted. The indexes are
    named by a run.json, which may be foreign, so errors quote no text of theirs.
    """
    numbers: dict[str, int] = {}
    batches = [
        (_numbered(batch, numbers, base), *map(pa.Array.to_numpy, batch.columns[1:]))
        for name in names
        if is_index(name)
        for batch in _batches(name, quoted=False)
    ]
    if not batches:
        return
    file, start, length = map(np.concatenate, zip(*batches, strict=True))
    end = start + length
    del batches, length
    order = np.lexsort((start, file))  # stable
    borders = np.cumsum(np.bincount(file))
    for name, rows in zip(numbers, np.split(order, borders[:-1]), strict=True):
        yield name, _runs(start[rows], end[rows], limit)


def index_parts(name: str, index: int, runs: Numbers, *, part_size: int) -> Iterator[Part]:
    """The wanted runs of one file as parts of a part size of wanted bytes each."""
    size = np.cumsum(runs[:, 1] - runs[:, 0])
    first, before = 0, 0
    while first < len(runs):
        full = int(np.searchsorted(size, before + part_size)) + 1
        last = min(full, first + MOST_RANGES, len(runs))
        ranges = tuple((start, end) for start, end in runs[first:last].tolist())
        start, end = ranges[0][0], ranges[-1][1]
        yield Part(input=name, index=index, start=start, end=end, ranges=ranges)
        first, before = last, int(size[last - 1])


def _numbered(batch: pa.RecordBatch, numbers: dict[str, int], base: str) -> npt.NDArray[np.int32]:
    """For each row the number of its file; a new file gets the next number in `numbers`."""
    encoded = batch.column("filename").dictionary_encode()
    names = (below(base, file) for file in encoded.dictionary.to_pylist())
    of_batch = [numbers.setdefault(name, len(numbers)) for name in names]
    return np.array(of_batch, dtype=np.int32)[encoded.indices.to_numpy()]


def _runs(start: Numbers, end: Numbers, limit: int | None) -> Numbers:
    """The records of one file, by offset, as runs."""
    reach = np.maximum.accumulate(end)
    if limit is not None:
        # a record that begins before the end of those before it is listed twice
        (records,) = np.nonzero(np.append(True, start[1:] >= reach[:-1]))
        rows = records[: limit + 1][limit - 1 : limit].tolist()
        size = rows[0] + 1 if rows else len(start)
        start, reach = start[:size], reach[:size]
    (gaps,) = np.nonzero(start[1:] > reach[:-1])
    return np.stack([start[np.append(0, gaps + 1)], reach[np.append(gaps, -1)]], axis=1)


def _batches(name: str, *, quoted: bool = True) -> Iterator[pa.RecordBatch]:
    """filename, offset and length of an index, checked, a batch of rows at a time."""
    before = 0
    try:
        with open_raw(name) as stream:
            for stored in _stored(name, stream, quoted=quoted):
                stored.validate(full=True)  # UTF-8 too
                batch = stored.rename_columns(_SCHEMA.names).cast(_SCHEMA)
                _check(name, batch, before)
                before += batch.num_rows
                yield batch
    except (pa.ArrowException, OSError, UnicodeDecodeError, zlib.error) as error:
        why = f" ({error})" if quoted else ""
        raise ValueError(f"{name}: not a readable index{why}; get it again") from error
    if not before:
        raise ValueError(f"{name}: the index has no row; check the query that made it")


def _stored(name: str, stream: BinaryIO, *, quoted: bool) -> Iterator[pa.RecordBatch]:
    """The three columns as they are stored, in our order."""
    if name.endswith(".parquet"):
        # by one thread: several cannot share a stream from a server
        stored = pyarrow.parquet.ParquetFile(pa.PythonFile(stream, mode="r"), pre_buffer=False)
        columns = _columns(name, stored.schema_arrow.names, quoted=quoted)
        batches = stored.iter_batches(_BATCH, columns=columns, use_threads=False)
        yield from (batch.select(columns) for batch in batches)
        return
    head = stream.read(_LONGEST_HEAD)
    if name.endswith(".gz"):
        head = zlib.decompressobj(wbits=31).decompress(head, _LONGEST_HEAD)
    first_line = io.BytesIO(head).readline()
    stored = pyarrow.csv.open_csv(io.BytesIO(first_line))
    columns = _columns(name, stored.schema.names, quoted=quoted)
    stream.seek(0)
    wanted = pyarrow.csv.ConvertOptions(
        include_columns=columns, column_types={columns[0]: pa.string()}
    )
    text = pa.PythonFile(stream, mode="r")
    if name.endswith(".gz"):
        text = pa.CompressedInputStream(text, "gzip")
    yield from pyarrow.csv.open_csv(text, convert_options=wanted)


def _columns(name: str, stored: Sequence[str], *, quoted: bool) -> list[str]:
    """What filename, offset and length are called in this index."""
    columns = []
    for names in _NAMES.values():
        column = next((known for known in names if known in stored), None)
        if column is None:
            others = f", only {', '.join(stored)}" if quoted else ""
            raise ValueError(f"{name}: no column {' or '.join(names)}{others}")
        if stored.count(column) > 1:
            raise ValueError(
                f"{name}: {stored.count(column)} columns are called {column}; keep one"
            )
        columns.append(column)
    return columns


def _check(name: str, batch: pa.RecordBatch, before: int) -> None:
    """Refuse a row that is no range of a file; `before` is how many rows precede the batch."""
    for column, (least, most) in _LIMITS.items():
        values = batch[column]
        inside = pc.and_(pc.greater_equal(values, least), pc.less_equal(values, most))
        row = pc.index(pc.fill_null(inside, False), False).as_py()  # noqa: FBT003
        if row >= 0:
            raise ValueError(
                f"{name}: {column} of {values[row]} in row {before + row + 1:,}, the minimum is "
                f"{least}, the maximum {most:,}; leave the row out"
            )
    row = pc.index(pc.fill_null(pc.equal(batch["filename"], ""), True), True).as_py()  # noqa: FBT003
    if row >= 0:
        raise ValueError(f"{name}: no filename in row {before + row + 1:,}; leave the row out")
