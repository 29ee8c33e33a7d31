"""URLs: resolved as a browser does."""

from __future__ import annotations

import ada_url
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.read.records import LONGEST_URL
from pipeline.words.urls import absolute_url, base_url

PAGE = "https://example.com/docs/page.html?x=1#top"
CASES = [
    ("a.png", "https://example.com/docs/a.png"),
    ("/a.png", "https://example.com/a.png"),
    ("../a.png", "https://example.com/a.png"),
    ("./a/../b.png", "https://example.com/docs/b.png"),
    ("//cdn.example.org/a.png", "https://cdn.example.org/a.png"),
    ("http://example.com/a.png", "http://example.com/a.png"),  # never forced to https
    ("a b,c.png", "https://example.com/docs/a%20b,c.png"),
    ("a%20b.png", "https://example.com/docs/a%20b.png"),  # never encoded twice
    ("\u00e9.png", "https://example.com/docs/%C3%A9.png"),
    ("http://m\u00fcnchen.de/a.png", "http://xn--mnchen-3ya.de/a.png"),
    ("\\img\\a.png", "https://example.com/img/a.png"),
    (" a\n.png\t", "https://example.com/docs/a.png"),
    ("a.png?w=1&h=2#x", "https://example.com/docs/a.png?w=1&h=2"),
    ("?page=2", "https://example.com/docs/page.html?page=2"),
    ("HTTP://EXAMPLE.com:80/A.png", "http://example.com/A.png"),
    ("http://[::1", ""),
    ("http://", ""),
    ("", "https://example.com/docs/page.html?x=1"),
]


@pytest.mark.parametrize(("reference", "expected"), CASES)
def test_a_reference_is_resolved_as_in_a_browser(reference: str, expected: str) -> None:
    assert absolute_url(reference, base=PAGE) == expected


def test_a_url_too_long_for_any_server_is_none() -> None:
    room = LONGEST_URL - len("https://e.org/")
    assert absolute_url("https://e.org/" + "a" * room, base=PAGE)
    assert not absolute_url("https://e.org/" + "a" * (room + 1), base=PAGE)


@given(st.text(st.characters(codec="utf-8"), max_size=50))
def test_a_resolved_url_is_ascii_and_stays_what_it_is(reference: str) -> None:
    url = absolute_url(reference, base=PAGE)
    assert url.isascii()
    assert "#" not in url
    assert not url or absolute_url(url, base=PAGE) == url


BASES = [
    (None, PAGE), ("", PAGE), ("/img/", "https://example.com/img/"), ("//cdn.org/x/", "https://cdn.org/x/"),
    ("javascript:alert(1)", PAGE), ("data:text/html,x", PAGE), ("http://[", PAGE),
]  # fmt: skip


@pytest.mark.parametrize(("href", "expected"), BASES)
def test_a_base_element_counts_if_it_is_a_web_address(href: str | None, expected: str) -> None:
    assert base_url(PAGE, href=href) == expected


PIECES = st.sampled_from([
    "/", "//", "\\", ".", "..", "%2e", "a", "b.png", "a/b/", "http:", "https:", "file:", "x:", "C|",
    "?", "#", "@", ":80", "x.org", "1.2", "\u00e9", "\t", " ", "~", "'", "(", "%zz",
    "w=1&h=2", "^", "|", "[::1]",
])  # fmt: skip


@given(
    st.lists(PIECES, max_size=7).map("".join),
    st.sampled_from([PAGE, "http://a.org", "file:///c:/x", "x://h/p", "x:y", "data:,", ""]),
)
def test_a_folder_met_before_gives_what_the_standard_gives(reference: str, base: str) -> None:
    try:
        expected = ada_url.join_url(base, reference).partition("#")[0]
    except ValueError:
        expected = ""
    assert absolute_url(reference, base=base) == expected
