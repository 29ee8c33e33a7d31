"""Shapes: how many layers, how wide, how many pixels; whole models by name, and what they cost.

In:      a name of SHAPES, and the ids that a tokenizer gives; the lengths of documents and images.
Out:     a Shape; `idefics2_config` turns it into transformers' configuration. The FLOPs of a step:
         what its multiplications need, counted from the shape, never measured.
Refused: sizes that do not divide, images with more patches a side than the position table has:
         ValueError, when the Shape is made.

Sources: `idefics2-8b` is Idefics2 (arXiv 2405.02246, section 3; SigLIP-SO400M/14 and Mistral-7B)
as its published checkpoint has it: vision 417.8M, connector 743.2M, 8.40B in all. `tiny` and
`small` are ours, of the same parts: 4.4M with 4,096 tokens (two CPU cores train it in minutes) and
151M with 32,000.

A multiply and an add are two FLOPs. A training step is three forwards for what is trained, two (no
weight gradients) for what is frozen and lies above something trained, and one for what is frozen
below it. Recomputation is left out: so divided by seconds and peak this is the MFU of PaLM (arXiv
2204.02311, appendix B).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from transformers import Idefics2Config, MistralConfig
from transformers.models.idefics2.configuration_idefics2 import (
    Idefics2PerceiverConfig,
    Idefics2VisionConfig,
)

from training.data.images import PATCH


def _divides(name: str, value: int, by: str, divisor: int) -> None:
    if divisor < 1 or value % divisor:
        raise ValueError(f"{name} is {value}, which {by} = {divisor} must divide: change one")


@dataclass(frozen=True, kw_only=True, slots=True)
class Text:
    """The language model, a Mistral."""

    layers: int
    width: int
    ffn: int
    heads: int
    kv_heads: int
    rope: float = 10_000.0  # base of the rotary frequencies
    positions: int = 32_768
    window: int | None = None  # tokens back that attention sees; None: all
    tied: bool = True  # whether the head is the embedding

    def __post_init__(self) -> None:
        _divides("text.width", self.width, "2 x text.heads", 2 * self.heads)
        _divides("text.heads", self.heads, "text.kv_heads", self.kv_heads)

    @property
    def limit(self) -> int:
        """Tokens that each token can see, itself with them."""
        return min(self.positions, self.window or self.positions)


@dataclass(frozen=True, kw_only=True, slots=True)
class Vision:
    """The vision transformer, a SigLIP; `table` is the side of its position table."""

    layers: int
    width: int
    ffn: int
    heads: int
    table: int

    def __post_init__(self) -> None:
        _divides("vision.width", self.width, "2 x vision.heads", 2 * self.heads)


@dataclass(frozen=True, kw_only=True, slots=True)
class Perceiver:
    """The resampler that makes `latents` visual tokens of an image."""

    latents: int
    depth: int
    heads: int
    kv_heads: int
    head: int  # width of a head

    def __post_init__(self) -> None:
        _divides("perceiver.heads", self.heads, "perceiver.kv_heads", self.kv_heads)


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """A whole model, and the sequences and images that it is made for."""

    text: Text
    vision: Vision
    perceiver: Perceiver
    sequence_length: int  # tokens
    longest: int  # pixels of an image's longest side, at most
    shortest: int  # pixels of its shortest side, at least

    def __post_init__(self) -> None:
        most = self.longest // PATCH
        if most > self.vision.table:
            raise ValueError(
                f"longest is {self.longest} pixels, {most} patches a side, but the position table "
                f"has {self.vision.table}: choose at most {self.vision.table * PATCH} pixels, or a "
                "larger vision.table"
            )
        if not PATCH <= self.shortest <= self.longest:
            raise ValueError(
                f"shortest is {self.shortest} pixels: choose {PATCH} (a patch) to {self.longest} "
                "(longest)"
            )

    @property
    def image_tokens(self) -> int:
        """Visual tokens an image."""
        return self.perceiver.latents

    @property
    def table(self) -> int:
        """Side of the position table: a patch's place is row * table + column."""
        return self.vision.table


def check_limit(sequence_length: int, limit: int) -> None:
    """Raises ValueError where a document may be longer than its language model can see."""
    if sequence_length > limit:
        raise ValueError(
            f"data.sequence_length is {sequence_length:,} tokens, but the language model sees "
            f"{limit:,} (its positions, or its sliding window): choose at most {limit}"
        )


