"""Payloads: what a server meant, whatever chunks and codings lie around it."""

from __future__ import annotations

import gzip
import random
import time
import tracemalloc
import zlib
from collections.abc import Callable

import brotli  # type: ignore[import-untyped]
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pipeline.problem import Problem
from pipeline.read.payload import CODINGS, HEADER_BYTES, Http, dechunk, decode, parse_http
from schemas.verdict import Reason

LIMIT = 1 << 20
PAGE = b"<html>" + b"word " * 2000
CODED = {
    "gzip": gzip.compress(PAGE),
    "x-gzip": gzip.compress(PAGE),
    "deflate": zlib.compress(PAGE),
    "br": brotli.compress(PAGE),
    "zstd": zstandard.compress(PAGE),
}


def chunked(body: bytes, size: int = 700) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x;q=1\r\n%b\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"


def response(body: bytes, coding: str = "", transfer: str = "") -> Http:
    headers = [("content-encoding", coding)] if coding else []
    if transfer:
        headers.append(("transfer-encoding", transfer))
    return Http(status=200, headers=tuple(headers), body=body)


@pytest.mark.parametrize("coding", CODED)
def test_a_coded_body_is_decoded(coding: str) -> None:
    assert decode(response(CODED[coding], coding), limit=LIMIT) == (PAGE, None)
    assert decode(response(chunked(CODED[coding]), coding, "Chunked"), limit=LIMIT) == (PAGE, None)


@pytest.mark.parametrize("coding", CODED)
def test_a_coding_may_be_of_the_transfer_alone(coding: str) -> None:
    assert decode(response(CODED[coding], "", coding), limit=LIMIT) == (PAGE, None)
    both = response(chunked(CODED[coding]), "", f"{coding}, chunked")
    assert decode(both, limit=LIMIT) == (PAGE, None)


def test_deflate_without_its_zlib_header_is_decoded_too() -> None:
    engine = zlib.compressobj(wbits=-15)
    raw = engine.compress(PAGE) + engine.flush()

    assert decode(response(raw, "deflate"), limit=LIMIT) == (PAGE, None)


def test_codings_are_undone_last_first() -> None:
    twice = brotli.compress(CODED["gzip"])

    assert decode(response(twice, "gzip, br"), limit=LIMIT) == (PAGE, None)
    in_two_lines = (("content-encoding", "gzip"), ("content-encoding", "br"))
    assert decode(Http(status=200, headers=in_two_lines, body=twice), limit=LIMIT) == (PAGE, None)


def test_more_codings_in_each_other_than_the_limit_are_bad_encoding() -> None:
    body = PAGE
    for _ in range(CODINGS):
        body = zlib.compress(body)
    assert decode(response(body, ", ".join(["deflate"] * CODINGS)), limit=LIMIT) == (PAGE, None)

    problem = decode(response(zlib.compress(body), ",".join(["deflate"] * 6)), limit=LIMIT)[1]
    assert problem == Problem(reason=Reason.BAD_ENCODING, value=6, limit=CODINGS)


def test_gzip_members_in_a_row_are_one_body() -> None:
    noise = random.Random(1).randbytes(30_000)  # is longer than what is fed at once
    parts = [b"", b"a" * 3_000_000, noise, b"", PAGE]
    body = b"".join(map(gzip.compress, parts))

    assert decode(response(body, "gzip"), limit=4 * LIMIT) == (b"".join(parts), None)
    assert decode(response(body + b"\0junk", "gzip"), limit=4 * LIMIT) == (b"".join(parts), None)
    assert decode(response(body + body[:5], "gzip"), limit=4 * LIMIT)[1] is not None


def test_a_million_gzip_members_take_no_time_with_the_square_of_their_number() -> None:
    def seconds(members: int) -> float:
        body = gzip.compress(b"") * members
        started = time.process_time()
        assert decode(response(body, "gzip"), limit=LIMIT) == (b"", None)
        return time.process_time() - started

    assert seconds(160_000) < 6 * min(seconds(40_000) for _ in range(3))


@pytest.mark.parametrize("coding", CODED)
def test_a_coded_body_that_breaks_off_is_bad_encoding(coding: str) -> None:
    body, problem = decode(response(CODED[coding][:-5], coding), limit=LIMIT)

    assert (body, problem and problem.reason) == (b"", Reason.BAD_ENCODING)


@pytest.mark.parametrize("coding", [*CODED, "utf-8", "identity", "none"])
def test_a_body_that_plainly_is_not_coded_is_let_be(coding: str) -> None:
    assert decode(response(PAGE, coding), limit=LIMIT) == (PAGE, None)


@pytest.mark.parametrize("coding", CODED)
def test_the_limit_passes_and_one_byte_more_is_too_large(coding: str) -> None:
    assert decode(response(CODED[coding], coding), limit=len(PAGE))[0] == PAGE

    body, problem = decode(response(CODED[coding], coding), limit=len(PAGE) - 1)

    assert body == b""
    assert problem is not None
    assert problem.reason is Reason.RECORD_TOO_LARGE
    assert problem.limit == len(PAGE) - 1


@given(st.binary(max_size=3000), st.integers(1, 500))
def test_chunks_of_any_size_give_the_body_back(body: bytes, size: int) -> None:
    assert dechunk(chunked(body, size)) == body


