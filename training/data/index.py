"""Index: where each sample of a tar lies; read, or made of the tar where there is none.

In:      an index/SHARD.parquet of schemas/tables.py, or a tar of samples as schemas/sample.py has
         them, members of one sample together (as webdataset needs them too).
Out:     a table.
Refused: a file that is no Parquet, is damaged, claims more values than its tar has bytes (a value
         takes a byte at least) or cannot be of its tar; a tar that is cut short or whose headers
         lie (schemas/tar.py); a sample without its JSON, with two members of a name or of another
         FORMAT_VERSION: ValueError naming the tar and the remedy. A store's errors stay so.

An image member that is missing is no error here: its document is trained without it, and counted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby
from typing import Any, BinaryIO, Final

import fsspec  # type: ignore[import-untyped]
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.sample import BYTES, MemberRange, Sample, decode, index_row
from schemas.tables import INDEX
from schemas.tar import BLOCK, BrokenTarError, members


@contextmanager
def readable(message: str) -> Iterator[None]:
    """Parquet is read in the block: what pyarrow raises becomes a ValueError: `message` with it."""
    try:
        yield
    except (pa.ArrowException, ValueError, KeyError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of a store; pyarrow's own, of damaged bytes, have none
        raise ValueError(message.format(error)) from error


@contextmanager
def open_parquet(url: str, message: str, *, most: int) -> Iterator[pq.ParquetFile]:
    """A file of at most so many values, to be read in the block as `readable` says."""
    system, path = fsspec.core.url_to_fs(url)
    with system.open(path, "rb") as stream, readable(message):
        opened = pq.ParquetFile(stream)
        if (values := _values(opened.metadata)) > most:
            raise pa.ArrowInvalid(f"it tells of {values:,} values, but its tar has {most:,} bytes")
        yield opened


def _values(metadata: pq.FileMetaData) -> int:
    """Of the longest column, those in lists with it."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    columns = range(metadata.num_columns)
    return max((sum(group.column(n).num_values for group in groups) for n in columns), default=0)


JSON: Final = "json"
REMEDY: Final = "remove it, and it is made anew from its tar"


def read_index(url: str, columns: list[str] | None = None, *, tar_bytes: int) -> pa.Table:
    """Rows of the index of a tar of so many bytes; ValueError for a file that is none."""
    wanted = pa.schema([INDEX.field(name) for name in columns or INDEX.names])
    with open_parquet(url, f"{url} is no index ({{}}): {REMEDY}", most=tar_bytes) as opened:
        missing = sorted(set(wanted.names) - set(opened.schema_arrow.names))
        table = opened.read(columns=[name for name in wanted.names if name not in missing])
        if not missing:
            table = table.select(wanted.names).cast(wanted)
        table.validate(full=True)
    if missing:
        raise ValueError(f"{url} is no index: it lacks {', '.join(missing)}; {REMEDY}")
    return table


def end_of(table: pa.Table) -> int:
    """The byte to which the members in an index go."""
    places = table["members"].combine_chunks().flatten()
    return int(np.add(places.field("offset"), places.field("length"), dtype=np.float64).max())


def problem_of(table: pa.Table) -> str:
    """Why an index cannot be that of a tar, as far as it can be seen from itself; or ""."""
    lists = table["members"].combine_chunks()
    places = lists.flatten()
    names, starts, lengths = (places.field(name) for name in ("name", "offset", "length"))
    columns = (table["key"], lists, places, names, starts, lengths)
    sizes = np.diff(lists.offsets.to_numpy())  # members of each sample
    if any(column.null_count for column in columns) or not sizes.all():
        return "it has a sample without key or members"
    first = np.cumsum(sizes) - sizes
    if set(names.take(pa.array(first)).to_pylist()) != {JSON}:
        return f"it has a sample whose first member is not {JSON}"
    start, length = (column.to_numpy().astype(np.float64) for column in (starts, lengths))
    order = np.argsort(start, kind="stable")
    ends = np.concatenate([[0], (start + length)[order]])
    if length.min() < 0 or (start[order] < ends[:-1] + BLOCK).any():
        return f"its members do not follow each other from byte {BLOCK} on"
    if (most := length[first].max()) > BYTES:
        return f"it has JSON of {most:,.0f} bytes, over the limit of {BYTES:,}"
    named = names.dictionary_encode()
    of_sample = np.repeat(np.arange(len(sizes)), sizes) * len(named.dictionary)
    if len(np.unique(of_sample + named.indices.to_numpy())) < len(names):
        return "it has a sample with two members of one name"
    return ""


def make_index(tar: str, size: int) -> pa.Table:
    """The index of a tar, by reading its headers and its JSON members once."""
    system, path = fsspec.core.url_to_fs(tar)
    with system.open(path, "rb") as stream:
        try:
            rows = list(_rows(stream, tar, size))
        except BrokenTarError as error:
            raise ValueError(
                f"{tar} of {size:,} bytes is no whole tar ({error}): copy it again"
            ) from error
        closing = stream.read(BLOCK)  # behind the first block of zeros, where the members end
    if closing != bytes(BLOCK):
        raise ValueError(
            f"{tar} is cut short: it ends at byte {size:,} without the two empty blocks that end a "
            "tar; copy it again"
        )
    try:
        return pa.Table.from_pylist(rows, INDEX)
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{tar} has a member whose name is no UTF-8 ({error}): write the tar again"
        ) from error


def _rows(stream: BinaryIO, tar: str, size: int) -> Iterator[Mapping[str, Any]]:
    files = (member for member in members(stream, size=size) if member.is_file)
    for key, of_sample in groupby(files, lambda member: _split(member.name)[0]):
        places: dict[str, MemberRange] = {}
        sample: Sample | None = None
        for member in of_sample:
            name = _split(member.name)[1]
            if name in places:
                raise ValueError(
                    f"{tar}: sample {key} has 2 members {key}.{name}, and at most 1 can be: write "
                    "the tar again with one of them"
                )
            places[name] = (name, member.offset, member.size)
            if name == JSON:
                stream.seek(member.offset)
                sample = read_sample(stream.read(min(member.size, BYTES + 1)), key, tar)
        if sample is None:
            raise ValueError(
                f"{tar}: sample {key} has 0 members {key}.{JSON}, and 1 is needed: give tars that "
                "interloom made, or write them as schemas/README.md tells"
            )
        yield index_row(sample, [places.pop(JSON), *places.values()])


def _split(name: str) -> tuple[str, str]:
    """KEY and the rest, at the first dot of the last part, as webdataset has it."""
    folder, _, last = name.rpartition("/")
    key, _, rest = last.partition(".")
    return f"{folder}/{key}" if folder else key, rest


def read_sample(body: bytes, key: str, tar: str) -> Sample:
    """A sample's JSON member, which must be that of `key`, of this format version."""
    try:
        sample = decode(body)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{tar}, sample {key}: what stands where its JSON should is none ({error}): copy the "
            "tar again, or shard again"
        ) from error
    except ValueError as error:
        raise ValueError(f"{tar}, sample {key}: {error}") from error
    if sample.key != key:
        raise ValueError(
            f"{tar}: the sample at {key} has id {sample.key}: remove its index, which is then made "
            "anew, or write the tar again with the id as KEY"
        )
    return sample
