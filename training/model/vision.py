"""Vision: packed patches of all images in, a state for each patch out; an image sees itself only.

Shape suffixes: K patches of all images one after the other, C bytes of a patch (3 x 14 x 14,
channels first), V vision width, N1 cumulative patches of N images.

In:   uint8 patches and their places in the position table, as images.py cut them. No pixel is
      padding, so there is no mask and nothing is searched for padding images.
Out:  what Idefics2VisionTransformer gives at the real patches of padded images (NaViT, arXiv
      2307.06304; Idefics2, arXiv 2405.02246, section 3).

transformers' encoder, position table and last norm are used as they are. Its embedding layer is
not: it takes padded images and derives places from a mask. A convolution whose stride is its
kernel is a linear layer over patches, with the same weight.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import linear
from transformers.models.idefics2.modeling_idefics2 import Idefics2VisionTransformer

from training.model.attention import Segments


def patch_states(
    vision: Idefics2VisionTransformer,
    patches_KC: Tensor,
    places_K: Tensor,
    images_N1: Tensor,
    *,
    longest: int,
) -> Tensor:
    """States (K x V) after the last norm; `longest` is the patches of the largest image."""
    convolution = vision.embeddings.patch_embedding
    weight_VC = convolution.weight.flatten(1)
    pixels_KC = normalised(patches_KC, weight_VC.dtype)
    states_KV = linear(pixels_KC, weight_VC, convolution.bias)
    states_KV = states_KV + vision.embeddings.position_embedding(places_K)
    images = Segments(
        queries_S1=images_N1,
        keys_S1=images_N1,
        longest_query=longest,
        longest_key=longest,
        causal=False,
    )
    encoded = vision.encoder(inputs_embeds=states_KV[None], attention_mask=images)
    states: Tensor = vision.post_layernorm(encoded.last_hidden_state[0])
    return states


def normalised(patches_KC: Tensor, dtype: torch.dtype) -> Tensor:
    """Bytes to [-1, 1], mean and deviation .5 of SigLIP; in float32 at least, as precise as it."""
    exact = torch.promote_types(dtype, torch.float32)
    return (patches_KC.to(exact) / 127.5 - 1).to(dtype)
