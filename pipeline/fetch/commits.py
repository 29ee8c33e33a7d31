"""Commits: what a partition has to ask for, and what it has brought, made safe as it goes.

In:   wanted URLs, or errands that redirects of other partitions have led here; rows of images/,
      with the bytes of those that are usable.
Out:  packs/COMMIT-K.tar, and then images/COMMIT.parquet that points into them. COMMIT is
      fetch-PARTITION-ROUND-TOKEN-N: the token is the holder's own, so that two holders never write
      to one name. When all partitions are done, steps.py makes one file a partition of them.
A kill between the two leaves a pack without rows: it is removed at the next start (steps.py), and
its images are asked for again. Rows whose pack is gone or too short count as if they were not.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Self

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.job import Fetching, Job
from pipeline.store import parquet
from pipeline.store.packs import PackWriter
from pipeline.store.raw import size_of
from pipeline.store.store import FETCHED_NAMES, PartFiles, files_of
from schemas.sample import EXTENSIONS
from schemas.tables import IMAGES

AWAY: Final = "away"  # status, in commits alone: the URL has led to another partition
PASSES: Final = 3  # times that a URL may lead to another partition


class Errand(NamedTuple):
    url: str  # that is wanted
    at: str  # what to ask: the URL itself, or where it has led to
    hops: int = 0


@dataclass(kw_only=True)
class HolderResult:
    """What one holder leaves behind."""

    away: list[Errand] = field(default_factory=list)
    foreign: list[dict[str, Any]] = field(default_factory=list)  # rows of other partitions' URLs
    counts: Counter[str] = field(default_factory=Counter)  # of this attempt, by reason


OF_BYTES: Final = ("sha256", "phash", "width", "height", "format", "bytes", "status", "value",
                   "limit", "pack", "pack_offset")  # fmt: skip
MOST_ROWS: Final = 8_192  # of a commit; until they are written they take 2 or 3 KB each


class Known(NamedTuple):
    """What a committed row says of its URL."""

    status: str
    round: int
    hops: int  # of one that is AWAY
    urls: tuple[str, str]  # that were asked for: its own and, as far as known, the last


@dataclass(kw_only=True)
class Commits:
    """Rows and packs of one holder of one partition; what is added goes into the open commit."""

    job: Job
    name: str  # fetch-PARTITION-ROUND-TOKEN
    places: dict[str, dict[str, Any]]  # by sha256: the columns OF_BYTES of bytes that are packed
    _count: int = 0
    _open: _Commit | None = None

    @classmethod
    def begin(cls, job: Job, partition: int, places: dict[str, dict[str, Any]]) -> Self:
        """Of a new holder, for a round of the job."""
        name = f"fetch-{partition:05d}-{job.settings.fetching.round}-{uuid.uuid4().hex[:8]}"
        return cls(job=job, name=name, places=places)

    def add(self, row: dict[str, Any], body: bytes = b"") -> None:
        """A row, with its bytes where it is usable; bytes that are packed are not packed again."""
        if self._open is None:
            self._open = _Commit(job=self.job, name=f"{self.name}-{self._count}")
            self._count += 1
        if body and row["sha256"] not in self.places:
            row["pack"], row["pack_offset"] = self._open.pack(row, body)
            self.places[row["sha256"]] = {name: row[name] for name in OF_BYTES}
        elif body:
            row |= self.places[row["sha256"]]
        self._open.rows.append(row)

    def is_due(self) -> bool:
        """Whether the open commit is large or old enough to be written."""
        commit, fetching = self._open, self.job.settings.fetching
        if commit is None:
            return False
        is_old = time.monotonic() - commit.since >= fetching.commit_seconds
        return is_old or commit.size >= fetching.commit_bytes or len(commit.rows) >= MOST_ROWS

    def cut(self) -> _Commit | None:
        """The open commit, to be written; what comes from now on is the next one's."""
        commit, self._open = self._open, None
        return commit

    def give_up(self) -> None:
        """The partition is another holder's now."""
        if (commit := self.cut()) is not None:
            commit.files.__exit__(RuntimeError, RuntimeError("given up"), None)


@dataclass(kw_only=True)
class _Commit:
    job: Job
    name: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    size: int = 0  # bytes packed
    since: float = field(default_factory=time.monotonic)
    files: ExitStack = field(default_factory=ExitStack)
    _digests: PartFiles | None = None
    _packs: PackWriter | None = None

    def pack(self, row: dict[str, Any], body: bytes) -> tuple[str, int]:
        """The pack, and where in it the bytes are."""
        if self._packs is None:
            self._digests = self.job.files()
            packs = PackWriter(self.job.path("packs"), self.name, files=self._digests)
            self._packs = self.files.enter_context(packs)
        self.size += len(body)
        extension = EXTENSIONS.get(row["format"], row["format"])
        return self._packs.add(body, sha256=row["sha256"], extension=extension)

    def write(self) -> None:
        self.files.close()  # the pack is moved to its name
        path, mark = self.job.part("images", self.name), self.job.fingerprint
        parquet.write_rows(path, IMAGES, self.rows, fingerprint=mark, files=self._digests)


