"""Records: a part of the crawl as the records that extract works on, each exactly once.

In:      a Part; only its bytes are read (and a zstd dictionary at the file's start).
Out:     one Record for every record of every type, in file order. Only response and resource
         records bring a body; request, metadata, warcinfo, revisit are there to be counted.
Refused: nothing is left out: what cannot be used is a Record with its `problem`, and a damaged
         member is one of type "damaged", known by its offset. Where our own code raises, that too
         is a Record's problem: UNREADABLE_RECORD. A failing network or disk raises.
See it:  pytest tests/read -k counts    (every WARC and ARC of the shared data, counted)

Headers are fastwarc's to parse and ARC lines warcio's; where a record ends is told by members.py
alone, since fastwarc gives a short body without a word and knows no offset inside a member.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO, Final
from urllib.parse import urlsplit

from warcio.recordloader import ArcWarcRecordLoader

from pipeline.problem import Problem, fault_of
from pipeline.read.capture_date import arc_date, warc_date
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
from pipeline.read.walk.codec import as_arc_1
from pipeline.read.walk.members import Member, codec_of, members, members_in, unpack
from pipeline.read.walk.plain_record import split_header
from pipeline.read.walk.window import Window
from pipeline.store.raw import open_raw
from schemas.verdict import Reason

DAMAGED: Final = "damaged"  # the type of what cannot be read at all
LONGEST_URL: Final = 8_192  # characters; servers refuse such request lines (RFC 9110, 4.1: 8,000)
_PAYLOADS: Final = frozenset({"response", "resource"})
_ANSWERS: Final = frozenset({"response", "revisit"})  # that hold HTTP headers


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What the reader holds in memory or on disk for one thing at a time."""

    record_bytes: int = 64 << 20  # one record, and one compressed member that is held
    body_bytes: int = 64 << 20  # one HTTP body after decoding
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


@dataclass(frozen=True, kw_only=True, slots=True)
class _Envelope:
    """What a record says of itself, before anyone looks at its block."""

    type: str
    url: str
    date: str
    record_id: str
    media_type: str
    told: int
    truncated: bool
    block: bytes


def read_part(part: Part, *, limits: Limits) -> Iterator[Record]:
    """The records of a part, in the order of the file."""
    with open_raw(part.input, until=part.end) as stream:
        found = (
            record
            for member in _members_of(part, stream, limits)
            for record in records_of(member, stream, kind=part.kind, limits=limits)
        )
        yield from itertools.islice(found, part.limit)


def _members_of(part: Part, stream: BinaryIO, limits: Limits) -> Iterator[Member]:
    limit = limits.record_bytes
    if not part.ranges:
        yield from members(
            stream, start=part.start, end=part.end, keep=True, max_bytes=limit, kind=part.kind
        )
        return
    for near in near_ranges(part.ranges):
        window = Window(stream, end=near[-1][1], exact=True)
        codec = codec_of(window, near[0][0], kind=part.kind)
        for start, end in near:
            found = members_in(window, codec, start=start, end=end, keep=True, max_bytes=limit)
            if (first := next(found, None)) is None:  # behind the file's end, or in its padding
                gone = Problem(reason=Reason.DAMAGED_RECORD)
                first = Member(offset=start, length=end - start, damage=gone, sound=False)
            yield first
            yield from found


def records_of(
    member: Member, stream: BinaryIO, *, limits: Limits, kind: str = ""
) -> Iterator[Record]:
    """The records that a member holds; `stream` is where it can be read again if it is large."""
    if member.damage is not None and member.damage.reason is Reason.RECORD_TOO_LARGE:
        yield from _large(member, stream, kind=kind, limits=limits)
    elif member.damage is not None or member.data is None:
        yield _unreadable(member, 0, member.damage, member.data)
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
            yield _unreadable(member, 0, size or member.damage)


def _inner(member: Member, plain: BinaryIO, *, size: int, limits: Limits) -> Iterator[Record]:
    limit = limits.record_bytes
    spans = members(plain, end=size, keep=True, max_bytes=limit, kind="plain", exact=True)
    for place, span in enumerate(spans):
        if span.damage is not None or span.data is None:
            yield _unreadable(member, place, span.damage, span.data)
        else:
            yield _record(member, place, span.data, limits)


def _unreadable(
    member: Member, place: int, problem: Problem | None, head: bytes | None = None
) -> Record:
    """A record known by its offset; where its header can be read, by its type and URL too."""
    said = None if head is None else _envelope(head)
    if isinstance(said, Problem):
        said, problem = None, said
    return Record(
        offset=member.offset,
        length=member.length,
        place=place,
        type=DAMAGED if said is None else said.type,
        url="" if said is None else said.url,
        date="" if said is None else said.date,
        record_id="" if said is None else said.record_id,
        problem=problem or Problem(reason=Reason.DAMAGED_RECORD),
    )


