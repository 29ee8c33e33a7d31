"""Samples: a few kept documents as they read, and pictures of what was dropped.

In:   index/ (where each sample lies in its tar), shards/ by range reads; no tar is read whole.
      images/ and packs/ for what was dropped.
Out:  ShownDocument: its texts and pictures in order, cut where a reader has seen enough. Pictures
      are small JPEGs as data: URIs, the same wherever they are made.
Which: those whose key has the smallest hash, in up to SHARDS shards; the same for the same run.
"""

from __future__ import annotations

import base64
import heapq
import io
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from PIL import Image

from pipeline.job import Job
from pipeline.media.decode import opened
from pipeline.shard.report.figures import hash_of
from pipeline.store import parquet
from pipeline.store.packs import PackReader
from schemas.orientation import orientation, turned
from schemas.sample import Sample, SampleImage, SampleText, decode
from schemas.verdict import OK

DOCUMENTS: Final = 12
SHARDS: Final = 12
NODES: Final = 60  # of a document that are shown
PICTURES: Final = 8
CHARACTERS: Final = 6_000
SIDE: Final = 320  # pixels at most; shown at half of it on a dense screen
DROPPED_SIDE: Final = 160  # of a picture of what was dropped
QUALITY: Final = 72
PAPER: Final = (255, 255, 255)  # behind what is transparent
UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff]")


class Thumbnail(NamedTuple):
    uri: str
    width: int
    height: int


class ShownNode(NamedTuple):
    """A text with its role, or a picture (role image) with its alt; None if it does not decode."""

    role: str
    text: str
    picture: Thumbnail | None = None
    note: str = ""  # sides, format


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownDocument:
    shard: str
    key: str
    url: str
    title: str
    date: str
    language: str
    texts: int
    images: int
    nodes: tuple[ShownNode, ...]
    left_out: int  # nodes of it that are not shown


def read_samples(job: Job, shards: Iterable[str], *, count: int = DOCUMENTS) -> list[ShownDocument]:
    """At most `count` documents of the shards that are named, by the hash of their key."""
    ordered = sorted(shards, key=lambda name: (hash_of(name), name))
    chosen = sorted(ordered[:SHARDS])
    candidates = [row for shard in chosen for row in _first_of(shard, job, count)]
    first = heapq.nsmallest(count, candidates, key=lambda ranked: ranked[:2])
    with closing(PackReader(job.path("shards"))) as tars:
        return [_read(shard, row, tars) for _, shard, row in first]


def _first_of(shard: str, job: Job, count: int) -> list[tuple[bytes, str, dict[str, Any]]]:
    """(hash of the key, shard, row of the index) of those with the smallest hashes."""
    rows = parquet.read_rows(job.part("index", shard), ["key", "members"])
    hashed = ((hash_of("report", row["key"]), shard, row) for row in rows)
    return heapq.nsmallest(count, hashed, key=lambda ranked: ranked[0])


def _read(shard: str, row: dict[str, Any], tars: PackReader) -> ShownDocument:
    """One sample by its members' ranges."""
    places = {member["name"]: (member["offset"], member["length"]) for member in row["members"]}

    def member(name: str) -> bytes:
        return tars.read(f"{shard}.tar", *places[name])

    sample = decode(member("json"))
    shown = list(_cut(sample))
    nodes = tuple(
        ShownNode(role=node.role, text=without_controls(node.text)[:CHARACTERS])
        if isinstance(node, SampleText)
        else ShownNode(
            role="image",
            text=without_controls(node.alt),
            picture=thumbnail(member(node.member)),
            note=f"{node.width} \u00d7 {node.height}, {node.member.rsplit('.', 1)[-1]}",
        )
        for node in shown
    )
    texts = sum(isinstance(node, SampleText) for node in sample.nodes)
    return ShownDocument(
        shard=shard,
        key=sample.key,
        url=without_controls(sample.url),
        title=without_controls(sample.title),
        date=sample.date,
        language=sample.language,
        texts=texts,
        images=len(sample.nodes) - texts,
        nodes=nodes,
        left_out=len(sample.nodes) - len(shown),
    )


def _cut(sample: Sample) -> Iterator[SampleText | SampleImage]:
    """Its nodes, until NODES, PICTURES or CHARACTERS are reached."""
    pictures = characters = 0
    for number, node in enumerate(sample.nodes):
        if number >= NODES or pictures >= PICTURES or characters >= CHARACTERS:
            return
        yield node
        if isinstance(node, SampleText):
            characters += len(node.text)
        else:
            pictures += 1


def without_controls(text: str) -> str:
    """A text without control characters, which no browser has to show and HTML forbids."""
    return UNPRINTABLE.sub("\ufffd", text)


def thumbnail(data: bytes, *, side: int = SIDE) -> Thumbnail | None:
    try:
        with opened(data) as (_, image):
            small = _shrink(image, side)
    except MemoryError:
        raise  # a gap that the report of another machine would not have
    except Exception:  # noqa: BLE001  # a decoder raises what it likes (AVIF RuntimeError, PNG
        # SyntaxError); these bytes were decoded once, so this is rare, and the report shows a gap
        return None
    out = io.BytesIO()
    small.save(out, "JPEG", quality=QUALITY, optimize=True)
    uri = "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()
    return Thumbnail(uri, *small.size)


def _shrink(image: Image.Image, side: int) -> Image.Image:
    image.draft("RGB", (2 * side, 2 * side))  # of a JPEG: decode no more pixels than needed
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    upright = turned(image, orientation(image))
    if upright.mode in {"RGB", "L"}:
        return upright.convert("RGB")
    picture = upright.convert("RGBA")
    paper = Image.new("RGBA", picture.size, (*PAPER, 255))
    return Image.alpha_composite(paper, picture).convert("RGB")


def find_pictures(job: Job, urls: Collection[str], *, parts: Iterable[str]) -> dict[str, Thumbnail]:
    """Of dropped images, where the crawl holds them, the first capture that can be shown.

    Only `parts` are looked through: all of images/ would cost more than a few pictures are worth.
    """
    pictures: dict[str, Thumbnail] = {}
    columns = ("url", "status", "pack", "pack_offset", "bytes")
    with closing(PackReader(job.path("packs"))) as packs:
        for part in sorted(parts):
            for row in parquet.read_rows(job.part("images", part), columns):
                if row["url"] not in urls or row["url"] in pictures or row["status"] != OK:
                    continue
                data = packs.read(row["pack"], row["pack_offset"], row["bytes"])
                if (small := thumbnail(data, side=DROPPED_SIDE)) is not None:
                    pictures[row["url"]] = small
    return pictures
