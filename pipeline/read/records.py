"""Records: a part of the crawl as the records that extract works on, each exactly once.

In:      a Part; only its bytes are read (and a zstd dictionary at the file's start).
Out:     one Record for every record of every type, in file order. Only response and resource
         records bring a body; request, metadata, warcinfo, revisit are there to be counted.
Refused: nothing is left out: what cannot be used is a Record with its `problem`, and a damaged
         member is one of type "damaged", known by its offset. Where our own code raises, that too
         is a Record's problem: UNREADABLE_RECORD. A failing network or disk raises.
See it:  pytest tests/read -k counts    (every WARC and ARC of the shared data, counted)

fastwarc parses headers and warcio ARC lines. Where a record ends, members.py alone decides, since
fastwarc gives a short body without a word and knows no offset inside a member.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import BinaryIO, Final
from urllib.parse import urlsplit

from warcio.recordloader import ArcWarcRecordLoader

from pipeline.problem import Problem, fault_of
from pipeline.read.codec import ByteWindow, as_arc_1
from pipeline.read.members import Member, MemberReader, codec_of, members, unpack
from pipeline.read.parts import Part, near_ranges
from pipeline.read.payload import (
    Headers,
    Http,
    decode,
    header,
    media_type,
    parse_headers,
    parse_http,
)
from pipeline.read.plain_records import split_header
from pipeline.store.raw import open_raw
from schemas.verdict import Reason

DAMAGED: Final = "damaged"  # the type of what cannot be read at all
LONGEST_URL: Final = 8_192  # characters; servers refuse such request lines (RFC 9110, 4.1: 8,000)
_PAYLOADS: Final = frozenset({"response", "resource"})
_ANSWERS: Final = frozenset({"response", "revisit"})  # that hold HTTP headers
_WARC_DATE: Final = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,]\d*)?)?)?)?)?"
    r"(Z|[+-]\d\d:?\d\d)?",
    re.IGNORECASE,
)
_ARC_DATE: Final = re.compile(r"(\d{4})(\d\d)?+(\d\d)?+(\d\d)?+(\d\d)?+(\d\d)?+\d*+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What the reader keeps in memory or on disk at a time."""

    record_bytes: int = 64 << 20  # a record, and a compressed member that is kept in memory
    body_bytes: int = 64 << 20  # an HTTP body after decoding
    unpacked_bytes: int = 16 << 30  # a member of many records, unpacked to a temporary file


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One record. `offset` and `length` are its member's, `place` its ordinal within the member.

    `headers` are HTTP's, names in lower case; a revisit has them too. `body` is decoded; it is
    empty, and has no digest, where there is a problem. A response that is not 200 has no problem
    for its body's sake.
    """

    offset: int
    length: int
    place: int = 0
    type: str
    url: str = ""
    date: str = ""  # ISO 8601 in UTC, to the second; "" where it cannot be read
    record_id: str = ""
    status: int | None = None
    headers: Headers = ()
    media_type: str = ""
    body: bytes = b""
    payload_sha256: bytes = b""
    problem: Problem | None = None
    resumed: bool = False  # behind it reading went on at a member that was searched (members.py)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Header:
    """A record's own header, and its block, which nobody has looked at yet."""

    type: str
    url: str
    date: str
    record_id: str
    media_type: str
    length: int  # of the block, as declared
    truncated: bool  # by the crawler, as declared
    block: bytes


def read_part(part: Part, *, limits: Limits) -> Iterator[Record]:
    """The records of a part, in the order of the file."""
    with open_raw(part.input, until=part.end) as stream:
        records = (
            record
            for member in _members_of(part, stream, limits)
            for record in records_of(member, stream, kind=part.kind, limits=limits)
        )
        yield from itertools.islice(records, part.limit)


def _members_of(part: Part, stream: BinaryIO, limits: Limits) -> Iterator[Member]:
    limit = limits.record_bytes
    if not part.ranges:
        yield from members(
            stream, start=part.start, end=part.end, keep=True, max_bytes=limit, kind=part.kind
        )
        return
    for near in near_ranges(part.ranges):
        window = ByteWindow(stream, end=near[-1][1], exact=True)
        codec = codec_of(window, near[0][0], kind=part.kind)
        reader = MemberReader(window, codec, keep=True, max_bytes=limit)
        for start, end in near:
            walk = reader.read(start, end)
            if (first := next(walk, None)) is None:  # behind the file's end, or in its padding
                gone = Problem(reason=Reason.DAMAGED_RECORD)
                first = Member(offset=start, length=end - start, damage=gone, sound=False)
            yield first
            yield from walk


