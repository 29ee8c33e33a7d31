"""Prompts: parts become what the stream makes of a document, and a batch's document its opening."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.training.shards import picture, sample_of, small_tokenizer
from training.data.batch import Batch, Piece, Row, collate
from training.data.images import ImageRule, patches_of
from training.data.tokens import IGNORED, sequence_of
from training.evaluate.generate import opening, prompt_of

RULE = ImageRule(longest=70, shortest=28, table=5, image_tokens=3)
ENCODER = small_tokenizer().encoder
SPECIAL = small_tokenizer().special
FIRST, SECOND = picture(40, 60, colour=1), picture(80, 30, colour=9)


def row_of(number: int, *parts: str | bytes) -> Row:
    """A whole document, as it is trained on."""
    sample, images = sample_of(parts, number=number)
    tokens = sequence_of(sample, ENCODER, RULE.image_tokens).tokens
    cut = [
        patches_of(one, longest=RULE.longest, shortest=RULE.shortest, table=RULE.table)
        for one in images
    ]
    return Row(
        tokens=tokens,
        labels=np.append(tokens[1:], IGNORED),
        lengths=np.array([len(tokens)]),
        patches=np.concatenate([np.zeros((0, 588), np.uint8), *(one for one, _ in cut)]),
        patch_places=np.concatenate([np.zeros(0, np.int64), *(one for _, one in cut)]),
        patch_lengths=np.array([len(one) for _, one in cut], dtype=np.int64),
        pieces=(Piece(source=0, shard="s", key=f"{number}", start=0, end=len(tokens)),),
    )


DOCUMENTS = (
    ("the sea is wide", FIRST, "and the ship", SECOND, "is small"),
    ("no picture stands here, only rain",),
    (FIRST, SECOND, "two boats wait for wind near an old harbour"),
)
BATCH = collate([row_of(number, *parts) for number, parts in enumerate(DOCUMENTS)])


def tokens_of(text: str) -> list[int]:
    return [int(token) for token in ENCODER.ids([text])[0]]


def same_pictures(batch: Batch, *images: bytes) -> bool:
    expected = prompt_of([*images, "the"], encoder=ENCODER, rule=RULE)
    return (
        torch.equal(batch.patches_KC, expected.patches_KC)
        and torch.equal(batch.patch_places_K, expected.patch_places_K)
        and torch.equal(batch.images_N1, expected.images_N1)
        and batch.longest_image == expected.longest_image
    )


def test_a_prompt_is_its_document_without_an_end() -> None:
    prompt = prompt_of(DOCUMENTS[0], encoder=ENCODER, rule=RULE)
    whole = row_of(0, *DOCUMENTS[0])
    assert prompt.tokens_T.tolist() == whole.tokens[:-1].tolist()
    assert whole.tokens[-1] == SPECIAL.eos
    assert same_pictures(prompt, FIRST, SECOND)
    assert set(prompt.labels_T.tolist()) == {IGNORED}


def test_an_opening_ends_some_tokens_behind_the_first_picture() -> None:
    prompt, rest = opening(BATCH, 0, image_token=SPECIAL.image, words=2)
    behind = tokens_of("and the ship")
    image = [SPECIAL.fake, *[SPECIAL.image] * 3, SPECIAL.fake]
    shown = [SPECIAL.bos, *tokens_of("the sea is wide"), *image, *behind[:2]]
    assert prompt.tokens_T.tolist() == shown
    assert rest == [*behind[2:], *image, *tokens_of("is small"), SPECIAL.eos]
    assert same_pictures(prompt, FIRST)
    assert [piece.key for piece in prompt.pieces] == ["0"]


def test_pictures_side_by_side_open_together_wherever_their_document_stands_in_the_batch() -> None:
    prompt, rest = opening(BATCH, 2, image_token=SPECIAL.image, words=1)
    text = tokens_of(str(DOCUMENTS[2][2]))
    two = [SPECIAL.fake, *[SPECIAL.image] * 3, SPECIAL.fake, *[SPECIAL.image] * 3, SPECIAL.fake]
    assert prompt.tokens_T.tolist() == [SPECIAL.bos, *two, text[0]]
    assert rest == [*text[1:], SPECIAL.eos]
    assert same_pictures(prompt, FIRST, SECOND)


def test_a_document_without_a_picture_opens_with_its_first_tokens() -> None:
    prompt, rest = opening(BATCH, 1, image_token=SPECIAL.image, words=3)
    text = tokens_of(str(DOCUMENTS[1][0]))
    assert prompt.tokens_T.tolist() == [SPECIAL.bos, *text[:3]]
    assert rest == [*text[3:], SPECIAL.eos]
    assert prompt.images_N1.tolist() == [0]


def test_an_opening_longer_than_its_document_leaves_nothing_to_write() -> None:
    prompt, rest = opening(BATCH, 1, image_token=SPECIAL.image, words=1000)
    assert prompt.tokens_T.tolist() == row_of(1, *DOCUMENTS[1]).tokens.tolist()
    assert rest == []


def test_nothing_and_what_is_no_picture_are_refused() -> None:
    with pytest.raises(ValueError, match="0 parts"):
        prompt_of([], encoder=ENCODER, rule=RULE)
    with pytest.raises(ValueError, match=r"picture 2 of the prompt: .*none of JPEG, PNG"):
        prompt_of([FIRST, b"no picture"], encoder=ENCODER, rule=RULE)
