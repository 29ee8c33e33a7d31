"""Tar: headers of an archive, one by one; each size is checked before anything is skipped by it.

In:      a seekable stream of a tar: ustar, GNU or pax, as tar, tarfile and webdataset write them.
Out:     its members in order, and where the bytes of each lie. Read are headers only, with long
         names and pax records, of which LONGEST bytes are held.
Refused: a block that is no header, a size that is no number, negative or beyond the end, records
         that are none, a file that is stored sparse (its bytes lie in pieces): BrokenTarError,
         telling the byte. The tar's name is the caller's to tell.

Why not tarfile: by a negative size it goes back and never ends (CVE-2025-8194, in CPython before
3.13.6), at a header that it cannot read it stops without a word, and it keeps every header.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

BLOCK: Final = 512  # bytes; a header is one, and a member is filled up to whole ones
LONGEST: Final = 1 << 20  # bytes of a long name or of pax records; paths and times need a few 100
OLD: Final = b"\0"  # type of a file before there were types; a folder's name ends with a slash
FILES: Final = (b"0", OLD, b"7")
WITHOUT: Final = (b"1", b"2", b"3", b"4", b"5", b"6")  # links, devices, folders, pipes: no bytes
SPARSE: Final = b"S"
LONG_NAME: Final = b"L"  # of the member that follows
LONG_LINK: Final = b"K"
PAX: Final = (b"x", b"X")  # records of the member that follows
PAX_GLOBAL: Final = b"g"  # records of all that follow
EXTENDED: Final = (LONG_NAME, LONG_LINK, PAX_GLOBAL, *PAX)
_RECORD: Final = re.compile(rb"([0-9]{1,7}) ([^=]+)=")


class BrokenTarError(ValueError):
    """What is wrong with a tar, and at which byte."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TarMember:
    name: str
    header: int  # where the header block before its bytes lies
    offset: int  # of its bytes
    size: int
    is_file: bool

    @property
    def end(self) -> int:
        """Where the next header begins."""
        return _next(self.offset, self.size)


def members(stream: BinaryIO, *, size: int | None = None) -> Iterator[TarMember]:
    """Members up to the first block of zeros, or the end of the stream.

    `size` is that of the stream; None where only reading to its end tells it (as of a gzip). The
    stream may be read elsewhere between two members.

    Raises:
        BrokenTarError: at the first header that cannot be followed.
    """
    at, long_name = 0, ""
    everywhere: dict[str, bytes] = {}
    own: dict[str, bytes] = {}
    while (block := _block(stream, at, size)).strip(b"\0"):
        name, length, kind = read_header(block, at)
        start = at + BLOCK
        if kind in EXTENDED:
            body = _body(stream, start, length)
            if kind == LONG_NAME:
                long_name = _text(body)
            elif kind == PAX_GLOBAL:
                everywhere |= _records(body, start)
            elif kind in PAX:
                own = _records(body, start)
            at = _next(start, length)
            continue
        pax = everywhere | own
        if kind == SPARSE or any(key.startswith("GNU.sparse") for key in pax):
            raise BrokenTarError(
                f"its member {name!r} at byte {at:,} is stored sparse: write the tar without "
                "--sparse"
            )
        if "size" in pax:
            length = _decimal(pax["size"], start)
        name = long_name or pax.get("path", b"").decode("utf-8", "surrogateescape") or name
        is_file = kind in FILES and not (kind == OLD and name.endswith("/"))
        if not is_file and kind in (OLD, *WITHOUT):
            length = 0
        if size is not None and start + length > size:
            raise BrokenTarError(
                f"its member {name!r} at byte {at:,} has {length:,} bytes, but the tar ends at "
                f"{size:,}"
            )
        yield TarMember(name=name, header=at, offset=start, size=length, is_file=is_file)
        at, long_name, own = _next(start, length), "", {}


def read_header(block: bytes, at: int) -> tuple[str, int, bytes]:
    """Name, size and type of the header block at byte `at`.

    Raises:
        BrokenTarError: for a block that is none.
    """
    if len(block) < BLOCK or not _is_summed(block, at):
        raise BrokenTarError(f"at byte {at:,} there is no header of a member")
    name, prefix, kind = _text(block[:100]), _text(block[345:500]), block[156:157]
    if prefix and kind not in (LONG_NAME, LONG_LINK, SPARSE):
        name = f"{prefix}/{name}"
    return name, _octal(block[124:136], at), kind


def _is_summed(block: bytes, at: int) -> bool:
    """Whether the checksum is that of the block, by bytes without a sign or with one."""
    rest = block[:148] + b" " * 8 + block[156:]
    missing = sum(rest) - _octal(block[148:156], at)
    return missing == 0 or missing == 256 * sum(byte > 127 for byte in rest)


def _octal(field: bytes, at: int) -> int:
    """A number of a header: octal digits, or by GNU bytes behind one that says so."""
    if field[0] == 0o200:
        return int.from_bytes(field[1:], "big")
    digits = field.partition(b"\0")[0].strip(b" ")
    if not re.fullmatch(rb"[0-7]*", digits):
        raise BrokenTarError(f"its header at byte {at:,} has a number that is none or negative")
    return int(digits or b"0", 8)


def _decimal(digits: bytes, at: int) -> int:
    if not re.fullmatch(rb"[0-9]{1,19}", digits):
        raise BrokenTarError(f"its records at byte {at:,} have a size that is none or negative")
    return int(digits)


def _records(body: bytes, at: int) -> dict[str, bytes]:
    """Lines of LENGTH KEY=VALUE, the length that of the whole line; a value may hold anything."""
    records, start = {}, 0
    while start < len(body) and body[start]:  # some writers fill them up with zeros
        declared = _RECORD.match(body, start)
        end = start + int(declared[1]) if declared else start
        if declared is None or end <= declared.end() or body[end - 1 : end] != b"\n":
            raise BrokenTarError(f"its records at byte {at + start:,} are none")
        records[declared[2].decode("utf-8", "surrogateescape")] = body[declared.end() : end - 1]
        start = end
    return records


def _block(stream: BinaryIO, at: int, size: int | None) -> bytes:
    """The block at a byte; less at the end of the stream."""
    if stream.seek(at) != at or (size is not None and at > size):  # a gzip goes to its end at most
        raise BrokenTarError(f"it ends before byte {at:,}, where its next header should be")
    return stream.read(BLOCK)


def _body(stream: BinaryIO, at: int, length: int) -> bytes:
    if length > LONGEST:
        raise BrokenTarError(
            f"its header at byte {at - BLOCK:,} tells of {length:,} bytes of names and attributes, "
            f"over the limit of {LONGEST:,}"
        )
    body = stream.read(length)
    if len(body) < length:
        raise BrokenTarError(f"it ends at byte {at + len(body):,}, within names and attributes")
    return body


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _next(start: int, length: int) -> int:
    """Where the block behind some bytes begins."""
    return start + -(-length // BLOCK) * BLOCK
