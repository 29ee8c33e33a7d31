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
from itertools import islice
from typing import Any, BinaryIO, Final, cast

from pipeline.fetch.commits import Commits, Errand, read_brought
from pipeline.fetch.hosts.request import Ending, row_of
from pipeline.job import Job
from pipeline.media.look import Lookers, Reencoded, default_processes
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
    counts, partitions = Counter[str](), dict[int, _Partition]()

    def partition_at(url: str) -> _Partition:
        """Read when its first URL comes."""
        number = partition_of(url, job.partitions)[0]
        if number not in partitions:
            partitions[number] = _Partition(number, job)
        return partitions[number]

    async with Lookers(processes=default_processes()) as lookers:
        for path in paths:
            images, of_tar = members(path), Counter[str]()
            while batch := list(islice(images, AT_ONCE)):
                of_tar[NO_URL] += sum(not url for url, _ in batch)
                named = [(partition_at(url), url, body) for url, body in batch if url]
                looks = [partition.look(url, body, lookers) for partition, url, body in named]
                rows = await asyncio.gather(*looks)
                for (partition, _, body), row in zip(named, rows, strict=True):
                    of_tar[partition.add(row, body)] += 1
            if not of_tar.total():  # as img2dataset writes them where nothing came
                of_tar[EMPTY] = 1
            elif of_tar.total() == of_tar[NO_URL]:
                raise ValueError(f"{path} holds no image with its URL in a KEY.json beside it: "
                                 "give tars that img2dataset made (output_format=webdataset)"
                                 )  # fmt: skip
            counts += of_tar
            for partition in partitions.values():
                partition.commit()
    return counts


class _Partition:
    def __init__(self, number: int, job: Job) -> None:
        wanted = parquet.read_table(job.part("wanted", f"{number:05d}"), ["url"])["url"]
        brought = read_brought(job, number)
        self._commits = Commits.begin(job, number, brought.places)
        self._wanted = set(wanted.to_pylist())
        self._known = set(brought.known)
        self._listed = opted_out(job)
        self._round = job.settings.fetching.round

    async def look(self, url: str, body: bytes, lookers: Lookers) -> dict[str, Any] | str:
        """The row of a URL's first image; or why it has none."""
        if url in self._known:
            return KNOWN
        if url not in self._wanted:
            return NOT_WANTED
        self._known.add(url)
        errand = Errand(url, url)
        if url in self._listed:
            out = Problem(reason=Reason.OPTED_OUT)
            ending = Ending(errand=errand, problem=out, decision=Reason.OPTED_OUT)
            return row_of(ending, round_=self._round)
        look = await lookers.look(body)
        assert not isinstance(look, Reencoded), "imported bytes stay as they came"
        problem = look if isinstance(look, Problem) else None
        ending = Ending(errand=errand, problem=problem, decision=IMPORTED)
        seen = {} if isinstance(look, Problem) else look.columns(size=len(body))
        return row_of(ending, round_=self._round) | seen

    def add(self, row: dict[str, Any] | str, body: bytes) -> str:
        """What `look` has given; the status."""
        if isinstance(row, str):
            return row
        self._commits.add(row, body if row["status"] == OK else b"")
        return str(row["status"])

    def commit(self) -> None:
        if (commit := self._commits.cut()) is not None:
            commit.write()


def members(path: str) -> Iterator[tuple[str, bytes]]:
    """(URL, bytes) of a tar's images; those of a key stand together.

    Raises:
        ValueError: for a file that is no whole tar, or lies about what is in it.
    """
    try:
        with store.open_input(path) as handle:
            stream, size = _inflated(handle)
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


def _inflated(handle: BinaryIO) -> tuple[BinaryIO, int | None]:
    """The tar in a file, plain or compressed as img2dataset's users do, and its size if known."""
    first = handle.read(max(map(len, INFLATE)))
    handle.seek(0)
    for magic, inflate in INFLATE.items():
        if first.startswith(magic):
            return cast("BinaryIO", inflate(handle)), None
    return handle, handle.seek(0, os.SEEK_END)


def _url_of(data: bytes) -> str:
    """As wanted/ writes it; "" where a KEY.json has none."""
    try:
        url = json.loads(data)["url"]
        return normal_url(url) if isinstance(url, str) and url.encode() else ""
    except (ValueError, TypeError, LookupError, RecursionError):
        return ""
