"""Sources: folders of shards, checked before anything is trained on them.

In:      a folder, local or any URL that fsspec opens: of a run (shards/, index/), or plain tars
         with their index beside; and whether its training or its held-out shards are wanted.
Out:     a Source: its shards by name, each with where its tar and its index lie and how many
         samples it has. A tar without an index gets one, by one read.
Refused: an empty folder, a run whose shards are not whole, another FORMAT_VERSION, a tar that is
         cut short, an index that does not fit its tar: ValueError with the remedy, at the start.
See it:  interloom-train plan --shards DIR

Checked of each shard is that the members in its index lie within its tar, one behind the other; and
of the tar, at any size, small ranges: the last member's header lies where the index says and
nothing but zeros follows it, and the first sample is of this format version.

What is made of a shard (index, token counts) is written beside it, or where that cannot be written
(a web server, a read-only disk) into a cache folder: $INTERLOOM_CACHE, else ~/.cache/interloom.
Files are whole or absent, so two processes that make the same one do no harm.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, Literal

import fsspec  # type: ignore[import-untyped]
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]

from schemas.manifest import Manifest
from schemas.tables import PARTS
from schemas.tar import BLOCK, BrokenTarError, read_header
from training.data.index import end_of, make_index, problem_of, read_index, read_sample, readable
from training.data.members import Members, Range

WEB: Final = ("http://", "https://")  # fsspec would send what it is asked to write


def cache_folder() -> Path:
    chosen = os.environ.get("INTERLOOM_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "interloom"


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardFile:
    """A file that is made of one tar; a tar of another size is another tar."""

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

    def existing(self) -> list[str]:
        """Where it lies, beside the tar first."""
        return [place for place in (self.beside, self.cached) if _exists(place)]

    def keep(self, table: pa.Table) -> str:
        """Write a table as Parquet, and return where."""
        held = io.BytesIO()
        pq.write_table(table, held, compression="zstd")
        return self.write(held.getvalue())

    def write(self, data: bytes) -> str:
        """Write it, and return where."""
        if not self.beside.startswith(WEB):
            try:
                _write(self.beside, data)
            except (OSError, NotImplementedError):
                pass  # not to be written: the cache serves as well
            else:
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


Split = Literal["train", "heldout"]
HELDOUT: Final = "heldout-"  # how the names of held-out shards begin
LONGEST: Final = 2**23  # bytes that may close a tar: it is written in records of any size
WRITTEN: Final = pa.schema([PARTS.field(name) for name in ("part", "counts")])
THREADS: Final = 8  # shards looked at side by side, since a store answers slowly


class NoShardsError(ValueError):
    """A folder whose tars are all of the other split."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    name: str  # train-00000
    tar: str
    index: str
    root: str  # folder under which what is made of it is kept
    tar_bytes: int
    samples: int

    def file(self, name: str) -> ShardFile:
        return ShardFile(root=self.root, name=name, tar=self.tar, tar_bytes=self.tar_bytes)


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """`weight` is the share of rows that come from here, among those of all sources."""

    name: str
    weight: float
    shards: tuple[Shard, ...]

    @property
    def samples(self) -> int:
        return sum(shard.samples for shard in self.shards)


def open_source(folder: str, *, weight: float = 1.0, split: Split = "train") -> Source:
    """The shards of a folder; NoShardsError where there are tars, but none of this split."""
    if not 0 < weight < float("inf"):
        raise ValueError(
            f"weight of {folder} is {weight}: choose a number above 0, or leave it out"
        )
    tars = _tars(folder.rstrip("/"))
    wanted = [
        name for name in sorted(tars.sizes) if name.startswith(HELDOUT) == (split == "heldout")
    ]
    if not wanted:
        remedy = (
            "shard with a larger --heldout share" if split == "heldout" else "give another folder"
        )
        raise NoShardsError(
            f"{folder} holds {len(tars.sizes)} tars, but 0 of them are {split} shards, and at "
            f"least 1 is needed: {remedy}"
        )
    with ThreadPoolExecutor(THREADS) as pool:
        shards = tuple(pool.map(lambda name: _shard(tars, name), wanted))
    return Source(name=folder, weight=weight, shards=shards)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tars:
    root: str
    folder: str
    sizes: Mapping[str, int | None]  # by name without .tar
    written: Mapping[str, int]  # samples that the run wrote, by the same name


def _tars(place: str) -> Tars:
    """What a folder holds: in its shards/ where there is one."""
    root, folder = place, f"{place}/shards"
    sizes = _listed(folder)
    if not sizes:
        root, folder, sizes = place.removesuffix("/shards"), place, _listed(place)
    manifest = _manifest(root)
    written = {} if manifest is None else _written(root)
    if not sizes and root.startswith(WEB):  # a server that lists nothing
        sizes, folder = dict.fromkeys(written), f"{root}/shards"
    if manifest is not None:
        expected = manifest.counts.get("shards", 0)
        if expected != len(sizes):
            raise ValueError(
                f"{place} holds {len(sizes)} tars, but its shard.manifest.json tells of "
                f"{expected}: copy the folder again, or run the shard stage again"
            )
    elif _file(f"{root}/run.json") is not None:
        raise ValueError(
            f"{place} is a run with 0 whole shard stages (no shard.manifest.json), and 1 is "
            "needed: run `interloom run` again, it goes on where it stopped"
        )
    if not sizes:
        raise ValueError(
            f"{place} holds 0 tars, and at least 1 is needed: give a run's folder, or one of tars"
        )
    return Tars(root=root, folder=folder, sizes=sizes, written=written)


