"""Links: image rows point at their bytes in packs; what was kept is what lies in the tars.

images/ -> pack    each row's place holds a member of that digest and length, hashed again
kept/ -> sample    each kept document is one sample with the same texts and image bytes, no other is
sample -> index    each row names its members where tarfile finds them, and each node by its size

Cost: a member in memory at a time, and some 200 bytes a kept document.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from pipeline.stages import FILTER_IMAGES
from pipeline.store import parquet, store
from pipeline.verify.at_rest import RunAtRest, StageAtRest
from pipeline.verify.checks import Check, Tally, expect_none
from schemas.manifest import Ledger
from schemas.sample import Sample, SampleImage, SampleText, decode, encode, index_row

Row = Mapping[str, Any]
# what a sample takes from its document as it is; its nodes besides
_OF_DOCUMENT: Final = (
    "id", "url", "date", "title", "language", "licence", "input", "offset", "length",
)  # fmt: skip
_OF_NODE: Final = ("role", "text", "caption_of", "alt")
_COLUMNS: Final = (*_OF_DOCUMENT, *(f"nodes.list.element.{name}" for name in _OF_NODE))


class TarMember(NamedTuple):
    """One file of a tar: where its bytes lie, and their digest."""

    name: str
    offset: int
    length: int
    sha256: str


def members(path: str) -> Iterator[tuple[TarMember, bytes]]:
    """Raises OSError or tarfile.TarError for what is no whole tar."""
    with store.open_input(path) as handle, tarfile.open(fileobj=handle, mode="r:") as tar:
        for info in tar:
            file = tar.extractfile(info)
            data = b"" if file is None else file.read()
            digest = hashlib.sha256(data).hexdigest()
            yield TarMember(info.name, info.offset_data, len(data), digest), data


def check_packs(run: RunAtRest, at_rest: StageAtRest) -> Iterator[Check]:
    """Every row of images/ with a place, against what lies there."""
    wrong = []
    columns = ["url", "sha256", "bytes", "pack", "pack_offset"]
    for part in at_rest.named_parts:
        packs = dict[str, dict[int, TarMember]]()
        for row in parquet.read_rows(run.job.part("images", part), columns):
            if (pack := row["pack"]) is None:
                continue
            if pack not in packs:
                path = run.job.path("packs", pack)
                packs[pack] = {member.offset: member for member, _ in members(path)}
            member = packs[pack].get(row["pack_offset"])
            if member is None or (member.sha256, member.length) != (row["sha256"], row["bytes"]):
                wrong.append(f"{row['url']} of {part}, in {pack}")
    yield expect_none(at_rest.name, "images that lie elsewhere than images/ says", wrong)


def check_shards(run: RunAtRest, at_rest: StageAtRest) -> Iterator[Check]:
    """Every sample of every tar, against kept/, documents/ and the index."""
    kept = _kept(run)
    unmet, tally = set(kept), Tally(at_rest.name, ("documents.", "texts.", "images.", "samples.",
                                                   "words.", "bytes.", "shards"))  # fmt: skip
    wrong: dict[str, list[str]] = {WRONG_SAMPLE: [], WRONG_INDEX: [], DUPLICATE: []}
    for shard in at_rest.named_parts:
        ledger = Ledger(shards=1)
        index = {row["key"]: row for row in parquet.read_rows(run.job.part("index", shard))}
        for key, sample, held in samples(run.job.path("shards", f"{shard}.tar")):
            if sample is None or kept.get(key) != sample_digest(sample, held):
                wrong[WRONG_SAMPLE].append(f"{key} of {shard}")
            if key not in unmet and key in kept:
                wrong[DUPLICATE].append(f"{key} of {shard}")
            unmet.discard(key)
            if sample is not None:
                _count(ledger, sample, held, split=shard.partition("-")[0])
                places = [(member.name, member.offset, member.length) for member in held]
                if index.pop(key, None) != index_row(sample, places):
                    wrong[WRONG_INDEX].append(f"{key} of {shard}")
        wrong[WRONG_INDEX] += (f"{key} of {shard}" for key in index)
        for kind in ("documents", "texts", "images"):
            ledger.see(kind, ledger[f"{kind}.kept"])  # missing documents are in `unmet`
        tally.add(shard, ledger, at_rest.counts(shard))
    yield from tally.checks()
    yield expect_none(at_rest.name, "kept documents that no shard holds", sorted(unmet))
    for kind, keys in wrong.items():
        yield expect_none(at_rest.name, kind, keys)


WRONG_SAMPLE: Final = "samples other than what was kept"
WRONG_INDEX: Final = "samples that lie elsewhere than the index says"
DUPLICATE: Final = "samples that are in two places"


def samples(path: str) -> Iterator[tuple[str, Sample | None, list[TarMember]]]:
    """(key, sample, its members) of a shard; None for what is no sample as the codec writes it."""
    key, body, held = "", b"", list[TarMember]()
    for member, data in members(path):
        of_key, _, name = member.name.partition(".")
        if held and of_key != key:
            yield key, _sample(key, body, held), held
            body, held = b"", []
        key = of_key
        held.append(member._replace(name=name))
        if name == "json":
            body = data
    if held:
        yield key, _sample(key, body, held), held


def _sample(key: str, body: bytes, held: list[TarMember]) -> Sample | None:
    try:
        sample = decode(body)
    except ValueError:
        return None
    images = [node for node in sample.nodes if isinstance(node, SampleImage)]
    names = [("json", hashlib.sha256(body).hexdigest())]
    names += [(image.member, image.sha256) for image in images]
    as_written = encode(sample, [b""] * len(images))[0][1] == body and sample.key == key
    return sample if as_written and names == [(one.name, one.sha256) for one in held] else None


def _count(ledger: Ledger, sample: Sample, held: list[TarMember], *, split: str) -> None:
    texts = [node.text for node in sample.nodes if isinstance(node, SampleText)]
    ledger.keep("documents")
    ledger.keep("texts", len(texts))
    ledger.keep("images", len(held) - 1)
    ledger[f"samples.{split}"] += 1
    ledger["words.kept"] += sum(len(text.split()) for text in texts)
    ledger["bytes.kept"] += sum(len(text.encode()) for text in texts)
    ledger["bytes.kept"] += sum(member.length for member in held if member.name != "json")


def _kept(run: RunAtRest) -> dict[str, bytes]:
    """id -> digest of the sample that a kept row and its document make."""
    digests = {}
    for part in run.stages[FILTER_IMAGES.name].named_parts:
        rows = {row["row"]: row for row in parquet.read_rows(run.job.part("kept", part))}
        documents = parquet.read_rows(run.job.part("documents", part), _COLUMNS)
        for number, document in enumerate(documents):
            if number in rows:
                digests[rows[number]["id"]] = kept_digest(document, rows[number])
    return digests


def kept_digest(document: Row, kept: Row) -> bytes:
    """Of all that a sample must say."""
    images = {image["node"]: image for image in kept["images"]}
    positions = sorted([*kept["texts"], *images])
    place_of = {position: place for place, position in enumerate(positions)}
    nodes: list[object] = []
    for position in positions:
        node = document["nodes"][position]
        if (image := images.get(position)) is None:
            nodes.append((node["role"], node["text"], place_of.get(node["caption_of"])))
        else:
            sizes = image["width"], image["height"], image["length"]
            nodes.append((image["url"], node["alt"], image["sha256"], *sizes))
    return _digest([document[name] for name in _OF_DOCUMENT], nodes)


def sample_digest(sample: Sample, held: list[TarMember]) -> bytes:
    """Of all that a sample says, and of the bytes of its images."""
    lengths = iter([member.length for member in held if member.name != "json"])
    nodes: list[object] = []
    for node in sample.nodes:
        if isinstance(node, SampleText):
            nodes.append((node.role, node.text, node.caption_of))
        else:
            sizes = node.width, node.height, next(lengths)
            nodes.append((node.url, node.alt, node.sha256, *sizes))
    plain = (sample.key, sample.url, sample.date, sample.title, sample.language, sample.licence)
    return _digest([*plain, *sample.source], nodes)


def _digest(*things: object) -> bytes:
    text = json.dumps(things, ensure_ascii=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
