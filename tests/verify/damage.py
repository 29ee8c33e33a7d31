"""Damage: what can happen to a run behind its back, done to one file of a copy."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pipeline.store import parquet
from pipeline.verify.folder import SCHEMAS

Rows = list[dict[str, Any]]


def parts(run: Path, folder: str) -> Iterator[Path]:
    """The parts of a folder that hold a row, without fetch's."""
    for path in sorted((run / folder).glob("*.parquet")):
        if not path.name.startswith("fetch-") and any(True for _ in parquet.read_rows(str(path))):
            yield path


def rewrite(path: Path, folder: str, change: Callable[[Rows], object]) -> None:
    """Change the rows of a part and leave its mark as it was."""
    mark = parquet.read_mark(str(path), part="")
    assert mark is not None
    rows = list(parquet.read_rows(str(path)))
    before = len(rows), repr(rows)
    change(rows)
    assert (len(rows), repr(rows)) != before, "nothing was damaged"
    parquet.write_rows(
        str(path), SCHEMAS[folder], rows, fingerprint=mark.fingerprint, counts=mark.counts
    )


def delete_row(path: Path, folder: str, *, which: int = 0) -> None:
    rewrite(path, folder, lambda rows: rows.pop(which))


def rewrite_tar(path: Path, change: Callable[[str, bytes], bytes | None]) -> None:
    """Write a tar again, each member as `change` gives it, those without bytes left out."""
    stored = io.BytesIO()
    changed = 0
    with tarfile.open(path) as old, tarfile.open(fileobj=stored, mode="w") as new:
        for member in old.getmembers():
            handle = old.extractfile(member)
            assert handle is not None
            before = handle.read()
            data = change(member.name, before)
            changed += data != before
            if data is not None:
                member.size = len(data)
                new.addfile(member, io.BytesIO(data))
    assert changed == 1, "just one member was to be damaged"
    path.write_bytes(stored.getvalue())


def first_tar(run: Path) -> Path:
    return sorted((run / "shards").glob("train-*.tar"))[0]


def first_member(path: Path, ending: str) -> str:
    with tarfile.open(path) as tar:
        return next(name for name in tar.getnames() if name.endswith(ending))


def flip_byte(path: Path, member: str, *, at: int) -> None:
    """Another byte in the middle of a member; the tar stays as long as it was."""
    with tarfile.open(path) as tar:
        place = tar.getmember(member).offset_data + at
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def edit_manifest(run: Path, stage: str, change: Callable[[dict[str, Any]], object]) -> None:
    path = run / f"{stage}.manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))
