"""Generated crawls of any size: distinct URLs, dates and texts, real images, planted accidents.

Every page has three paragraphs of English that the recipe lets pass, a paragraph of its site, and
two pictures. Planted, each once or more: the same record in two files, a later capture, a mirror
under another name, a picture that every page of a site shows, a trimmed copy of a picture, the
same set of pictures on two pages, a page in German, half an image, a damaged member, a 404.
"""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

NOUNS: Final = (
    "garden river house morning letter window road mountain teacher city summer kitchen boat "
    "market doctor village forest bridge station music winter table story church island farmer "
    "school light picture field question evening hotel library train coffee father sister"
).split()
VERBS: Final = (
    "found watched carried followed painted remembered opened described visited crossed built "
    "measured cleaned repaired explained discovered wanted noticed answered covered"
).split()
ADJECTIVES: Final = (
    "old small quiet bright long narrow famous early heavy warm empty broken simple strange "
    "green distant wooden gentle hungry modern"
).split()
PLACES: Final = (
    "near behind above below beside across from under around along within beyond".split()
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Response:
    url: str
    date: str
    body: bytes
    media: str = "text/html"
    status: str = "200 OK"
    damaged: bool = False
    robots: str = ""  # X-Robots-Tag


# each at most once in a page, or it would be refused for repetition
PATTERNS: Final = (
    "{0}, which we {1} {2} {3}, was not what you would expect after {9} days.",
    "When they {1} {0} last year, nobody knew that {3} had been {2} {4}.",
    "If you {1} {3} at all, you may still remember how {0} looked from {4}.",
    "There is only one person who {1} {4}, because it stands {2} {0} of her family.",
    "She told me why {3} could not be sold: somebody {1} it {9} times before.",
    "Most of us {1} neither {0} nor {4}, so the story has to begin again {2} {3}.",
    "For about {9} hours he {1} every part of {0} and then went home with {4}.",
    "You can see {3} best when it rains and {0} has just been {1} by someone.",
    "It took {9} people to move {4} {2} {0}, although it did not seem to be heavy.",
    "In the end {0} {1} more than {3}, but who would have believed that {2} {4}?",
)


def sentence(dice: random.Random, pattern: str) -> str:
    things = [f"the {dice.choice(ADJECTIVES)} {dice.choice(NOUNS)}" for _ in range(3)]
    words = [things[0], dice.choice(VERBS), dice.choice(PLACES), things[1], things[2]]
    text = pattern.format(*words, *[""] * 4, dice.randint(2, 90))
    return text[0].upper() + text[1:]


def paragraphs(dice: random.Random) -> list[str]:
    """Three, of three sentences each."""
    chosen = dice.sample(PATTERNS, 9)
    sentences = [sentence(dice, pattern) for pattern in chosen]
    return [" ".join(sentences[start : start + 3]) for start in (0, 3, 6)]


def picture(seed: int, *, width: int = 240, height: int = 180) -> Image.Image:
    """A cloudy picture of its own: seeds give hashes that are far from each other."""
    colours = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "JPEG") -> bytes:
    stored = io.BytesIO()
    image.save(stored, kind)
    return stored.getvalue()


def page(title: str, texts: list[str], images: list[str], *, lang: str = "en") -> bytes:
    figures = [f'<figure><img src="{image}" alt="of {title}"></figure>' for image in images]
    mixed = [block for pair in zip(texts, [*figures, *[""] * 9], strict=False)
             for block in (f"<p>{pair[0]}</p>", pair[1])]  # fmt: skip
    return (
        f"<!doctype html><html lang={lang}><head><meta charset=utf-8><title>{title}</title></head>"
        f"<body><main><h1>{title}</h1>{''.join(mixed)}</main></body></html>"
    ).encode()


GERMAN: Final = (
    "Der alte Garten am Fluss war im Sommer voller Menschen, und niemand wollte vor dem Abend "
    "nach Hause gehen, weil das Licht so lange über den Hügeln stand."
)


