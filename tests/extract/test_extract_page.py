"""A page as a whole: any bytes give a page or a problem, always the same, always valid text."""

from __future__ import annotations

import html as markup
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from selectolax.lexbor import LexborHTMLParser

from pipeline.extract import page as reading
from pipeline.extract.html.vocabulary import words
from pipeline.extract.page import Page, RefusedPage, read_page
from pipeline.problem import Problem
from schemas.document import ImageNode, Node, TextNode
from schemas.verdict import Reason

URL = "https://example.com/a/"
Find = Callable[[str], Path]

TAGS = sorted(
    words(
        "p div span b a ul li table tr td th img picture source figure figcaption pre br noscript "
        "h1 section svg script template blockquote button form nav x-y caption object math select"
    )
)
ATTRIBUTES = ("", " hidden", " class=caption", " href=x", " src=a.png", " srcset='a 2x, b 3w'",
              " style='display:none'", " role=main", " id=menu", " data-src=b.png")  # fmt: skip
START = st.builds("<{}{}>".format, st.sampled_from(TAGS), st.sampled_from(ATTRIBUTES))
END = st.builds("</{}>".format, st.sampled_from(TAGS))
SOUP = st.lists(st.one_of(START, END, st.text(max_size=20)), max_size=40).map("".join)


def check(nodes: tuple[Node, ...]) -> None:
    assert nodes
    for node in nodes:
        if isinstance(node, ImageNode):
            assert node.url.isascii()
            assert node.url
            assert node.alt == " ".join(node.alt.split())
            node.alt.encode()
            continue
        node.text.encode()  # a lone surrogate would raise
        assert node.text.strip("\n") == node.text != ""
        assert not any(not line.strip() for line in node.text.split("\n")), "a blank line"
        assert not set(node.text) & set(map(chr, [*range(9), *range(14, 28), 0x7F]))
        if node.caption_of is not None:
            assert isinstance(nodes[node.caption_of], ImageNode)


@given(SOUP)
def test_any_markup_gives_the_same_valid_nodes_every_time(soup: str) -> None:
    data = soup.encode("utf-8", "replace")
    page = read_page(data, url=URL)
    assert page == read_page(data, url=URL)
    if isinstance(page, Page):
        check(page.nodes)
        assert all(count > 0 for count in page.edits.values())
    else:
        assert page.reason in {Reason.NO_CONTENT, Reason.BAD_ENCODING}


@given(st.binary(max_size=400))
def test_any_bytes_give_a_page_or_a_problem(data: bytes) -> None:
    page = read_page(data, url=URL)
    if isinstance(page, Page):
        check(page.nodes)


def test_naughty_strings_come_through_titles_alts_texts_and_urls(shared_data: Find) -> None:
    strings = json.loads(shared_data("bad/blns/blns.json").read_text("utf-8"))
    assert len(strings) > 400
    for text in strings:
        quoted = markup.escape(text)
        body = f"<title>{quoted}</title><p>{quoted} end</p><img alt='{quoted}' src='/x?{quoted}'>"
        page = read_page(f"<meta charset=utf-8>{body}".encode(), url=URL)
        assert isinstance(page, Page), text
        check(page.nodes)
        *_, image = page.nodes
        assert isinstance(image, ImageNode), text
        assert image.url.startswith("https://example.com/x"), text


def test_naughty_strings_as_urls_are_resolved_or_counted(shared_data: Find) -> None:
    strings = json.loads(shared_data("bad/blns/blns.json").read_text("utf-8"))
    body = "".join(f"<img src='{markup.escape(text)}'>" for text in strings)
    page = read_page(f"<meta charset=utf-8><p>text</p>{body}".encode(), url=URL)
    assert isinstance(page, Page)
    check(page.nodes)
    left_out = sum(count for kind, count in page.edits.items() if "image" in kind)
    assert len(page.nodes) - 1 + left_out == len(strings)


