"""Starts from small saved language models, made on the spot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    Qwen2Config,
)

from tests.training.model.reference import (
    EOS,
    FAKE,
    IDS,
    IMAGE,
    MINI,
    VOCABULARY,
    Document,
    document,
)
from training.model.idefics2 import PackedIdefics2
from training.model.pretrained import pretrained

SIZES: Final[dict[str, Any]] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": EOS,
    "bos_token_id": 1,
    "eos_token_id": EOS,
}
CONFIGS = [
    LlamaConfig(**SIZES, tie_word_embeddings=True),
    LlamaConfig(**SIZES, tie_word_embeddings=False),
    MistralConfig(**SIZES),
    Qwen2Config(**SIZES),
]
NEW = (VOCABULARY, VOCABULARY + 1)  # fake, image
NEW_IDS = {**IDS, "image_token": NEW[1]}


def saved(config: PreTrainedConfig, folder: Path) -> str:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    model.save_pretrained(folder)
    return str(folder)


def started(language: str, vision: str | None = None) -> PackedIdefics2:
    return pretrained(
        language, vision, MINI, ids=NEW_IDS, vocabulary=VOCABULARY + 2, new_tokens=NEW, seed=0
    )


def shown(seed: int) -> Document:
    """A document with a picture, whose special tokens are the new ones."""
    whole = document(seed, grids=[(2, 3)])
    names = {FAKE: NEW[0], IMAGE: NEW[1]}
    return replace(whole, tokens=[names.get(token, token) for token in whole.tokens])
