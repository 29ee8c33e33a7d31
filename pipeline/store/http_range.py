"""One range of a file behind http(s), asked for until it comes or never will.

In:      a URL, where the range starts and its size, and how patient to be.
Out:     an Answer: bytes of the range (all, or as many as the server gives at once), the size of
         the file and its version; from a server that knows no ranges, all of the file, spooled.
Then:    403, 429, 5xx and broken connections are asked again, later and later, Retry-After obeyed,
         up to a bound, and long waits are logged; then an OSError names the URL, what was said and
         what to do.
Refused: at once, by OSError: 404 and the like, a host that does not exist, redirects in a circle,
         an answer that is not what was asked for.
What a server calls a content encoding is not undone.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import os
import random
import re
import socket
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import IO, Final

import httpx

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
_SAID_FROM_S: Final = 5.0  # a wait of so many seconds is told
_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How long a server is asked again: waits double from `first_s` to `longest_s`, jittered."""

    attempts: int = 8
    first_s: float = 1.0
    longest_s: float = 60.0
    retry_after_s: float = 300.0  # the longest Retry-After that is obeyed
    sleep: Callable[[float], None] = time.sleep

    def seconds(self, attempt: int, told_s: float | None) -> float:
        backoff = min(self.longest_s, self.first_s * 2.0**attempt)
        seconds = random.SystemRandom().uniform(backoff / 2, backoff)
        return seconds if told_s is None else max(seconds, min(told_s, self.retry_after_s))


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

    said: str
    wait_s: float | None = None


class _BrokenOffError(Exception):
    """A body of another length than was told."""


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
                f"{url}: {answer.said} after {attempt} attempts: check that the address is right "
                "and may be read, or try later with fewer workers"
            )
        seconds = patience.seconds(attempt - 1, answer.wait_s)
        if seconds >= _SAID_FROM_S:
            told = "%s: %s in attempt %d of %d, asked again in %.0f seconds"
            _LOG.warning(told, url, answer.said, attempt, patience.attempts, seconds)
        patience.sleep(seconds)


def _ask_once(url: str, start: int, size: int) -> Answer | _NotNow:
    asked = {"Range": f"bytes={start}-{start + size - 1}"}
    try:
        with _client(os.getpid()).stream("GET", url, headers=asked) as response:
            if response.status_code not in AGAIN:
                return _answer(response, url, start, size)
            wait_s = _retry_after(response.headers.get("Retry-After", ""))
            return _NotNow(said=f"status {response.status_code}", wait_s=wait_s)
    except _FINAL as error:
        said = str(error).rstrip(".")
        raise OSError(f"{url}: {said}: check the address, or download the file first") from error
    except (httpx.TransportError, _BrokenOffError) as error:
        if _is_no_host(error):
            raise OSError(f"{url}: its host does not exist: check the spelling") from error
        return _NotNow(said=f"{type(error).__name__}: {error}")


def _is_no_host(error: BaseException | None) -> bool:
    """Whether name servers answered that there is no such name; others may answer later."""
    while error is not None:
        if isinstance(error, socket.gaierror):
            return error.errno == socket.EAI_NONAME
        error = error.__cause__ or error.__context__
    return False


def _answer(response: httpx.Response, url: str, start: int, size: int) -> Answer:
    said = response.headers.get("Content-Range", "no Content-Range")
    told = _CONTENT_RANGE.fullmatch(said)
    first, last, total = map(int, told.group(1, 2, 3)) if told else (-1, -1, -1)
    version = response.headers.get("ETag", "")
    match response.status_code:
        case 206 if first == start <= last < min(start + size, total):
            return Answer(data=_body(response, last + 1 - start), total=total, version=version)
        case 206:
            raise OSError(
                f"{url}: asked for bytes {start:,} to {start + size - 1:,}, got {said}: its server "
                "cannot be read by ranges, download the file first"
            )
        case 416 if (length := _LENGTH.fullmatch(said)) and int(length[1]) <= start:
            return Answer(total=int(length[1]), version=version)  # nothing from there on
        case 200:
            return _spooled(response, version)
    raise OSError(
        f"{url}: status {response.status_code}: check the address, or download the file first"
    )


def _body(response: httpx.Response, size: int) -> bytes:
    """The `size` bytes that were told, and no more of what comes."""
    data = bytearray()
    for piece in response.iter_raw():
        data += piece
        if len(data) > size:
            break
    if len(data) != size:
        raise _BrokenOffError(f"{len(data):,} bytes where {size:,} were told")
    return bytes(data)


def _spooled(response: httpx.Response, version: str) -> Answer:
    """All of a file from a server without ranges, kept aside until the stream is closed."""
    with contextlib.ExitStack() as aside:
        spool = aside.enter_context(tempfile.TemporaryFile())
        for piece in response.iter_raw():
            spool.write(piece)
        size, told = spool.tell(), response.headers.get("Content-Length")
        if told is not None and int(told) != size:
            raise _BrokenOffError(f"{size:,} bytes where {int(told):,} were told")
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