def records_of(
    member: Member, stream: BinaryIO, *, limits: Limits, kind: str = ""
) -> Iterator[Record]:
    """The records that a member holds; `stream` is where it can be read again if it is large."""
    if member.damage is not None and member.damage.reason is Reason.RECORD_TOO_LARGE:
        yield from _large(member, stream, kind=kind, limits=limits)
    elif member.damage is not None or member.data is None:
        yield _unreadable(member, 0, member)
    else:
        inner = io.BytesIO(member.data)
        yield from _inner(member, inner, size=len(member.data), limits=limits)


def _large(member: Member, stream: BinaryIO, *, kind: str, limits: Limits) -> Iterator[Record]:
    """A member over the limit may be a whole file in one piece: unpack it aside, then read it."""
    with tempfile.TemporaryFile() as aside:
        size = unpack(stream, member, aside, kind=kind, max_bytes=limits.unpacked_bytes)
        if isinstance(size, int):
            yield from _inner(member, aside, size=size, limits=limits)
        else:
            yield _unreadable(member, 0, replace(member, damage=size or member.damage))


def _inner(member: Member, plain: BinaryIO, *, size: int, limits: Limits) -> Iterator[Record]:
    limit = limits.record_bytes
    spans = members(plain, end=size, keep=True, max_bytes=limit, kind="plain", exact=True)
    for place, span in enumerate(spans):
        if place == 0 and member.resumed:
            span = replace(span, resumed=True)  # noqa: PLW2901
        if span.damage is not None or span.data is None:
            yield _unreadable(member, place, span)
        else:
            yield _record(member, place, span, limits)


def _unreadable(member: Member, place: int, span: Member) -> Record:
    """A record known by its offset; where its header can be read, by its type and URL too."""
    header = None if span.data is None else _header(span.data)
    if isinstance(header, Problem):
        span, header = replace(span, damage=header), None
    problem = span.damage or Problem(reason=Reason.DAMAGED_RECORD)
    return replace(_named(member, place, header), problem=problem, resumed=span.resumed)


def _record(member: Member, place: int, span: Member, limits: Limits) -> Record:
    assert span.data is not None
    header = _header(span.data)
    if isinstance(header, Problem):
        return _unreadable(member, place, replace(span, data=None, damage=header))
    record = _named(member, place, header)
    record = replace(record, media_type=header.media_type, resumed=span.resumed)
    try:
        return _filled(record, header, limits)
    except BaseException as error:  # noqa: BLE001  # a Fault, or raised again
        return given_up(record, fault_of(error))


def _named(member: Member, place: int, header: _Header | None) -> Record:
    """A record as its own header has it, before its block is looked at."""
    return Record(
        offset=member.offset,
        length=member.length,
        place=place,
        type=DAMAGED if header is None else header.type,
        url="" if header is None else header.url,
        date="" if header is None else header.date,
        record_id="" if header is None else header.record_id,
    )


def given_up(record: Record, problem: Problem) -> Record:
    """A record at which our code raised. One of a type that is only counted otherwise becomes
    `damaged`, so that it is a loss."""
    type_ = record.type if record.type in _PAYLOADS else DAMAGED
    return replace(record, type=type_, problem=problem)


def _header(data: bytes) -> _Header | Problem:
    try:
        head, block, length = split_header(data)
        parse = _warc_header if head.startswith(b"WARC/") else _arc_header
        return parse(head, block[:length], length)
    except BaseException as error:  # noqa: BLE001  # a Fault, or raised again
        return fault_of(error)


def _warc_header(head: bytes, block: bytes, length: int) -> _Header | Problem:
    fields = parse_headers(head, too_long=Reason.DAMAGED_RECORD)
    if isinstance(fields, Problem):
        return fields
    return _Header(
        type=header(fields, "warc-type").lower(),
        url=_target(header(fields, "warc-target-uri")),
        date=warc_date(header(fields, "warc-date")),
        record_id=header(fields, "warc-record-id").strip("<>"),
        media_type=media_type(header(fields, "content-type")),
        length=length,
        truncated=bool(header(fields, "warc-truncated")),
        block=block,
    )


