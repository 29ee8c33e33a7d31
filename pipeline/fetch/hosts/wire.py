"""Wire: one request, answered or given up, in bounded time and memory. No redirect is followed.

In:      an http(s) URL.
Out:     Response: status, headers, where it points to, the body without its codings.
Refused, as a Problem: another scheme or port, an address that is not open to strangers (guard.py),
         a certificate that does not hold, silence, a body that is cut, or larger than it may be,
         as it comes and as it unpacks.
Proxies and passwords of the environment are not used; cookies are not kept.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
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

Wish = Callable[[payload.Headers], Problem | None]
Look = Callable[[bytes], Problem | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Response:
    """What a server answered; its body counts as buffered until it is released."""

    url: str
    status: int
    headers: payload.Headers  # names in lower case
    body: bytes = field(repr=False)

    def header(self, name: str) -> str:
        return payload.header(self.headers, name)

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
    _reads_on: asyncio.Timeout | None = None  # of the one request that does while it is full
    session: aiohttp.ClientSession = field(init=False)

    def __post_init__(self) -> None:
        self.slots = asyncio.Semaphore(self.fetching.requests)  # of requests under way

    async def __aenter__(self) -> Self:
        chosen = self.fetching
        connector = aiohttp.TCPConnector(
            limit=0,  # hosts and stage have their own
            resolver=self.guard,
            use_dns_cache=False,
            socket_factory=self.guard.make_socket,
            ssl=ssl.create_default_context(),
        )
        self.session = aiohttp.ClientSession(
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
        self.session._retry_connection = False
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.session.close()
        await self.guard.close()

    async def get(
        self,
        url: str,
        *,
        wish: Wish | None = None,
        look: Look | None = None,
        most: int | None = None,
    ) -> Response | Problem:
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
                headers = tuple((name.lower(), value) for name, value in response.headers.items())
                problem = None
                if wish is not None and (response.status == 200 or response.status in MOVED):
                    problem = wish(headers)
                body = problem or await self._read(response, time, look, most)
                if isinstance(body, bytes):
                    body = self._unpack(headers, body)
                if isinstance(body, Problem):
                    response.close()  # the rest is not read, so the connection is of no more use
                    return body
        except _ERRORS as error:
            return Problem(reason=reason_of(error))
        self._buffered += len(body)
        self._complete += len(body)
        return Response(url=url, status=response.status, headers=headers, body=body)

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
        response: aiohttp.ClientResponse,
        time: asyncio.Timeout,
        look: Look | None,
        most: int | None,
    ) -> bytes | Problem:
        """The body as it comes, counted as buffered meanwhile."""
        limit, length = self.fetching.image_bytes, response.content_length
        if most is None and length is not None and length > limit:
            return Problem(reason=Reason.IMAGE_BYTES, value=length, limit=limit)
        if response.status != 200 or "content-encoding" in response.headers:
            look = None
        pieces, size = list[bytes](), 0
        try:
            while piece := await response.content.readany():
                size += len(piece)
                self._buffered += len(piece)
                if size > limit:
                    return Problem(reason=Reason.IMAGE_BYTES, value=size, limit=limit)
                if look is not None and not pieces and (problem := look(piece)) is not None:
                    return problem
                pieces.append(piece)
                if most is not None and size >= most:
                    response.close()
                    break
                await self._wait_for_room(time)
            await self._wait_for_room(time)  # what a coding unpacks to may be far more
            return b"".join(pieces)
        finally:
            self._let_go(size)
            if self._reads_on is time:
                self._reads_on = None

    def _unpack(self, headers: payload.Headers, body: bytes) -> bytes | Problem:
        """The body without its content coding; aiohttp has taken the chunks apart."""
        kept = tuple(pair for pair in headers if pair[0] != "transfer-encoding")
        http = payload.Http(status=200, headers=kept, body=body)
        body, problem = payload.decode(http, limit=self.fetching.image_bytes)
        if problem is not None and problem.reason == Reason.RECORD_TOO_LARGE:
            return Problem(reason=Reason.IMAGE_BYTES, value=problem.value, limit=problem.limit)
        return problem or body

    @property
    def is_full(self) -> bool:
        """Whether a further request has to wait for bodies to be done with."""
        return self._buffered > BUFFERED // 2 and self._complete > 0

    @property
    def is_in_use(self) -> bool:
        """Whether it has to wait for these, or for other requests."""
        return self.slots.locked() or self.is_full

    async def wait_for_buffer(self) -> None:
        """Wait until the buffer can take another body."""
        while self.is_full:
            await self._change()

    def release(self, response: Response) -> None:
        """Its body is done with: others may come."""
        self._complete -= len(response.body)
        self._let_go(len(response.body))

    def _let_go(self, size: int) -> None:
        self._buffered -= size
        self._freed.set()

    async def _wait_for_room(self, time: asyncio.Timeout) -> None:
        """While the buffer is full, one request at a time reads on, and only while few complete
        bodies wait for a decoder.

        That we do not read is no fault of the host: its time stands still.
        """
        if self._has_room(time):
            return
        ends, began = time.when(), asyncio.get_running_loop().time()
        time.reschedule(None)
        while not self._has_room(time):
            await self._change()
        if ends is not None:
            time.reschedule(ends + asyncio.get_running_loop().time() - began)

    def _has_room(self, time: asyncio.Timeout) -> bool:
        if self._buffered <= BUFFERED:
            return True
        if self._complete > BUFFERED // 4:
            return False
        self._reads_on = self._reads_on or time
        return self._reads_on is time

    async def _change(self) -> None:
        self._freed.clear()
        await self._freed.wait()


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
