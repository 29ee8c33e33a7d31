"""A file behind http(s) as a seekable stream: ranges over one kept client, with read-ahead.

In:      a URL.
Out:     a stream of the stored bytes: what a server calls a content encoding is not undone.
Then:    403, 429, 5xx and broken connections are asked again, later and later, Retry-After obeyed,
         up to a bound; then an OSError names the URL, what was said and what to do.
Refused: 404 and the like at once; a file that changes while it is read (length or ETag).
A server that knows no ranges is read once from its start into a temporary file.
"""

from __future__ import annotations

import functools
import io
import os
import random
import re
import tempfile
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import IO, Final

import httpx

AHEAD: Final = 4 << 20  # bytes of the piece that is fetched while the one before it is used
_HELD: Final = 3  # pieces: the one in use, and two for small steps back
AGAIN: Final = frozenset({403, 408, 425, 429, 500, 502, 503, 504})
_CONTENT_RANGE: Final = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How long a server is asked again: waits double from `first_s` to `longest_s`, jittered."""

    attempts: int = 8
    first_s: float = 1.0
    longest_s: float = 60.0
    retry_after_s: float = 300.0  # the longest Retry-After that is obeyed
    sleep: Callable[[float], None] = time.sleep

    def wait(self, attempt: int, told_s: float | None) -> None:
        backoff = min(self.longest_s, self.first_s * 2.0**attempt)
        seconds = random.SystemRandom().uniform(backoff / 2, backoff)
        if told_s is not None:
            seconds = max(seconds, min(told_s, self.retry_after_s))
        self.sleep(seconds)


PATIENT: Final = Patience()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Answer:
    """A piece of a file of `total` bytes; `spool` is all of it, from a server without ranges."""

    data: bytes = b""
    total: int
    version: str = ""
    spool: IO[bytes] | None = None


class RangedHttp(io.RawIOBase):
    """A readable, seekable stream over a URL; nothing is asked for before it is needed.

    Behind `until` nothing is fetched ahead.
    """

    def __init__(
        self, url: str, *, until: int | None = None, patience: Patience | None = None
    ) -> None:
        super().__init__()
        self._url = url
        self._until = until
        self._patience = patience or PATIENT
        self._place = 0
        self._known: _Answer | None = None
        self._held: deque[tuple[int, bytes]] = deque(maxlen=_HELD)
        self._ahead: tuple[int, int, Future[bytes]] | None = None
        self._pool: ThreadPoolExecutor | None = None

    @property
    def size(self) -> int:
        if self._known is None:
            self._fetch(0, 1)
        assert self._known is not None
        return self._known.total

    @property
    def ranged(self) -> bool:
        return self.size >= 0 and self._spool is None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        bases = {io.SEEK_SET: 0, io.SEEK_CUR: self._place}
        place = offset + (self.size if whence == io.SEEK_END else bases[whence])
        if place < 0:
            raise ValueError(f"seek to {place} in {self._url}: before its start")
        self._place = place
        return place

    def read(self, size: int | None = -1) -> bytes:
        """`size` bytes, fewer only at the end of the file."""
        wanted = self.size - self._place if size is None or size < 0 else size
        pieces = []
        while wanted > 0:
            piece = self._some(self._place, wanted)
            if not piece:
                break
            pieces.append(piece)
            wanted -= len(piece)
            self._place += len(piece)
        return b"".join(pieces)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed: Buffer
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            if self._pool is not None:
                self._pool.shutdown(wait=False, cancel_futures=True)
            self._held.clear()
            if self._spool is not None:
                self._spool.close()
        super().close()

    @property
    def _spool(self) -> IO[bytes] | None:
        return None if self._known is None else self._known.spool

    def _some(self, place: int, wanted: int) -> bytes:
        """Bytes from `place` on, at least one before the end of the file."""
        for start, piece in reversed(self._held):
            if start <= place < start + len(piece):
                return piece[place - start : place - start + wanted]
        if self._known is not None and place >= self._known.total:
            return b""
        if self._spool is None:
            start, piece = self._next(place, wanted)
        if self._spool is not None:  # known only now, or since the first request
            self._spool.seek(place)
            return self._spool.read(wanted)
        going_on = any(before + len(held) == start for before, held in self._held)
        self._held.append((start, piece))
        if going_on:
            self._look_ahead(start + len(piece))
        return piece[place - start : place - start + wanted]

    def _next(self, place: int, wanted: int) -> tuple[int, bytes]:
        if self._ahead is not None:
            start, end, coming = self._ahead
            self._ahead = None
            if start <= place < end:
                return start, coming.result()
        return place, self._fetch(place, min(wanted, AHEAD))

    def _look_ahead(self, start: int) -> None:
        end = min(start + AHEAD, self.size if self._until is None else self._until)
        if start < end:
            self._pool = self._pool or ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
            self._ahead = start, end, self._pool.submit(self._fetch, start, end - start)

    def _fetch(self, start: int, size: int) -> bytes:
        answer = _ask(self._url, start, size, self._patience)
        known = self._known = self._known or answer
        if (answer.total, answer.version) != (known.total, known.version):
            raise OSError(
                f"{self._url} changed while it was read ({known.total:,} bytes, now "
                f"{answer.total:,}): download it first, or start again"
            )
        return answer.data


@functools.cache
def _client(process: int) -> httpx.Client:  # noqa: ARG001  # a forked process gets its own
    timeout = httpx.Timeout(60.0, connect=30.0)
    headers = {"Accept-Encoding": "identity", "User-Agent": "interloom (+crawl reader)"}
    return httpx.Client(timeout=timeout, headers=headers, follow_redirects=True)


def _ask(url: str, start: int, size: int, patience: Patience) -> _Answer:
    said = ""
    for attempt in range(patience.attempts):
        told_s = None
        try:
            with _client(os.getpid()).stream("GET", url, headers=_range(start, size)) as response:
                if response.status_code not in AGAIN:
                    return _answer(response, url, start, size)
                said = f"status {response.status_code}"
                told_s = _retry_after(response.headers.get("Retry-After", ""))
        except (httpx.TransportError, _BrokenOffError) as error:
            said = f"{type(error).__name__}: {error}"
        if attempt + 1 < patience.attempts:
            patience.wait(attempt, told_s)
    raise OSError(
        f"{url}: {said} after {patience.attempts} attempts: check that the address is right and "
        "may be read, or try later with fewer workers"
    )


class _BrokenOffError(Exception):
    """A body that ended before its told length."""


def _range(start: int, size: int) -> dict[str, str]:
    return {"Range": f"bytes={start}-{start + size - 1}"}


def _answer(response: httpx.Response, url: str, start: int, size: int) -> _Answer:
    status = response.status_code
    version = response.headers.get("ETag", "")
    if status == 206:
        found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if found is None or found[1] is None or int(found[1]) != start:
            said = response.headers.get("Content-Range", "nothing")
            raise OSError(f"{url}: asked for bytes from {start:,}, got {said}: download it first")
        data = b"".join(response.iter_raw())
        if len(data) != min(size, int(found[3]) - start):
            raise _BrokenOffError(f"{len(data):,} bytes of {size:,} from {start:,}")
        return _Answer(data=data, total=int(found[3]), version=version)
    if status == 416:  # nothing at or behind `start`
        found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if found is not None and int(found[3]) <= start:
            return _Answer(total=int(found[3]), version=version)
    if status == 200:
        return _spooled(response, version)
    raise OSError(f"{url}: status {status}: check the address, or download the file first")


def _spooled(response: httpx.Response, version: str) -> _Answer:
    """All of a file from a server without ranges, kept aside until the stream is closed."""
    spool = tempfile.TemporaryFile()  # noqa: SIM115  # closed by the stream that owns it
    size = 0
    for piece in response.iter_raw():
        spool.write(piece)
        size += len(piece)
    told = response.headers.get("Content-Length")
    if told is not None and int(told) != size:
        spool.close()
        raise _BrokenOffError(f"{size:,} bytes of {int(told):,}")
    return _Answer(total=size, version=version, spool=spool)


def _retry_after(value: str) -> float | None:
    """Seconds of a Retry-After header, which is a number or a date."""
    if value.isdigit():
        return float(value)
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())
