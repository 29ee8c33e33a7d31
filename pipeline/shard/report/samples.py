"""Samples: a few kept documents as they read, out of the shards themselves.

In:   index/ (where each sample lies in its tar), shards/ by range reads; no tar is read whole.
Out:  SampleDocument: its texts and pictures in order, cut where a reader has seen enough.
Which: those whose key has the smallest hash, in up to SHARDS shards; the same for the same run.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from pipeline.job import Job
from pipeline.shard.report.figures import hash_of
from pipeline.shard.report.thumbnail import Thumbnail, thumbnail
from pipeline.store import parquet
from pipeline.store.packs import PackReader
from schemas.sample import Sample, SampleText, decode

DOCUMENTS: Final = 12
SHARDS: Final = 12
NODES: Final = 60  # of a document that are shown
PICTURES: Final = 8
CHARACTERS: Final = 6_000
UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff]")


class SampleNode(NamedTuple):
    """A text with its role, or (role image) a picture with its alt; None: not decodable here."""

    role: str
    text: str
    picture: Thumbnail | None = None
    note: str = ""  # sides, format


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleDocument:
    shard: str
    key: str
    url: str
    title: str
    date: str
    language: str
    texts: int
    images: int
    nodes: tuple[SampleNode, ...]
    left_out: int  # nodes of it that are not shown


def read_samples(
    job: Job, shards: Iterable[str], *, count: int = DOCUMENTS
) -> list[SampleDocument]:
    """At most `count` documents of the shards that are named, by the hash of their key."""
    ordered = sorted(shards, key=lambda name: (hash_of(name), name))
    chosen = sorted(ordered[:SHARDS])
    found = [row for shard in chosen for row in _first_of(shard, job, count)]
    first = heapq.nsmallest(count, found, key=lambda one: (one[0], one[1]))
    with closing(PackReader(job.path("shards"))) as tars:
        return [_read(shard, row, tars) for _, shard, row in first]


def _first_of(shard: str, job: Job, count: int) -> list[tuple[bytes, str, dict[str, Any]]]:
    rows = parquet.read_rows(job.part("index", shard), ["key", "members"])
    ranked = ((hash_of("report", row["key"]), shard, row) for row in rows)
    return heapq.nsmallest(count, ranked, key=lambda one: one[0])


def _read(shard: str, row: dict[str, Any], tars: PackReader) -> SampleDocument:
    """One sample by its members' ranges."""
    places = {member["name"]: (member["offset"], member["length"]) for member in row["members"]}

    def member(name: str) -> bytes:
        return tars.read(f"{shard}.tar", *places[name])

    sample = decode(member("json"))
    shown = list(_cut(sample))
    nodes = tuple(
        SampleNode(role=node.role, text=printable(node.text)[:CHARACTERS])
        if isinstance(node, SampleText)
        else SampleNode(
            role="image",
            text=printable(node.alt),
            picture=thumbnail(member(node.member)),
            note=f"{node.width} \u00d7 {node.height}, {node.member.rsplit('.', 1)[-1]}",
        )
        for node in shown
    )
    texts = sum(isinstance(node, SampleText) for node in sample.nodes)
    return SampleDocument(
        shard=shard,
        key=sample.key,
        url=printable(sample.url),
        title=printable(sample.title),
        date=sample.date,
        language=sample.language,
        texts=texts,
        images=len(sample.nodes) - texts,
        nodes=nodes,
        left_out=len(sample.nodes) - len(shown),
    )


def _cut(sample: Sample) -> Iterator[Any]:
    """Its nodes up to the first that is too many, a picture too many or too much text."""
    pictures = characters = 0
    for number, node in enumerate(sample.nodes):
        if number >= NODES or pictures >= PICTURES or characters >= CHARACTERS:
            return
        yield node
        if isinstance(node, SampleText):
            characters += len(node.text)
        else:
            pictures += 1


def printable(text: str) -> str:
    """A text without control characters, which no browser has to show and HTML forbids."""
    return UNPRINTABLE.sub("\ufffd", text)
