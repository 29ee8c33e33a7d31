"""Store: files of a run, on a local disk or in an object store, whole or absent; their names.

In:      paths: a local one, or gs://, s3:// through Beam's FileSystems.
Out:     bytes, and the digest of every file as it was written. A local file is written aside and
         moved to its name; an object is put once all of it lies in a temporary file. A second
         writer of the same bytes may win or lose, it makes no difference.
Refused: a full disk and the like: OSError with the path, which ends the run. What a killed run
         left aside is swept at the next start (run/execute.py).
A table of a run is a folder one level deep. A link is no file of a run: it is neither followed,
read nor removed.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from pipeline.store.raw import create_cloud, file_systems, open_cloud, open_local, size_of
from schemas.from_json import json_object
from schemas.manifest import StoredFile

LARGEST_JSON: Final = 1 << 28  # bytes: a run.json of a million inputs has less
COPIED: Final = 1 << 20  # bytes at a time, into an object store and into a digest
ASIDE: Final = ".aside-"  # in the name of a file that is being written
FULL: Final = {  # errors of a place that takes no more: what is wanting, and what helps
    errno.ENOSPC: ("no space left", "free some"),
    errno.EDQUOT: ("no quota left", "free some of it"),
    errno.EFBIG: ("a file may not be large enough", "raise the limit (ulimit -f)"),
}

# Names of files, by the table that they lie in; what is called otherwise no run touches.
NameForm = Callable[[str], re.Match[str] | None]  # of a whole name; group 1 is the part
_PART: Final = "[0-9]{6,}-[0-9]{14,}"  # place of the input, byte at which the part starts
_SHARD: Final = "(?:train|heldout)-[0-9]{5,}"
_SETTLED: Final = "fetch-[0-9]{5,}-[0-9]+"  # partition, round
_COMMIT: Final = f"{_SETTLED}-[0-9a-f]{{8}}-[0-9]+"
PART_NAMES: Final[NameForm] = re.compile(rf"({_PART})\.parquet").fullmatch
PACK_NAMES: Final[NameForm] = re.compile(rf"({_PART})-[0-9]+\.tar").fullmatch
PARTITION_NAMES: Final[NameForm] = re.compile(r"([0-9]{5,})\.parquet").fullmatch
FETCHED_NAMES: Final[NameForm] = re.compile(rf"({_SETTLED}|{_COMMIT})\.parquet").fullmatch
FETCHED_PACK_NAMES: Final[NameForm] = re.compile(rf"({_COMMIT})-[0-9]+\.tar").fullmatch
LEASE_NAMES: Final[NameForm] = re.compile(r"([0-9]{5,})\.host\.json").fullmatch
INDEX_NAMES: Final[NameForm] = re.compile(rf"({_SHARD})\.parquet").fullmatch
SHARD_NAMES: Final[NameForm] = re.compile(rf"({_SHARD})\.tar").fullmatch
# notes of records that ended a process (extract/ended.py): no stage sweeps them
ENDED: Final = "ended"
NOTE_NAMES: Final[NameForm] = re.compile(rf"({_PART})\.json").fullmatch
OPT_OUT: Final = "opt-out-"  # and the digest of the list
OPT_OUT_NAMES: Final = re.compile(rf"{OPT_OUT}[0-9a-f]{{16}}\.txt")


class FullDiskError(OSError):
    """There is no space for a file of the run; the message says for which, and what to do."""


def is_local(path: str) -> bool:
    return "://" not in path


def join(base: str, *names: str) -> str:
    return "/".join((base.rstrip("/") or "/", *names))


def name_below(base: str, path: str) -> str:
    """A path below a folder, as the tables of a run write it."""
    return path.removeprefix(join(base, ""))


def open_input(path: str) -> BinaryIO:
    """A seekable reader of the raw bytes; nothing is decompressed, whatever the name says."""
    if is_local(path):
        return open_local(Path(path))
    return open_cloud(path)


class PartFiles:
    """The files of a part: path below the run folder, size and digest, in the order of writing."""

    def __init__(self, *bases: str) -> None:
        self._bases = [base for base in bases if base]
        self.stored: list[StoredFile] = []

    def name_of(self, path: str) -> str:
        """A path of the run as its tables write it, whichever of the folders it lies in."""
        base = next(base for base in self._bases if path.startswith(join(base, "")))
        return name_below(base, path)


class _Hashed(io.BufferedIOBase):
    """Writes through, from the first byte to the last, and keeps the size and the digest."""

    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle
        self._digest = hashlib.sha256()
        self._size = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._size

    def fileno(self) -> int:
        return self._handle.fileno()

    def write(self, data: bytes) -> int:  # type: ignore[override]  # no other buffer comes here
        view = memoryview(data)
        self._digest.update(view)
        self._size += view.nbytes
        return self._handle.write(view)

    def stored(self, name: str) -> StoredFile:
        return StoredFile(name, self._size, self._digest.hexdigest())


def digest(path: str, name: str) -> StoredFile:
    """A file that is there, read from its first byte to its last."""
    with open_input(path) as handle:
        sha256, size = hashlib.sha256(), 0
        while block := handle.read(COPIED):
            sha256.update(block)
            size += len(block)
        return StoredFile(name, size, sha256.hexdigest())


def difference(output: str, file: StoredFile) -> str:
    """In what a file of a run is other than it was written; "" where it is in nothing."""
    path = join(output, file.path)
    try:
        if (size := size_of(path)) != file.bytes:
            return f"has {size:,} of {file.bytes:,} bytes"
        return "" if digest(path, file.path) == file else "has other bytes"
    except FileNotFoundError:
        return "is missing"


@contextmanager
def create(path: str, files: PartFiles | None = None) -> Iterator[BinaryIO]:
    """Write a file that appears under its name only when the block ends without an error.

    It is written from its beginning to its end; its digest is then the last of `files`.
    """
    with _create(path) as handle:
        hashed = _Hashed(handle)
        yield cast("BinaryIO", hashed)
    if files is not None:
        files.stored.append(hashed.stored(files.name_of(path)))


@contextmanager
def _create(path: str) -> Iterator[BinaryIO]:
    if not is_local(path):
        # an object is whole when its handle is closed, and an error in the block would close it
        with tempfile.TemporaryFile() as first:
            yield first
            first.seek(0)
            with create_cloud(path) as handle:
                shutil.copyfileobj(first, handle, COPIED)
        return
    target = Path(path)
    if target.is_symlink() or target.is_dir():
        raise OSError(
            f"{path} is a link or a folder, and a run writes a file of that name: move it "
            "elsewhere, then run the same command again"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f"{target.name}{ASIDE}{uuid.uuid4().hex}")
    try:
        with aside.open("xb") as handle:
            yield handle
        aside.replace(target)
    except BaseException as error:
        aside.unlink(missing_ok=True)
        is_worded = isinstance(error, FullDiskError)
        if isinstance(error, OSError) and error.errno in FULL and not is_worded:
            reason, remedy = FULL[error.errno]
            raise FullDiskError(
                error.errno,
                f"{reason} to write {path}: {remedy}, then run the same command again; what is "
                "whole stays and is not done again",
            ) from error
        raise


def read_bytes(path: str) -> bytes:
    with open_input(path) as handle:
        return handle.read()


def read_json(path: str) -> dict[str, Any]:
    """The object that a JSON file of the run holds.

    Raises:
        ValueError: for anything else that lies there; its message quotes nothing of it.
    """
    if is_local(path) and not Path(path).is_file():  # a pipe would never end, nor would a device
        raise ValueError("it is no regular file")
    with open_input(path) as handle:
        data = handle.read(LARGEST_JSON + 1)
    if len(data) > LARGEST_JSON:
        raise ValueError(f"it has more than {LARGEST_JSON:,} bytes")
    return json_object(data)


def write_bytes(path: str, data: bytes, files: PartFiles | None = None) -> None:
    with create(path, files) as handle:
        handle.write(data)


def exists(path: str) -> bool:
    if is_local(path):
        return Path(path).exists()
    return bool(file_systems().exists(path))


@contextmanager
def held(folder: str) -> Iterator[None]:
    """Let no other process of this machine write to a local folder meanwhile.

    Raises:
        ValueError: where another process does.
    """
    if not is_local(folder):
        yield
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY)  # the folder itself: a killed process leaves nothing
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"another run is at work in {folder}: wait for its end, or choose another output"
            ) from error
        yield
    finally:
        os.close(lock)


def listing(folder: str) -> list[str]:
    """Every file and link below a folder, sorted; a folder that is not there holds none."""
    return sorted(walk(folder))


def walk(folder: str) -> Iterator[str]:
    """Every file and link below a folder, as they are found; no link below it is followed."""
    if not is_local(folder):
        listed = file_systems().match([join(folder, "**")])[0].metadata_list
        yield from (metadata.path for metadata in listed)
        return
    for above, folders, files in os.walk(folder):
        links = [name for name in folders if Path(above, name).is_symlink()]
        yield from (join(above, name) for name in (*files, *links))


def beginning(start: str) -> list[str]:
    """The files whose path begins so, sorted: of one folder, below it none, and no links."""
    folder, _, name = start.rpartition("/")
    if is_local(start):
        if not Path(folder).is_dir():
            return []
        with os.scandir(folder) as entries:
            return sorted(join(folder, entry.name) for entry in entries
                          if entry.name.startswith(name) and entry.is_file(follow_symlinks=False)
                          )  # fmt: skip
    listed = file_systems().match([f"{start}*"])[0].metadata_list
    return sorted(metadata.path for metadata in listed)


def files_of(output: str, table: str, form: NameForm, start: str = "") -> Iterator[tuple[str, str]]:
    """(path, part) of the whole files in a table whose names begin with `start`, sorted."""
    for path in beginning(join(output, table, start)):
        if named := form(path.rsplit("/", 1)[-1]):
            yield path, named[1]


def remove(paths: Iterable[str]) -> None:
    paths = list(paths)
    local = [path for path in paths if is_local(path)]
    for path in local:
        Path(path).unlink(missing_ok=True)
    if remote := [path for path in paths if not is_local(path)]:
        file_systems().delete(remote)
