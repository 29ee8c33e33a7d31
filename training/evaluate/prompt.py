"""Prompt: texts and pictures in, the batch of one unfinished document out.

In:      parts in order, a text (str) or an encoded image (bytes); or a held-out document's batch.
Out:     a Batch as the stream makes them, without EOS: what generate.py continues.
Refused: a prompt of nothing; an image that does not decode: ValueError.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np
import torch

from schemas.sample import Sample, SampleImage, SampleText
from training.data.batch import IGNORED, Batch, Bytes, Ints, Row, collate
from training.data.encode import Encoder
from training.data.images import patches_of
from training.data.rows import NO_PATCH, NO_PLACE, ImageRule
from training.data.tokens import sequence_of

Part = str | bytes


def prompt_of(parts: Sequence[Part], *, encoder: Encoder, rule: ImageRule) -> Batch:
    """Parts as one document that goes on.

    Raises:
        ValueError: when there is nothing in them, or an image does not decode.
    """
    if not parts:
        raise ValueError("the prompt has 0 parts, at least 1 is needed: give --image or --prompt")
    sequence = sequence_of(_sample(parts), encoder, rule.image_tokens)
    images = [part for part in parts if isinstance(part, bytes)]
    pictures = [_patches(image, number, rule) for number, image in enumerate(images, start=1)]
    tokens = sequence.tokens[:-1]  # all but EOS
    row = Row(
        tokens=tokens,
        labels=np.full(len(tokens), IGNORED, dtype=np.int64),
        lengths=np.array([len(tokens)], dtype=np.int64),
        patches=np.concatenate([NO_PATCH, *(patches for patches, _ in pictures)]),
        patch_places=np.concatenate([NO_PLACE, *(places for _, places in pictures)]),
        patch_lengths=np.array([len(places) for _, places in pictures], dtype=np.int64),
        pieces=(),
    )
    return collate([row])


def _patches(image: bytes, number: int, rule: ImageRule) -> tuple[Bytes, Ints]:
    try:
        return patches_of(image, longest=rule.longest, shortest=rule.shortest, table=rule.table)
    except ValueError as error:
        raise ValueError(f"picture {number} of the prompt: {error}") from error


def _sample(parts: Sequence[Part]) -> Sample:
    nodes: list[SampleText | SampleImage] = []
    for kind, of_kind in groupby(parts, type):
        for part in of_kind:
            if kind is str:
                nodes.append(SampleText(text=str(part), role="paragraph"))
            else:
                nodes.append(SampleImage(member="", url="", alt="", width=0, height=0, sha256=""))
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
    per_image = int(of_document.sum()) // max(1, batch.images_N1.numel() - 1)
    first = int(of_document[:start].sum()) // max(1, per_image)
    cut = words + 1
    shown = 0
    if places.numel():
        run = _last_of_run(places.tolist(), per_image)
        cut, shown = run + 2 + words, int((places <= run).sum()) // per_image
    cut = min(cut, end - start)
    images_N1 = batch.images_N1[first : first + shown + 1]
    begin, stop = int(images_N1[0]), int(images_N1[-1])
    lengths = torch.tensor([0, cut], dtype=torch.int32)
    prompt = replace(
        batch,
        tokens_T=tokens[:cut],
        labels_T=torch.full((cut,), IGNORED),
        positions_T=torch.arange(cut),
        documents_D1=lengths,
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
