"""The packed model against transformers' Idefics2, number by number."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.training.model.reference import (
    IMAGE,
    Document,
    document,
    masked_loss,
    packed,
    perturbed,
    row,
    spans,
    theirs,
)
from training.data.batch import collate
from training.data.tokens import IGNORED

UNEVEN = [
    document(1, words=9, grids=[(2, 3)]),
    document(2, words=3, grids=[(5, 2), (1, 1), (6, 6)]),
    document(3, words=14, grids=[(3, 4)]),
]
LIMITS = [(torch.float32, 1e-5), (torch.float64, 1e-7)]


@pytest.mark.parametrize(("dtype", "limit"), LIMITS)
@torch.no_grad()
def test_logits_of_a_packed_batch_are_those_of_transformers(
    dtype: torch.dtype, limit: float
) -> None:
    model = perturbed(dtype)
    ours, others = model.logits(packed(*UNEVEN)), theirs(model, UNEVEN)
    assert 4 < others.abs().max() < 12
    assert (ours - others).abs().max() <= limit


@pytest.mark.parametrize(("dtype", "limit"), LIMITS)
@torch.no_grad()
def test_three_uneven_documents_packed_are_three_batches_of_one(
    dtype: torch.dtype, limit: float
) -> None:
    model = perturbed(dtype)
    alone = torch.cat([model.logits(packed(one)) for one in UNEVEN])
    assert (model.logits(packed(*UNEVEN)) - alone).abs().max() <= limit


@torch.no_grad()
def test_documents_without_images_are_those_of_transformers_too() -> None:
    model, documents = perturbed(torch.float64), [document(1, words=5), document(2, words=20)]
    ours, others = model.logits(packed(*documents)), theirs(model, documents)
    assert (ours - others).abs().max() <= 1e-7


@torch.no_grad()
def test_rows_of_a_batch_are_packed_one_after_the_other() -> None:
    model = perturbed(torch.float64)
    rows = collate([row(UNEVEN[:1]), row(UNEVEN[1:])])
    assert torch.equal(model.logits(rows), model.logits(packed(*UNEVEN)))


def test_loss_and_gradients_are_those_of_explicit_masks() -> None:
    model, batch = perturbed(torch.float64), packed(*UNEVEN, document(4))
    loss, gradients = _gradients(model, model(batch).sum())
    expected, masked = _gradients(model, masked_loss(model, batch))
    assert loss == pytest.approx(expected, rel=1e-12)
    for name, gradient in masked.items():
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-7, atol=1e-9, msg=name)


def test_losses_stand_at_the_labelled_positions_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, batch = perturbed(torch.float64), packed(*UNEVEN)
    labelled = batch.labels_T != IGNORED
    chances = model.logits(batch)[labelled].log_softmax(-1)
    expected = -chances.gather(1, batch.labels_T[labelled][:, None])[:, 0]
    whole = model(batch)
    torch.testing.assert_close(whole, expected)
    whole_gradients = _gradients(model, whole.sum())
    monkeypatch.setattr("training.model.idefics2.CHUNK", 300)  # 4 positions at a time
    chunked = model(batch)
    torch.testing.assert_close(chunked, expected)
    for name, gradient in _gradients(model, chunked.sum())[1].items():
        torch.testing.assert_close(gradient, whole_gradients[1][name], msg=name)


def test_a_batch_without_images_gives_vision_zero_gradients_not_none() -> None:
    model, batch = perturbed(torch.float32), packed(document(1), document(2))
    plain = model(batch)
    with_dummy = model(batch, dummy_image=True)
    assert torch.equal(plain, with_dummy)
    _, gradients = _gradients(model, with_dummy.sum())
    assert len(gradients) == len(list(model.parameters()))
    seeing = {name: one for name, one in gradients.items() if ".text_model." not in name}
    assert all(not one.any() for name, one in seeing.items() if "lm_head" not in name)
    assert gradients["idefics2.lm_head.weight"].any()


def test_a_batch_without_targets_gives_no_losses_and_gradients_of_zero() -> None:
    model = perturbed(torch.float32)
    batch = packed(Document(tokens=[1], pictures=[]))
    losses = model(batch, dummy_image=True)
    assert losses.shape == (0,)
    _, gradients = _gradients(model, losses.sum())
    assert len(gradients) == len(list(model.parameters()))


def test_image_tokens_that_are_not_those_of_the_images_are_refused() -> None:
    model = perturbed(torch.float32)
    wrong = document(1, grids=[(1, 1)], latents=5)
    with pytest.raises(ValueError, match="5 image tokens, but 1 images of 4"):
        model(packed(wrong))


@torch.no_grad()
def test_a_document_longer_than_the_sliding_window_is_refused() -> None:
    model = perturbed(torch.float32)
    length = len(UNEVEN[0].tokens)
    model.idefics2.config.get_text_config().sliding_window = length
    model.logits(packed(UNEVEN[0]))
    model.idefics2.config.get_text_config().sliding_window = length - 1
    with pytest.raises(ValueError, match=f"a document has {length} tokens"):
        model.logits(packed(UNEVEN[0]))


@torch.no_grad()
def test_what_a_packed_document_holds_changes_no_other_to_the_bit() -> None:
    model = perturbed(torch.float32)
    before = model.logits(packed(*UNEVEN))
    for number, place in enumerate(spans(UNEVEN)):
        changed = [*UNEVEN]
        tokens = [60 if token > 4 else token for token in UNEVEN[number].tokens]
        changed[number] = Document(
            tokens=tokens, pictures=[255 - picture for picture in UNEVEN[number].pictures]
        )
        after = model.logits(packed(*changed))
        others = torch.ones(len(before), dtype=torch.bool)
        others[place] = False
        assert torch.equal(before[others], after[others])
        assert not torch.equal(before[place], after[place])


@torch.no_grad()
def test_an_image_that_breaks_changes_no_other_document_to_the_bit() -> None:
    model = perturbed(torch.float32)
    whole = UNEVEN[1]
    block = whole.tokens.index(IMAGE) - 1  # its fake tokens and those between leave too
    tokens = whole.tokens[:block] + whole.tokens[block + 6 :]
    broken = [UNEVEN[0], Document(tokens=tokens, pictures=whole.pictures[1:]), UNEVEN[2]]
    before, after = model.logits(packed(*UNEVEN)), model.logits(packed(*broken))
    for number in (0, 2):
        assert torch.equal(before[spans(UNEVEN)[number]], after[spans(broken)[number]])


@torch.no_grad()
def test_what_an_image_shows_changes_no_other_image_to_the_bit() -> None:
    model = perturbed(torch.float32)
    before, logits = model.visual(packed(*UNEVEN)), model.logits(packed(*UNEVEN))
    middle = UNEVEN[1]
    for shown in range(3):
        pictures = [*middle.pictures]
        pictures[shown] = 255 - pictures[shown]
        changed = Document(tokens=middle.tokens, pictures=pictures)
        batch = packed(UNEVEN[0], changed, UNEVEN[2])
        after = model.visual(batch)
        alike = (before == after).all(-1).view(-1, 4)
        assert alike.all(1).tolist() == [number != 1 + shown for number in range(5)]
        first, _, last = spans(UNEVEN)
        for place in (first, last):
            assert torch.equal(model.logits(batch)[place], logits[place])


def _gradients(model: torch.nn.Module, loss: Tensor) -> tuple[float, dict[str, Tensor]]:
    names = [name for name, _ in model.named_parameters()]
    found = torch.autograd.grad(
        loss, list(model.parameters()), retain_graph=True, allow_unused=True
    )
    by_name = zip(names, found, strict=True)
    return loss.item(), {name: one for name, one in by_name if one is not None}


def test_under_autocast_losses_are_float32_and_near_and_every_weight_learns() -> None:
    model, batch = perturbed(torch.float32), packed(*UNEVEN)
    exact = model(batch)
    with torch.autocast("cpu", torch.bfloat16):
        losses = model(batch)
    assert losses.dtype == torch.float32
    assert (losses.mean() - exact.mean()).abs() < 0.05 * exact.mean()
    _, gradients = _gradients(model, losses.mean())
    assert len(gradients) == len(list(model.parameters()))


@torch.no_grad()
def test_transformers_makes_no_mask_and_looks_for_no_packed_documents(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = perturbed(torch.float32)

    def never(*_: object) -> None:
        raise AssertionError("position ids were searched for packed documents")

    monkeypatch.setattr("transformers.masking_utils.find_packed_sequence_indices", never)
    model.logits(packed(*UNEVEN))


def test_recomputed_activations_give_the_same_losses_and_gradients() -> None:
    found = []
    for recompute in (False, True):
        model = perturbed(torch.float64).train()
        if recompute:
            model.recompute()
        losses = model(packed(*UNEVEN))
        losses.sum().backward()
        gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
        found.append((losses.detach(), gradients))
    (plain, of_plain), (again, of_again) = found
    assert torch.equal(plain, again)
    assert len(of_plain) == len(of_again) > 50
    assert all(torch.equal(one, other) for one, other in zip(of_plain, of_again, strict=True))
