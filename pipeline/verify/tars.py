"""Tars: shards opened with tarfile, member by member; the index is only held against them.

In:   shards/SHARD.tar, index/SHARD.parquet.
Out:  what a shard holds (samples, texts, images, words, bytes), each image's bytes hashed again,
      and what is wrong, with the name of the sample. A member is in memory at a time.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from pipeline.verify import archive
from pipeline.verify.digest import Pairs, sample_digest
from pipeline.verify.folder import Row, RunFolder
from schemas.index import index_row
from schemas.manifest import Ledger
from schemas.sample import Sample, SampleImage, SampleText, decode, encode

NO_JSON: Final = "samples without readable JSON"
OTHER_ID: Final = "samples whose JSON has another id"
OTHER_MEMBERS: Final = "samples with other members than their JSON names"
OTHER_BYTES: Final = "images with other bytes than their sha256"
OTHER_JSON: Final = "samples whose JSON is not as the codec writes it"
NO_ROW: Final = "samples that the index lacks"
OTHER_PLACE: Final = "samples that lie elsewhere than the index says"
NO_SAMPLE: Final = "rows of the index without a sample"
ODD_BYTES: Final = "headers, padding and ends that no shard has"
WRONG: Final = (
    NO_JSON,
    OTHER_JSON,
    OTHER_ID,
    OTHER_MEMBERS,
    OTHER_BYTES,
    NO_ROW,
    OTHER_PLACE,
    NO_SAMPLE,
    ODD_BYTES,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """One member of a sample: its name behind KEY and a dot, where its bytes lie, their hash."""

    name: str
    offset: int
    length: int
    sha256: str


@dataclass(kw_only=True, slots=True)
class ShardCount:
    """`wrong` is what contradicts itself -> samples in which it does."""

    counts: Ledger = field(default_factory=Ledger)
    wrong: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    members: set[str] = field(default_factory=set)  # names of images: 000.jpg, 001.png, ...


def count_shard(folder: RunFolder, name: str, samples: Pairs, splits: Pairs) -> ShardCount:
    """Open a shard; what it says goes to `samples` and `splits`, held against what is kept."""
    count = ShardCount()
    split = name.partition("-")[0]
    index = {row["key"]: row for row in folder.rows("index", name)}
    path = f"shards/{name}.tar"
    try:
        for key, members, body in _samples(folder.path(path), count.wrong[ODD_BYTES]):
            sample = _sample(key, members, body, count)
            if sample is None:
                continue
            _count_sample(count.counts, sample, members, split=split)
            samples.meet(key, sample_digest(sample, _images(sample, members)))
            splits.meet(key, split.encode())
            count.members |= {one.name for one in members} - {"json"}
            _check_index(count, index.pop(key, None), sample, members)
        count.counts["shards"] = 1
    except (OSError, tarfile.TarError) as error:
        folder.note("shards", path, " ".join(str(error).split()))
    count.wrong[NO_SAMPLE] += index
    return count


def _samples(path: str, odd: list[str]) -> Iterator[tuple[str, list[Held], bytes]]:
    """(KEY, its members in the order of the tar, its JSON); neighbours of one KEY are a sample."""
    before, members, body = "", list[Held](), b""
    for info, data in archive.members(path, odd):
        key, _, name = info.name.partition(".")
        if members and key != before:
            yield before, members, body
            members, body = [], b""
        sha256 = hashlib.sha256(data).hexdigest()
        held = Held(name=name, offset=info.offset_data, length=len(data), sha256=sha256)
        before = key
        members.append(held)
        if name == "json":
            body = data
    if members:
        yield before, members, body


def _sample(key: str, members: list[Held], body: bytes, count: ShardCount) -> Sample | None:
    """The sample that the JSON tells; None, and a note, where there is none to read."""
    try:
        sample = decode(body)
    except (ValueError, KeyError, TypeError) as error:
        count.wrong[NO_JSON].append(f"{key} ({type(error).__name__})")
        return None
    images = [b"" for node in sample.nodes if isinstance(node, SampleImage)]
    if encode(sample, images)[0][1] != body:
        count.wrong[OTHER_JSON].append(key)
    if sample.key != key:
        count.wrong[OTHER_ID].append(key)
    told = {node.member: node.sha256 for node in sample.nodes if isinstance(node, SampleImage)}
    held = {one.name: one.sha256 for one in members if one.name != "json"}
    if sorted(told) != sorted(held) or len(held) + 1 != len(members):
        count.wrong[OTHER_MEMBERS].append(key)
    for name in sorted(told.keys() & held.keys()):
        if told[name] != held[name]:
            count.wrong[OTHER_BYTES].append(f"{key}.{name}")
    return sample


def _images(sample: Sample, members: list[Held]) -> list[tuple[str, int]]:
    """Hash and length of the bytes that each image node names, ("", 0) where there are none."""
    held = {one.name: (one.sha256, one.length) for one in members}
    names = [node.member for node in sample.nodes if isinstance(node, SampleImage)]
    return [held.get(name, ("", 0)) for name in names]


def _count_sample(ledger: Ledger, sample: Sample, members: list[Held], *, split: str) -> None:
    texts = [node.text for node in sample.nodes if isinstance(node, SampleText)]
    images = [one for one in members if one.name != "json"]
    ledger.keep("documents")
    ledger.keep("texts", len(texts))
    ledger.keep("images", len(images))
    ledger[f"samples.{split}"] += 1
    ledger["words.kept"] += sum(len(text.split()) for text in texts)
    ledger["bytes.kept"] += sum(len(text.encode()) for text in texts)
    ledger["bytes.kept"] += sum(image.length for image in images)


def _check_index(count: ShardCount, row: Row | None, sample: Sample, members: list[Held]) -> None:
    """The index names the bytes where tarfile finds them, and each node by its size."""
    if row is None:
        count.wrong[NO_ROW].append(sample.key)
        return
    places = [(one.name, one.offset, one.length) for one in members]
    if json.dumps(row, sort_keys=True) != json.dumps(index_row(sample, places), sort_keys=True):
        count.wrong[OTHER_PLACE].append(sample.key)
