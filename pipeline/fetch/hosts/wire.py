"""Wire: one request, answered or given up, in bounded time and memory. No redirect is followed.

In:      an http(s) URL.
Out:     Answer: status, headers, where it points to, the body without its codings.
Refused, as a Problem: another scheme or port, an address that is not open to strangers (guard.py),
         a certificate that does not hold, silence, a body that is cut, or larger than it may be,
         as it comes and as it unpacks.
Proxies and passwords of the environment are not used; cookies are not kept.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from pipeline.fetch.hosts.guard import ForbiddenAddressError, Guard, is_address, is_global
from pipeline.job import Fetching
from pipeline.problem import Problem
from pipeline.read import payload
from pipeline.words.urls import absolute_url
from schemas.verdict import Reason

MOVED: Final = frozenset({301, 302, 303, 307, 308})
BUFFERED: Final = 1 << 29  # bytes of bodies under way or not yet decoded; more wait for room
HEADERS: Final = 32 << 10  # bytes of a header line

Wish = Callable[[Sequence[tuple[str, str]]], Problem | None]
Look = Callable[[bytes], Problem | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a server answered."""

    url: str
    status: int
    headers: Sequence[tuple[str, str]]  # names in lower case
    body: bytes = field(repr=False)
    held: int = 0  # bytes of the buffer, until it is released

    def header(self, name: str) -> str:
        return payload.header(tuple(self.headers), name)

    @property
    def media_type(self) -> str:
        return payload.media_type(self.header("content-type"))

    @property
    def target(self) -> str | None:
        """Where it points to; "" where that is no URL; None where it does not point on."""
        if self.status not in MOVED:
            return None
        return absolute_url(self.header("location"), base=self.url)


@dataclass(kw_only=True)
class Wire:
    """A session of aiohttp; every connection of it goes through the guard."""

    guard: Guard
    fetching: Fetching
    _buffered: int = 0  # bytes of bodies
    _complete: int = 0  # of these, bytes of bodies that have arrived completely
    _freed: asyncio.Event = field(default_factory=asyncio.Event)
    _first: asyncio.Timeout | None = None  # of the one request that reads on although it is full
    _session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        chosen = self.fetching
        connector = aiohttp.TCPConnector(
            limit=0,  # hosts and stage have their own
            resolver=self.guard,
            use_dns_cache=False,
            socket_factory=self.guard.make_socket,
            ssl=ssl.create_default_context(),
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            auto_decompress=False,  # without a bound
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": chosen.user_agent, "Accept": "image/*,*/*;q=0.1",
                     "Accept-Encoding": "identity"},
            max_field_size=HEADERS,
            max_line_size=HEADERS,
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=chosen.connect, sock_read=chosen.read
            ),
            trust_env=False,
        )  # fmt: skip
        # it would ask again by itself where a connection ends without an answer, out of turn
        self._session._retry_connection = False
        return self

    async def __aexit__(self, *_error: object) -> None:
        assert self._session is not None
        await self._session.close()
        await self.guard.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        assert self._session is not None, "use the wire in an async with"
        return self._session

    async def get(
        self,
        url: str,
        *,
        wish: Wish | None = None,
        look: Look | None = None,
        most: int | None = None,
    ) -> Answer | Problem:
        """Ask once. `wish` sees the headers of a 200 or a redirect first, `look` the first bytes of
        a 200's body.

        Of a body only `most` bytes are read, where that is given.
        """
        if (problem := self.check(url)) is not None:
            return problem
        try:
            # a page's or redirect's name and password are nobody's to use
            bare = URL(url, encoded=True).with_user(None)
            async with (
                asyncio.timeout(self.fetching.total) as time,
                self.session.get(bare, allow_redirects=False) as response,
            ):
                return await self._read(url, response, time, wish, look, most)
        except _ERRORS as error:
            return Problem(reason=reason_of(error))

    def check(self, url: str) -> Problem | None:
        """What the URL alone is refused for."""
        try:
            parts = urlsplit(url)
            port = parts.port if parts.port is not None else 443 if parts.scheme == "https" else 80
        except ValueError:
            return Problem(reason=Reason.BAD_URL)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            return Problem(reason=Reason.BAD_URL)
        if port not in self.fetching.ports:
            return Problem(reason=Reason.FORBIDDEN_PORT, value=port)
        if is_address(parts.hostname) and not is_global(parts.hostname):
            return Problem(reason=Reason.FORBIDDEN_ADDRESS)
        return None

    async def _read(
        self,
        url: str,
        response: aiohttp.ClientResponse,
        time: asyncio.Timeout,
        wish: Wish | None,
        look: Look | None,
        most: int | None,
    ) -> Answer | Problem:
        headers = [(name.lower(), value) for name, value in response.headers.items()]
        speaks = response.status == 200 or response.status in MOVED
        problem = wish(headers) if wish is not None and speaks else None
        limit = self.fetching.image_bytes
        length = response.content_length
        if problem is None and most is None and length is not None and length > limit:
            problem = Problem(reason=Reason.IMAGE_BYTES, value=length, limit=limit)
        if problem is not None:
            response.close()  # the rest is not read, so the connection is of no more use
            return problem
        pieces, size = list[bytes](), 0
        try:
            async for piece in response.content.iter_any():
                size += len(piece)
                self._buffered += len(piece)
                pieces.append(piece)
                problem = _refused(response, pieces, size, limit, look)
                if problem is not None:
                    response.close()
                    self._let_go(size)
                    return problem
                if most is not None and size >= most:
                    response.close()
                    break
                await self._wait_for_room(time)
            await self._wait_for_room(time)  # what a coding unpacks to may be far more
        except BaseException:
            self._let_go(size)
            raise
        finally:
            if self._first is time:
                self._first = None
                self._freed.set()
        http = payload.Http(status=response.status, headers=tuple(headers), body=b"".join(pieces))
        body, problem = _unpacked(http, limit)
        self._let_go(size)
        if problem is not None:
            return problem
        self._buffered += len(body)
        self._complete += len(body)
        return Answer(url=url, status=response.status, headers=headers, body=body, held=len(body))

    @property
    def is_full(self) -> bool:
        """Whether a further request has to wait for bodies to be done with."""
        return self._buffered > BUFFERED // 2 and self._complete > 0

    async def wait_for_buffer(self) -> None:
        """Wait until the buffer can take another body."""
        while self.is_full:
            await self._change()

    def release(self, answer: Answer) -> None:
        """Its body is done with: others may come."""
        self._complete -= answer.held
        self._let_go(answer.held)

    def _let_go(self, size: int) -> None:
        self._buffered -= size
        self._freed.set()

    async def _wait_for_room(self, time: asyncio.Timeout) -> None:
        """While the buffer is full, one request at a time reads on, and only while few complete
        bodies wait for a decoder.

        That we do not read is no fault of the host: its time stands still.
        """
        if self._may_go(time):
            return
        ends, began = time.when(), asyncio.get_running_loop().time()
        time.reschedule(None)
        while not self._may_go(time):
            await self._change()
        if ends is not None:
            time.reschedule(ends + asyncio.get_running_loop().time() - began)

    def _may_go(self, time: asyncio.Timeout) -> bool:
        if self._buffered <= BUFFERED:
            return True
        if self._complete > BUFFERED // 4 or self._first not in {None, time}:
            return False
        self._first = time
        return True

    async def _change(self) -> None:
        self._freed.clear()
        await self._freed.wait()


