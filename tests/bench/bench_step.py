"""A training step on packed documents, against transformers' Idefics2 on the same ones, padded.

    python -m tests.bench step [--pixels 224] [--documents 32] [--threads 1] [--only BATCH]

The same shape, weights, documents and pictures in one run: real tokens (neither padding nor that of
others) a CPU-second of forward, loss, backward and AdamW over 8 documents. Ours takes the 8 as one
packed batch; transformers' takes them as batches of 8, 4, 2 or 1, padded to their longest and to
their largest picture, with the attention that is named. Processor seconds are counted, not those
of the clock, so other work on the machine distorts little.

Documents have OBELICS' spread (arXiv 2306.16527, table 1 and section 4.1): median 677 tokens and 1
image, up to 30, means 815 and 2.5; at most 2,048 tokens. Pictures' sides vary in aspect from 1:1 to
2:1. Times are of this machine in this minute: only ratios mean something.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

ROOT: Final = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.training.model import reference  # noqa: E402
from tests.training.model.reference import Document, packed, padded  # noqa: E402
from training.data.images import PATCH  # noqa: E402
from training.model.idefics2 import PackedIdefics2, build  # noqa: E402
from training.model.shapes import Perceiver, Shape, Text, Vision  # noqa: E402

GROUP: Final = 8  # documents a step
LONGEST: Final = 2048  # tokens
VOCABULARY: Final = 8192
Backward = Callable[[PackedIdefics2, Sequence[Document]], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    name: str
    backward: Backward


def shape(pixels: int) -> Shape:
    """6 layers of 384, and a vision transformer of 4 layers of 256."""
    return Shape(
        text=Text(layers=6, width=384, ffn=1024, heads=6, kv_heads=2),
        vision=Vision(layers=4, width=256, ffn=1024, heads=4, table=pixels // PATCH),
        perceiver=Perceiver(latents=64, depth=3, heads=6, kv_heads=2, head=64),
        sequence_length=LONGEST,
        longest=pixels,
        shortest=pixels // 2 // PATCH * PATCH,
    )


def documents(count: int, pixels: int, latents: int, seed: int = 0) -> list[Document]:
    """Made-up documents of OBELICS' spread."""
    draw = np.random.default_rng(seed)
    return [_document(draw, pixels // PATCH, latents) for _ in range(count)]


def _document(draw: np.random.Generator, side: int, latents: int) -> Document:
    images = min(30, max(1, round(math.exp(1.3 * draw.standard_normal()))))
    length = round(677 * math.exp(0.61 * draw.standard_normal()))  # of the whole document
    block = [reference.FAKE, *[reference.IMAGE] * latents, reference.FAKE]
    images = min(images, (LONGEST - 2 - images) // len(block))
    words = min(LONGEST - 2 - images * len(block), max(images + 1, length - images * len(block)))
    text = [int(token) for token in draw.integers(5, VOCABULARY, words)]
    cuts = np.linspace(0, words, images + 2).astype(int)
    tokens = [reference.BOS, *text[: cuts[1]]]
    for start, end in pairwise(cuts[1:]):
        tokens += [*block, *text[start:end]]
    pictures = [_picture(draw, side) for _ in range(images)]
    return Document(tokens=[*tokens, reference.EOS], pictures=pictures)


def _picture(draw: np.random.Generator, side: int) -> reference.Picture:
    other = int(draw.integers(side // 2, side + 1))
    rows, columns = (side, other) if draw.random() < 0.3 else (other, side)
    return draw.integers(0, 256, (rows * PATCH, columns * PATCH, 3), dtype=np.uint8)


def ours(table: int) -> Backward:
    def backward(model: PackedIdefics2, group: Sequence[Document]) -> None:
        batch = packed(*group, table=table)
        torch.autograd.backward(model(batch).sum() / batch.targets)

    return backward


def theirs(size: int) -> Backward:
    def backward(model: PackedIdefics2, group: Sequence[Document]) -> None:
        for start in range(0, len(group), size):
            part = group[start : start + size]
            inputs = padded(part, torch.float32)
            labels = _labels(inputs)
            passed = model.idefics2(**inputs, labels=labels, use_cache=False)
            torch.autograd.backward(passed.loss * len(part) / len(group))

    return backward


def _labels(inputs: dict[str, Tensor]) -> Tensor:
    tokens = inputs["input_ids"]
    silent = (tokens == reference.FAKE) | (tokens == reference.IMAGE)
    return tokens.masked_fill(silent | (inputs["attention_mask"] == 0), -100)


def seconds(model: PackedIdefics2, way: Way, group: Sequence[Document], attention: str) -> float:
    """Of the processor, for one step."""
    model.idefics2.set_attn_implementation(attention)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    start = time.process_time()
    way.backward(model, group)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--pixels", type=int, default=224)
    parser.add_argument("--documents", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--only", type=int, nargs="*", default=[8, 4, 2, 1], help="batches of theirs"
    )
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    form = shape(chosen.pixels)
    model = build(form, vocabulary=VOCABULARY, **reference.IDS, seed=0)
    packed_attention = model.idefics2.config._attn_implementation
    padded_ways = [
        (Way(name=f"padded {size}, sdpa", backward=theirs(size)), "sdpa") for size in chosen.only
    ]
    ways = [
        (Way(name="packed", backward=ours(form.table)), packed_attention),
        *padded_ways,
        (Way(name="padded 1, eager", backward=theirs(1)), "eager"),
    ]

    made = documents(chosen.documents, chosen.pixels, form.image_tokens)
    groups = [made[start : start + GROUP] for start in range(0, len(made), GROUP)]
    lengths = [len(one.tokens) for one in made]
    pictures = [len(one.pictures) for one in made]
    print(
        f"{len(made)} documents at {chosen.pixels} px, {sum(lengths)} tokens (median "
        f"{np.median(lengths):.0f}), {sum(pictures)} pictures (median {np.median(pictures):.0f}, "
        f"most {max(pictures)}), {chosen.threads} threads"
    )
    spent = dict.fromkeys((way.name for way, _ in ways), 0.0)
    for way, attention in ways:  # warm
        seconds(model, way, made[:1], attention)
    for group in groups:
        for way, attention in ways:
            spent[way.name] += seconds(model, way, group, attention)
    for name, total in spent.items():
        rate = sum(lengths) / total
        print(f"{name:16} {rate:7.0f} real tokens/CPU-s   packed {total / spent['packed']:.2f}x")


if __name__ == "__main__":
    main()
