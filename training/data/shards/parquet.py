"""Parquet that lies beside a tar, opened so that what is wrong with it is told and bounded.

In:      the URL of a file, what to say of one that cannot be read, and the bytes of its tar.
Out:     the open file.
Refused: what is no Parquet, is damaged, or tells of more values than its tar has bytes (each is of
         one byte at least): ValueError. What its store raises stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import fsspec  # type: ignore[import-untyped]
import pyarrow as pa
import pyarrow.parquet as pq


@contextmanager
def readable(message: str) -> Iterator[None]:
    """Parquet is read in the block; `message` holds {} for what is wrong with it.

    Raises:
        ValueError: for what pyarrow raises of bytes, and of types.
    """
    try:
        yield
    except (pa.ArrowException, ValueError, KeyError) as error:
        raise ValueError(message.format(error)) from error
    except OSError as error:
        if error.errno is not None:  # of a store; pyarrow's own, of damaged bytes, have none
            raise
        raise ValueError(message.format(error)) from error


@contextmanager
def open_parquet(url: str, message: str, *, most: int) -> Iterator[pq.ParquetFile]:
    """A file of at most so many values, to be read in the block.

    Raises:
        ValueError: as `readable` says.
    """
    system, path = fsspec.core.url_to_fs(url)
    with system.open(path, "rb") as stream, readable(message):
        opened = pq.ParquetFile(stream)
        if (told := _values(opened.metadata)) > most:
            raise pa.ArrowInvalid(f"it tells of {told:,} values, but its tar has {most:,} bytes")
        yield opened


def _values(metadata: pq.FileMetaData) -> int:
    """Of the longest column, those in lists with it."""
    return max(
        (
            sum(metadata.row_group(group).column(column).num_values
                for group in range(metadata.num_row_groups))
            for column in range(metadata.num_columns)
        ),
        default=0,
    )  # fmt: skip
