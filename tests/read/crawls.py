"""Small crawls made for tests: plain records, and the ways to store them in a file."""

from __future__ import annotations

import gzip
import io
import random
import struct
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import zstandard

from pipeline.read.parts import Part, whole
from pipeline.read.records import Limits, Record, read_part

LIMITS = Limits(record_bytes=4 << 20, body_bytes=1 << 20, unpacked_bytes=64 << 20)


def http(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", "Content-Type: text/html; charset=utf-8", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def warc(
    block: bytes,
    *headers: str,
    url: str = "http://example.com/",
    kind: str = "response",
    date: str = "2020-01-02T03:04:05Z",
    told: int | None = None,
) -> bytes:
    lines = [
        "WARC/1.0",
        f"WARC-Type: {kind}",
        f"WARC-Target-URI: {url}",
        f"WARC-Date: {date}",
        "WARC-Record-ID: <urn:uuid:00000000-0000-0000-0000-000000000000>",
        "Content-Type: application/http; msgtype=response",
        *headers,
        f"Content-Length: {len(block) if told is None else told}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + block + b"\r\n\r\n"


def page(number: int, *, size: int = 400, seed: int = 0) -> bytes:
    """A response record: half words, half bytes that no compression shortens."""
    chance = random.Random(f"{seed}/{number}")
    words = " ".join(chance.choice(("crawl", "image", "text", "page")) for _ in range(size // 10))
    body = f"<html>{number} {words}".encode() + chance.randbytes(size // 2)
    return warc(http(body), url=f"http://example.com/{number}")


def pages(count: int, *, size: int = 400, seed: int = 0) -> list[bytes]:
    return [page(number, size=size, seed=seed) for number in range(count)]


def gzipped(records: Iterable[bytes], *, a_member: int = 1, level: int = 6) -> bytes:
    """gzip members of `a_member` records each."""
    return b"".join(gzip.compress(run, level, mtime=0) for run in _runs(records, a_member))


def stored(plain: bytes) -> bytes:
    """One gzip member of stored blocks: the plain bytes stand in it as they are."""
    return gzip.compress(plain, 0, mtime=0)


def zstd(
    records: Sequence[bytes], *, a_frame: int = 1, dictionary: bytes = b"", squeezed: bool = False
) -> bytes:
    """zstd frames with checksums, behind a frame with the dictionary if there is one."""
    shared = zstandard.ZstdCompressionDict(dictionary) if dictionary else None
    engine = zstandard.ZstdCompressor(dict_data=shared, write_checksum=True)
    frames = b"".join(engine.compress(run) for run in _runs(records, a_frame))
    if not dictionary:
        return frames
    kept = zstandard.ZstdCompressor().compress(dictionary) if squeezed else dictionary
    return struct.pack("<II", 0x184D2A5D, len(kept)) + kept + frames


def dictionary(records: Sequence[bytes]) -> bytes:
    trained: bytes = zstandard.train_dictionary(4096, list(records)).as_bytes()
    return trained


def arc(url: str, block: bytes, *, told: int | str | None = None) -> bytes:
    length = len(block) if told is None else told
    return f"{url} 127.0.0.1 20200102030405 text/html {length}\n".encode() + block + b"\n"


def planted(number: int) -> bytes:
    """A gzip member that opens like a record and breaks behind what a trial looks at."""
    head = b"WARC/1.0\r\nWARC-Type: response\r\n" + bytes(600)
    block = b"\x00" + struct.pack("<HH", len(head), len(head) ^ 0xFFFF) + head
    return b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + block + b"\x07" + (1000 + number).to_bytes(4, "little")


def starts(crawl: bytes) -> list[int]:
    """Where the gzip members of an undamaged crawl start, and where it ends."""
    found, rest = [0], crawl
    while rest:
        engine = zlib.decompressobj(31)
        engine.decompress(rest)
        rest = engine.unused_data
        found.append(len(crawl) - len(rest))
    return found


def read(path: Path, parts: Iterable[Part] | None = None, limits: Limits = LIMITS) -> list[Record]:
    chosen = [whole(str(path), 0)] if parts is None else list(parts)
    return [record for part in chosen for record in read_part(part, limits=limits)]


def urls(records: Iterable[Record]) -> list[str]:
    """The addresses of what was read whole."""
    return [record.url for record in records if record.problem is None]


def _runs(records: Iterable[bytes], size: int) -> Iterable[bytes]:
    stream = list(records)
    for at in range(0, len(stream), size):
        yield io.BytesIO(b"".join(stream[at : at + size])).getvalue()
