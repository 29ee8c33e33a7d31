"""Continuations are those of transformers' own pixels-to-tokens generation."""

from __future__ import annotations

import pytest
import torch

from tests.training.model.reference import (
    EOS,
    FAKE,
    IMAGE,
    VOCABULARY,
    Document,
    document,
    packed,
    padded,
    perturbed,
)
from training.evaluate.generate import continuation

LENGTH = 12


def prompt(seed: int, grids: list[tuple[int, int]]) -> Document:
    """A document without its end."""
    whole = document(seed, grids=grids)
    return Document(tokens=whole.tokens[:-1], pictures=whole.pictures)


@pytest.mark.parametrize("grids", [[(2, 3)], [(4, 4), (1, 6)], []])
def test_greedy_generation_is_that_of_transformers(grids: list[tuple[int, int]]) -> None:
    model = perturbed(torch.float32)
    given = prompt(1, grids)
    ours = continuation(model, packed(given), length=LENGTH, eos=EOS, suppressed=(FAKE, IMAGE))
    model.idefics2.set_attn_implementation("sdpa")
    whole = model.idefics2.generate(
        **padded([given], torch.float32),
        max_new_tokens=LENGTH,
        eos_token_id=EOS,
        pad_token_id=EOS,
        suppress_tokens=[FAKE, IMAGE],
    )
    theirs = [int(token) for token in whole[0, len(given.tokens) :]]
    assert len(set(ours)) > 2, "a loop over one token would prove little"
    assert ours == (theirs[: theirs.index(EOS)] if EOS in theirs else theirs)


def test_pictures_change_what_is_generated() -> None:
    model, given = perturbed(torch.float32), prompt(1, [(2, 3)])
    shown = [
        Document(tokens=given.tokens, pictures=document(seed, grids=[(3, 3)]).pictures)
        for seed in range(6)
    ]
    told = {
        tuple(continuation(model, packed(one), length=LENGTH, eos=EOS, suppressed=(FAKE, IMAGE)))
        for one in shown
    }
    assert len(told) > 1


def test_a_suppressed_token_is_never_generated() -> None:
    model, given = perturbed(torch.float32), packed(prompt(1, [(2, 3)]))
    only = 17
    suppressed = [token for token in range(VOCABULARY) if token != only]
    new = continuation(model, given, length=3, eos=EOS, suppressed=suppressed)
    assert new == [only] * 3


def test_draws_are_those_of_their_seed_and_leave_other_generators_alone() -> None:
    model, given = perturbed(torch.float32), packed(prompt(1, [(2, 3)]))
    before = torch.get_rng_state()
    drawn = [
        continuation(
            model, given, length=LENGTH, eos=EOS, suppressed=(IMAGE,), temperature=2.0, seed=seed
        )
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert torch.equal(before, torch.get_rng_state())


def test_the_model_trains_on_after_a_generation() -> None:
    model, given = perturbed(torch.float32), packed(prompt(1, [(2, 3)]))
    before = model(given)
    continuation(model, given, length=2, eos=EOS, suppressed=())
    assert torch.equal(before, model(given))


def test_one_prompt_at_a_time() -> None:
    model = perturbed(torch.float32)
    with pytest.raises(ValueError, match="the prompt is 2 documents"):
        continuation(model, packed(prompt(1, []), prompt(2, [])), length=2, eos=EOS, suppressed=())


def test_more_than_the_language_model_sees_is_refused() -> None:
    model, given = perturbed(torch.float32), packed(prompt(1, [(2, 3)]))
    seen = model.idefics2.config.get_text_config().max_position_embeddings
    most = seen - given.tokens_T.shape[0]
    with pytest.raises(ValueError, match=f"sees {seen:,}: choose a length of {most:,} or less"):
        continuation(model, given, length=most + 1, eos=EOS, suppressed=())