@dataclass(frozen=True, kw_only=True, slots=True)
class Brought:
    """What earlier holders of a partition have committed, of its own URLs and of others'."""

    known: dict[str, Known]  # by URL: the row that counts
    places: dict[str, dict[str, Any]]  # by sha256


def read_brought(job: Job, partition: int) -> Brought:
    """The rows that count."""
    brought = Brought(known={}, places={})
    for row in rows_that_count(job, partition):
        if row["pack"] is not None:
            brought.places[row["sha256"]] = {name: row[name] for name in OF_BYTES}
        hops = int(row["value"] or 0) if row["status"] == AWAY else 0
        brought.known[row["url"]] = Known(
            row["status"], row["attempt"], hops, (row["url"], row["final_url"])
        )
    return brought


def rows_that_count(job: Job, partition: int) -> Iterator[dict[str, Any]]:
    """One row a URL of a partition's files."""
    return parquet.as_dicts(that_count(read_files(job, partition)))


def list_files(job: Job, beginning: str = "fetch-") -> list[str]:
    """Files of rows, settled ones and commits."""
    return [path for path, _ in files_of(job.output, "images", FETCHED_NAMES, beginning)]


def read_files(job: Job, partition: int, among: Collection[str] | None = None) -> pa.Table:
    """All rows of a partition's files, of whatever round or fingerprint, whose bytes are there."""
    paths = list_files(job, f"fetch-{partition:05d}-")
    tables = [parquet.read_table(path) for path in paths if among is None or path in among]
    rows = pa.concat_tables([IMAGES.empty_table(), *tables]).combine_chunks()
    packs = rows["pack"].combine_chunks().dictionary_encode()
    sizes = pa.array([_size_of(job.path("packs", name)) for name in packs.dictionary.to_pylist()],
                     pa.int64())  # fmt: skip
    ends = pc.add(rows["pack_offset"], rows["bytes"])
    here = pc.less_equal(ends, sizes.take(packs.indices))
    return rows.filter(pc.fill_null(here, True))  # noqa: FBT003  # of a row without bytes


def _size_of(path: str) -> int:
    try:
        return size_of(path)
    except FileNotFoundError:
        return 0


def that_count(rows: pa.Table) -> pa.Table:
    """One row a URL, by URL: of the last round, settled before AWAY, then the latest, and hop."""
    here = pc.not_equal(rows["status"], AWAY)
    order = [("url", "ascending"), ("attempt", "descending"), ("here", "descending"),
             ("date", "descending"), ("value", "descending"), ("sha256", "ascending")]  # fmt: skip
    ordered = rows.append_column("here", here).sort_by(order).drop_columns("here")
    urls = ordered["url"].combine_chunks()
    if len(urls) < 2:
        return ordered
    first = pa.concat_arrays([pa.array([True]), pc.not_equal(urls[1:], urls[:-1])])
    return ordered.filter(first)


def read_due(
    partition: int, errands: Sequence[Errand] | None, job: Job
) -> tuple[Brought, dict[str, Errand]]:
    """What earlier holders have committed, and by URL what is still to be asked for."""
    brought, fetching = read_brought(job, partition), job.settings.fetching
    wanted = _errands_of(partition, errands, job)
    return brought, {errand.url: errand for errand in wanted
                     if _is_open(errand, brought.known.get(errand.url), fetching)}  # fmt: skip


def read_result(
    partition: int, errands: Sequence[Errand] | None, job: Job, counts: Counter[str]
) -> HolderResult:
    """When a holder has ended; `counts` are its own."""
    result, own = HolderResult(counts=counts), errands is None
    urls = {errand.url for errand in _errands_of(partition, errands, job)}
    for row in rows_that_count(job, partition):
        if row["url"] not in urls:
            continue
        if row["status"] == AWAY:
            result.away.append(Errand(row["url"], row["final_url"], int(row["value"])))
        elif not own:
            result.foreign.append(row)
    return result


def _errands_of(partition: int, errands: Sequence[Errand] | None, job: Job) -> Iterator[Errand]:
    """Without errands: the partition's own wanted URLs."""
    if errands is not None:
        yield from errands
        return
    for row in parquet.read_rows(job.part("wanted", f"{partition:05d}"), ["url"]):
        yield Errand(row["url"], row["url"])


def _is_open(errand: Errand, known: Known | None, fetching: Fetching) -> bool:
    """Whether a URL is to be asked for: never twice, unless a refetch names its status."""
    if known is None:
        return True
    if known.status == AWAY:  # it may have come back here, by a later hop
        return known.hops <= errand.hops
    return known.status in fetching.again and known.round < fetching.round
