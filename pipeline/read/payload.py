"""Payload: the body of an HTTP response as the server meant it.

In:      the block of a record: status line, headers, body as it went over the wire.
Out:     status, headers, and the body without chunks and compression.
Refused: no readable status line, more headers than the limit: BAD_HTTP; chunks or compression
         that break, a million chunks, more than 5 codings: BAD_ENCODING; more than the limit after
         decoding: RECORD_TOO_LARGE (a bomb never gets memory).
Kept:    as it is, a body declared chunked or compressed that plainly is not (crawlers undo both
         and leave the header), or with a content coding that nobody registered.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import brotli  # type: ignore[import-untyped]
import zstandard
from fastwarc.warc import HeaderMap

from pipeline.problem import Problem
from schemas.verdict import Reason

_EMPTY_LINE: Final = re.compile(rb"\r?\n\r?\n")
_STATUS: Final = re.compile(rb"HTTP/\d(?:\.\d+)?[ \t]+(\d{3})(?![0-9])", re.IGNORECASE)
_CHUNK: Final = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\r?\n")
_PLAIN: Final = re.compile(  # markup and images: br and deflate have no magic that tells them apart
    rb"(?:\xef\xbb\xbf)?\s*<[!?/a-zA-Z]|\xff\xd8\xff|\x89PNG\r|GIF8|RIFF....WEBP", re.DOTALL
)
HEADER_BYTES: Final = 32 << 10  # of a header, its lines ended by two bytes: fastwarc takes no more
_HEADERS: Final = 256 << 10  # bytes in which the end of HTTP headers is looked for
_FED: Final = 256  # zstd turns 4 bytes into 128 KiB, so it is fed in sips
_GZIP_FED: Final = 4096  # zlib copies what it is fed behind a member; there may be a million
_PIECE: Final = 1 << 20
CODINGS: Final = 5  # inside each other; curl and urllib3 undo as many
_CHUNKS: Final = 1 << 20  # of a body; they take a second

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Http:
    status: int
    headers: Headers
    body: bytes  # as stored


def parse_http(block: bytes) -> Http | Problem | None:
    """An HTTP response, None where it has no status line, a Problem where its headers are long."""
    status = _STATUS.match(block)
    if status is None:
        return None
    blank = _EMPTY_LINE.search(block, 0, _HEADERS)
    head = block[:_HEADERS] if blank is None else block[: blank.start()]
    body = b"" if blank is None else block[blank.end() :]
    headers = parse_headers(head, too_long=Reason.BAD_HTTP)
    if isinstance(headers, Problem):
        return headers
    return Http(status=int(status[1]), headers=headers, body=body)


def parse_headers(block: bytes, *, too_long: Reason) -> Headers | Problem:
    """Header lines behind a first line, as (lower-case name, value), UTF-8 or else Latin-1."""
    lines = block.rstrip(b"\r\n").replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") + b"\r\n\r\n"
    if len(lines) > HEADER_BYTES:
        return Problem(reason=too_long, value=len(lines), limit=HEADER_BYTES)
    try:
        block.decode("utf-8")
        parsed = HeaderMap("utf-8")
    except UnicodeDecodeError:
        parsed = HeaderMap("latin1")
    parsed.parse(io.BytesIO(lines))
    return tuple((name.strip().lower(), value.strip()) for name, value in parsed.to_tuples())


def header(headers: Headers, name: str) -> str:
    """The first value of a header, "" where there is none."""
    return next((value for key, value in headers if key == name), "")


def media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def decode(http: Http, *, limit: int) -> tuple[bytes, Problem | None]:
    """The body without transfer and content coding, or why there is none."""
    transfer = _listed(http.headers, "transfer-encoding")
    body = dechunk(http.body) if "chunked" in transfer else http.body
    if body is None:
        return b"", Problem(reason=Reason.BAD_ENCODING)
    codings = [*_listed(http.headers, "content-encoding"), *transfer]
    decoders = [_DECODERS[coding] for coding in reversed(codings) if coding in _DECODERS]
    if len(decoders) > CODINGS:
        return b"", Problem(reason=Reason.BAD_ENCODING, value=len(decoders), limit=CODINGS)
    for decoder in decoders:
        if not body:
            break
        try:
            body = _bounded(decoder(body), limit)
        except (zlib.error, zstandard.ZstdError, brotli.error, EOFError):
            if not _PLAIN.match(body):
                return b"", Problem(reason=Reason.BAD_ENCODING)
        if len(body) > limit:
            break
    if len(body) > limit:
        return b"", Problem(reason=Reason.RECORD_TOO_LARGE, value=len(body), limit=limit)
    return body, None


def _listed(headers: Headers, name: str) -> list[str]:
    """The values of a header that may hold several, on one line or on more."""
    values = ",".join(value for key, value in headers if key == name)
    return [value.strip() for value in values.lower().split(",")]


def dechunk(body: bytes) -> bytes | None:
    """The data of all chunks; the body itself if it does not begin like a chunk; None where chunks
    break or are too many."""
    line = _CHUNK.match(body)
    if line is None:
        return body
    data, at = bytearray(), 0
    for _ in range(_CHUNKS):
        if line is None:  # only the last, empty chunk may be missing
            return bytes(data) if at >= len(body) else None
        size = int(line[1], 16)
        at = line.end() + size
        if not size:
            return bytes(data)
        if at > len(body):
            return None
        data += body[line.end() : at]
        if body.startswith(b"\r\n", at):
            at += 2
        elif body.startswith(b"\n", at):
            at += 1
        line = _CHUNK.match(body, at)
    return None


def _bounded(pieces: Iterator[bytes], limit: int) -> bytes:
    """All pieces joined, or the first of them until the limit is passed."""
    kept, size = [], 0
    for piece in pieces:
        kept.append(piece)
        size += len(piece)
        if size > limit:
            break
    return b"".join(kept)


def _gunzip(body: bytes) -> Iterator[bytes]:
    """gzip members in a row; what is behind them is ignored, as browsers do."""
    if not body.startswith(b"\x1f\x8b"):
        yield body
        return
    at = 0
    while body.startswith(b"\x1f\x8b", at):
        engine = zlib.decompressobj(16 + zlib.MAX_WBITS)
        while not engine.eof:
            fed = body[at : at + _GZIP_FED]
            at += len(fed)
            yield from inflated(engine, fed)
            if not (fed or engine.eof):
                raise EOFError("compressed body ends early")
        at -= len(engine.unused_data)


def _deflated(body: bytes) -> Iterator[bytes]:
    """deflate is zlib by the standard and raw by habit; the first two bytes decide."""
    zlib_header = len(body) > 1 and body[0] & 15 == 8 and (body[0] << 8 | body[1]) % 31 == 0
    bits = zlib.MAX_WBITS if zlib_header else -zlib.MAX_WBITS
    engine = zlib.decompressobj(bits)
    yield from inflated(engine, body)
    if not engine.eof:
        raise EOFError("compressed body ends early")


def inflated(engine: zlib._Decompress, fed: bytes) -> Iterator[bytes]:
    """What an engine makes of the bytes that it is fed, in pieces."""
    more = True
    while more:
        piece = engine.decompress(fed, _PIECE)
        fed = engine.unconsumed_tail
        more = not engine.eof and (fed != b"" or len(piece) == _PIECE)
        yield piece


def _unbrotlied(body: bytes) -> Iterator[bytes]:
    engine = brotli.Decompressor()
    yield engine.process(body, output_buffer_limit=_PIECE)
    while not engine.is_finished():
        piece = engine.process(b"", output_buffer_limit=_PIECE)
        if not piece and engine.can_accept_more_data():
            raise EOFError("compressed body ends early")
        yield piece


def _unzstded(body: bytes) -> Iterator[bytes]:
    if not body.startswith(b"\x28\xb5\x2f\xfd"):
        yield body
        return
    engine = zstandard.ZstdDecompressor(max_window_size=8 << 20).decompressobj()
    for at in range(0, len(body), _FED):
        yield engine.decompress(body[at : at + _FED])
        if engine.eof:
            return
    raise EOFError("compressed body ends early")


_DECODERS: Final[dict[str, Callable[[bytes], Iterator[bytes]]]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _deflated,
    "br": _unbrotlied,
    "zstd": _unzstded,
}