def _refused(
    response: aiohttp.ClientResponse, pieces: list[bytes], size: int, limit: int, look: Look | None
) -> Problem | None:
    """What is wrong with a body as far as it has come."""
    if size > limit:
        return Problem(reason=Reason.IMAGE_BYTES, value=size, limit=limit)
    first = len(pieces) == 1 and response.status == 200
    if not first or look is None or "content-encoding" in response.headers:
        return None
    return look(pieces[0])


def _unpacked(http: payload.Http, limit: int) -> tuple[bytes, Problem | None]:
    """The body without its content coding; aiohttp has taken the chunks apart."""
    if not any(name == "content-encoding" for name, _ in http.headers):
        return http.body, None
    headers = tuple(pair for pair in http.headers if pair[0] != "transfer-encoding")
    unpacked = payload.Http(status=http.status, headers=headers, body=http.body)
    body, problem = payload.decode(unpacked, limit=limit)
    if problem is not None and problem.reason == Reason.RECORD_TOO_LARGE:
        problem = Problem(reason=Reason.IMAGE_BYTES, value=problem.value, limit=problem.limit)
    return body, problem


_ERRORS: Final = (ForbiddenAddressError, aiohttp.ClientError, OSError, ValueError)
_Kinds = type[BaseException] | tuple[type[BaseException], ...]
_REASONS: Final[tuple[tuple[_Kinds, Reason], ...]] = (
    (ForbiddenAddressError, Reason.FORBIDDEN_ADDRESS),
    (aiohttp.InvalidURL, Reason.BAD_URL),
    (TimeoutError, Reason.TIMED_OUT),
    ((aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError), Reason.TLS_FAILED),
    (aiohttp.ClientConnectorDNSError, Reason.NO_SUCH_HOST),
    (aiohttp.ClientConnectorError, Reason.CONNECTION_FAILED),
    ((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError), Reason.CONNECTION_LOST),
    (aiohttp.ClientPayloadError, Reason.TRUNCATED_PAYLOAD),
    ((aiohttp.ClientError, ValueError), Reason.BAD_HTTP),
    (OSError, Reason.CONNECTION_LOST),
)


def reason_of(error: BaseException) -> Reason:
    return next(reason for kinds, reason in _REASONS if isinstance(error, kinds))
