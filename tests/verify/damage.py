"""Damage: what can happen to a run behind its back; and forgeries that carry their own digests."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipeline.store import parquet
from pipeline.verify.files import stage_of
from schemas.tables import PARTS

Rows = list[dict[str, Any]]


def parts(run: Path, folder: str) -> Iterator[Path]:
    """The parts of a folder that hold a row, without fetch's."""
    for path in sorted((run / folder).glob("*.parquet")):
        if not path.name.startswith("fetch-") and parquet.row_count(str(path)):
            yield path


def rewrite(path: Path, change: Callable[[Rows], object]) -> None:
    """Change the rows of a part and leave its mark as it was."""
    mark, schema = parquet.read_mark(str(path), part=""), pq.read_schema(path)
    assert mark is not None
    rows = list(parquet.read_rows(str(path)))
    before = len(rows), repr(rows)
    change(rows)
    assert (len(rows), repr(rows)) != before, "nothing was changed"
    parquet.write_rows(
        str(path), schema.remove_metadata(), rows, fingerprint=mark.fingerprint, counts=mark.counts
    )


def flip_byte(path: Path, member: str, *, at: int) -> None:
    """Another byte in the middle of a member; the tar stays as long as it was."""
    with tarfile.open(path) as tar:
        place = tar.getmember(member).offset_data + at
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def forge(run: Path, path: Path) -> None:
    """Write the digest of a changed file where verify looks for it."""
    name, data = str(path.relative_to(run)), path.read_bytes()
    stage = stage_of(name)
    table = run / f"{stage}.parts.parquet"
    fingerprint = json.loads((run / f"{stage}.manifest.json").read_text())["fingerprint"]
    rows = list(parquet.read_rows(str(table)))
    (file,) = [file for row in rows for file in row["files"] if file["path"] == name]
    file |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    parquet.write_rows(str(table), PARTS, rows, fingerprint=fingerprint)
    digest = hashlib.sha256(table.read_bytes()).hexdigest()
    edit_manifest(run, stage, lambda manifest: manifest.update(parts_sha256=digest))


def forge_rows(
    run: Path, folder: str, change: Callable[[Rows], object], *, having: str = ""
) -> str:
    """Change the rows of the first part that holds `having`, its digest too; the part's name."""
    for path in parts(run, folder):
        if having in repr(list(parquet.read_rows(str(path)))):
            rewrite(path, change)
            forge(run, path)
            return path.stem
    raise AssertionError(f"{folder} holds nothing with {having}")


def edit_manifest(run: Path, stage: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what a manifest holds; it is written as the pipeline writes it."""
    path = run / f"{stage}.manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    text = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False)
    path.write_text(f"{text}\n")
