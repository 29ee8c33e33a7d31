"""Common Crawl's index as input: which records of which files, as ranges of bytes.

In:      Parquet or CSV (gzip too) with filename, offset and length of each wanted record; Common
         Crawl's own names warc_filename, warc_record_offset, warc_record_length are understood.
Out:     the files that it names, and for each of them Parts that hold ranges. Touching ranges
         become one; a part ends at a part size or at a thousand ranges. What lies between near
         ranges is fetched with them by one request, and not looked at.
Refused: a missing column, a null, a negative offset or a length under 1: ValueError.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from pipeline.read.parts import Part, Ranges
from pipeline.read.raw import below, open_raw

MOST_RANGES: Final = 1000  # of one part, so that a part stays small
_ENDINGS: Final = (".parquet", ".csv", ".csv.gz")
_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "filename": ("filename", "warc_filename"),
    "offset": ("offset", "warc_record_offset"),
    "length": ("length", "warc_record_length"),
}


def is_index(name: str) -> bool:
    return name.endswith(_ENDINGS)


def files_of(name: str, *, base: str = "") -> list[str]:
    """The crawl files that an index names."""
    return list(ranges_of([name], base=base))


def ranges_of(
    names: Sequence[str], *, base: str = "", limit: int | None = None
) -> dict[str, Ranges]:
    """Per file the wanted runs of bytes of all indexes together, in order, touching ones as one.

    Names that are no index are passed over; `limit` is how many records of each file are wanted.
    """
    indexes = [name for name in names if is_index(name)]
    if not indexes:
        return {}
    table = pa.concat_tables([_table(name) for name in indexes]).combine_chunks()
    table = table.sort_by([("filename", "ascending"), ("offset", "ascending")])
    found: dict[str, _Runs] = {}
    for batch in table.to_batches(max_chunksize=1 << 16):
        columns = (batch.column(name).to_pylist() for name in ("filename", "offset", "length"))
        for file, offset, length in zip(*columns, strict=True):
            runs = found.setdefault(file, _Runs())
            if limit is None or runs.records < limit:
                runs.add(offset, offset + length)
    return {below(base, file): tuple(runs.spans) for file, runs in found.items()}


def index_parts(name: str, index: int, ranges: Ranges, *, part_size: int) -> Iterator[Part]:
    """The wanted ranges of one file as parts of a part size of wanted bytes each."""
    group: list[tuple[int, int]] = []
    size = 0
    for start, end in ranges:
        if group and (len(group) == MOST_RANGES or size >= part_size):
            yield _part(name, index, group)
            group, size = [], 0
        group.append((start, end))
        size += end - start
    if group:
        yield _part(name, index, group)


def _part(name: str, index: int, group: list[tuple[int, int]]) -> Part:
    start, end = group[0][0], group[-1][1]
    return Part(input=name, index=index, start=start, end=end, ranges=tuple(group))


@dataclass(slots=True)
class _Runs:
    """The wanted bytes of one file; a record listed twice is one."""

    spans: list[tuple[int, int]] = field(default_factory=list)
    records: int = 0

    def add(self, start: int, end: int) -> None:
        if self.spans and start < self.spans[-1][1]:
            self.spans[-1] = (self.spans[-1][0], max(end, self.spans[-1][1]))
            return
        self.records += 1
        if self.spans and start == self.spans[-1][1]:
            self.spans[-1] = (self.spans[-1][0], end)
        else:
            self.spans.append((start, end))


def _table(name: str) -> pa.Table:
    """Three columns of an index, checked."""
    try:
        stored = _stored(name)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{name}: not a readable index ({error}); get it again") from error
    table = pa.table(
        {
            "filename": _column(stored, name, "filename").cast(pa.string()),
            "offset": _column(stored, name, "offset").cast(pa.int64()),
            "length": _column(stored, name, "length").cast(pa.int64()),
        }
    )
    if not table.num_rows:
        raise ValueError(f"{name}: the index has no row; check the query that made it")
    for column, least in (("offset", 0), ("length", 1)):
        smallest = pc.min(table[column]).as_py()
        if smallest < least:
            raise ValueError(f"{name}: {column} of {smallest}, the minimum is {least}")
    return table


def _stored(name: str) -> pa.Table:
    with open_raw(name) as stream:
        source = pa.PythonFile(stream, mode="r")
        if name.endswith(".parquet"):
            return pyarrow.parquet.read_table(source)
        if name.endswith(".gz"):
            return pyarrow.csv.read_csv(pa.CompressedInputStream(source, "gzip"))
        return pyarrow.csv.read_csv(source)


def _column(stored: pa.Table, name: str, wanted: str) -> pa.ChunkedArray:
    for candidate in _NAMES[wanted]:
        if candidate in stored.column_names:
            column = stored.column(candidate)
            if column.null_count:
                raise ValueError(f"{name}: {column.null_count} rows without {candidate}; leave out")
            return column
    raise ValueError(
        f"{name}: no column {' or '.join(_NAMES[wanted])}, only {', '.join(stored.column_names)}"
    )
