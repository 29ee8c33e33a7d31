"""Packed: a Parquet file read to its last page and packed again; the same bytes must come out.

In:   a file of a run and the schema that it should have.
Out:  its mark, its rows, and whether it is byte for byte what its rows make.
Why:  a page's checksum covers its bytes, but not what stands around it: sizes and statistics, by
      which DuckDB skips row groups, the schema, the mark that a restart trusts. The same rows give
      the same bytes (law 3), so whatever else was changed shows here.
Not:  where another pyarrow wrote the file; told by no file of rows coming out the same (files.py).
Cost: 3 s for 200 files of 16 MB; a row group is in memory at a time.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import pyarrow as pa

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

from pipeline.store import parquet, store
from schemas.tables import COUNTS_KEY, FAULTS_KEY, FINGERPRINT_KEY


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """What was found of one file."""

    fingerprint: str
    counts: Mapping[str, int]  # of its mark
    rows: int
    same: bool  # packed again, the same bytes come out


def pack_again(path: str, schema: pa.Schema) -> Packed:
    """Read all of a file, its checksums too.

    Raises:
        OSError: where it is not there.
        ValueError: where it is damaged, or is another kind of file (parquet.DamagedFileError).
    """
    with parquet.open_file(path) as file, store.open_input(path) as original:
        if not file.schema_arrow.equals(schema):
            raise ValueError("has other columns than it should")
        metadata = file.metadata.metadata or {}
        mark = {key: metadata.get(key, b"") for key in (FINGERPRINT_KEY, COUNTS_KEY)}
        mark |= {FAULTS_KEY: metadata[FAULTS_KEY]} if FAULTS_KEY in metadata else {}
        twin = _Twin(original)
        # pyarrow asks for a file, and is content with what writes
        with parquet.open_writer(twin, schema) as writer:  # type: ignore[arg-type]
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, use_threads=False).combine_chunks()
                for batch in table.to_batches():
                    writer.write_batch(batch.cast(schema))
            writer.add_key_value_metadata(mark)
        return Packed(
            fingerprint=mark[FINGERPRINT_KEY].decode("utf-8", "replace"),
            counts=_counts(mark[COUNTS_KEY]),
            rows=file.metadata.num_rows,
            same=twin.is_same(),
        )


def _counts(stored: bytes) -> Mapping[str, int]:
    """Raises ValueError for what is no JSON object."""
    read = json.loads(stored or b"{}")
    if not isinstance(read, dict):
        raise ValueError(f"has a mark that tells no counts, but {read!r}")
    return read


class _Twin(io.RawIOBase):
    """Takes what is written, and holds it against another file as it comes."""

    def __init__(self, original: BinaryIO) -> None:
        self._original = original
        self._same = True

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer) -> int:
        piece = bytes(data)
        self._same = self._same and self._original.read(len(piece)) == piece
        return len(piece)

    def is_same(self) -> bool:
        """To the last byte of both."""
        return self._same and not self._original.read(1)