SHAPES: Final[Mapping[str, Shape]] = {
    "tiny": Shape(
        text=Text(layers=4, width=192, ffn=512, heads=6, kv_heads=2),
        vision=Vision(layers=3, width=128, ffn=512, heads=4, table=8),
        perceiver=Perceiver(latents=16, depth=2, heads=6, kv_heads=2, head=32),
        sequence_length=512,
        longest=112,
        shortest=70,
    ),
    "small": Shape(
        text=Text(layers=12, width=768, ffn=2048, heads=12, kv_heads=4),
        vision=Vision(layers=12, width=384, ffn=1536, heads=6, table=27),
        perceiver=Perceiver(latents=64, depth=3, heads=12, kv_heads=4, head=64),
        sequence_length=1024,
        longest=384,
        shortest=224,
    ),
    "idefics2-8b": Shape(
        text=Text(
            layers=32, width=4096, ffn=14_336, heads=32, kv_heads=8, window=4096, tied=False
        ),
        vision=Vision(layers=27, width=1152, ffn=4304, heads=16, table=70),
        perceiver=Perceiver(latents=64, depth=3, heads=16, kv_heads=4, head=96),
        sequence_length=2048,
        longest=980,
        shortest=378,
    ),
}  # fmt: skip


def idefics2_config(
    shape: Shape, *, vocabulary: int, bos: int, eos: int, pad: int, image_token: int
) -> Idefics2Config:
    """transformers' configuration of a shape with the ids of a tokenizer."""
    text = shape.text
    language = MistralConfig(
        vocab_size=vocabulary,
        hidden_size=text.width,
        intermediate_size=text.ffn,
        num_hidden_layers=text.layers,
        num_attention_heads=text.heads,
        num_key_value_heads=text.kv_heads,
        head_dim=text.width // text.heads,
        max_position_embeddings=text.positions,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": text.rope},
        sliding_window=text.window,
        bos_token_id=bos,
        eos_token_id=eos,
        # torch keeps the padding row of an embedding at zero and untrained: never that of a token
        # which is read or written
        pad_token_id=None if pad in (bos, eos) else pad,
    )
    return composed(shape, language, image_token=image_token, tied=text.tied)


def composed(
    shape: Shape, language: MistralConfig, *, image_token: int, tied: bool
) -> Idefics2Config:
    """A configuration with this language model, and the shape's vision and perceiver."""
    return Idefics2Config(
        text_config=language,
        vision_config=vision_config(shape.vision),
        perceiver_config=Idefics2PerceiverConfig(
            hidden_size=language.hidden_size,
            rms_norm_eps=language.rms_norm_eps,
            resampler_n_latents=shape.perceiver.latents,
            resampler_depth=shape.perceiver.depth,
            resampler_n_heads=shape.perceiver.heads,
            resampler_head_dim=shape.perceiver.head,
            num_key_value_heads=shape.perceiver.kv_heads,
        ),
        image_token_id=image_token,
        tie_word_embeddings=tied,
    )


def vision_config(vision: Vision) -> Idefics2VisionConfig:
    """Said whole: transformers' defaults are not those of the published checkpoint."""
    return Idefics2VisionConfig(
        hidden_size=vision.width,
        intermediate_size=vision.ffn,
        num_hidden_layers=vision.layers,
        num_attention_heads=vision.heads,
        image_size=vision.table * PATCH,
        patch_size=PATCH,
    )


# dense bfloat16 FLOP/s by the makers' data sheets
PEAKS: Final[Mapping[str, float]] = {
    "A100": 312e12, "H100": 989e12, "H200": 989e12, "B200": 2250e12, "L40S": 362e12,
}  # fmt: skip


class Flops(NamedTuple):
    """Forward FLOPs by part of the model."""

    vision: float
    connector: float
    text: float

    @property
    def forward(self) -> float:
        return self.vision + self.connector + self.text

    def plus(self, other: Flops) -> Flops:
        return Flops(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

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
    vision = shape.vision
    patches = sum(images)
    embedding = 2.0 * patches * 3 * PATCH**2 * vision.width
    matrices = 2.0 * patches * (4 * vision.width**2 + 2 * vision.width * vision.ffn)
    attention = sum(4.0 * length**2 * vision.width for length in images)
    return embedding + vision.layers * (matrices + attention)


def _connector(shape: Shape, images: Sequence[int]) -> float:
    width, perceiver = shape.text.width, shape.perceiver
    inner, shared = perceiver.heads * perceiver.head, perceiver.kv_heads * perceiver.head
    patches, latents = sum(images), len(images) * perceiver.latents
    project = 2.0 * patches * (2 * shape.vision.width + width) * shape.text.ffn
    per_layer = 2.0 * latents * 2 * width * inner  # queries and output
    per_layer += 2.0 * (patches + latents) * 2 * width * shared  # keys and values
    per_layer += sum(
        4.0 * perceiver.latents * (length + perceiver.latents) * inner for length in images
    )
    per_layer += 2.0 * latents * 3 * width * 4 * width
    return project + perceiver.depth * per_layer


def _text(shape: Shape, documents: Sequence[int]) -> float:
    text = shape.text
    tokens, head = sum(documents), text.width // text.heads
    matrices = text.width * (2 * text.width + 2 * text.kv_heads * head) + 3 * text.width * text.ffn
    attention = sum(2.0 * length**2 * text.width for length in documents)  # causal: half
    return text.layers * (2.0 * tokens * matrices + attention)