EMPTY = [
    "", "   ", "<html>", "<p></p>", "<script>x</script>", "<!-- x -->",
    "<frameset><frame src=x></frameset>", "<body><noscript>no</noscript>",
]  # fmt: skip


@pytest.mark.parametrize("html", EMPTY)
def test_a_page_with_nothing_on_it_is_a_problem(html: str) -> None:
    page = read_page(html.encode(), url=URL)
    assert isinstance(page, RefusedPage)
    assert (page.reason, page.value, page.limit) == (Reason.NO_CONTENT, None, None)


@pytest.mark.parametrize("html", EMPTY)
def test_a_page_with_nothing_on_it_is_parsed_once_and_asks_all_the_same(
    html: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parses: list[bytes] = []
    parse = reading._parsed

    def counted(markup: bytes) -> LexborHTMLParser:
        parses.append(markup)
        return parse(markup)

    monkeypatch.setattr(reading, "_parsed", counted)
    page = read_page(f"<meta name=robots content=noai>{html}".encode(), url=URL)
    assert isinstance(page, RefusedPage)
    assert page.signals.robots == ("noai",)
    assert len(parses) == 1


def test_bytes_of_something_else_are_a_problem_with_their_share() -> None:
    noise = read_page(b"<p>text" + b"\0" * 40 + b"x" * 60, url=URL)
    assert isinstance(noise, Problem)
    assert (noise.reason, noise.limit) == (Reason.BAD_ENCODING, 0.1)
    assert noise.value == pytest.approx(40 / 107)


def test_zeros_and_lone_surrogates_never_reach_a_node() -> None:
    body = b"<p>a\0b &#xD800; &#0; \xed\xa0\x80</p>" + "<p>déjà vu</p>".encode() * 20
    page = read_page(body, url=URL, headers=[("Content-Type", "text/html; charset=utf-8")])
    assert isinstance(page, Page)
    check(page.nodes)
    assert page.edits["replacement_character"] >= 1


def test_the_charset_signals_and_size_of_a_page_are_told() -> None:
    page = read_page(
        "<meta name=robots content=noai><link rel=canonical href=/c>é<p>x".encode("latin-1"),
        url=URL,
        headers=[("Content-Type", "text/html; charset=iso-8859-1"), ("tdm-reservation", "1")],
    )
    assert isinstance(page, Page)
    assert page.charset == "cp1252"
    assert page.signals.robots == ("noai",)
    assert page.signals.tdm_reservation
    assert page.signals.canonical == "https://example.com/c"
    assert page.elements >= 2
    assert (page.extractor, page.second_opinion) == ("blocks", False)


PROSE = "".join(
    f"<p>Sentence {n} of a text that the rules take for furniture, although it is content.</p>"
    for n in range(12)
)
MISLED = "".join(
    f"<div class='announcement'><p>{name} is told in a paragraph that the rules take for another, "
    f"although it is the content of this page, as anybody sees who reads about {name} here.</p>"
    f"<img src={name}.png></div>"
    for name in ("Alpha", "Beta", "Gamma", "Delta", "Epsilon")
)


def test_where_the_rules_leave_little_another_extractor_is_asked() -> None:
    page = read_page(f"<p>{'few words ' * 35}</p>{MISLED}<p>The end.</p>".encode(), url=URL)
    assert isinstance(page, Page)
    assert (page.second_opinion, page.extractor) == (True, "trafilatura")
    assert sum(isinstance(node, ImageNode) for node in page.nodes) == 5
    assert any(isinstance(node, TextNode) and "Gamma" in node.text for node in page.nodes)
    check(page.nodes)


def test_a_page_on_which_the_rules_are_sure_needs_no_other_extractor() -> None:
    side = "<div class=sidebar><p>Something else, in a few words.</div>"
    page = read_page(f"<article>{PROSE}</article>{side}".encode(), url=URL)
    assert isinstance(page, Page)
    assert not page.second_opinion
    assert isinstance(page.nodes[0], TextNode)
