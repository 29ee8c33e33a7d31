"""Members: byte ranges of tars in, their bytes out, wherever the tars lie.

In:      ranges (URL, offset, length), as the index of a shard tells its members. A URL is a local
         path or whatever fsspec opens: http, https, s3, gs, memory.
Out:     the bytes of each range, in their order. Ranges of a tar that lie near each other are
         read as one (a sample's members do), different ones of a store at the same time.
Refused: a range beyond the end of its tar, so the index does not fit it, or a server that knows no
         ranges: ValueError. What fails otherwise is tried again after a pause that doubles, then
         OSError. Both name the tar, the offset and the length.

A local tar stays open while it is among the last used, and is read without moving a file position.
A Members that is pickled takes no open tar and no connection along.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

import fsspec  # type: ignore[import-untyped]
from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]
from fsspec.spec import AbstractFileSystem  # type: ignore[import-untyped]

# trying again mends none of these
FINAL: Final = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Range:
    """Bytes [offset, offset + length) of a tar."""

    url: str
    offset: int
    length: int

    @classmethod
    def of(cls, url: str, member: Mapping[str, Any]) -> Range:
        """Of a member, as an index tells it."""
        return cls(url=url, offset=member["offset"], length=member["length"])

    @property
    def end(self) -> int:
        return self.offset + self.length


@dataclass(kw_only=True)
class Members:
    """Reads ranges; one object a process. Limits are of what it holds and how long it tries."""

    gap: int = 1 << 16  # bytes between ranges that are read along rather than split
    handles: int = 64  # local tars held open
    attempts: int = 5
    pause: float = 0.5  # seconds before the second attempt; doubles
    _open: OrderedDict[str, int] = field(default_factory=OrderedDict, init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("handles", "attempts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: choose 1 or more")

    def __getstate__(self) -> dict[str, Any]:
        """Of the settings only: an open file is another one, or none, in another process."""
        return self.__dict__ | {"_open": OrderedDict()}

    def read(self, ranges: Sequence[Range]) -> list[bytes]:
        """The bytes of every range; OSError for what still fails after the last attempt."""
        wholes = merged(ranges, gap=self.gap)
        read: dict[Range, bytes] = {}
        for whole, data in zip(wholes, self._fetch(list(wholes)), strict=True):
            for inner in wholes[whole]:
                start = inner.offset - whole.offset
                read[inner] = data[start : start + inner.length]
        return [read[range_] for range_ in ranges]

    def close(self) -> None:
        """Close the local tars."""
        while self._open:
            os.close(self._open.popitem()[1])

    def _fetch(self, wholes: Sequence[Range]) -> list[bytes]:
        """Each range by itself; those that fail are tried again, all others are kept."""
        read: dict[Range, bytes] = {}
        for attempt in range(1, self.attempts + 1):
            missing = [whole for whole in wholes if whole not in read]
            for whole, answer in zip(missing, self._answers(missing), strict=True):
                if isinstance(answer, bytes) and len(answer) == whole.length:
                    read[whole] = answer
                elif attempt == self.attempts or not _may_mend(whole, answer):
                    _refuse(whole, answer, attempt)
            if len(read) == len(wholes):
                break
            time.sleep(self.pause * 2 ** (attempt - 1))
        return [read[whole] for whole in wholes]

    def _answers(self, wholes: Sequence[Range]) -> list[bytes | Exception]:
        """What the stores answer, errors among it."""
        answers: dict[Range, bytes | Exception] = {}
        remote: dict[AbstractFileSystem, list[tuple[Range, str]]] = {}
        for whole in wholes:
            system, path = fsspec.core.url_to_fs(whole.url)
            if isinstance(system, LocalFileSystem):
                answers[whole] = self._read_local(path, whole)
            else:
                remote.setdefault(system, []).append((whole, path))
        for system, requests in remote.items():
            there, paths = zip(*requests, strict=True)
            starts, ends = [whole.offset for whole in there], [whole.end for whole in there]
            bodies = system.cat_ranges(list(paths), starts, ends, on_error="return")
            answers.update(zip(there, bodies, strict=True))
        return [answers[whole] for whole in wholes]

    def _read_local(self, path: str, whole: Range) -> bytes | OSError:
        try:
            if path not in self._open:
                self._open[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                if len(self._open) > self.handles:
                    os.close(self._open.popitem(last=False)[1])
            self._open.move_to_end(path)
            return _pread(self._open[path], whole)
        except OSError as error:
            return error


def merged(ranges: Iterable[Range], *, gap: int) -> dict[Range, list[Range]]:
    """Ranges to read -> the given ranges inside each; between those lie at most `gap` bytes."""
    wholes: dict[Range, list[Range]] = {}
    last: Range | None = None
    for current in sorted(set(ranges)):
        if last is not None and current.url == last.url and current.offset <= last.end + gap:
            inner = wholes.pop(last)
            end = max(last.end, current.end)
            last = Range(url=current.url, offset=last.offset, length=end - last.offset)
            wholes[last] = [*inner, current]
        else:
            last = current
            wholes[current] = [current]
    return wholes


def _pread(descriptor: int, whole: Range) -> bytes:
    """To the range's end or the file's; one call reads 2 GiB at most."""
    pieces: list[bytes] = []
    at = whole.offset
    while at < whole.end and (piece := os.pread(descriptor, whole.end - at, at)):
        pieces.append(piece)
        at += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _may_mend(whole: Range, answer: bytes | Exception) -> bool:
    """Whether another attempt can end otherwise."""
    if isinstance(answer, FINAL) or (isinstance(answer, bytes) and len(answer) > whole.length):
        return False
    size = _size(whole.url)
    return size is None or size >= whole.end


def _refuse(whole: Range, answer: bytes | Exception, attempts: int) -> NoReturn:
    place = f"{whole.url} at {whole.offset:,}, {whole.length:,} bytes"
    size = _size(whole.url)
    if size is not None and size < whole.end:
        raise ValueError(
            f"{place}: the tar ends at {size:,}, so its index does not fit it: copy the tar "
            f"again, or remove its index, which is then made anew"
        )
    if isinstance(answer, bytes) and len(answer) > whole.length:
        raise ValueError(
            f"{place}: the server sent {len(answer):,} and so knows no ranges: use one that does "
            f"(nginx, S3 ...), or copy the shards here"
        )
    outcome = f"{len(answer):,} bytes came" if isinstance(answer, bytes) else repr(answer)
    cause = answer if isinstance(answer, Exception) else None
    raise OSError(f"{place}: not read after {attempts} attempts: {outcome}") from cause


def _size(url: str) -> int | None:
    """Bytes of a tar; None where its store does not tell, since this only explains an error."""
    system, path = fsspec.core.url_to_fs(url)
    try:
        size = system.size(path)
    except Exception:  # noqa: BLE001  # the store is failing: what it raises is of its own kinds
        return None
    return size if isinstance(size, int) else None
