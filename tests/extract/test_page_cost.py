"""Cost: four times the page takes four times as long, whatever it is made of.

Pages are made of one thing over and over, or of many that lie in each other, as deep as is allowed.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from filters.signals import Lexicon
from pipeline.extract.document import document_of
from pipeline.extract.page import Page, read_page
from pipeline.read.records import Record
from pipeline.words.lexicon import load_lexicon

GROWTH = 6.0  # of the time, for four times the page
FLOOR = 0.1  # seconds: less is not told apart from chance
URL = "https://example.com/"

# what a page begins with, once; what it is made of, and how often that is there in the smaller page
FLAT: dict[str, tuple[str, str, int]] = {
    "tables": ("", "<table><tr><td>x</table>", 2_500),
    "captions of one figure": ("<figure>", "<img src=a><figcaption>text</figcaption>", 1_500),
    "sources of a picture": ("<picture>", "<source srcset='a 1x'>", 8_000),
    "twins": ("<p>", "<img src=a data-src=b><noscript><img src=b></noscript>", 2_500),
    "twins on lines": ("<p>", "<br><noscript><img src=a></noscript>", 5_000),
    "titles and pictures": ("", "<h1>title</h1><img src=a alt=x>", 4_000),
    "sections": ("", "<section class='a b'><p>" + "word " * 30 + "</section>", 1_000),
    "candidates of a srcset": ("<img srcset='", "a.png 1x, ", 100_000),
    "commas of a srcset": ("<img srcset='", ",", 1_000_000),
    "brackets of a srcset": ("<img srcset='a ", "(", 1_000_000),
    "a data: URI": ("<img src='data:image/png;base64,", "A", 1_000_000),
    "a base": ("<base href='http://e.com/", "a/", 250_000),
    "a title": ("<title>", "x y", 200_000),
    "metas": ("", "<meta name=robots content='noai, noindex'>", 5_000),
    "directives of a meta": ("<meta name=robots content='", "noai, ", 50_000),
    "the name of a meta": ("<meta content=noai name='", "bot", 300_000),
    "links": ("", "<link rel='canonical license' href=x>", 5_000),
    "words of a rel": ("<link href=x rel='", "a ", 500_000),
    "text without a space": ("<p>", "x", 1_000_000),
    "words": ("<p>", "word other ", 50_000),
    "joints": ("<p>", "a-", 500_000),
    "Thai": ("<p>", "\u0e01", 300_000),
    "joiners": ("<p>", "\u200d", 300_000),
    "soft hyphens": ("<p>", "\u00ad", 300_000),
    "entities": ("<p>", "&amp;", 200_000),
    "empty lines of code": ("<pre>x", "\n ", 300_000),
    "blocks of code": ("<pre>", "x\n\n", 10_000),
    "lines": ("<p>", "x<br>", 30_000),
    "cells": ("<table><tr><th>a<th>b<tr>", "<td colspan=1000000000><img src=a>", 4_000),
    "names of a class": ("<div class='", "menu ", 200_000),
    "a style": ("<div style='", "display :", 200_000),
    "spaces of a style": ("", "<div style='display" + " " * 2_000 + "'>x</div>", 300),
    "spaces of a width": ("<img src=a width='", " ", 1_000_000),
    "hidden words": ("<div hidden>", "<p>word word", 5_000),
    "a second opinion": ("", "<div class='a navHeader'>x</div>", 6_000),
    "a second opinion on a table": (
        "<div class=sidebar><table>",
        "<tr><td>some words<td>others",
        800,
    ),
    "a script": ("<script>", "a<b;", 300_000),
    "scripts": ("", "<script>a</script>x", 5_000),
    "a comment": ("<!--", "- ", 500_000),
    "open brackets": ("", "< ", 300_000),
    "open quotes": ("", "<a b='", 50_000),
    "meta elements without an end": ("", "<meta charset", 300_000),
    "spaces for a charset": ("<meta charset=", " ", 300_000),
    "attributes": ("", "<p " + " ".join(f"a{n}" for n in range(400)) + ">x", 300),
}
# what lies in itself, what lies in the last of these
NESTED: dict[str, tuple[str, str]] = {
    "rows in tables": ("<table><tr><td>", "<table><tr><td>x<td>y</table>"),
    "cells in tables": ("<table><tr><td>", "<tr><td>x<td>y"),
    "paragraphs in captions": ("<table><caption>", "<p>x"),
    "paragraphs in headers": ("<table><tr><th>", "<p>x"),
    "pictures": ("<picture>", "<p>x <img src=a>"),
    "noscript": ("<noscript>", "<p>words of a text"),
    "hidden code": ("<pre><div aria-hidden=true>", "<b></b>"),
    "hidden rows": ("<table><tr><td>x<td>y</table><div aria-hidden=true>", "<b></b><img src=a>"),
    "captions": ("<div class=caption>", "<p class=caption>x <img src=a>"),
    "lists": ("<ul><li>", "<p>x"),
    "articles": ("<article>", "<p>some words"),
    "links": ("<span><a href=x>", "<i>x</i>"),
    "spans": ("<span hidden>", "<p>x"),
}


def repeated(first: str, piece: str, count: int, times: int) -> str:
    return first + piece * (count * times)


def nested(outer: str, inner: str, last: str, times: int) -> str:
    return outer * (250 * times) + inner * (6_000 * times) + last


def pages() -> Iterator[tuple[str, Callable[[int], str]]]:
    for name, parts in FLAT.items():
        yield name, partial(repeated, *parts)
    for name, (outer, inner) in NESTED.items():
        yield f"{name} in each other", partial(nested, outer, inner, "")
        yield f"one picture behind {name}", partial(nested, outer, inner, "<img src=a>")


PAGES = dict(pages())


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    return load_lexicon("en")


@pytest.fixture(autouse=True)
def _no_collection() -> Iterator[None]:
    gc.disable()  # it looks through what other tests have left
    yield
    gc.enable()


def seconds(html: str, lexicon: Lexicon) -> float:
    data = html.encode()
    started = time.process_time()
    page = read_page(data, url=URL)
    if isinstance(page, Page):
        record = Record(offset=0, length=len(data), type="response", url=URL)
        document_of(page, record, lexicon=lexicon, identify=lambda _: ("en", 1.0))
    return time.process_time() - started


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_a_page_of_four_times_the_size_takes_at_most_six_times_as_long(
    page: Callable[[int], str], lexicon: Lexicon
) -> None:
    before = after = math.inf
    for _ in range(5):  # a busy machine is no finding
        before = min(before, seconds(page(1), lexicon))
        after = min(after, seconds(page(4), lexicon))
        if after < max(FLOOR, GROWTH * before):
            return
    pytest.fail(f"{before:.3f} seconds, and {after:.3f} for four times the page")
