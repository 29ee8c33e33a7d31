"""FLOPs of a step: what its multiplications need, counted from the shape, never measured.

Shape suffixes are not needed: all are numbers.

In:      a Shape, the vocabulary and the lengths of documents and images of a step.
Out:     FLOPs forward and of a training step. A multiply and an add are two. A training step is
         three forwards for what is trained, two (no weight gradients) for what is frozen and lies
         above something trained, and one for what is frozen below it. Recomputation is left out:
         so divided by seconds and peak this is the MFU of PaLM (arXiv 2204.02311, appendix B).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from training.model.shapes import PATCH, Shape

# dense bfloat16 FLOP/s by the makers' data sheets
PEAKS: Final[Mapping[str, float]] = {
    "A100": 312e12, "H100": 989e12, "H200": 989e12, "B200": 2250e12, "L40S": 362e12,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Flops:
    """Forward FLOPs by part of the model."""

    vision: float
    connector: float
    text: float

    @property
    def forward(self) -> float:
        return self.vision + self.connector + self.text

    def step(self, *, frozen_backbones: bool = False) -> float:
        """Of a training step; with LoRA both backbones' own matrices get no weight gradients.

        LoRA on the language model only: vision is then a forward alone.
        """
        if not frozen_backbones:
            return 3 * self.forward
        return self.vision + 3 * self.connector + 2 * self.text


def flops(
    shape: Shape, vocabulary: int, *, documents: Sequence[int], images: Sequence[int], targets: int
) -> Flops:
    """Of documents with so many tokens and images with so many patches.

    The head is applied to the `targets` only. Causal attention needs half of the square.
    """
    return Flops(
        vision=_vision(shape, images),
        connector=_connector(shape, images),
        text=_text(shape, documents) + 2.0 * targets * shape.text.width * vocabulary,
    )


def _vision(shape: Shape, images: Sequence[int]) -> float:
    one = shape.vision
    patches = sum(images)
    embedding = 2.0 * patches * 3 * PATCH**2 * one.width
    matrices = 2.0 * patches * (4 * one.width**2 + 2 * one.width * one.ffn)
    attention = sum(4.0 * length**2 * one.width for length in images)
    return embedding + one.layers * (matrices + attention)


def _connector(shape: Shape, images: Sequence[int]) -> float:
    width, one = shape.text.width, shape.perceiver
    inner, shared = one.heads * one.head, one.kv_heads * one.head
    patches, latents = sum(images), len(images) * one.latents
    project = 2.0 * patches * (2 * shape.vision.width + width) * shape.text.ffn
    per_layer = 2.0 * latents * 2 * width * inner  # queries and output
    per_layer += 2.0 * (patches + latents) * 2 * width * shared  # keys and values
    per_layer += sum(4.0 * one.latents * (length + one.latents) * inner for length in images)
    per_layer += 2.0 * latents * 3 * width * 4 * width
    return project + one.depth * per_layer


def _text(shape: Shape, documents: Sequence[int]) -> float:
    one = shape.text
    tokens, head = sum(documents), one.width // one.heads
    matrices = one.width * (2 * one.width + 2 * one.kv_heads * head) + 3 * one.width * one.ffn
    attention = sum(2.0 * length**2 * one.width for length in documents)  # causal: half
    return one.layers * (2.0 * tokens * matrices + attention)