def _envelope(data: bytes) -> _Envelope | Problem:
    try:
        head, block, told = split_header(data)
        parse = _warc if head.startswith(b"WARC/") else _arc
        return parse(head, block[:told], told)
    except BaseException as error:  # noqa: BLE001  # told, or raised again
        return fault_of(error)


def _record(member: Member, place: int, data: bytes, limits: Limits) -> Record:
    said = _envelope(data)
    if isinstance(said, Problem):
        return _unreadable(member, place, said)
    record = Record(
        offset=member.offset,
        length=member.length,
        place=place,
        type=said.type,
        url=said.url,
        date=said.date,
        record_id=said.record_id,
        media_type=said.media_type,
    )
    try:
        return _filled(record, said, limits)
    except BaseException as error:  # noqa: BLE001  # told, or raised again
        return given_up(record, fault_of(error))


def given_up(record: Record, problem: Problem) -> Record:
    """A record at which our code raised; one that is only counted as a rule is a loss then."""
    type_ = record.type if record.type in _PAYLOADS else DAMAGED
    return replace(record, type=type_, problem=problem)


def _filled(record: Record, said: _Envelope, limits: Limits) -> Record:
    http = parse_http(said.block) if said.type in _ANSWERS else None
    headers = http.headers if isinstance(http, Http) else ()
    record = replace(record, headers=headers, problem=_problem(said))
    if record.problem is not None or record.type not in _PAYLOADS:
        return record
    if record.type == "response":
        return _response(record, http, limits)
    return _resource(record, said)


def _warc(head: bytes, block: bytes, told: int) -> _Envelope | Problem:
    fields = parse_headers(head, too_long=Reason.DAMAGED_RECORD)
    if isinstance(fields, Problem):
        return fields
    return _Envelope(
        type=header(fields, "warc-type").lower(),
        url=_target(header(fields, "warc-target-uri")),
        date=warc_date(header(fields, "warc-date")),
        record_id=header(fields, "warc-record-id").strip("<>"),
        media_type=media_type(header(fields, "content-type")),
        told=told,
        truncated=bool(header(fields, "warc-truncated")),
        block=block,
    )


def _arc(head: bytes, block: bytes, told: int) -> _Envelope:
    loader = ArcWarcRecordLoader(arc2warc=False)
    head = as_arc_1(head)
    line = io.BytesIO(head + b"\n\n" if head.startswith(b"filedesc:") else head)
    fields = loader.parse_record_stream(line, known_format="arc", no_record_parse=True).rec_headers
    url = fields.get_header("uri")
    holds_http = block.startswith(b"HTTP/")
    kind = "warcinfo" if url.startswith("filedesc:") else "resource"
    return _Envelope(
        type="response" if holds_http else kind,
        url=_target(url),
        date=arc_date(fields.get_header("archive-date")),
        record_id="",
        media_type=media_type(fields.get_header("content-type")),
        told=told,
        truncated=False,
        block=block,
    )


def _problem(said: _Envelope) -> Problem | None:
    """What is wrong with a record before its block is looked at."""
    present = len(said.block)
    if present < said.told:
        return Problem(reason=Reason.TRUNCATED_PAYLOAD, value=present, limit=said.told)
    if said.type not in _PAYLOADS:
        return None
    if len(said.url) > LONGEST_URL:
        return Problem(reason=Reason.BAD_URL, value=len(said.url), limit=LONGEST_URL)
    if not _is_http_url(said.url):
        return Problem(reason=Reason.BAD_URL)
    if said.truncated:
        return Problem(reason=Reason.TRUNCATED_PAYLOAD, value=present)
    return None


def _response(record: Record, http: Http | Problem | None, limits: Limits) -> Record:
    if not isinstance(http, Http):
        return _with(record, media_type="", problem=http or Problem(reason=Reason.BAD_HTTP))
    body, problem = decode(http, limit=limits.body_bytes)
    if http.status != 200:
        problem = None
    elif problem is None and not body:
        problem = Problem(reason=Reason.EMPTY_PAYLOAD)
    return _with(
        record,
        status=http.status,
        headers=http.headers,
        media_type=media_type(header(http.headers, "content-type")),
        body=body,
        problem=problem,
    )


def _resource(record: Record, said: _Envelope) -> Record:
    problem = None if said.block else Problem(reason=Reason.EMPTY_PAYLOAD)
    return _with(record, body=said.block, media_type=said.media_type, problem=problem)


def _with(
    record: Record,
    *,
    media_type: str,
    problem: Problem | None,
    status: int | None = None,
    headers: Headers = (),
    body: bytes = b"",
) -> Record:
    return Record(
        offset=record.offset,
        length=record.length,
        place=record.place,
        type=record.type,
        url=record.url,
        date=record.date,
        record_id=record.record_id,
        status=status,
        headers=headers,
        media_type=media_type,
        body=body,
        payload_sha256=hashlib.sha256(body).digest() if problem is None else b"",
        problem=problem,
    )


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