@given(st.binary(min_size=1, max_size=2000), st.integers(1, 400), st.integers(1, 400))
def test_a_chunk_that_is_cut_short_breaks_the_body(body: bytes, size: int, lost: int) -> None:
    whole = chunked(body, size)[: -len(b"\r\n0\r\n\r\n")]
    last = len(body) % size or min(size, len(body))

    assert dechunk(whole[: len(whole) - min(lost, last)]) is None


def test_the_last_empty_chunk_may_lack() -> None:
    assert dechunk(b"3\r\nabc\r\n") == b"abc"
    assert dechunk(b"3\r\nabc") == b"abc"
    assert dechunk(b"3\nabc\n0\n\n") == b"abc"


def test_tiny_chunks_take_no_memory_beside_their_data_and_a_million_of_them_break_the_body() -> (
    None
):
    body = chunked(b"ab" * 100_000, 2)
    tracemalloc.start()
    try:
        assert dechunk(body) == b"ab" * 100_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000
    assert dechunk(b"1\na" * (1 << 20) + b"0\n\n") is None


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_a_bomb_is_decoded_up_to_the_limit_and_no_further(coding: str) -> None:
    encode: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.compress,
        "deflate": zlib.compress,
        "br": brotli.compress,
        "zstd": zstandard.compress,
    }
    bomb = encode[coding](bytes(64 << 20))
    http = Http(status=200, headers=(("content-encoding", coding),), body=bomb)
    tracemalloc.start()
    try:
        _, problem = decode(http, limit=LIMIT)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert problem is not None
    assert problem.reason is Reason.RECORD_TOO_LARGE
    assert peak < 16 << 20


def test_a_body_that_does_not_begin_like_a_chunk_is_not_chunked() -> None:
    assert dechunk(b"<!doctype html>\r\n3\r\nabc") == b"<!doctype html>\r\n3\r\nabc"


def test_a_size_that_is_wrong_behind_the_first_chunk_breaks_the_body() -> None:
    assert dechunk(b"3\r\nabc\r\nwrong\r\nabc\r\n0\r\n\r\n") is None
    assert dechunk(b"2\r\nabc\r\n0\r\n\r\n") is None


@pytest.mark.parametrize(
    ("block", "status", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nhi", 200, b"hi"),
        (b"HTTP/1.0 404\nA: b\n\nhi", 404, b"hi"),
        (b"HTTP/2 301 \r\nA: b\r\n\r\n", 301, b""),
        (b"http/1.1 200 fine\r\n\r\n", 200, b""),
        (b"HTTP/1.1 204 No Content", 204, b""),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n\nhi", 200, b"hi"),
    ],
)
def test_a_response_is_read_with_any_line_ends(block: bytes, status: int, body: bytes) -> None:
    found = parse_http(block)

    assert isinstance(found, Http)
    assert (found.status, found.body) == (status, body)
    assert found.headers == ((("a", "b"),) if b"A: b" in block else ())


@pytest.mark.parametrize(
    "block",
    [b"", b"<html>", b"HTTP/1.1 OK\r\n\r\n", b"HTTP/1.1 2000\r\n\r\n", b"ICY 200 OK\r\n\r\n"],
)
def test_what_has_no_status_line_is_no_response(block: bytes) -> None:
    assert parse_http(block) is None


def test_header_names_are_lower_case_and_folded_lines_joined() -> None:
    found = parse_http(
        b"HTTP/1.1 200 OK\r\nX-One: a\r\n  b\r\nSet-Cookie: 1\r\nset-cookie: \xe9\r\n\r\n"
    )

    assert isinstance(found, Http)
    assert found.headers == (("x-one", "a b"), ("set-cookie", "1"), ("set-cookie", "é"))


@pytest.mark.parametrize("line", [b"A: ", b"", b" "])
@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
@pytest.mark.parametrize("many", [1, 1_000])
def test_headers_are_read_up_to_the_limit_and_none_behind_it(
    line: bytes, end: bytes, many: int
) -> None:
    """The limit counts a line's end as two bytes; fastwarc raises behind it."""
    start = b"HTTP/1.1 200 OK" + end + (line + b"a" * 9 + end) * many
    lines = many + 1
    room = HEADER_BYTES - (len(start) + lines * (2 - len(end))) - 4
    for over in (0, 1, 2, 9_000, 100_000, 1_000_000):
        found = parse_http(start + b"B: " + b"b" * (room - 3 + over) + end * 2 + b"body")
        if not over:
            assert isinstance(found, Http)
            assert (found.headers[-1][0], found.body) == ("b", b"body")
            continue
        assert isinstance(found, Problem)
        assert (found.reason, found.limit) == (Reason.BAD_HTTP, HEADER_BYTES)
        assert found.value is not None
        if over < 200_000:  # no farther is their end looked for
            assert found.value == HEADER_BYTES + over
        assert found.value > HEADER_BYTES


@given(st.binary(max_size=300))
def test_no_bytes_make_the_parser_fail(block: bytes) -> None:
    parse_http(b"HTTP/1.1 200 OK\r\n" + block)
    for coding in CODED:
        decode(response(block, coding, "chunked"), limit=LIMIT)
