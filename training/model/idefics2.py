"""The model: a packed batch in, the loss of every trained token out; Idefics2 to the last digit.

Shape suffixes: T tokens of all documents one after the other, D language width, L labelled
positions, N images, N1 cumulative patches of N images, P visual tokens an image, K patches of all
images one after the other, C bytes of a patch (3 x 14 x 14, channels first), V vision width, U
vocabulary.

In:      a Batch (batch.py) and transformers' Idefics2ForConditionalGeneration.
Out:     float32 cross entropies at the labelled positions, in the order of the batch.
Refused: image tokens that are not P an image: ValueError where the batch lies on the CPU (on a GPU
         that look would make every step wait).

Weights, their names and the checkpoint format are transformers' own: `model.idefics2` saves and
loads itself. What is ours is the way through it: fully-autoregressive Idefics2 (arXiv 2405.02246,
section 3) on documents without padding (connector.py, attention.py). Text layers are used as they
are. Its forward is not: it makes logits at all positions, and its loss trains across the documents'
starts.

The same for vision: encoder, position table and last norm are used as they are, and give what they
give at the real patches of padded images (NaViT, arXiv 2307.06304). The embedding layer is not: it
takes padded images and derives places from a mask. A convolution whose stride is its kernel is a
linear layer over patches, with the same weight.

The head is applied to labelled positions only, and by chunks, each computed again in backward
where there is more than one, so that T x U is never held. Nothing waits for a GPU: the numbers of
labels and images are known on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear
from torch.utils.checkpoint import checkpoint
from transformers import Idefics2ForConditionalGeneration
from transformers.models.idefics2.modeling_idefics2 import Idefics2VisionTransformer

from training.data.batch import Batch
from training.data.tokens import IGNORED
from training.model.attention import NAME, Segments
from training.model.connector import visual_tokens
from training.model.shapes import Shape, idefics2_config

CHUNK: Final = 2**26  # logits that are held at once: 256 MiB in float32
# Standard deviations at the start, as tests/bench/picture.py showed. Latents: transformers' ones
# stay equal to each other; drawn at 1.0 they learn no count. Positions: nearly as large as embedded
# patches; at 0.02 they vanish beside the patches, and no place is learnt.
LATENT_STD: Final = 0.1
POSITION_STD: Final = 0.3


class PackedIdefics2(nn.Module):
    """Idefics2 on packed batches; `idefics2` is the transformers model that holds the weights."""

    def __init__(self, idefics2: Idefics2ForConditionalGeneration) -> None:
        super().__init__()
        idefics2.set_attn_implementation(NAME)
        self.idefics2 = idefics2
        self.image_tokens = idefics2.model.connector.perceiver_resampler.n_latents

    def forward(self, batch: Batch, *, dummy_image: bool = False) -> Tensor:
        """Losses (L) of the trained labels in their order, in float32 at least.

        `dummy_image` runs one grey patch with weight zero where a batch has no image: every
        parameter then has a gradient, zero for those of vision, as DDP's ranks need it.
        """
        hidden_TD = self.hidden(batch, dummy_image=dummy_image)
        places_L = _where(batch.labels_T != IGNORED, batch.targets)
        return self._losses(hidden_TD.index_select(0, places_L), batch.labels_T[places_L])

    def recompute(self) -> None:
        """Keep of each layer only its input, and compute it again in backward: less memory."""
        inner = self.idefics2
        # the second name is that of transformers before 5.20
        enable: Callable[..., None] = getattr(inner, "activation_checkpointing_enable", None) or (
            inner.gradient_checkpointing_enable
        )
        enable({"use_reentrant": False})

    def logits(self, batch: Batch, places_L: Tensor | None = None) -> Tensor:
        """L x U at some positions, or T x U at all: for tests and evaluation."""
        hidden_TD = self.hidden(batch)
        logits: Tensor = self.idefics2.lm_head(
            hidden_TD if places_L is None else hidden_TD.index_select(0, places_L)
        )
        return logits

    def hidden(self, batch: Batch, *, dummy_image: bool = False) -> Tensor:
        """T x D after the language model's last norm."""
        text = self.idefics2.model.text_model
        documents = Segments(
            queries_S1=batch.documents_D1,
            keys_S1=batch.documents_D1,
            longest_query=batch.longest_document,
            longest_key=batch.longest_document,
            causal=True,
        )
        passed = text(
            inputs_embeds=self._embedded(batch, dummy_image=dummy_image)[None],
            position_ids=batch.positions_T[None],
            use_cache=False,
            segments=documents,
        )
        hidden: Tensor = passed.last_hidden_state[0]
        return hidden

    def visual(self, batch: Batch) -> Tensor:
        """(N x P) x D: the visual tokens of all images."""
        inner, images_N1, longest = self.idefics2.model, batch.images_N1, batch.longest_image
        states_KV = patch_states(inner.vision_model, batch)
        return visual_tokens(inner.connector, states_KV, images_N1, longest=longest)

    def _embedded(self, batch: Batch, *, dummy_image: bool) -> Tensor:
        embedded_TD: Tensor = self.idefics2.model.text_model.embed_tokens(batch.tokens_T)
        if batch.images:
            visual_LD = self.visual(batch).to(embedded_TD.dtype)
            return embedded_TD.index_copy(0, self._image_places(batch), visual_LD)
        if dummy_image:
            return embedded_TD + 0.0 * self.visual(_with_grey_patch(batch)).sum()
        return embedded_TD

    def _image_places(self, batch: Batch) -> Tensor:
        is_image_T = batch.tokens_T == self.idefics2.config.image_token_id
        expected = batch.images * self.image_tokens
        if not is_image_T.is_cuda and int(is_image_T.sum()) != expected:
            raise ValueError(
                f"the batch has {int(is_image_T.sum())} image tokens, but {batch.images} images of "
                f"{self.image_tokens}: read the shards with the shape that is trained"
            )
        return _where(is_image_T, expected)

    def _losses(self, hidden_LD: Tensor, labels_L: Tensor) -> Tensor:
        vocabulary = self.idefics2.config.get_text_config().vocab_size
        size = max(1, CHUNK // vocabulary)
        if hidden_LD.shape[0] <= size:
            return self._chunk(hidden_LD, labels_L)
        chunks = zip(torch.split(hidden_LD, size), torch.split(labels_L, size), strict=True)
        return torch.cat(
            [
                checkpoint(self._chunk, *chunk, use_reentrant=False, preserve_rng_state=False)
                for chunk in chunks
            ]
        )

    def _chunk(self, hidden_LD: Tensor, labels_L: Tensor) -> Tensor:
        logits_LU = self.idefics2.lm_head(hidden_LD)
        exact = torch.promote_types(logits_LU.dtype, torch.float32)
        return cross_entropy(logits_LU.to(exact), labels_L, reduction="none")


def build(
    shape: Shape, *, vocabulary: int, bos: int, eos: int, pad: int, image_token: int, seed: int
) -> PackedIdefics2:
    """A model with random weights; the same seed gives the same ones."""
    config = idefics2_config(
        shape, vocabulary=vocabulary, bos=bos, eos=eos, pad=pad, image_token=image_token
    )
    with drawn_by(seed):
        idefics2 = Idefics2ForConditionalGeneration(config)
        reinitialise(idefics2)
    return PackedIdefics2(idefics2)


@contextmanager
def drawn_by(seed: int) -> Iterator[None]:
    """What is drawn inside comes from the seed, and other draws go on as if it had not been."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def reinitialise(idefics2: Idefics2ForConditionalGeneration) -> None:
    """Re-draw latents and position table: transformers' values hardly train (see LATENT_STD)."""
    model = idefics2.model
    with torch.no_grad():
        model.connector.perceiver_resampler.latents.normal_(std=LATENT_STD)
        model.vision_model.embeddings.position_embedding.weight.normal_(std=POSITION_STD)


def _with_grey_patch(batch: Batch) -> Batch:
    """A batch without images, with an image of one patch."""
    return replace(
        batch,
        patches_KC=batch.patches_KC.new_full((1, batch.patches_KC.shape[1]), 128),
        patch_places_K=batch.patch_places_K.new_zeros(1),
        images_N1=torch.arange(2, dtype=torch.int32, device=batch.images_N1.device),
        longest_image=1,
    )


def _where(mask_T: Tensor, size: int) -> Tensor:
    """Places of the `size` true entries, without waiting for a GPU to count them."""
    return torch.nonzero_static(mask_T, size=size)[:, 0]


def patch_states(vision: Idefics2VisionTransformer, batch: Batch) -> Tensor:
    """States (K x V) of a batch's patches after the last norm."""
    convolution = vision.embeddings.patch_embedding
    weight_VC = convolution.weight.flatten(1)
    pixels_KC = normalised(batch.patches_KC, weight_VC.dtype)
    states_KV = linear(pixels_KC, weight_VC, convolution.bias)
    states_KV = states_KV + vision.embeddings.position_embedding(batch.patch_places_K)
    images = Segments(
        queries_S1=batch.images_N1,
        keys_S1=batch.images_N1,
        longest_query=batch.longest_image,
        longest_key=batch.longest_image,
        causal=False,
    )
    encoded = vision.encoder(inputs_embeds=states_KV[None], attention_mask=images)
    states: Tensor = vision.post_layernorm(encoded.last_hidden_state[0])
    return states


def normalised(patches_KC: Tensor, dtype: torch.dtype) -> Tensor:
    """Bytes to [-1, 1], mean and deviation .5 of SigLIP; in float32 at least, as precise as it."""
    exact = torch.promote_types(dtype, torch.float32)
    return (patches_KC.to(exact) / 127.5 - 1).to(dtype)
