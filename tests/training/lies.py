"""Tars and indexes that lie, each from a good run folder with one thing changed."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.training.shards import Document, picture, prose
from training.data.sources import open_source

TAR: Final = "shards/train-00000.tar"
INDEX: Final = "index/train-00000.parquet"
SIZE: Final = slice(124, 136)  # of a header: the member's bytes
BLOCK: Final = 512
Rows = list[dict[str, Any]]
DOCUMENTS: list[Document] = [[prose(8, seed=n), picture(20, 16, colour=n)] for n in range(5)]


def summed(block: bytes) -> bytes:
    """A header with its checksum."""
    blank = block[:148] + b" " * 8 + block[156:]
    return block[:148] + b"%06o\0 " % sum(blank) + block[156:]


def change_header(tar: Path, number: int, field: slice, value: bytes) -> None:
    """Other bytes in the header of a member, with the checksum that belongs to them."""
    body = bytearray(tar.read_bytes())
    with tarfile.open(tar) as opened:
        at = opened.getmembers()[number].offset
    block = bytearray(body[at : at + BLOCK])
    block[field] = value.ljust(field.stop - field.start, b"\0")
    body[at : at + BLOCK] = summed(bytes(block))
    tar.write_bytes(body)


def rewrite(tar: Path, change: Callable[[str, bytes], tuple[str, bytes]], number: int) -> None:
    """The tar again, with another name and other bytes of one member."""
    with tarfile.open(tar) as opened:
        held = [(info.name, _bytes(opened, info)) for info in opened]
    held[number] = change(*held[number])
    write_tar(tar, held)


def write_tar(tar: Path, held: list[tuple[str, bytes]]) -> None:
    with tarfile.open(tar, "w") as opened:
        for name, body in held:
            info = tarfile.TarInfo(name)
            info.size = len(body)
            opened.addfile(info, io.BytesIO(body))


def _bytes(opened: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    stream = opened.extractfile(info)
    assert stream is not None
    return stream.read()


def change_json(tar: Path, change: Callable[[dict[str, Any]], object], number: int = 2) -> None:
    """Another KEY.json; of the members those with even numbers are such."""

    def changed(name: str, body: bytes) -> tuple[str, bytes]:
        read = json.loads(body)
        change(read)
        return name, json.dumps(read).encode()

    rewrite(tar, changed, number)


def change_index(index: Path, change: Callable[[Rows], object]) -> None:
    table = pq.read_table(index)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, table.schema), index)


def refused(folder: Path, match: str) -> None:
    """Opening it is one line that names the shard."""
    with pytest.raises(ValueError, match=match) as told:
        open_source(str(folder))
    assert "train-00000" in str(told.value)
    assert len(str(told.value)) < 800
    assert "\n" not in str(told.value)
