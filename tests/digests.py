"""Digests: what a run wrote, so that two versions of interloom can be compared on one crawl.

    python -m tests.digests RUN > before.txt        and again with the other version, then diff

A line a file: of a tar its bytes, of Parquet its rows in their order, whatever metadata, pages and
fingerprints lie around them. JSON and HTML of a run tell versions, so they are left out.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def digest_of(path: Path) -> str:
    if path.suffix == ".tar":
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    with pq.ParquetFile(path) as parquet:
        table = parquet.read()
    if "fingerprint" in table.column_names:
        table = table.drop_columns(["fingerprint"])
    held = pa.BufferOutputStream()
    plain = table.combine_chunks().replace_schema_metadata(None)
    with pa.ipc.new_stream(held, plain.schema) as stream:
        stream.write_table(plain)
    return hashlib.sha256(held.getvalue()).hexdigest()


def main(run: str) -> None:
    for path in sorted(Path(run).rglob("*")):
        if path.suffix in {".tar", ".parquet"}:
            print(f"{digest_of(path)[:32]}  {path.relative_to(run)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
