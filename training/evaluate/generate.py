"""Generation: texts and pictures in, their continuation out, by transformers' own `generate`.

Shape suffixes: T tokens of the prompt.

In:      parts in order, a text (str) or an encoded image (bytes); or a held-out document's batch.
         They become a Batch of one document without EOS, as the stream makes batches, so the
         pictures pass through the same code as in training; its labels are not read.
Out:     the new tokens, without the end-of-sequence token.
Refused: a prompt of nothing, an image that does not decode, a batch of more than one document, more
         tokens than the model sees: ValueError.

Image and fake tokens are never generated: they stand for pictures that are not there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from transformers import GenerationConfig
from transformers.modeling_outputs import BaseModelOutputWithPooling

from schemas.sample import Sample, SampleImage, SampleText
from training.data.batch import Batch, collate, row_of
from training.data.images import ImageRule, Patches
from training.data.tokens import IGNORED, Assembled, Encoder, sequence_of
from training.fit.parallel import world
from training.fit.prepare import open_trained
from training.model.idefics2 import PackedIdefics2

Part = str | bytes


def prompt_of(parts: Sequence[Part], *, encoder: Encoder, rule: ImageRule) -> Batch:
    """Parts as one document that goes on."""
    if not parts:
        raise ValueError("the prompt has 0 parts, at least 1 is needed: give --image or --prompt")
    sequence = sequence_of(_sample(parts), encoder, rule.image_tokens)
    pictures: list[Patches] = []
    for image in (part for part in parts if isinstance(part, bytes)):
        try:
            pictures.append(rule.patches_of(image))
        except ValueError as error:
            raise ValueError(f"picture {len(pictures) + 1} of the prompt: {error}") from error
    tokens = sequence.tokens[:-1]  # all but EOS
    labels = np.full(len(tokens), IGNORED, dtype=np.int64)
    return collate([row_of([Assembled(tokens, labels, [])], pictures, pieces=())])


def _sample(parts: Sequence[Part]) -> Sample:
    image = SampleImage(member="", url="", alt="", width=0, height=0, sha256="")
    nodes = [
        SampleText(text=part, role="paragraph") if isinstance(part, str) else image
        for part in parts
    ]
    return Sample(
        key="prompt", url="", date="", title="", language="", licence="", source=("", 0, 0),
        nodes=tuple(nodes),
    )  # fmt: skip


def opening(
    batch: Batch, document: int, *, image_token: int, words: int
) -> tuple[Batch, list[int]]:
    """A document of a batch up to `words` tokens behind its first image, and what really follows.

    A document without an image is cut so far behind its start.
    """
    start, end = (int(place) for place in batch.documents_D1[document : document + 2])
    tokens = batch.tokens_T[start:end]
    places = torch.nonzero(tokens == image_token)[:, 0]
    of_document = batch.tokens_T == image_token
    per_image = int(of_document.sum()) // max(1, batch.images)
    first = int(of_document[:start].sum()) // max(1, per_image)
    cut = words + 1
    shown = 0
    if places.numel():
        run = _last_of_run(places.tolist(), per_image)
        cut, shown = run + 2 + words, int((places <= run).sum()) // per_image
    cut = min(cut, end - start)
    images_N1 = batch.images_N1[first : first + shown + 1]
    begin, stop = int(images_N1[0]), int(images_N1[-1])
    prompt = replace(
        batch,
        tokens_T=tokens[:cut],
        labels_T=torch.full((cut,), IGNORED),
        positions_T=torch.arange(cut),
        documents_D1=torch.tensor([0, cut], dtype=torch.int32),
        patches_KC=batch.patches_KC[begin:stop],
        patch_places_K=batch.patch_places_K[begin:stop],
        images_N1=images_N1 - begin,
        longest_document=cut,
        longest_image=max(images_N1.diff().tolist(), default=0),
        targets=0,
        pieces=batch.pieces[document : document + 1],
    )
    return prompt, [int(token) for token in tokens[cut:]]


def _last_of_run(places: Sequence[int], per_image: int) -> int:
    """The last `<image>` of the first images that stand side by side, one fake between each."""
    last = places[per_image - 1]
    for number in range(per_image, len(places), per_image):
        if places[number] != last + 2:
            break
        last = places[number + per_image - 1]
    return last


def generate_from_run(
    run: Path,
    images: Sequence[Path],
    prompt: str,
    *,
    length: int,
    temperature: float,
    seed: int,
) -> str:
    """The prompt and its continuation by the last checkpoint of a run."""
    parts: list[Part] = []
    for path in images:
        try:
            parts.append(path.read_bytes())
        except OSError as error:
            raise ValueError(f"--image {path}: {error.strerror}") from error
    if prompt:
        parts.append(prompt)
    with world() as ranks:
        trained = open_trained(run, ranks)
        loaded = trained.recipe.loaded
        batch = prompt_of(parts, encoder=loaded.encoder, rule=trained.recipe.images)
        new = continuation(
            trained.model,
            batch.to(ranks.device),
            length=length,
            eos=loaded.special.eos,
            suppressed=(loaded.special.fake, loaded.special.image),
            temperature=temperature,
            seed=seed,
        )
    return prompt + str(loaded.tokenizer.decode(new))


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
    visual = {}
    if prompt.images:
        images = BaseModelOutputWithPooling(pooler_output=model.visual(prompt))
        visual = {"mm_encoder_outputs": {"image": images}}
    with torch.random.fork_rng(), _masked_attention(model):
        torch.manual_seed(seed)
        whole = model.idefics2.generate(
            input_ids=prompt.tokens_T[None],
            attention_mask=torch.ones_like(prompt.tokens_T)[None],
            generation_config=config,
            **visual,
        )
    new = [int(token) for token in whole[0, prompt.tokens_T.shape[0] :]]
    return new[: new.index(eos)] if eos in new else new


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
