"""Web addresses: what none can be is told at once, by value and remedy, and nobody is asked."""

from __future__ import annotations

import pytest

from pipeline.read.inputs import expand
from pipeline.store import web as reader
from pipeline.store.raw import check_address, open_raw
from pipeline.store.web import Patience


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("http://[::1/x", "Invalid IPv6 URL"),
        ("https:///x", "it names no host"),
        ("http://", "it names no host"),
        ("https://?q", "it names no host"),
        ("http://h:65536/x", "Port out of range 0-65535"),
        ("http://h:0/x", "port 0 is none"),
        ("http://h:-1/x", "Port could not be cast to integer value as '-1'"),
        ("http://h:http/x", "Port could not be cast to integer value as 'http'"),
        ("http://a b.test/x", "no host can be called a%20b.test"),
        ("http://a..test/x", "no host can be called a..test"),
        (f"http://{'a' * 64}.test/x", f"no host can be called {'a' * 64}.test"),
        ("http://xn--/x", "Malformed A-label"),
        ("http://\u2028/x", "Invalid IDNA hostname"),
        ("http://h/\x01", "non-printable ASCII character"),
    ],
)
def test_an_address_that_none_can_have_is_refused_and_nobody_is_asked(
    monkeypatch: pytest.MonkeyPatch, url: str, wrong: str
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(reader, "PATIENT", Patience(sleep=waits.append))

    for ask in (check_address, open_raw, lambda name: expand([name])):
        with pytest.raises(ValueError, match="write it as http") as refused:
            ask(url)
        assert str(refused.value).startswith(f"{url}: ")
        assert wrong in str(refused.value)

    assert waits == []


@pytest.mark.parametrize(
    "url",
    [
        "http://h/x",
        "HTTPS://EXAMPLE.org.:65535/a b?q=a@b#c",
        "http://h:1/",
        "http://127.0.0.1/x",
        "http://[::1]:80/x",
        "http://[fe80::1%25eth0]/x",
        "http://b\u00fccher.example/\u00e9.warc.gz",
        f"http://under_score.{'a' * 63}.test",
    ],
)
def test_an_address_that_a_server_can_have_passes(url: str) -> None:
    check_address(url)


@pytest.mark.parametrize("url", ["http://me:secret@h/x", "http://me@x:secret@h:99999/x@y"])
def test_a_password_is_neither_taken_nor_shown(url: str) -> None:
    with pytest.raises(ValueError, match=r"^http://\*\*\*@h") as refused:
        expand([url])

    assert "secret" not in str(refused.value)


def test_an_address_without_end_is_refused_and_not_shown_whole() -> None:
    with pytest.raises(ValueError, match=r"\(70,009 characters\): URL too long") as refused:
        check_address("http://h/" + "a" * 70_000)

    assert len(str(refused.value)) < 400
