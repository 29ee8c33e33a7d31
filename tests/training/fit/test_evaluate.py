"""Held-out losses: by hand on a small batch, with other pictures, by distance from the image."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from training.data.batch import Batch, Piece, Row, collate
from training.data.images import PATCH
from training.data.tokens import IGNORED
from training.evaluate.losses import BANDS, NO_IMAGE, blank, evaluate, shuffled
from training.fit.parallel import ALONE
from training.model.idefics2 import PackedIdefics2, build
from training.model.shapes import SHAPES

SHAPE = SHAPES["tiny"]
IMAGE, FAKE, VOCABULARY = 60, 61, 64
PER_IMAGE = SHAPE.image_tokens


def document(images: int, words: int, seed: int) -> Row:
    """BOS, images side by side, words, EOS."""
    dice = np.random.default_rng(seed)
    block = [FAKE, *([IMAGE] * PER_IMAGE + [FAKE]) * images] if images else []
    text = [*dice.integers(5, 60, words).tolist(), 2]
    tokens = np.array([1, *block, *text], dtype=np.int64)
    labels = np.full(len(tokens), IGNORED, dtype=np.int64)
    labels[len(block) : -1] = text
    sides = [int(dice.integers(1, 4)) for _ in range(images)]
    return Row(
        tokens=tokens,
        labels=labels,
        lengths=np.array([len(tokens)], dtype=np.int64),
        patches=dice.integers(0, 256, (sum(sides), 3 * PATCH**2), dtype=np.uint8),
        patch_places=np.concatenate([np.zeros(0, np.int64), *map(np.arange, sides)]),
        patch_lengths=np.array(sides, dtype=np.int64),
        pieces=(Piece(source=0, shard="heldout-00000", key=f"{seed}", start=0, end=len(tokens)),),
    )


@pytest.fixture(scope="module")
def model() -> PackedIdefics2:
    return build(SHAPE, vocabulary=VOCABULARY, bos=1, eos=2, pad=0, image_token=IMAGE, seed=3)


def test_losses_are_summed_over_tokens_and_bands_add_up(model: PackedIdefics2) -> None:
    batches = [collate([document(2, 90, 1), document(0, 20, 2)]), collate([document(1, 30, 3)])]
    found = evaluate(
        model, batches, size_of=len, vocabulary=VOCABULARY, precision=torch.float32, world=ALONE
    )
    with torch.no_grad():
        losses = torch.cat([model(batch) for batch in batches]).double()
    real = found.measured["real"]
    assert real.tokens == losses.numel() == 90 + 20 + 30 + 3
    assert real.loss == pytest.approx(float(losses.mean()), abs=1e-6)
    assert real.bits_per_byte == pytest.approx(float(losses.sum()) / math.log(2) / real.tokens)
    assert sum(tokens for tokens, _ in real.bands.values()) == real.tokens
    assert sum(nats for _, nats in real.bands.values()) == pytest.approx(real.nats)
    # the label of the last fake is one token behind the image, that of the 16th word is 17
    assert real.bands[NO_IMAGE][0] == 21
    assert [real.bands[band][0] for band in BANDS[1:3]] == [16 + 16, 48 + 15]
    assert (found.documents, found.images) == (3, 3)


def test_the_unigram_entropy_is_that_of_the_tokens_own_frequencies(model: PackedIdefics2) -> None:
    batch = collate([document(0, 40, 5)])
    found = evaluate(
        model, [batch], size_of=len, vocabulary=VOCABULARY, precision=torch.float32, world=ALONE
    )
    labels = batch.labels_T[batch.labels_T != IGNORED].tolist()
    by_hand = -sum(math.log(labels.count(label) / len(labels)) for label in labels) / len(labels)
    assert found.unigram == pytest.approx(by_hand)


def test_nothing_held_out_is_refused(model: PackedIdefics2) -> None:
    with pytest.raises(ValueError, match="0 held-out tokens"):
        evaluate(
            model, [], size_of=len, vocabulary=VOCABULARY, precision=torch.float32, world=ALONE
        )


def pictures(batch: Batch) -> list[bytes]:
    ends = batch.images_N1.tolist()
    return [batch.patches_KC[a:b].numpy().tobytes() for a, b in pairwise(ends)]


def test_shuffled_pictures_are_all_there_and_none_is_in_its_own_document() -> None:
    batch = collate([document(2, 5, 1), document(0, 5, 2), document(1, 5, 3), document(3, 5, 4)])
    moved, stayed = shuffled(batch, IMAGE)
    before, after = pictures(batch), pictures(moved)
    assert stayed == 0
    assert sorted(before) == sorted(after)
    owners = [0, 0, 2, 3, 3, 3]
    assert all(owners[before.index(one)] != owner for one, owner in zip(after, owners, strict=True))
    assert torch.equal(moved.tokens_T, batch.tokens_T)


def test_where_one_document_has_most_pictures_those_that_stay_are_counted() -> None:
    batch = collate([document(3, 5, 1), document(1, 5, 2)])
    _, stayed = shuffled(batch, IMAGE)
    assert stayed == 2


def test_blank_pictures_are_grey_and_of_the_same_sizes() -> None:
    batch = collate([document(2, 5, 1)])
    grey = blank(batch)
    assert set(grey.patches_KC.flatten().tolist()) == {128}
    assert torch.equal(grey.images_N1, batch.images_N1)


def test_without_pictures_before_it_a_text_loses_the_same_whatever_they_are(
    model: PackedIdefics2,
) -> None:
    batches = [collate([document(2, 20, 1), document(1, 20, 2), document(0, 20, 3)])]
    found = evaluate(
        model, batches, size_of=len, vocabulary=VOCABULARY, precision=torch.float32, world=ALONE
    )
    nats = {kind: one.bands[NO_IMAGE][1] for kind, one in found.measured.items()}
    assert nats["real"] == nats["blank"] == nats["shuffled"]
    assert found.measured["real"].nats != found.measured["blank"].nats
