"""Generation: a prompt with images in, its continuation out, by transformers' own `generate`.

Shape suffixes: T tokens of the prompt.

In:      a Batch of one document, as the stream makes them, so the pictures pass through the same
         code as in training; its labels are not read.
Out:     the new tokens, without the end-of-sequence token.
Refused: a batch of more than one document, more tokens than the model sees: ValueError.

Image and fake tokens are never generated: they stand for pictures that are not there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from transformers import GenerationConfig
from transformers.modeling_outputs import BaseModelOutputWithPooling

from training.data.batch import Batch
from training.model.idefics2 import PackedIdefics2


@torch.no_grad()
def continuation(
    model: PackedIdefics2,
    prompt: Batch,
    *,
    length: int,
    eos: int,
    suppressed: Sequence[int],
    temperature: float = 0.0,
    seed: int = 0,
) -> list[int]:
    """Up to `length` tokens after the prompt: the likeliest, or drawn where `temperature` > 0."""
    documents = prompt.documents_D1.shape[0] - 1
    if documents != 1:
        raise ValueError(f"the prompt is {documents} documents: give 1 at a time")
    seen = model.idefics2.config.get_text_config().max_position_embeddings
    if prompt.tokens_T.shape[0] + length > seen:
        raise ValueError(
            f"{length:,} tokens behind a prompt of {prompt.tokens_T.shape[0]:,}, but the language "
            f"model sees {seen:,}: choose a length of {seen - prompt.tokens_T.shape[0]:,} or less"
        )
    drawn = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature > 0 else {}
    config = GenerationConfig.from_dict(
        {
            "max_new_tokens": length,
            "eos_token_id": eos,
            "pad_token_id": eos,  # of a batch of one nothing is padded
            "suppress_tokens": sorted(suppressed),
            **drawn,
        }
    )
    with torch.random.fork_rng(), _masked_attention(model):
        torch.manual_seed(seed)
        whole = model.idefics2.generate(
            input_ids=prompt.tokens_T[None],
            attention_mask=torch.ones_like(prompt.tokens_T)[None],
            generation_config=config,
            **_seen(model, prompt),
        )
    new = [int(token) for token in whole[0, prompt.tokens_T.shape[0] :]]
    return new[: new.index(eos)] if eos in new else new


def _seen(model: PackedIdefics2, prompt: Batch) -> dict[str, dict[str, BaseModelOutputWithPooling]]:
    if prompt.images_N1.shape[0] == 1:
        return {}
    visual = model.visual(prompt)
    return {"mm_encoder_outputs": {"image": BaseModelOutputWithPooling(pooler_output=visual)}}


@contextmanager
def _masked_attention(model: PackedIdefics2) -> Iterator[None]:
    """With a cache the text has one document and grows by a token: transformers' own attention."""
    text = model.idefics2.config.get_text_config()
    packed = text._attn_implementation
    text._attn_implementation = "sdpa"
    try:
        yield
    finally:
        text._attn_implementation = packed
