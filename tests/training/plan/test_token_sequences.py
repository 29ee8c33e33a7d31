"""A document is one sequence of runs and images; a piece of it trains each text token once."""

from __future__ import annotations

import pickle
import re
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.shards import Node, picture, prose, sample_of, small_tokenizer
from training.data.tokens import (
    IGNORED,
    JOINT,
    Assembled,
    Ints,
    TokenSequence,
    assemble,
    sequence_of,
)

IMAGE_TOKENS = 3
PICTURE = picture(8, 8)

NODES = st.lists(st.one_of(st.integers(0, 12).map(prose), st.just(PICTURE)), max_size=12)


def sequence(document: Sequence[Node]) -> TokenSequence:
    return sequence_of(sample_of(document)[0], small_tokenizer().encoder, IMAGE_TOKENS)


def ids(text: str) -> list[int]:
    return small_tokenizer().encoder.ids([text])[0]


def symbols(tokens: Ints) -> str:
    """F and I for image tokens, t for all others."""
    special = small_tokenizer().special
    letters = {special.fake: "F", special.image: "I"}
    return "".join(letters.get(token, "t") for token in tokens.tolist())


def targets(assembled: Assembled) -> list[int]:
    return [int(label) for label in assembled.labels if label != IGNORED]


def test_texts_side_by_side_are_one_run_and_neighbouring_images_share_a_fake() -> None:
    special = small_tokenizer().special
    made = sequence(["Two words.", "More.", PICTURE, PICTURE, "The end."])
    fake, image = [special.fake], [special.image] * IMAGE_TOKENS
    first, last = ids(f"Two words.{JOINT}More."), ids("The end.")
    assert made.tokens.tolist() == [
        special.bos, *first, *fake, *image, *fake, *image, *fake, *last, special.eos
    ]  # fmt: skip
    start = 1 + len(first) + 1
    assert made.images.tolist() == [start, start + IMAGE_TOKENS + 1]
    block = 2 * (IMAGE_TOKENS + 1) + 1
    assert made.trained.tolist() == [
        False, *[True] * len(first), *[False] * block, *[True] * len(last), True
    ]  # fmt: skip


def test_an_empty_text_does_not_part_images() -> None:
    assert np.array_equal(
        sequence([PICTURE, "", PICTURE]).tokens, sequence([PICTURE, PICTURE]).tokens
    )


@pytest.mark.parametrize("text", ["<image>", "a </s> b", "<fake_token_around_image>x", "<s>"])
def test_a_text_that_looks_like_a_special_token_is_text(text: str) -> None:
    special = small_tokenizer().special
    made = sequence([text])
    assert not {special.bos, special.eos, special.fake, special.image} & set(ids(text))
    assert made.trained[1:].all()
    assert len(made.images) == 0
    assert small_tokenizer().tokenizer.decode(made.tokens[1:-1].tolist()) == text


@given(NODES)
def test_bos_images_and_fakes_are_never_trained_and_all_else_is(document: list[Node]) -> None:
    made = sequence(document)
    kinds = np.array(list(symbols(made.tokens)))
    kinds[0] = "B"
    assert np.array_equal(made.trained, kinds == "t")
    assert re.fullmatch(rf"t+(F(I{{{IMAGE_TOKENS}}}F)+t+)*", symbols(made.tokens))
    assert (symbols(made.tokens).count("I") // IMAGE_TOKENS) == len(made.images)


@given(NODES, st.data())
def test_a_piece_trains_its_own_targets_behind_one_token_of_context(
    document: list[Node], data: st.DataObject
) -> None:
    made = sequence(document)
    start = data.draw(st.integers(0, len(made.tokens) - 1))
    end = data.draw(st.integers(start + 1, len(made.tokens)))
    piece = assemble(made, start, end)
    context = start > 0
    assert len(piece.tokens) == len(piece.labels) == end - start + context
    assert piece.tokens.tolist() == made.tokens[start - context : end].tolist()
    assert targets(piece) == made.tokens[start:end][made.trained[start:end]].tolist()
    assert piece.labels[-1] == IGNORED
    own = piece.labels[:-1] != IGNORED
    assert np.array_equal(piece.labels[:-1][own], piece.tokens[1:][own])


@st.composite
def broken_pieces(draw: st.DrawFn) -> tuple[TokenSequence, int, int, set[int]]:
    """A piece that ends where pieces may end, not inside an image, and images to break."""
    made = sequence(draw(NODES))
    kinds = symbols(made.tokens)
    apart, images = IMAGE_TOKENS + 1, made.images.tolist()
    inner = {place + n for place in images for n in range(apart)}
    behind = {place + apart for place in images}  # where a text or another image begins
    later = behind & set(images)
    places = [n for n in range(len(kinds)) if n in later or n not in inner | behind]
    start, end = sorted(draw(st.lists(st.sampled_from([*places, len(kinds)]), min_size=2,
                                      max_size=2, unique=True)))  # fmt: skip
    numbers = st.lists(st.sampled_from(range(len(images)))) if images else st.just([])
    return made, start, end, set(draw(numbers))


@given(broken_pieces())
def test_a_broken_image_leaves_with_its_tokens_and_nothing_else_changes(
    case: tuple[TokenSequence, int, int, set[int]],
) -> None:
    made, start, end, broken = case
    whole, closed = assemble(made, start, end), assemble(made, start, end, broken)
    assert targets(closed) == targets(whole)
    assert closed.images == [one for one in whole.images if one not in broken]
    kinds = symbols(closed.tokens)
    assert re.fullmatch(rf"t*(F(I{{{IMAGE_TOKENS}}}F)+t*)*", kinds)
    assert kinds.count("I") == IMAGE_TOKENS * len(closed.images)
    assert len(closed.tokens) <= len(whole.tokens)
    if not broken & set(whole.images):
        assert np.array_equal(closed.tokens, whole.tokens)


def test_context_that_leaves_with_its_image_is_replaced_by_the_text_before() -> None:
    made = sequence(["Before.", PICTURE, PICTURE, "After."])
    second = int(made.images[1])
    piece = assemble(made, second, len(made.tokens), {1})
    assert piece.tokens.tolist() == [ids("Before.")[-1], *ids("After."), made.tokens[-1]]
    assert targets(piece) == [*ids("After."), made.tokens[-1]]


def test_context_of_a_document_that_begins_with_its_broken_images_is_bos() -> None:
    made = sequence([PICTURE, PICTURE, "After."])
    piece = assemble(made, int(made.images[1]), len(made.tokens), {0, 1})
    assert piece.tokens.tolist() == [made.tokens[0], *ids("After."), made.tokens[-1]]


def test_an_encoder_sent_to_another_process_still_takes_special_tokens_for_text() -> None:
    encoder = small_tokenizer().encoder
    sent = pickle.loads(pickle.dumps(encoder))
    assert sent.ids(["<image> </s>"]) == encoder.ids(["<image> </s>"])
    assert small_tokenizer().special.image not in sent.ids(["<image>"])[0]
