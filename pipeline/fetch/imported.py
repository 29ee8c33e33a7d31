"""Imported: images that img2dataset has brought for wanted/, in place of asking for them.

In:   its tars (`KEY.json` with the URL, and an image member of the same key), wanted/.
Out:  commits, as fetch makes them: each wanted URL that has no row yet gets one, and is not asked
      for. A tar is committed as a whole, so an import that was killed goes on with the next one.
Refused: a tar that is cut short or whose headers lie (schemas/tar.py): nothing of it is committed.
Counted: members without a URL, of URLs that nobody wants or that have a row, and what does not
decode. Who is on the opt-out list has a row that says so, and no bytes.
"""

from __future__ import annotations

import asyncio
import bz2
import gzip
import json
import lzma
import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, BinaryIO, Final, cast

from pipeline.fetch.commits import Commits, Errand, read_brought
from pipeline.fetch.hosts.request import Ending, row_of
from pipeline.job import Job
from pipeline.media.look import Looked, Lookers, Reencoded, default_processes
from pipeline.problem import Problem
from pipeline.store import parquet, store
from pipeline.words.consent import opted_out
from pipeline.words.urls import normal_url, partition_of
from schemas import tar
from schemas.verdict import IMPORTED, OK, Reason

NO_URL: Final = "without a URL beside it"
EMPTY: Final = "tars without an image"
NOT_WANTED: Final = "not wanted"
KNOWN: Final = "known already"
AT_ONCE: Final = 16  # images in memory
IMAGE_BYTES: Final = 1 << 25  # of a member, more are not read: images are refused from 16 MiB on
JSON_BYTES: Final = 1 << 22
INFLATE: Final[Mapping[bytes, Callable[[BinaryIO], Any]]] = {  # by the first bytes
    b"\x1f\x8b\x08": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
    b"\x5d\x00\x00\x80": lzma.open,
}
BROKEN: Final = (tar.BrokenTarError, OSError, EOFError, zlib.error, lzma.LZMAError)


def import_tars(paths: Iterable[str], job: Job) -> Counter[str]:
    """What became of the members, by status.

    Raises:
        ValueError: a file that is no tar, or one of images of which none has its URL beside it.
    """
    return asyncio.run(_import(paths, job))


async def _import(paths: Iterable[str], job: Job) -> Counter[str]:
    async with Lookers(processes=default_processes()) as lookers:
        importing = _Import(job=job, lookers=lookers)
        for path in paths:
            images, count, urls = members(path), 0, 0
            while batch := list(islice(images, AT_ONCE)):
                count += len(batch)
                urls += await importing.take(batch)
            if not count:  # as img2dataset writes them where nothing came
                importing.counts[EMPTY] += 1
            elif not urls:
                raise ValueError(f"{path} holds no image with its URL in a KEY.json beside it: "
                                 "give tars that img2dataset made (output_format=webdataset)"
                                 )  # fmt: skip
            for partition in importing.partitions.values():
                partition.commit()
    return importing.counts


@dataclass(kw_only=True)
class _Import:
    job: Job
    lookers: Lookers
    counts: Counter[str] = field(default_factory=Counter)
    partitions: dict[int, _Partition] = field(default_factory=dict)

    async def take(self, batch: Iterable[tuple[str, bytes]]) -> int:
        """Rows of some members; how many of these have a URL."""
        urls, wanted = 0, list[tuple[_Partition, str, bytes]]()
        for url, body in batch:
            if not url:
                self.counts[NO_URL] += 1
                continue
            urls += 1
            partition = self._partition_of(url)
            if status := partition.refuse(url):
                self.counts[status] += 1
            else:
                wanted.append((partition, url, body))
        looks = await asyncio.gather(*(self.lookers.look(body) for _, _, body in wanted))
        for (partition, url, body), look in zip(wanted, looks, strict=True):
            self.counts[partition.add(url, body, look)] += 1
        return urls

    def _partition_of(self, url: str) -> _Partition:
        number = partition_of(url, self.job.partitions)[0]
        if number not in self.partitions:
            self.partitions[number] = _Partition(number, self.job)
        return self.partitions[number]


class _Partition:
    def __init__(self, number: int, job: Job) -> None:
        wanted = parquet.read_table(job.part("wanted", f"{number:05d}"), ["url"])["url"]
        brought = read_brought(job, number)
        self._wanted = set(wanted.to_pylist())
        self._known = set(brought.known)
        self._listed = opted_out(job)
        self._round = job.settings.fetching.round
        self._commits = Commits.begin(job, number, brought.places)

    def refuse(self, url: str) -> str:
        """Why its bytes are not looked at; "" if they are, and then no others of this URL."""
        if url not in self._wanted or url in self._known:
            return KNOWN if url in self._known else NOT_WANTED
        self._known.add(url)
        if url not in self._listed:
            return ""
        out = Ending(errand=Errand(url, url), problem=Problem(reason=Reason.OPTED_OUT),
                     decision=Reason.OPTED_OUT)  # fmt: skip
        self._commits.add(row_of(out, round_=self._round))
        return Reason.OPTED_OUT

    def add(self, url: str, body: bytes, look: Looked) -> str:
        assert not isinstance(look, Reencoded), "imported bytes stay as they came"
        problem = look if isinstance(look, Problem) else None
        ending = Ending(errand=Errand(url, url), problem=problem, decision=IMPORTED)
        row = row_of(ending, round_=self._round)
        if isinstance(look, Problem):
            self._commits.add(row)
        else:
            self._commits.add(row | look.columns(size=len(body)), body)
        return OK if problem is None else str(problem.reason)

    def commit(self) -> None:
        if (commit := self._commits.cut()) is not None:
            commit.write()


def members(path: str) -> Iterator[tuple[str, bytes]]:
    """(URL, bytes) of a tar's images; those of a key stand together.

    Raises:
        ValueError: for a file that is no whole tar, or lies about what is in it.
    """
    try:
        with store.open_input(path) as handle, _inflated(handle) as (stream, size):
            key, url, body = "", "", b""
            for member in tar.members(stream, size=size):
                name, _, extension = member.name.rpartition("/")[2].partition(".")
                if name != key:
                    if body:
                        yield url, body
                    key, url, body = name, "", b""
                if not member.is_file or extension == "txt":
                    continue
                length = min(member.size, JSON_BYTES if extension == "json" else IMAGE_BYTES)
                data = stream.read(length)
                if len(data) < length:
                    raise tar.BrokenTarError(f"it ends within its member {member.name!r}")
                if extension == "json":
                    url = _url_of(data)
                else:
                    body = data
            if body:
                yield url, body
    except BROKEN as error:
        raise ValueError(
            f"{path} cannot be read as a tar of img2dataset ({error}): copy it again, or leave it "
            "out"
        ) from error


@contextmanager
def _inflated(handle: BinaryIO) -> Iterator[tuple[BinaryIO, int | None]]:
    """The tar in a file, plain or compressed as img2dataset's users do, and its size if known."""
    first = handle.read(max(map(len, INFLATE)))
    handle.seek(0)
    for magic, inflate in INFLATE.items():
        if first.startswith(magic):
            with inflate(handle) as stream:
                yield cast("BinaryIO", stream), None
            return
    yield handle, handle.seek(0, os.SEEK_END)


def _url_of(data: bytes) -> str:
    """As wanted/ writes it; "" where a KEY.json has none."""
    try:
        url = json.loads(data)["url"]
        return normal_url(url) if isinstance(url, str) and url.encode() else ""
    except (ValueError, TypeError, LookupError, RecursionError):
        return ""
