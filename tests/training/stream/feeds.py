"""A small run with its plan and reader, and what its batches hold, for tests of the stream."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from torch import Tensor

from tests.training.shards import picture, prose, small_tokenizer
from training.data.batch import Batch
from training.data.counts import count_sources
from training.data.images import ImageRule
from training.data.plan import Order, Plan, RankPlan
from training.data.rows import RowReader
from training.data.sources import open_source
from training.data.stream import Step, stream

Document = list[str | bytes]
IMAGE_TOKENS = 4
RULE = ImageRule(longest=70, shortest=42, table=5, image_tokens=IMAGE_TOKENS)


def documents(count: int) -> list[Document]:
    """Texts and pictures of many lengths and sides, all different."""
    found: list[Document] = []
    for number in range(count):
        nodes: Document = [prose(5 + number * 7 % 60, seed=number)]
        for image in range(number % 4):
            kind = ("PNG", "JPEG", "WEBP")[(number + image) % 3]
            sides = (30 + number * 5 % 90, 20 + image * 17)
            nodes.append(picture(*sides, colour=number * 5 + image, kind=kind))
            if number % 3:
                nodes.append(prose(4 + image, seed=number + image))
        found.append(nodes)
    return found


def feed(folder: str) -> tuple[Plan, RowReader]:
    """A plan over a folder's training shards, and the reader of its rows."""
    loaded = small_tokenizer()
    source = open_source(folder)
    count_sources([source], loaded.encoder, loaded.digest, workers=1)
    order = Order(sequence_length=96, image_tokens=IMAGE_TOKENS, rows=6, window=16)
    plan = Plan([source], loaded.digest, order)
    reader = RowReader(sources=[source], encoder=loaded.encoder, digest=loaded.digest, images=RULE)
    return plan, reader


def take(
    plan: Plan, reader: RowReader, steps: int, *, workers: int = 0, rank: int = 0, world: int = 1
) -> list[Step]:
    """The first steps of a stream, which is then closed."""
    made = stream(RankPlan(plan, rank=rank, world=world), reader, micro_rows=4, workers=workers)
    found = [next(made) for _ in range(steps)]
    made.close()
    return found


def told(batch: Batch) -> dict[str, Any]:
    """A batch as lists, to compare."""
    values = {one.name: getattr(batch, one.name) for one in fields(batch)}
    return {
        name: value.tolist() if isinstance(value, Tensor) else value
        for name, value in values.items()
    }


def all_told(steps: list[Step]) -> list[Any]:
    return [([told(batch) for batch in step.batches], step.state, step.broken) for step in steps]


def by_document(steps: list[Step]) -> dict[tuple[int, int, str, int], dict[str, list[int]]]:
    """Tokens, labels and patches of each piece: (step, batch, key, start) -> what it holds."""
    found = {}
    for number, step in enumerate(steps):
        for place, batch in enumerate(step.batches):
            documents = batch.documents_D1.tolist()
            images = batch.images_N1.tolist()
            image_token = small_tokenizer().special.image
            first = 0
            for piece, start, end in zip(batch.pieces, documents, documents[1:], strict=False):
                tokens = batch.tokens_T[start:end]
                shown = int((tokens == image_token).sum()) // IMAGE_TOKENS
                patches = slice(images[first], images[first + shown])
                first += shown
                found[number, place, piece.key, piece.start] = {
                    "tokens": tokens.tolist(),
                    "labels": batch.labels_T[start:end].tolist(),
                    "positions": batch.positions_T[start:end].tolist(),
                    "patches": batch.patches_KC[patches].tolist(),
                    "places": batch.patch_places_K[patches].tolist(),
                }
            assert first == len(images) - 1, "every image belongs to a document"
    return found


def members_of(folder: Path, shard: str = "train-00000") -> list[dict[str, Any]]:
    """Rows of a shard's index."""
    rows: list[dict[str, Any]] = pq.read_table(folder / "index" / f"{shard}.parquet").to_pylist()
    return rows


def overwrite(folder: Path, offset: int, data: bytes, shard: str = "train-00000") -> None:
    """Other bytes at a place of a tar, which keeps its size."""
    with (folder / "shards" / f"{shard}.tar").open("r+b") as tar:
        tar.seek(offset)
        tar.write(data)
