"""What is made of a shard once and then kept: its index, its token counts.

In:      the folder of the shards and a name under it.
Out:     a file beside the shards, or where they cannot be written (a web server, a read-only
         disk) in a cache folder: $INTERLOOM_CACHE, else ~/.cache/interloom. Whole or absent, so
         two processes that make the same one do no harm.
Refused: nothing beside the shards; a cache folder that cannot be written is an OSError.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import fsspec  # type: ignore[import-untyped]
from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]

WEB: Final = ("http://", "https://")  # fsspec would send what it is asked to write


def cache_folder() -> Path:
    chosen = os.environ.get("INTERLOOM_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "interloom"


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """One file made of one tar; a tar of another size is another tar."""

    root: str  # folder that holds what is made of the shards
    name: str  # index/train-00000.parquet
    tar: str
    tar_bytes: int

    @property
    def beside(self) -> str:
        return f"{self.root}/{self.name}"

    @property
    def cached(self) -> str:
        of_tar = hashlib.sha256(f"{self.tar} {self.tar_bytes}".encode()).hexdigest()[:32]
        return str(cache_folder() / of_tar / self.name)

    def found(self) -> list[str]:
        """Where it is, beside the tar first."""
        return [place for place in (self.beside, self.cached) if _exists(place)]

    def write(self, data: bytes) -> str:
        """Keep it, and tell where."""
        if not self.beside.startswith(WEB):
            try:
                _write(self.beside, data)
            except (OSError, NotImplementedError):  # what it is kept for does not depend on where
                _write(self.cached, data)
                return self.cached
            return self.beside
        _write(self.cached, data)
        return self.cached


def _exists(url: str) -> bool:
    system, path = fsspec.core.url_to_fs(url)
    return bool(system.isfile(path))


def _write(url: str, data: bytes) -> None:
    system, path = fsspec.core.url_to_fs(url)
    if not isinstance(system, LocalFileSystem):
        system.pipe_file(path, data)  # whole by itself
        return
    folder = Path(path).parent
    folder.mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(dir=folder, suffix=".aside")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        Path(aside).chmod(0o644)  # mkstemp lets only its owner read
        Path(aside).replace(path)
    except OSError:
        Path(aside).unlink()
        raise
