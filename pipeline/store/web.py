"""Web: a file behind http(s) as a seekable stream, read by ranges over one kept client.

In:      a URL.
Out:     a stream of the stored bytes, with read-ahead. From a server that knows no ranges all of
         the file, read once from its start into a temporary file. What a server calls a content
         encoding is not undone.
Again:   403, 429, 5xx and broken connections are asked again, later and later, Retry-After obeyed,
         up to a bound, and long waits are logged; then an OSError names the URL, the answer and
         what to do.
Refused: at once, by OSError: 404 and the like, a host that does not exist, redirects in a circle,
         an answer that is not what was asked for, a file that changes while it is read (length or
         ETag).
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import io
import logging
import os
import random
import re
import socket
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
_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")
_LENGTH: Final = re.compile(r"bytes \*/([0-9]{1,18})")
# asking again changes nothing; UnicodeError is a redirect to a host that cannot be looked up
_FINAL: Final = (
    httpx.LocalProtocolError,
    httpx.TooManyRedirects,
    httpx.UnsupportedProtocol,
    UnicodeError,
)
_LOGGED_FROM_S: Final = 5.0  # seconds: a wait that is logged
_LOG: Final = logging.getLogger(__name__)


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
        self._known: Answer | None = None
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
            # a server may give less than it was asked for
            if start <= place < end and place < start + len(piece := coming.result()):
                return start, piece
        return place, self._fetch(place, min(wanted, AHEAD))

    def _look_ahead(self, start: int) -> None:
        end = min(start + AHEAD, self.size if self._until is None else self._until)
        if start < end:
            self._pool = self._pool or ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
            self._ahead = start, end, self._pool.submit(self._fetch, start, end - start)

    def _fetch(self, start: int, size: int) -> bytes:
        answer = ask(self._url, start, size, self._patience)
        known = self._known = self._known or answer
        if (answer.total, answer.version) != (known.total, known.version):
            raise OSError(
                f"{self._url} changed while it was read ({known.total:,} bytes, now "
                f"{answer.total:,}): download it first, or start again"
            )
        if answer.spool is not None and known.spool is None:
            self._known = answer  # all of it at once, from a server that gave ranges before
        return answer.data


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How long a server is asked again: waits double from `first_s` to `longest_s`, jittered."""

    attempts: int = 8
    first_s: float = 1.0
    longest_s: float = 60.0
    longest_retry_after_s: float = 300.0  # that is obeyed
    sleep: Callable[[float], None] = time.sleep

    def seconds(self, attempt: int, retry_after_s: float | None) -> float:
        backoff = min(self.longest_s, self.first_s * 2.0**attempt)
        seconds = random.SystemRandom().uniform(backoff / 2, backoff)
        if retry_after_s is None:
            return seconds
        return max(seconds, min(retry_after_s, self.longest_retry_after_s))


PATIENT: Final = Patience()


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A piece of a file of `total` bytes; `spool` is all of it, from a server without ranges."""

    data: bytes = b""
    total: int
    version: str = ""
    spool: IO[bytes] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _NotNow:
    """Why there is no answer yet, and when the server wants to be asked again."""

    reason: str
    wait_s: float | None = None


class _BrokenOffError(Exception):
    """A body of another length than its header declares."""


@functools.cache
def _client(process: int) -> httpx.Client:  # noqa: ARG001  # a forked process gets its own
    timeout = httpx.Timeout(60.0, connect=30.0)
    headers = {"Accept-Encoding": "identity", "User-Agent": "interloom (+crawl reader)"}
    client = httpx.Client(timeout=timeout, headers=headers, follow_redirects=True)
    atexit.register(client.close)
    return client


def ask(url: str, start: int, size: int, patience: Patience) -> Answer:
    attempt = 0
    while True:
        attempt += 1
        answer = _ask_once(url, start, size)
        if isinstance(answer, Answer):
            return answer
        if attempt >= patience.attempts:
            raise OSError(
                f"{url}: {answer.reason} after {attempt} attempts: check that the address is right "
                "and may be read, or try later with fewer workers"
            )
        seconds = patience.seconds(attempt - 1, answer.wait_s)
        if seconds >= _LOGGED_FROM_S:
            message = "%s: %s in attempt %d of %d, asked again in %.0f seconds"
            _LOG.warning(message, url, answer.reason, attempt, patience.attempts, seconds)
        patience.sleep(seconds)


def _ask_once(url: str, start: int, size: int) -> Answer | _NotNow:
    headers = {"Range": f"bytes={start}-{start + size - 1}"}
    try:
        with _client(os.getpid()).stream("GET", url, headers=headers) as response:
            if response.status_code not in AGAIN:
                return _answer(response, url, start, size)
            wait_s = _retry_after(response.headers.get("Retry-After", ""))
            return _NotNow(reason=f"status {response.status_code}", wait_s=wait_s)
    except _FINAL as error:
        reason = str(error).rstrip(".")
        raise OSError(f"{url}: {reason}: check the address, or download the file first") from error
    except (httpx.TransportError, _BrokenOffError) as error:
        if _is_no_host(error):
            raise OSError(f"{url}: its host does not exist: check the spelling") from error
        return _NotNow(reason=f"{type(error).__name__}: {error}")


def _is_no_host(error: BaseException | None) -> bool:
    """Whether name servers answered that there is no such name; others may answer later."""
    while error is not None:
        if isinstance(error, socket.gaierror):
            return error.errno == socket.EAI_NONAME
        error = error.__cause__ or error.__context__
    return False


def _answer(response: httpx.Response, url: str, start: int, size: int) -> Answer:
    content_range = response.headers.get("Content-Range", "no Content-Range")
    parsed = _CONTENT_RANGE.fullmatch(content_range)
    first, last, total = map(int, parsed.group(1, 2, 3)) if parsed else (-1, -1, -1)
    version = response.headers.get("ETag", "")
    match response.status_code:
        case 206 if first == start <= last < min(start + size, total):
            return Answer(data=_body(response, last + 1 - start), total=total, version=version)
        case 206:
            raise OSError(
                f"{url}: asked for bytes {start:,} to {start + size - 1:,}, got "
                f"{content_range}: its server "
                "cannot be read by ranges, download the file first"
            )
        case 416 if (length := _LENGTH.fullmatch(content_range)) and int(length[1]) <= start:
            return Answer(total=int(length[1]), version=version)  # nothing from there on
        case 200:
            return _spooled(response, version)
    raise OSError(
        f"{url}: status {response.status_code}: check the address, or download the file first"
    )


def _body(response: httpx.Response, size: int) -> bytes:
    """A body of `size` bytes; reading stops behind them."""
    data = bytearray()
    for piece in response.iter_raw():
        data += piece
        if len(data) > size:
            break
    if len(data) != size:
        raise _BrokenOffError(f"{len(data):,} bytes where {size:,} were declared")
    return bytes(data)


def _spooled(response: httpx.Response, version: str) -> Answer:
    """All of a file from a server without ranges, kept aside until the stream is closed."""
    with contextlib.ExitStack() as aside:
        spool = aside.enter_context(tempfile.TemporaryFile())
        for piece in response.iter_raw():
            spool.write(piece)
        size, declared = spool.tell(), response.headers.get("Content-Length")
        if declared is not None and int(declared) != size:
            raise _BrokenOffError(f"{size:,} bytes where {int(declared):,} were declared")
        aside.pop_all()  # from here on its stream's
        return Answer(total=size, version=version, spool=spool)


def _retry_after(value: str) -> float | None:
    """Seconds of a Retry-After header, which is a number or a date."""
    if value.isdecimal():
        return float(value)
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())
