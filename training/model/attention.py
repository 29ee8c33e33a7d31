"""Attention inside segments: packed documents never see each other, nor do images.

Shape suffixes: Q queries, T keys (of all segments, one after the other), H query heads, G key and
value heads, S segments, S1 their cumulative lengths with a 0 in front, D width of a head.

In:      queries, keys and values of all segments in one row, and where each segment begins. Those
         of queries and keys differ in the perceiver.
Out:     what softmax attention gives inside each segment, as transformers' layers expect it.
Refused: a document longer than the model's sliding window, which is not implemented: ValueError.

It is registered with transformers under NAME, so that its layers are used as they are. Vision
layers drop keyword arguments: Segments reach them as `attention_mask`, text layers as `segments`.
No mask function is registered, on purpose: transformers then makes no mask at all, whereas with
one it first searches position ids for packed documents, which waits for a GPU.

On a GPU in bfloat16 or float16 it is torch's varlen_attn (flash attention; the longest lengths are
given as ints, so nothing waits). Elsewhere it is a loop of SDPA calls over segments: nested tensors
have no causal kernel on a CPU, varlen_attn none at all, FlexAttention no backward there, and one
explicit mask costs 4 to 5 times the loop (text 452 against 106 ms). Keys and values are repeated
for grouped queries: SDPA's own way takes the slow path on a CPU (126 against 74 ms for 677 tokens).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

NAME: Final = "interloom_varlen"


@dataclass(frozen=True, kw_only=True, slots=True)
class Segments:
    """Segment s holds the queries [queries_S1[s], [s + 1]) and the keys [keys_S1[s], [s + 1])."""

    queries_S1: Tensor  # int32
    keys_S1: Tensor  # int32
    longest_query: int
    longest_key: int
    causal: bool


def varlen_attention(  # noqa: PLR0913, the signature is transformers'
    module: nn.Module,
    query_1HQD: Tensor,
    key_1GTD: Tensor,
    value_1GTD: Tensor,
    attention_mask: Segments | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    segments: Segments | None = None,
    sliding_window: int | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    """Attention of each segment to itself; gives 1 x Q x H x D and no weights."""
    inside = segments if segments is not None else attention_mask
    assert isinstance(inside, Segments), f"{type(module).__name__} got no Segments"
    assert dropout == 0.0, "packed attention has no dropout"
    if sliding_window is not None and inside.longest_key > sliding_window:
        raise ValueError(
            f"a document has {inside.longest_key} tokens, but the model's sliding window is "
            f"{sliding_window}: choose a data.sequence_length of at most {sliding_window}"
        )
    query, key, value = _one_type(query_1HQD, key_1GTD, value_1GTD)
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    if query.is_cuda and query.dtype in (torch.bfloat16, torch.float16):
        return _flash(query, key, value, inside, scaling), None
    return _loop(query, key, value, inside, scaling), None


def _one_type(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Under autocast rotary embeddings give float32 queries beside bfloat16 values."""
    device = tensors[0].device.type
    if not torch.is_autocast_enabled(device):
        return tensors
    dtype = torch.get_autocast_dtype(device)
    return tuple(tensor.to(dtype) for tensor in tensors)


def _flash(
    query_1HQD: Tensor,
    key_1HTD: Tensor,
    value_1HTD: Tensor,
    inside: Segments,
    scaling: float | None,
) -> Tensor:
    attended = varlen_attn(
        query_1HQD[0].transpose(0, 1),
        key_1HTD[0].transpose(0, 1),
        value_1HTD[0].transpose(0, 1),
        inside.queries_S1,
        inside.keys_S1,
        inside.longest_query,
        inside.longest_key,
        scale=scaling,
        window_size=(-1, 0) if inside.causal else (-1, -1),
    )
    assert isinstance(attended, Tensor)  # the tuple is what return_aux asks for
    return attended[None]


def _loop(
    query_1HQD: Tensor,
    key_1HTD: Tensor,
    value_1HTD: Tensor,
    inside: Segments,
    scaling: float | None,
) -> Tensor:
    # split, not slices: the gradient of each slice would be as long as the whole row
    queries = torch.split(query_1HQD, inside.queries_S1.diff().tolist(), 2)
    keys = torch.split(key_1HTD, inside.keys_S1.diff().tolist(), 2)
    values = torch.split(value_1HTD, inside.keys_S1.diff().tolist(), 2)
    attended = [
        scaled_dot_product_attention(query, key, value, is_causal=inside.causal, scale=scaling)
        for query, key, value in zip(queries, keys, values, strict=True)
    ]
    return torch.cat(attended, dim=2).transpose(1, 2).contiguous()


AttentionInterface.register(NAME, varlen_attention)