def responses(seed: int, pages: int) -> Iterator[Response]:
    """Pages, each followed by its pictures, and the accidents among them."""
    for number in range(pages):
        dice = random.Random(f"{seed}/{number}")
        site = f"https://www.site{number % 5}-{seed}.example.org"
        url, date = f"{site}/page/{number}", f"2024-05-{1 + number % 28:02d}T10:00:00Z"
        texts = paragraphs(dice)
        texts.append(
            f"This is what everybody who reads site {number % 5} of {seed} knows about it."
        )
        images = [f"{site}/{number}-{k}.jpg" for k in range(2)]
        shown = [*images, f"{site}/banner.jpg"]
        yield Response(url=url, date=date, body=page(f"Page {number}", texts, shown))
        for k, image in enumerate(images):
            whole = encoded(picture(seed * 100_000 + number * 10 + k))
            body = whole[: len(whole) // 2] if (number, k) == (6, 1) else whole
            yield Response(url=image, date=date, body=body, media="image/jpeg")
        if number < 5:
            banner = encoded(picture(seed * 100_000 + 99_000 + number))
            yield Response(url=f"{site}/banner.jpg", date=date, body=banner, media="image/jpeg")
        yield from _accident(number, seed, url=url, texts=texts, images=images)


def _accident(
    number: int, seed: int, *, url: str, texts: list[str], images: list[str]
) -> Iterator[Response]:
    late = "2024-06-20T10:00:00Z"
    if number == 1:  # captured again later, changed a little
        body = page("Page 1, again", [*texts[:2], texts[2].replace("the", "a", 1)], images)
        yield Response(url=url, date=late, body=body)
    if number == 2:
        there = f"https://mirror-{seed}.example.net/2"
        yield Response(url=there, date=late, body=page("Mirror", texts, images[:1]))
    if number == 3:  # a trimmed copy beside the picture itself
        trimmed = picture(seed * 100_000 + 30).crop((4, 2, 238, 176)).resize((300, 220))
        copy = f"https://copy-{seed}.example.net/trimmed.jpg"
        yield Response(url=copy, date=late, body=encoded(trimmed), media="image/jpeg")
        own = paragraphs(random.Random(f"{seed}/trimmed"))
        yield Response(
            url=f"https://copy-{seed}.example.net/page",
            date=late,
            body=page("Copy", own, [images[0], copy]),
        )
    if number == 4:  # the same two pictures on another page
        own = paragraphs(random.Random(f"{seed}/set"))
        there = f"https://other-{seed}.example.net/set"
        shown = [*images, f"{url.partition('/page')[0]}/banner.jpg"]
        yield Response(url=there, date=late, body=page("Set", own, shown))
    if number == 5:
        there = f"https://german-{seed}.example.net/"
        yield Response(url=there, date=late, body=page("Garten", [GERMAN] * 2, images, lang="de"))
    if number == 7:
        gone = Response(url=f"{url}/gone", date=late, body=b"<p>gone</p>", status="404 Not Found")
        yield replace(gone, robots="noai")
        yield Response(url=f"{url}/broken", date=late, body=b"<p>x</p>" * 99, damaged=True)


def write_crawl(folder: Path, *, seed: int = 1, pages: int = 40, warcs: int = 2) -> list[Path]:
    """WARCs of one gzip member a record; the first page stands in each of them."""
    found = list(responses(seed, pages))
    return write_responses(folder, found, name=f"crawl-{seed}", warcs=warcs)


def write_responses(folder: Path, found: list[Response], *, name: str, warcs: int) -> list[Path]:
    """Responses as WARCs of about as many records each."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}-{number:05d}.warc.gz" for number in range(warcs)]
    share = -(-len(found) // warcs)
    for number, path in enumerate(paths):
        mine = found[number * share : (number + 1) * share]
        path.write_bytes(b"".join(_members(mine if number == 0 else [found[0], *mine])))
    return paths


def _members(found: list[Response]) -> Iterator[bytes]:
    for response in found:
        buffer = io.BytesIO()
        writer = WARCWriter(buffer, gzip=True)
        headers = [("Content-Type", response.media)]
        headers += [("X-Robots-Tag", response.robots)] * bool(response.robots)
        http = StatusAndHeaders(response.status, headers, protocol="HTTP/1.1")
        record = writer.create_warc_record(
            response.url,
            "response",
            payload=io.BytesIO(response.body),
            http_headers=http,
            warc_headers_dict={
                "WARC-Date": response.date,
                "WARC-Record-ID": f"<urn:test:{response.url}>",
            },
        )
        writer.write_record(record)
        member = bytearray(buffer.getvalue())
        if response.damaged:
            member[len(member) // 2] ^= 0xFF
        yield bytes(member)
