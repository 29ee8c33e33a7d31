"""shard: kept documents and their image bytes become tars, each with its index.

In:   a Cut of the plan, kept/, documents/ and packs/.
Out:  shards/SHARD.tar by webdataset's TarWriter, then index/SHARD.parquet, whose mark says that
      the shard is whole.
Fails where an image's bytes have another sha256 than when they came in.
"""

from __future__ import annotations

import hashlib
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from typing import TYPE_CHECKING, Any

from pipeline.job import Job
from pipeline.shard.plan import Cut, samples_of
from pipeline.store import parquet, store
from pipeline.store.packs import HEADER, PackReader
from schemas.document import Document, ImageNode, TextNode, document_from_row
from schemas.manifest import Ledger, PartResult
from schemas.sample import (
    MemberRange,
    Sample,
    SampleImage,
    SampleNode,
    SampleText,
    encode,
    index_row,
    member_name,
)
from schemas.tables import INDEX

if TYPE_CHECKING:
    import webdataset


def write_shard(name: str, cut: Cut, job: Job) -> PartResult:
    """One shard with its index, unless it is whole already; either way, what it counted."""
    fingerprint, files = job.fingerprint, job.files()
    index_path, tar_path = job.part("index", name), job.path("shards", f"{name}.tar")
    whole = parquet.read_whole(index_path, part=name, fingerprint=fingerprint, output=job.output)
    if whole is not None:
        return whole
    ledger = Ledger()
    # the index is opened first, so it is closed, and moved to its name, last
    with (
        closing(PackReader(job.path("packs"))) as packs,
        parquet.Writer(index_path, INDEX, fingerprint=fingerprint, files=files) as index,
        store.create(tar_path, files) as handle,
        tar_writer()(handle, encoder=False, mtime=0) as tar,
    ):
        index.counts = ledger
        for kept, document in samples(cut, job):
            _see(ledger, kept)
            sample, images = build_sample(document, kept, packs)
            index.add(index_row(sample, list(write_sample(tar, sample, images))))
            _keep(ledger, sample, kept, split=cut.group.split)
        ledger["shards"] = 1
    return PartResult(part=name, fingerprint=fingerprint, counts=dict(ledger), files=files.stored)


@cache
def tar_writer() -> type[webdataset.TarWriter]:
    """webdataset's, imported as if there were no torch.

    webdataset imports torch for loaders that nobody uses here: 3 s and 300 MB of every process.
    """
    if "torch" in sys.modules:
        import webdataset  # noqa: PLC0415

        return webdataset.TarWriter
    sys.modules["torch"] = None  # type: ignore[assignment]  # importlib's way to say: not here
    try:
        from webdataset import TarWriter  # noqa: PLC0415
    finally:
        del sys.modules["torch"]
        for name in list(sys.modules):
            if name.partition(".")[0] == "webdataset":  # whoever has torch imports it anew
                del sys.modules[name]
    return TarWriter


def samples(cut: Cut, job: Job) -> Iterator[tuple[dict[str, Any], Document]]:
    """Kept rows and documents of a shard, in the order of its samples."""
    planned = samples_of(cut.group, job)[cut.start : cut.stop]
    rows_of: dict[str, set[int]] = defaultdict(set)
    for sample in planned:
        rows_of[sample.part].add(sample.row)
    read: dict[tuple[str, int], tuple[dict[str, Any], Document]] = {}
    for part, rows in rows_of.items():
        kept = {row["row"]: row for row in parquet.read_rows(job.part("kept", part))
                if row["row"] in rows}  # fmt: skip
        for row, values in enumerate(parquet.read_rows(job.part("documents", part))):
            if row in kept:
                read[part, row] = (kept[row], document_from_row(values))
    for sample in planned:
        yield read[sample.part, sample.row]


def build_sample(
    document: Document, kept: dict[str, Any], packs: PackReader
) -> tuple[Sample, list[bytes]]:
    """The sample of a kept document, its captions pointing at the places of what was kept."""
    images = {image["node"]: image for image in kept["images"]}
    positions = sorted([*kept["texts"], *images])  # in the document
    place_of = {position: place for place, position in enumerate(positions)}  # in the sample
    nodes: list[SampleNode] = []
    data: list[bytes] = []
    for position in positions:
        node = document.nodes[position]
        match node:
            case TextNode():
                caption_of = None if node.caption_of is None else place_of.get(node.caption_of)
                nodes.append(SampleText(text=node.text, role=str(node.role), caption_of=caption_of))
            case ImageNode():
                image = images[position]
                nodes.append(
                    SampleImage(
                        member=member_name(len(data), image["format"]),
                        alt=node.alt,
                        **{key: image[key] for key in ("url", "width", "height", "sha256")},
                    )
                )
                data.append(_read_image(image, packs))
    sample = Sample(
        key=document.id,
        url=document.url,
        date=document.date,
        title=document.title,
        language=document.language,
        licence=document.signals.licence,
        source=(document.input, document.offset, document.length),
        nodes=tuple(nodes),
    )
    return sample, data


def _read_image(image: dict[str, Any], packs: PackReader) -> bytes:
    data = packs.read(image["pack"], image["offset"], image["length"])
    if hashlib.sha256(data).hexdigest() != image["sha256"]:
        raise ValueError(
            f"pack {image['pack']} holds other bytes at {image['offset']} than sha256 "
            f"{image['sha256']}: interloom verify names what to remove, so that it is made again"
        )
    return data


def write_sample(
    tar: webdataset.TarWriter, sample: Sample, images: list[bytes]
) -> Iterator[MemberRange]:
    """Append the members one by one, since TarWriter would sort the JSON behind the images."""
    for name, data in encode(sample, images):
        offset = tar.tarstream.offset + HEADER
        tar.write({"__key__": sample.key, name: data})
        yield name, offset, len(data)


def _see(ledger: Ledger, kept: dict[str, Any]) -> None:
    ledger.see("documents")
    ledger.see("texts", len(kept["texts"]))
    ledger.see("images", len(kept["images"]))


def _keep(ledger: Ledger, sample: Sample, kept: dict[str, Any], *, split: str) -> None:
    texts = [node for node in sample.nodes if isinstance(node, SampleText)]
    ledger.keep("documents")
    ledger.keep("texts", len(texts))
    ledger.keep("images", len(sample.nodes) - len(texts))
    ledger[f"samples.{split}"] += 1
    ledger["bytes.kept"] += kept["bytes"]
    ledger["words.kept"] += sum(len(node.text.split()) for node in texts)
