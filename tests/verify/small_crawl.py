"""A crawl of nine pages with pictures, written with warcio, in which each kind of loss happens.

Kept: four gardens, each less a line of numbers, an icon and a small picture. Dropped: a page that
reserves its text, one in too few words, a copy of a garden, one whose pictures are all too small,
one whose pictures are not in the crawl. Lost before: a page that is not there and asks not
to be used, a style sheet, half an image.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import numpy as np
from PIL import Image
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

SITE = "https://gardens.example.org"
DATE = "2024-05-01T10:00:{:02d}Z"

GARDENS = (
    (
        "The old walled garden",
        "When we came to the house in the spring, the wall was the only thing that anyone could "
        "see, because the roses had grown over the gate and nobody had cut them for years.",
        "It took us most of a summer to find the paths again, and under the grass there were "
        "stones that somebody had laid with great care, one by one, a very long time ago.",
    ),
    (
        "A pond for frogs",
        "You do not need much room for a pond, but it should have some sun in the morning, and "
        "one of its sides has to be flat, so that the small animals can climb out of the water.",
        "Fill it with rain if you can, wait for two weeks, and then the first plants may go in; "
        "the frogs will find it by themselves, and they do not like to be carried there.",
    ),
    (
        "Trees that like wind",
        "On the hill above the sea we lost every apple tree that we had planted, until a farmer "
        "told us what she does: she puts them behind a row of thorns and never in the open.",
        "Ten years later the row is as high as a man, the wind goes over it, and in the autumn "
        "there is more fruit than the children of the village are able to eat.",
    ),
    (
        "What the bees are looking for",
        "A lawn is a desert to a bee, however green it looks to us, and so the best thing that "
        "you can do for them is to leave a corner of it alone from March to the end of July.",
        "They will come for the clover first, and after that for the thistles, which is why it "
        "is wise to tell your neighbours about your plan before they begin to complain.",
    ),
)

NUMBERS = "12 / 34 / 56 / 78 -> 90 :: 2001 | 2002 | 2003 (+++) and so on and on"


def picture(seed: int, *, width: int = 320, height: int = 240, format_: str = "JPEG") -> bytes:
    """A cloudy picture of its own: seeds give hashes that are far from each other."""
    colours = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    image = Image.fromarray(colours).resize((width, height), Image.Resampling.BICUBIC)
    stored = io.BytesIO()
    image.save(stored, format=format_)
    return stored.getvalue()


def page(title: str, texts: tuple[str, ...], images: tuple[str, ...], *, head: str = "") -> bytes:
    figures = [f'<figure><img src="{image}" alt="of {title}"></figure>' for image in images]
    blocks = [f"<p>{text}</p>" for text in texts]
    mixed = "\n".join(part for pair in zip_longest(blocks, figures, fillvalue="") for part in pair)
    return (
        f"<!doctype html><html lang=en><head><meta charset=utf-8><title>{title}</title>{head}"
        f"</head><body><main><h1>{title} and how it was made</h1>\n{mixed}\n</main></body></html>"
    ).encode()


def responses() -> Iterator[tuple[str, str, str, bytes]]:
    """(path, status line, media type, body) of everything that the crawl holds."""
    html, ok = "text/html", "200 OK"
    yield "/short", ok, html, page("Short", ("Nothing here.",), ("/2a.jpg",))
    for number, (title, *texts) in enumerate(GARDENS):
        names = (f"/{number}a.jpg", f"/{number}b.png")
        shown = [*names, "/icons/leaf.png", "/tiny.png"]
        yield f"/garden/{number}", ok, html, page(title, (*texts, NUMBERS), tuple(shown))
        yield names[0], ok, "image/jpeg", picture(10 + number)
        yield names[1], ok, "image/png", picture(20 + number, format_="PNG")
    title, *texts = GARDENS[0]
    yield "/copy", ok, html, page(title, tuple(texts), ("/0a.jpg",))
    reserved = '<meta name="tdm-reservation" content="1">'
    yield "/reserved", ok, html, page("Mine", tuple(GARDENS[1][1:]), ("/1a.jpg",), head=reserved)
    tiny = (
        "In the small greenhouse there is room for one chair and a table, and that is where "
        "he sits in winter, with a book that he has read before and the radio turned low.",
    )
    yield "/tiny", ok, html, page("The greenhouse", tiny, ("/tiny.png", "/half.jpg"))
    yield "/tiny.png", ok, "image/png", picture(30, width=100, height=80, format_="PNG")
    yield "/half.jpg", ok, "image/jpeg", picture(31)[:3000]
    away = (
        "The path by the river was closed after the flood, and for a whole year we had to go "
        "round by the mill, which is longer, but we have kept to it ever since that time.",
    )
    yield "/away", ok, html, page("The river path", away, ("https://other.example.net/p.jpg",))
    yield "/gone", "404 Not Found", html, b"<p>not here</p>"
    yield "/style.css", ok, "text/css", b"p { color: green }"


def write_crawl(path: Path) -> None:
    """One gzip member a record; a request before each response, a revisit behind all."""
    with path.open("wb") as handle:
        writer = WARCWriter(handle, gzip=True)
        writer.write_record(writer.create_warcinfo_record(path.name, {"software": "a test"}))
        for second, (url_path, status, media, body) in enumerate(responses()):
            date = DATE.format(second)
            asked = StatusAndHeaders("GET / HTTP/1.1", [("Host", "gardens.example.org")])
            headers = [("Content-Type", media)]
            if not status.startswith("200"):
                headers.append(("X-Robots-Tag", "noai"))
            said = StatusAndHeaders(status, headers, protocol="HTTP/1.1")
            _write(writer, "request", SITE + url_path, date, asked, b"")
            _write(writer, "response", SITE + url_path, date, said, body)
        again = writer.create_revisit_record(
            f"{SITE}/garden/0", "sha1:AAAA", f"{SITE}/garden/0", DATE.format(0)
        )
        writer.write_record(again)


def _write(
    writer: WARCWriter, kind: str, url: str, date: str, http: StatusAndHeaders, body: bytes
) -> None:
    """`length` saves warcio's temporary files, which it leaves open."""
    record = writer.create_warc_record(
        url,
        kind,
        payload=io.BytesIO(body),
        length=len(body),
        http_headers=http,
        warc_headers_dict={"WARC-Date": date},
    )
    writer.write_record(record)
