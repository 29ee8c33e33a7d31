"""Pages: whatever a page's bytes are, it becomes a document or a Problem, and soon.

A round takes a real page, does something to its bytes and its headers, and makes a document of it
as extract does. See it: make soak
"""

from __future__ import annotations

import gzip
import random
import re
import tarfile
import time
from collections.abc import Callable

import pyarrow as pa
import pytest

from filters.signals import Lexicon
from pipeline.extract.document import document_of
from pipeline.extract.html.charset import decode_page
from pipeline.extract.page import Page, head_signals, read_page
from pipeline.read.records import Record
from pipeline.words.lexicon import load_lexicon
from schemas.document import document_to_row
from schemas.tables import DOCUMENTS
from tests.conftest import SHARED
from tests.fuzz.rounds import LONG, SLOWEST, mutated, peak, peak_from_here, rounds

MOST = 1 << 30  # bytes of memory that a page may take
LARGE = 20_000  # nodes: a row of so many is no news
URLS = (
    "https://example.com/a/b.html?c=d",
    "http://[::1]/",
    "https://例え.jp/",
    "file:///x",
    "",
    "x",
)
TYPES = (
    "text/html",
    "text/html; charset=utf-8",
    "text/html;charset='koi8-r",
    "charset=utf-16",
    "\0",
)
TAG = re.compile(rb"<[^<>]{1,2000}>")
GENERATED = b"""<!DOCTYPE html><html lang=en><head><meta charset=utf-8><title>A page</title>
<base href="/b/"><meta name=robots content="noai, max-snippet:5"><link rel=canonical href=c></head>
<body class="home page"><nav><ul><li><a href=1>One</a></ul></nav><main><article><h1>Title</h1>
<figure><picture><source srcset="a.webp 1x, b.webp 2x" type=image/webp><img src=c.jpg width=640
alt="A dog"></picture><figcaption>A dog in the snow</figcaption></figure><p>It <b>was</b> a dark and
stormy <a href=2>night</a>; the rain fell in torrents.<br>And so on.<pre>code\n\n  code</pre><table>
<tr><th>a<th>b<tr><td>1<td>2<tr><td>3<td>4</table><img src="data:," data-src="d.png"><noscript><img
src=d.png></noscript></article></main><footer hidden style="display:none">End</footer>"""


@pytest.fixture(scope="module")
def pages() -> list[bytes]:
    folder = SHARED / "extraction"
    found = [GENERATED]
    if folder.is_dir():
        found += [gzip.decompress(p.read_bytes()) for p in sorted(folder.glob("aeb/html/*.gz"))]
        with tarfile.open(folder / "readability.tar.xz") as tar:
            files = [tar.extractfile(one) for one in tar if one.name.endswith("/source.html")]
            found += [file.read() for file in files if file is not None]
        assert len(found) > 100
    return found


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    return load_lexicon("en")


def in_english(_text: str) -> tuple[str, float]:
    return "en", 1.0


def broken(pages: list[bytes], rng: random.Random) -> bytes:
    page, other = rng.choice(pages), rng.choice(pages)
    if rng.random() < 0.3:
        page = page[: rng.choice((100, 1_000, 10_000))]
    faults: tuple[Callable[[bytes, random.Random], bytes], ...]
    faults = (broken_bytes, repeated_tags, more_attributes, encoded)
    page = rng.choice(faults)(page, rng)
    return mutated(page, rng, other=other) if rng.random() < 0.5 else page


def broken_bytes(page: bytes, rng: random.Random) -> bytes:
    return mutated(page, rng, other=GENERATED)


def repeated_tags(page: bytes, rng: random.Random) -> bytes:
    """Some of its tags over and over: what is slow for what lies in it."""
    tags = TAG.findall(page) or [b"<p>"]
    first = b"".join(rng.choices(tags, k=rng.randint(1, 4)))
    second = b"".join([*rng.choices(tags, k=rng.randint(1, 4)), b"word "])
    place = rng.randint(0, len(page))
    inside = first * rng.choice(LONG[:5]) + second * rng.choice(LONG[:5])
    return page[:place] + inside + page[place:]


def more_attributes(page: bytes, rng: random.Random) -> bytes:
    form = rng.choice(
        (b" a%d", b" a%d='>'", b' a%d="<p>"', b"/a%d", b" a%d=b", b" a", b" class=a%d")
    )
    many = rng.choice((10, 300, 3_000, 9_000))
    more = b"".join(form.replace(b"%d", b"%d" % n) for n in range(many))
    tags: list[bytes] = TAG.findall(page) or [b"<p>"]
    tag = rng.choice(tags)[:-1] + more + b">"
    times, place = rng.choice((1, 10, 300)), rng.randint(0, len(page))
    return page[:place] + tag * min(times, (8 << 20) // len(tag)) + page[place:]


def encoded(page: bytes, rng: random.Random) -> bytes:
    text = page.decode("utf-8", "replace")
    return text.encode(
        rng.choice(("utf-16", "utf-16-be", "cp1251", "gb18030", "shift_jis")), "replace"
    )


def test_no_page_ends_a_part_or_takes_long(
    pages: list[bytes], lexicon: Lexicon, say: Callable[[str], None]
) -> None:
    slowest, count, read = (0.0, -1), 0, 0
    for number, rng in rounds("pages"):
        page = broken(pages, rng)
        url, headers = rng.choice(URLS), [("content-type", rng.choice(TYPES))]
        memory = peak_from_here()
        started = time.process_time()
        decode_page(page, headers=headers).text.encode()
        found = read_page(page, url=url, headers=headers)
        if isinstance(found, Page):
            record = Record(offset=0, length=len(page), type="response", url=url)
            document = document_of(found, record, lexicon=lexicon, identify=in_english)
        else:
            head_signals(page, url=url, headers=headers)
        took = time.process_time() - started
        grown = peak() - memory
        assert took < SLOWEST, f"round {number} took {took:.1f} seconds"
        assert grown < MOST, f"round {number} took {grown >> 20} MB"
        if isinstance(found, Page) and len(found.nodes) < LARGE:
            pa.Table.from_pylist([document_to_row(document)], schema=DOCUMENTS)
        slowest, count, read = (
            max(slowest, (took, number)),
            count + 1,
            read + isinstance(found, Page),
        )
    took, number = slowest
    say(f"{count} broken pages, {read} of them read; the slowest: {took:.1f} s, round {number}")
