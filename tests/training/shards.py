"""Small shards for tests, as the pipeline leaves them: tars, indexes and, if asked for, a manifest.

    write_run(folder, [["A text.", picture(), "Another."], ...])

A document is its nodes in order: a str is a paragraph, bytes are an image. Nothing of the pipeline
is used, so that a test of the trainer reads what schemas/ says and not what the pipeline does.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
import webdataset
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from schemas.manifest import Manifest
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
from schemas.tables import INDEX, PARTS
from training.data.tokenizer import LoadedTokenizer, train_bpe

HEADER: Final = 512  # of a member with a short name
Node = str | bytes
Document = Sequence[Node]

WORDS: Final = (
    "the sea is wide and the ship is small so the captain looks at a map of every island "
    "while rain falls on red roofs near an old harbour where two green boats wait for wind"
).split()


def prose(words: int, *, seed: int = 0) -> str:
    """So many words in sentences of seven; another seed, other words."""
    chosen = [WORDS[(seed * 31 + n * n + n // 5) % len(WORDS)] for n in range(words)]
    return " ".join(
        word + ("." if n % 7 == 6 or n == words - 1 else "") for n, word in enumerate(chosen)
    )


def picture(width: int = 40, height: int = 30, *, colour: int = 0, kind: str = "PNG") -> bytes:
    """An image file of one colour with a brighter corner."""
    image = Image.new("RGB", (width, height), (colour % 256, colour * 7 % 256, 90))
    image.paste((255, 255, 200), (0, 0, width // 2, height // 2))
    held = io.BytesIO()
    image.save(held, kind)
    return held.getvalue()


def sample_of(document: Document, *, number: int = 0) -> tuple[Sample, list[bytes]]:
    """The sample of a document, and its images."""
    nodes: list[SampleNode] = []
    images: list[bytes] = []
    for node in document:
        if isinstance(node, str):
            nodes.append(SampleText(text=node, role="paragraph"))
        else:
            nodes.append(_image(node, len(images)))
            images.append(node)
    key = hashlib.sha256(repr((number, document)).encode()).hexdigest()[:32]
    sample = Sample(
        key=key,
        url=f"https://example.org/{number}",
        date="2026-01-02T03:04:05Z",
        title=f"Page {number}",
        language="en",
        licence="",
        source=("crawl.warc.gz", number, 1),
        nodes=tuple(nodes),
    )
    return sample, images


def _image(data: bytes, number: int) -> SampleImage:
    """Bytes that are no image count as a broken JPEG of 40 x 30."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            kind, (width, height) = str(image.format).lower(), image.size
    except OSError:
        kind, width, height = "jpeg", 40, 30
    return SampleImage(
        member=member_name(number, kind),
        url=f"https://example.org/{number}.{kind}",
        alt="",
        width=width,
        height=height,
        sha256=hashlib.sha256(data).hexdigest(),
    )


def write_shard(
    folder: Path, name: str, documents: Iterable[Document], *, index: bool = True, first: int = 0
) -> list[Sample]:
    """shards/NAME.tar and index/NAME.parquet under `folder`; the samples in order."""
    (folder / "shards").mkdir(parents=True, exist_ok=True)
    (folder / "index").mkdir(exist_ok=True)
    samples, rows = [], []
    path = folder / "shards" / f"{name}.tar"
    with path.open("wb") as stream, webdataset.TarWriter(stream, encoder=False, mtime=0) as tar:
        for number, document in enumerate(documents, start=first):
            sample, images = sample_of(document, number=number)
            places: list[MemberRange] = []
            for member, data in encode(sample, images):
                places.append((member, tar.tarstream.offset + HEADER, len(data)))
                tar.write({"__key__": sample.key, member: data})
            samples.append(sample)
            rows.append(index_row(sample, places))
    if index:
        pq.write_table(pa.Table.from_pylist(rows, INDEX), folder / "index" / f"{name}.parquet")
    return samples


def write_run(
    folder: Path,
    documents: Sequence[Document],
    *,
    shards: int = 1,
    heldout: Sequence[Document] = (),
    manifest: bool = False,
    index: bool = True,
) -> list[Sample]:
    """A run folder: the training documents over so many shards, one of held-out ones if any.

    The samples of the training shards come back, shard after shard.
    """
    samples: list[Sample] = []
    for shard in range(shards):
        of_shard = documents[
            shard * len(documents) // shards : (shard + 1) * len(documents) // shards
        ]
        samples += write_shard(
            folder, f"train-{shard:05d}", of_shard, index=index, first=len(samples)
        )
    if heldout:
        write_shard(folder, "heldout-00000", heldout, index=index, first=len(documents))
    if manifest:
        names = [f"train-{shard:05d}" for shard in range(shards)]
        _write_manifest(folder, [*(["heldout-00000"] if heldout else []), *names])
    return samples


def _write_manifest(folder: Path, names: Sequence[str]) -> None:
    """shard.parts.parquet and shard.manifest.json; of the counts those that a trainer reads."""
    fingerprint = "0" * 32
    rows = []
    for name in names:
        index = folder / "index" / f"{name}.parquet"
        counts = [("shards", 1)]
        if index.exists():
            counts.append((f"samples.{name.split('-')[0]}", pq.read_metadata(index).num_rows))
        rows.append({"part": name, "fingerprint": fingerprint, "counts": counts, "files": []})
    pq.write_table(pa.Table.from_pylist(rows, PARTS), folder / "shard.parts.parquet")
    text = Manifest(
        stage="shard",
        fingerprint=fingerprint,
        settings={},
        versions={},
        parts=len(names),
        parts_sha256="0" * 64,
        counts={"shards": len(names)},
    ).to_json()
    (folder / "shard.manifest.json").write_text(text)


@cache
def small_tokenizer() -> LoadedTokenizer:
    """A BPE of 600 tokens, trained on `prose`."""
    with TemporaryDirectory() as folder:
        return train_bpe([prose(400, seed=seed) for seed in range(8)], 600, Path(folder))


def word_tokenizer(*special: str, **named: str) -> PreTrainedTokenizerFast:
    """A tokenizer of somebody else's: whole words, and the tokens that it is given."""
    words = [*special, *sorted({word for text in WORDS for word in (text, f"{text}.")}), "[UNK]"]
    tokenizer = Tokenizer(
        models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)  # type: ignore[no-untyped-call]
