"""Packs: tars that hold image bytes, once per sha256 within a part, never an object an image.

In:   bytes with their sha256 and format.
Out:  `packs/PART-K.tar`, at most 1 GB each, and for every image (pack, offset): plain tars, in
      which a reader needs no header, only one range.
"""

from __future__ import annotations

import io
import tarfile
from contextlib import ExitStack
from types import TracebackType
from typing import BinaryIO, Final, Self

from pipeline.store import store
from pipeline.store.store import PartFiles

PACK_BYTES: Final = 1_000_000_000
HEADER: Final = tarfile.BLOCKSIZE  # of a member whose name fits into it


def pack_name(part: str, number: int) -> str:
    return f"{part}-{number}.tar"


class PackWriter:
    """Appends images; a pack appears under its name when it is full or the block ends well."""

    def __init__(
        self, folder: str, part: str, *, files: PartFiles | None = None, limit: int = PACK_BYTES
    ) -> None:
        self._folder = folder
        self._part = part
        self._digests = files
        self._limit = limit
        self._places: dict[str, tuple[str, int]] = {}
        self._pack: tarfile.TarFile | None = None
        self._files = ExitStack()
        self.count = 0

    def add(self, data: bytes, *, sha256: str, extension: str) -> tuple[str, int]:
        """The pack's name and the offset of the bytes in it."""
        if (place := self._places.get(sha256)) is not None:
            return place
        if self._pack is not None and self._pack.offset + len(data) > self._limit:
            self._files.close()
            self._pack = None
        if self._pack is None:
            self._name = pack_name(self._part, self.count)
            self._pack = self._open(self._name)
            self.count += 1
        member = tarfile.TarInfo(f"{sha256}.{extension}")
        member.size = len(data)
        place = (self._name, self._pack.offset + HEADER)
        self._pack.addfile(member, io.BytesIO(data))
        self._places[sha256] = place
        return place

    def _open(self, name: str) -> tarfile.TarFile:
        path = store.join(self._folder, name)
        handle: BinaryIO = self._files.enter_context(store.create(path, self._digests))
        pack = tarfile.open(fileobj=handle, mode="w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
        self._files.callback(pack.close)  # before the file itself is moved to its name
        return pack

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._files.__exit__(kind, error, trace)


class PackReader:
    """Reads images by (pack, offset, length); keeps the packs of one shard's group open."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._open: dict[str, BinaryIO] = {}

    def read(self, pack: str, offset: int, length: int) -> bytes:
        """The bytes; raises ValueError where the pack is shorter than its row says."""
        handle = self._open.get(pack)
        if handle is None:
            handle = self._open[pack] = store.open_input(store.join(self._folder, pack))
        handle.seek(offset)
        data = handle.read(length)
        if len(data) != length:
            raise ValueError(f"pack {pack} ends before {offset + length}: run extract again")
        return data

    def close(self) -> None:
        for handle in self._open.values():
            handle.close()
        self._open.clear()