def _arc_header(head: bytes, block: bytes, length: int) -> _Header:
    loader = ArcWarcRecordLoader(arc2warc=False)
    head = as_arc_1(head)
    line = io.BytesIO(head + b"\n\n" if head.startswith(b"filedesc:") else head)
    fields = loader.parse_record_stream(line, known_format="arc", no_record_parse=True).rec_headers
    url = fields.get_header("uri")
    holds_http = block.startswith(b"HTTP/")
    kind = "warcinfo" if url.startswith("filedesc:") else "resource"
    return _Header(
        type="response" if holds_http else kind,
        url=_target(url),
        date=arc_date(fields.get_header("archive-date")),
        record_id="",
        media_type=media_type(fields.get_header("content-type")),
        length=length,
        truncated=False,
        block=block,
    )


def _filled(record: Record, header: _Header, limits: Limits) -> Record:
    """The record with its body, or with what is wrong with it."""
    http = parse_http(header.block) if record.type in _ANSWERS else None
    headers = http.headers if isinstance(http, Http) else ()
    record = replace(record, headers=headers, problem=_problem(header))
    if record.problem is not None or record.type not in _PAYLOADS:
        return record
    if record.type == "resource":
        record = replace(record, body=header.block)
    elif isinstance(http, Http):
        record = _answered(record, http, limits)
    else:
        return replace(record, media_type="", problem=http or Problem(reason=Reason.BAD_HTTP))
    if record.problem is None and not record.body and record.status in {None, 200}:
        record = replace(record, problem=Problem(reason=Reason.EMPTY_PAYLOAD))
    if record.problem is not None:
        return record
    return replace(record, payload_sha256=hashlib.sha256(record.body).digest())


def _answered(record: Record, http: Http, limits: Limits) -> Record:
    """A response with its decoded body. A status other than 200 is reason enough for a drop, so
    what is wrong with the body does not matter then."""
    body, problem = decode(http, limit=limits.body_bytes)
    return replace(
        record,
        status=http.status,
        media_type=media_type(header(http.headers, "content-type")),
        body=body,
        problem=problem if http.status == 200 else None,
    )


def _problem(header: _Header) -> Problem | None:
    """What is wrong with a record before its block is looked at."""
    present = len(header.block)
    if present < header.length:
        return Problem(reason=Reason.TRUNCATED_PAYLOAD, value=present, limit=header.length)
    if header.type not in _PAYLOADS:
        return None
    if len(header.url) > LONGEST_URL:
        return Problem(reason=Reason.BAD_URL, value=len(header.url), limit=LONGEST_URL)
    if not _is_http_url(header.url):
        return Problem(reason=Reason.BAD_URL)
    if header.truncated:
        return Problem(reason=Reason.TRUNCATED_PAYLOAD, value=present)
    return None


def _target(stored: str) -> str:
    """A target URI as others will ask for it: without wget's brackets, spaces escaped."""
    url = "".join(stored.split("\t")).strip()
    if url.startswith("<") and url.endswith(">"):
        url = url[1:-1]
    return url.replace(" ", "%20")


def _is_http_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.netloc)


def warc_date(stored: str) -> str:
    """W3C-DTF of any precision as ISO 8601 in UTC to the second, "" for what is no date."""
    match = _WARC_DATE.fullmatch(stored.strip())
    if match is None:
        return ""
    return _iso(match.groups()[:6], offset=match[7] or "Z")


def arc_date(stored: str) -> str:
    """The digits of an ARC line, in the same form."""
    match = _ARC_DATE.fullmatch(stored.strip())
    return "" if match is None else _iso(match.groups(), offset="Z")


def _iso(fields: tuple[str | None, ...], *, offset: str) -> str:
    year, month, day, hour, minute, second = (
        int(field or default) for field, default in zip(fields, "111000", strict=True)
    )
    try:
        date = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
        date -= _shift(offset)
    except (ValueError, OverflowError):
        return ""
    return date.strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")


def _shift(offset: str) -> timedelta:
    if offset in {"Z", "z"}:
        return timedelta()
    minutes = int(offset[1:3]) * 60 + int(offset[-2:])
    return timedelta(minutes=-minutes if offset[0] == "-" else minutes)