def _listed(folder: str) -> dict[str, int | None]:
    system, path = fsspec.core.url_to_fs(folder)
    try:
        entries: Iterable[Mapping[str, Any]] = system.ls(path, detail=True)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return {
        str(entry["name"]).rpartition("/")[2].removesuffix(".tar"): entry.get("size")
        for entry in entries
        if entry.get("type") != "directory" and str(entry["name"]).endswith(".tar")
    }


def _written(root: str) -> dict[str, int]:
    """Samples of each shard that the run wrote, by its own table."""
    path = f"{root}/shard.parts.parquet"
    body = _file(path)
    if body is None:
        return {}
    with readable(f"{path} is damaged ({{}}): copy the folder again, or run the shard stage again"):
        table = pq.read_table(pa.BufferReader(body), columns=WRITTEN.names).cast(WRITTEN)
        table.validate(full=True)
    parts = ((row["part"], dict(row["counts"] or ())) for row in table.to_pylist())
    return {
        part: sum(count for name, count in counts.items() if name.startswith("samples."))
        for part, counts in parts
        if counts.get("shards")
    }


def _manifest(root: str) -> Manifest | None:
    path = f"{root}/shard.manifest.json"
    body = _file(path)
    try:
        return None if body is None else Manifest.from_json(body)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _file(url: str) -> bytes | None:
    system, path = fsspec.core.url_to_fs(url)
    try:
        return bytes(system.cat_file(path))
    except FileNotFoundError:
        return None


def _shard(tars: Tars, name: str) -> Shard:
    tar = f"{tars.folder}/{name}.tar"
    size = tars.sizes[name]
    if size is None:  # a web server's list tells names only
        system, path = fsspec.core.url_to_fs(tar)
        size = system.size(path)
    if size is None:
        raise ValueError(f"{tar}: its server tells no size: use one that does, or copy it here")
    file = ShardFile(root=tars.root, name=f"index/{name}.parquet", tar=tar, tar_bytes=int(size))
    index = f"{tars.folder}/{name}.parquet"  # plain folders may have it right beside the tar
    if not _exists(index):
        index = next(iter(file.existing()), None) or file.keep(make_index(tar, int(size)))
    samples = _check(tar, index, int(size))
    written = tars.written.get(name, samples)
    if samples != written:
        raise ValueError(
            f"{index} tells of {samples:,} samples, but the run wrote {written:,} into {tar}: copy "
            "the folder again, or run the shard stage again"
        )
    return Shard(
        name=name, tar=tar, index=index, root=tars.root, tar_bytes=int(size), samples=samples
    )


def _check(tar: str, index: str, size: int) -> int:
    """Samples of a shard whose index fits; three ranges of the tar are read."""
    table = read_index(index, ["key", "members"], tar_bytes=size)
    if not table.num_rows:
        raise ValueError(f"{tar} holds 0 samples, and at least 1 is needed: remove it")
    remedy = "copy the tar again, or remove its index, which is then made anew"
    misfit = f"{tar}: its index {index} does not fit it ({{}}): {remedy}"
    if problem := problem_of(table):
        raise ValueError(misfit.format(problem))
    if (end := end_of(table)) > size:
        raise ValueError(
            f"{tar} ends at byte {size:,}, but its index {index} goes to {end:,}: {remedy}"
        )
    first, last = (table.slice(row, 1).to_pylist()[0] for row in (0, table.num_rows - 1))
    json, final = first["members"][0], max(last["members"], key=itemgetter("offset"))
    end = final["offset"] + final["length"]
    places = (
        (json["offset"] - BLOCK, BLOCK),
        (json["offset"], json["length"]),
        (final["offset"] - BLOCK, BLOCK),
        (end, min(size - end, LONGEST)),
    )
    with closing(Members()) as members:
        header, body, final_header, rest = members.read(
            [Range(url=tar, offset=offset, length=length) for offset, length in places]
        )
    for row, member, block in ((first, json, header), (last, final, final_header)):
        _check_header(block, f"{row['key']}.{member['name']}", member, misfit)
    if rest.strip(b"\0") or size - end > LONGEST:
        raise ValueError(
            f"{tar} goes on to byte {size:,}, but its index {index} ends at {end:,}: {remedy}"
        )
    read_sample(body, first["key"], tar)
    return int(table.num_rows)


def _check_header(block: bytes, name: str, member: Mapping[str, Any], message: str) -> None:
    try:
        header_name, size, _ = read_header(block, member["offset"] - BLOCK)
    except BrokenTarError as error:
        raise ValueError(message.format(f"no member at {name}: {error}")) from error
    length = member["length"]
    if size != length or not name.endswith(header_name.rpartition("/")[2][:100]):
        raise ValueError(
            message.format(f"{header_name} of {size:,} bytes where it has {name} of {length:,}")
        )
