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
from pipeline.read.codec import DAMAGE, ByteWindow, as_arc_1
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
class _Stored:
    """A record as its own header has it, and its block, which nobody has looked at yet."""

    record: Record
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
    kind, limit = part.kind, limits.record_bytes
    if not part.ranges:
        yield from members(stream, part.start, part.end, keep=True, max_bytes=limit, kind=kind)
    for near in near_ranges(part.ranges):
        window = ByteWindow(stream, end=near[-1][1], exact=True)
        codec = codec_of(window, near[0][0], kind=kind)
        reader = MemberReader(window, codec, keep=True, max_bytes=limit)
        for start, end in near:
            walk = reader.read(start, end)
            if (first := next(walk, None)) is None:  # behind the file's end, or in its padding
                first = Member(offset=start, length=end - start, damage=DAMAGE, sound=False)
            yield first
            yield from walk


def records_of(
    member: Member, stream: BinaryIO, *, limits: Limits, kind: str = ""
) -> Iterator[Record]:
    """The records that a member holds; `stream` is where it can be read again if it is large."""
    if member.damage is not None and member.damage.reason is Reason.RECORD_TOO_LARGE:
        # it may be a whole file in one piece: unpack it aside, then read it
        with tempfile.TemporaryFile() as aside:
            size = unpack(stream, member, aside, kind=kind, max_bytes=limits.unpacked_bytes)
            if isinstance(size, int):
                yield from _inner(member, aside, size=size, limits=limits)
            else:
                yield _record(member, replace(member, damage=size or member.damage), limits)
    elif member.damage is not None or member.data is None:
        yield _record(member, member, limits)
    else:
        inner = io.BytesIO(member.data)
        yield from _inner(member, inner, size=len(member.data), limits=limits)


def _inner(member: Member, plain: BinaryIO, *, size: int, limits: Limits) -> Iterator[Record]:
    limit = limits.record_bytes
    spans = members(plain, end=size, keep=True, max_bytes=limit, kind="plain", exact=True)
    for place, span in enumerate(spans):
        resumed = span.resumed or (member.resumed and place == 0)
        yield _record(member, replace(span, resumed=resumed), limits, place=place)


def _record(member: Member, span: Member, limits: Limits, *, place: int = 0) -> Record:
    """The record in a span of a member's plain bytes; where its header cannot be read it is known
    by its offset alone."""
    record = Record(
        offset=member.offset,
        length=member.length,
        place=place,
        type=DAMAGED,
        resumed=span.resumed,
        problem=span.damage or DAMAGE,
    )
    if span.data is None:
        return record
    try:
        stored = _stored(record, span.data)
        if isinstance(stored, Problem):
            return replace(record, problem=stored)
        if span.damage is not None:
            return replace(stored.record, media_type="")
        record = replace(stored.record, problem=None)
        return _filled(record, stored, limits)
    except BaseException as error:  # noqa: BLE001  # a Fault, or raised again
        return given_up(record, fault_of(error))


def given_up(record: Record, problem: Problem) -> Record:
    """A record at which our code raised. One of a type that is only counted otherwise becomes
    `damaged`, so that it is a loss."""
    type_ = record.type if record.type in _PAYLOADS else DAMAGED
    return replace(record, type=type_, problem=problem)


def _stored(record: Record, data: bytes) -> _Stored | Problem:
    head, block, length = split_header(data)
    parse = _of_warc if head.startswith(b"WARC/") else _of_arc
    return parse(record, head, block[:length], length)


def _of_warc(record: Record, head: bytes, block: bytes, length: int) -> _Stored | Problem:
    fields = parse_headers(head, too_long=Reason.DAMAGED_RECORD)
    if isinstance(fields, Problem):
        return fields
    record = replace(
        record,
        type=header(fields, "warc-type").lower(),
        url=_target(header(fields, "warc-target-uri")),
        date=warc_date(header(fields, "warc-date")),
        record_id=header(fields, "warc-record-id").strip("<>"),
        media_type=media_type(header(fields, "content-type")),
    )
    truncated = bool(header(fields, "warc-truncated"))
    return _Stored(record=record, length=length, truncated=truncated, block=block)


def _of_arc(record: Record, head: bytes, block: bytes, length: int) -> _Stored:
    loader = ArcWarcRecordLoader(arc2warc=False)
    head = as_arc_1(head)
    line = io.BytesIO(head + b"\n\n" if head.startswith(b"filedesc:") else head)
    fields = loader.parse_record_stream(line, known_format="arc", no_record_parse=True).rec_headers
    url = fields.get_header("uri")
    holds_http = block.startswith(b"HTTP/")
    kind = "warcinfo" if url.startswith("filedesc:") else "resource"
    record = replace(
        record,
        type="response" if holds_http else kind,
        url=_target(url),
        date=arc_date(fields.get_header("archive-date")),
        media_type=media_type(fields.get_header("content-type")),
    )
    return _Stored(record=record, length=length, truncated=False, block=block)


def _filled(record: Record, stored: _Stored, limits: Limits) -> Record:
    """The record with its body, or with what is wrong with it."""
    http = parse_http(stored.block) if record.type in _ANSWERS else None
    headers = http.headers if isinstance(http, Http) else ()
    record = replace(record, headers=headers, problem=_problem(stored))
    if record.problem is not None or record.type not in _PAYLOADS:
        return record
    if record.type == "resource":
        record = replace(record, body=stored.block)
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


def _problem(stored: _Stored) -> Problem | None:
    """What is wrong with a record before its block is looked at."""
    record, present = stored.record, len(stored.block)
    if present < stored.length:
        return Problem(reason=Reason.TRUNCATED_PAYLOAD, value=present, limit=stored.length)
    if record.type not in _PAYLOADS:
        return None
    if len(record.url) > LONGEST_URL:
        return Problem(reason=Reason.BAD_URL, value=len(record.url), limit=LONGEST_URL)
    if not _is_http_url(record.url):
        return Problem(reason=Reason.BAD_URL)
    if stored.truncated:
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
