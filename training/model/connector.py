"""Connector: states of patches in, P visual tokens an image out.

Shape suffixes: K patches of all images one after the other, N images, N1 their cumulative patches
with a 0 in front, P visual tokens an image (latents), V vision width, D language width, L = N x P
latents of all images, M = K + L keys.

In:   states of packed patches.
Out:  L x D: the modality projection, then a perceiver in which the latents of an image attend to
      its patches and to themselves (Idefics2, arXiv 2405.02246, section 3; Flamingo, 2204.14198).

transformers' projection, norms, MLPs and attention projections are used; the forward of its
resampler is not, since it joins patches and latents along a padded axis. Here keys and values of
all patches and all latents are made in one go, then put into the order [patches of image 0; its
latents; patches of image 1; ...] by an index that is made once and without waiting for a GPU.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers.models.idefics2.modeling_idefics2 import (
    Idefics2Connector,
    Idefics2PerceiverAttention,
    Idefics2PerceiverLayer,
    Idefics2PerceiverResampler,
)

from training.model.attention import Segments, varlen_attention


def visual_tokens(
    connector: Idefics2Connector, states_KV: Tensor, images_N1: Tensor, *, longest: int
) -> Tensor:
    """L x D, image after image; `longest` is the patches of the largest image."""
    context_KD = connector.modality_projection(states_KV)
    resampler: Idefics2PerceiverResampler = connector.perceiver_resampler
    images = images_N1.shape[0] - 1
    latents_LD = resampler.latents.repeat(images, 1)
    segments = _segments(images_N1, resampler.n_latents, longest=longest)
    order_M = _order(images_N1, patches=states_KV.shape[0], latents=resampler.n_latents)
    for layer in resampler.layers:
        assert isinstance(layer, Idefics2PerceiverLayer)
        attended_LD = _attend(
            layer.self_attn,
            layer.input_latents_norm(latents_LD),
            layer.input_context_norm(context_KD),
            segments,
            order_M,
        )
        latents_LD = latents_LD + attended_LD
        latents_LD = latents_LD + layer.mlp(layer.post_attention_layernorm(latents_LD))
    tokens: Tensor = resampler.norm(latents_LD)
    return tokens


def _attend(
    attention: Idefics2PerceiverAttention,
    latents_LD: Tensor,
    context_KD: Tensor,
    segments: Segments,
    order_M: Tensor,
) -> Tensor:
    seen_MD = torch.cat([context_KD, latents_LD.to(context_KD.dtype)])
    size = (1, -1, attention.num_key_value_heads, attention.head_dim)
    key = attention.k_proj(seen_MD).index_select(0, order_M).view(size)
    value = attention.v_proj(seen_MD).index_select(0, order_M).view(size)
    query = attention.q_proj(latents_LD).view(1, -1, attention.num_heads, attention.head_dim)
    attended, _ = varlen_attention(
        attention,
        query.transpose(1, 2),
        key.transpose(1, 2),
        value.transpose(1, 2),
        segments,
        scaling=attention.scaling,
    )
    projected: Tensor = attention.o_proj(attended.flatten(2)[0])
    return projected


def _segments(images_N1: Tensor, latents: int, *, longest: int) -> Segments:
    numbers_N1 = torch.arange(images_N1.shape[0], dtype=images_N1.dtype, device=images_N1.device)
    return Segments(
        queries_S1=numbers_N1 * latents,
        keys_S1=images_N1 + numbers_N1 * latents,
        longest_query=latents,
        longest_key=longest + latents,
        causal=False,
    )


def _order(images_N1: Tensor, *, patches: int, latents: int) -> Tensor:
    """Where each key stands in [all patches; all latents]: the patches of an image, its latents."""
    device = images_N1.device
    images = images_N1.shape[0] - 1
    patch_K = torch.arange(patches, device=device)
    image_K = torch.searchsorted(images_N1[1:].contiguous(), patch_K, right=True)
    latent_L = torch.arange(images * latents, device=device)
    image_L = latent_L // latents
    place_L = images_N1[1:].long()[image_L] + latent_L
    order_M = torch.empty(patches + images * latents, dtype=torch.int64, device=device)
    order_M[patch_K + image_K * latents] = patch_K
    order_M[place_L] = patches + latent_L
    return order_M
