"""One GPU: tokens a second and MFU of a training step in bfloat16, on made batches.

    python -m tests.bench gpu [SHAPE] [ROWS] [SECONDS]     idefics2-8b, 4 rows, 300 seconds at most

Batches are packed rows of the shape's sequence length: documents of OBELICS' spread (median 677
tokens, an image or a few), images of 384 pixels. The language model has adapters of rank 64 (the
paper's way), the connector is trained, vision is frozen. MFU is FLOPs that this needs (flops.py)
over seconds and the card's peak; beside it what flash attention saves, the model's memory, and the
card's name. Before it, isolation: another document's tokens change no logit of the first, to the
bit. Imports only training and schemas; makes its own data; ends by itself.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch

from training.data.batch import Batch, Piece, Row, collate
from training.data.images import PATCH, places
from training.data.tokens import IGNORED
from training.model.idefics2 import PackedIdefics2, build
from training.model.lora import add_lora
from training.model.shapes import PEAKS, SHAPES, Flops, Shape, flops

VOCABULARY = 32_003
IMAGE, FAKE = 32_001, 32_000
SIDE = 384 // PATCH  # patches


def row_of(shape: Shape, dice: np.random.Generator) -> Row:
    """Documents until the row is full, the last one cut."""
    tokens: list[int] = []
    lengths: list[int] = []
    images = 0
    while len(tokens) < shape.sequence_length:
        made = _document(shape, dice)[: shape.sequence_length - len(tokens)]
        shown = made.count(IMAGE) // shape.image_tokens
        if made.count(IMAGE) % shape.image_tokens:  # cut in the midst of an image
            made = [FAKE if token == IMAGE else token for token in made]
            shown = 0
        tokens += made
        lengths.append(len(made))
        images += shown
    ids = np.array(tokens, dtype=np.int64)
    labels = np.full(len(ids), IGNORED, dtype=np.int64)
    labels[:-1] = np.where(ids[1:] < FAKE, ids[1:], IGNORED)
    labels[np.cumsum(lengths) - 1] = IGNORED
    patches = images * SIDE * SIDE
    return Row(
        tokens=ids,
        labels=labels,
        lengths=np.array(lengths, dtype=np.int64),
        patches=dice.integers(0, 256, (patches, 3 * PATCH**2), dtype=np.uint8),
        patch_places=np.tile(places(SIDE, SIDE, table=shape.table), images),
        patch_lengths=np.full(images, SIDE * SIDE, dtype=np.int64),
        pieces=(Piece(source=0, shard="made", key="made", start=0, end=len(ids)),),
    )


def _document(shape: Shape, dice: np.random.Generator) -> list[int]:
    words = int(np.clip(dice.lognormal(np.log(677), 1.0), 40, 8000))
    images = int(np.clip(dice.geometric(0.5), 1, 30))
    text = dice.integers(3, 32_000, words).tolist()
    block = [FAKE, *[IMAGE] * shape.image_tokens, FAKE]
    made = [1]
    for part in np.array_split(np.array(text), images):
        made += [*block, *part.tolist()]
    return [*made, 2]


def cost(shape: Shape, batch: Batch) -> Flops:
    documents = batch.documents_D1.diff().tolist()
    images = batch.images_N1.diff().tolist()
    return flops(shape, VOCABULARY, documents=documents, images=images, targets=batch.targets)


def check_isolation(model: PackedIdefics2, batch: Batch) -> None:
    """Raises AssertionError where the second document changes a logit of the first."""
    end = int(batch.documents_D1[1])
    other = batch.tokens_T.clone()
    free = (other < FAKE) & (torch.arange(other.numel(), device=other.device) >= end)
    other[free] = (other[free] + 7) % 30_000
    changed = Batch(
        **{name: getattr(batch, name) for name in Batch.__slots__} | {"tokens_T": other}
    )
    here = torch.arange(end, device=other.device)
    with torch.no_grad(), torch.autocast("cuda", dtype=torch.bfloat16):
        before, after = model.logits(batch, here), model.logits(changed, here)
    assert torch.equal(before, after), "a packed document sees another"


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "idefics2-8b"
    rows = int(sys.argv[2]) if len(sys.argv) > 2 else 4
    limit = float(sys.argv[3]) if len(sys.argv) > 3 else 300.0
    if not torch.cuda.is_available():
        print("no GPU here: this row was not run")
        return
    shape, card = SHAPES[name], torch.cuda.get_device_name()
    peak = next((value for kind, value in PEAKS.items() if kind in card), None)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        model = build(shape, vocabulary=VOCABULARY, bos=1, eos=2, pad=0, image_token=IMAGE, seed=0)
        add_lora(model, rank=64, alpha=128, dora=False, new_tokens=(), seed=0, train_vision=False)
    torch.set_default_dtype(torch.float32)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5, fused=True)
    dice = np.random.default_rng(0)
    batches = [collate([row_of(shape, dice) for _ in range(rows)]).to("cuda") for _ in range(4)]
    check_isolation(model, batches[0])
    model.train()
    model.recompute()
    done, tokens, needed, began = 0, 0, 0.0, 0.0
    while done < 24 and (done < 4 or time.monotonic() - began < limit):
        if done == 4:  # warm
            torch.cuda.synchronize()
            began, tokens, needed = time.monotonic(), 0, 0.0
        batch = batches[done % len(batches)]
        (model(batch).sum() / batch.targets).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        tokens += batch.tokens_T.numel()
        needed += cost(shape, batch).step(frozen_backbones=True)
        done += 1
    torch.cuda.synchronize()
    seconds = time.monotonic() - began
    reached = needed / seconds
    print(f"{card}, {name}, {rows} rows of {shape.sequence_length}, LoRA 64, bfloat16, torch "
          f"{torch.__version__}")  # fmt: skip
    print(f"{tokens / seconds:,.0f} tokens/s, {reached / 1e12:,.0f} TFLOP/s"
          + (f", MFU {reached / peak:.1%}" if peak else "")
          + f", {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB at the peak")  # fmt: skip


if __name__ == "__main__":
    main()
