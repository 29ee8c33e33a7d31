"""What the model is compared with: made-up documents, as packed rows and as transformers' padded
inputs, and a forward of transformers' own layers under explicit masks.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers.models.idefics2.modeling_idefics2 import Idefics2Model

from training.data.batch import Batch, Piece, Row, collate
from training.data.images import PATCH
from training.data.tokens import IGNORED
from training.model.idefics2 import PackedIdefics2, build, normalised
from training.model.shapes import Perceiver, Shape, Text, Vision

PAD, BOS, EOS, FAKE, IMAGE = range(5)
IDS: Final = {"bos": BOS, "eos": EOS, "pad": PAD, "image_token": IMAGE}
VOCABULARY: Final = 61
MINI: Final = Shape(
    text=Text(layers=3, width=48, ffn=96, heads=4, kv_heads=2, tied=False),
    vision=Vision(layers=2, width=32, ffn=48, heads=4, table=6),
    perceiver=Perceiver(latents=4, depth=2, heads=4, kv_heads=2, head=8),
    sequence_length=128,
    longest=84,
    shortest=14,
)

Picture = npt.NDArray[np.uint8]  # rows x columns x 3, sides that patches fill


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    tokens: list[int]
    pictures: list[Picture]


def document(
    seed: int, *, words: int = 6, grids: Sequence[tuple[int, int]] = (), latents: int = 4
) -> Document:
    """Text, then for each picture its tokens and text again; the grids are in patches."""
    draw = np.random.default_rng(seed)

    def text() -> list[int]:
        return [int(token) for token in draw.integers(5, VOCABULARY, words)]

    tokens = [BOS, *text()]
    for _ in grids:
        tokens += [FAKE, *[IMAGE] * latents, FAKE, *text()]
    pictures = [
        draw.integers(0, 256, (rows * PATCH, columns * PATCH, 3), dtype=np.uint8)
        for rows, columns in grids
    ]
    return Document(tokens=[*tokens, EOS], pictures=pictures)


def row(documents: Sequence[Document], table: int = MINI.table) -> Row:
    """One packed row: every token but BOS, fake and image tokens is trained."""
    labels = [label for one in documents for label in [*map(_label, one.tokens[1:]), IGNORED]]
    pictures = [picture for one in documents for picture in one.pictures]
    cut = [patches(picture) for picture in pictures]
    placed = [places(picture, table) for picture in pictures]
    return Row(
        tokens=np.array([token for one in documents for token in one.tokens], np.int64),
        labels=np.array(labels, np.int64),
        lengths=np.array([len(one.tokens) for one in documents], np.int64),
        patches=np.concatenate([np.zeros((0, 3 * PATCH * PATCH), np.uint8), *cut]),
        patch_places=np.concatenate([np.zeros(0, np.int64), *placed]),
        patch_lengths=np.array([len(one) for one in cut], np.int64),
        pieces=tuple(
            Piece(source=0, shard="made", key=str(number), start=1, end=len(one.tokens))
            for number, one in enumerate(documents)
        ),
    )


def packed(*documents: Document, table: int = MINI.table) -> Batch:
    return collate([row(documents, table)])


def patches(picture: Picture) -> npt.NDArray[np.uint8]:
    """K x C, channels first within a patch."""
    rows, columns = picture.shape[0] // PATCH, picture.shape[1] // PATCH
    cut = picture.reshape(rows, PATCH, columns, PATCH, 3).transpose(0, 2, 4, 1, 3)
    return np.ascontiguousarray(cut.reshape(rows * columns, -1))


def places(picture: Picture, table: int) -> npt.NDArray[np.int64]:
    """Fractions of a side in float32, by bins of the table's (Idefics2VisionEmbeddings)."""
    bins = torch.arange(1 / table, 1.0, 1 / table)

    def axis(count: int) -> Tensor:
        fractions = torch.arange(count, dtype=torch.float32) * (1.0 / torch.tensor(count))
        return torch.bucketize(fractions.clamp(max=1.0 - 1e-6), bins, right=True)

    rows, columns = (axis(side // PATCH) for side in picture.shape[:2])
    return (rows[:, None] * table + columns[None]).flatten().numpy()


def perturbed(dtype: torch.dtype, *, shape: Shape = MINI, seed: int = 0) -> PackedIdefics2:
    """A model far from its start: every weight moved, the head scaled so that logits reach 5."""
    model = build(shape, vocabulary=VOCABULARY, **IDS, seed=seed).to(dtype)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for weight in model.parameters():
            noise = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
            weight.add_(noise.to(dtype), alpha=0.1)
        largest = model.logits(packed(document(0, grids=[(2, 3)], latents=shape.image_tokens)))
        model.idefics2.lm_head.weight *= 5 / largest.abs().max()
    return model


def padded(documents: Sequence[Document], dtype: torch.dtype) -> dict[str, Tensor]:
    """transformers' inputs: a batch padded to its longest document and its largest picture."""
    length = max(len(one.tokens) for one in documents)
    count = max(len(one.pictures) for one in documents)
    inputs: dict[str, Tensor] = {
        "input_ids": torch.full((len(documents), length), PAD),
        "attention_mask": torch.zeros(len(documents), length, dtype=torch.int64),
    }
    for number, one in enumerate(documents):
        inputs["input_ids"][number, : len(one.tokens)] = torch.tensor(one.tokens)
        inputs["attention_mask"][number, : len(one.tokens)] = 1
    if not count:
        return inputs
    sides = [picture.shape[:2] for one in documents for picture in one.pictures]
    size = (len(documents), count)
    height, width = max(side[0] for side in sides), max(side[1] for side in sides)
    inputs["pixel_values"] = torch.zeros(*size, 3, height, width, dtype=dtype)
    inputs["pixel_attention_mask"] = torch.zeros(*size, height, width, dtype=torch.bool)
    for number, one in enumerate(documents):
        for place, picture in enumerate(one.pictures):
            rows, columns = picture.shape[:2]
            pixels = normalised(torch.from_numpy(picture).permute(2, 0, 1), dtype)
            inputs["pixel_values"][number, place, :, :rows, :columns] = pixels
            inputs["pixel_attention_mask"][number, place, :rows, :columns] = True
    return inputs


def theirs(model: PackedIdefics2, documents: Sequence[Document], attention: str = "sdpa") -> Tensor:
    """transformers' logits at all real tokens of a padded batch, document after document."""
    name = model.idefics2.config._attn_implementation
    model.idefics2.set_attn_implementation(attention)
    try:
        inputs = padded(documents, model.idefics2.dtype)
        logits: Tensor = model.idefics2(**inputs, use_cache=False).logits
        return logits[inputs["attention_mask"].bool()]
    finally:
        model.idefics2.set_attn_implementation(name)


def masked_loss(model: PackedIdefics2, batch: Batch) -> Tensor:
    """The summed loss of a packed batch by explicit masks through transformers' own layers."""
    name = model.idefics2.config._attn_implementation
    model.idefics2.set_attn_implementation("sdpa")
    try:
        logits = _masked_logits(model.idefics2.model, batch, model.idefics2.lm_head)
        return cross_entropy(logits, batch.labels_T, ignore_index=IGNORED, reduction="sum")
    finally:
        model.idefics2.set_attn_implementation(name)


def _masked_logits(inner: Idefics2Model, batch: Batch, head: nn.Module) -> Tensor:
    numbers = _numbers(batch.documents_D1)
    same = numbers[:, None] == numbers[None]
    embedded = inner.text_model.embed_tokens(batch.tokens_T)
    if len(batch.images_N1) > 1:
        is_image = batch.tokens_T == inner.config.image_token_id
        embedded = embedded.masked_scatter(is_image[:, None], _masked_visual(inner, batch))
    passed = inner.text_model(
        inputs_embeds=embedded[None],
        attention_mask=_additive(same.tril(), embedded.dtype),
        position_ids=batch.positions_T[None],
        use_cache=False,
    )
    return cast("Tensor", head(passed.last_hidden_state[0]))


def _masked_visual(inner: Idefics2Model, batch: Batch) -> Tensor:
    vision, resampler = inner.vision_model, inner.connector.perceiver_resampler
    convolution = vision.embeddings.patch_embedding
    pixels = normalised(batch.patches_KC, convolution.weight.dtype)
    # the convolution itself, on each patch as a picture
    states = convolution(pixels.view(-1, 3, PATCH, PATCH)).flatten(1)
    states = states + vision.embeddings.position_embedding(batch.patch_places_K)
    of_patch = _numbers(batch.images_N1)
    same = _additive(of_patch[:, None] == of_patch[None], states.dtype)
    encoded = vision.encoder(inputs_embeds=states[None], attention_mask=same)
    context = inner.connector.modality_projection(vision.post_layernorm(encoded[0]))
    of_latent = torch.arange(len(batch.images_N1) - 1).repeat_interleave(resampler.n_latents)
    seen = of_latent[:, None] == torch.cat([of_patch, of_latent])[None]
    latents = resampler.latents.repeat(len(batch.images_N1) - 1, 1)[None]
    for layer in resampler.layers:
        latents = layer(latents, context, attention_mask=_additive(seen, latents.dtype))
    return cast("Tensor", resampler.norm(latents)[0])


def _numbers(cumulative: Tensor) -> Tensor:
    """Which segment each position is of."""
    return torch.arange(len(cumulative) - 1).repeat_interleave(cumulative.diff().long())


def _additive(seen: Tensor, dtype: torch.dtype) -> Tensor:
    mask = torch.zeros(seen.shape, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)
    return mask[None, None]


def _label(token: int) -> int:
    return IGNORED if token in (FAKE, IMAGE) else token


def spans(documents: Sequence[Document]) -> list[slice]:
    """Where each document's tokens stand in their row."""
    ends = list(itertools.accumulate(len(one.tokens) for one in documents))
    return [slice(end - len(one.tokens), end) for one, end in zip(documents, ends, strict=True)]
