"""A step: its gradient is that of all rows however they are cut; a loss of NaN moves nothing."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from tests.training.fit.test_evaluate import IMAGE, SHAPE, VOCABULARY, document
from training.config import Optimizer
from training.data.batch import Batch, collate
from training.fit.parallel import ALONE
from training.fit.step import StepResult, adamw, train_step, zero_gradients
from training.model.idefics2 import PackedIdefics2, build

ROWS = [document(1, 40, 1), document(0, 10, 2), document(2, 25, 3), document(0, 70, 4)]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def fresh() -> PackedIdefics2:
    return build(SHAPE, vocabulary=VOCABULARY, bos=1, eos=2, pad=0, image_token=IMAGE, seed=3)


def stepped(model: nn.Module, batches: list[Batch], optimizer: torch.optim.Optimizer) -> StepResult:
    return train_step(
        model, batches, optimizer, rate=1e-3, clip=1.0, precision=torch.float32, world=ALONE
    )


def test_a_weight_without_a_gradient_is_stepped_as_one_whose_gradient_is_zero() -> None:
    """Else a resumed run, which has met no image yet, would differ from a straight one."""
    met, fresh_ = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    met.grad = torch.ones(3)
    optimizer = torch.optim.AdamW([met, fresh_], lr=0.1, weight_decay=0.5)
    zero_gradients([met, fresh_], optimizer)
    optimizer.step()
    assert torch.equal(met, fresh_)
    assert len(optimizer.state) == 2


def test_micro_batches_of_uneven_targets_give_the_gradient_of_the_whole() -> None:
    whole, parts = fresh(), fresh()
    one = stepped(whole, [collate(ROWS)], adamw(whole, Optimizer()))
    two = stepped(parts, [collate(ROWS[:3]), collate(ROWS[3:])], adamw(parts, Optimizer()))
    assert one.targets == two.targets == 40 + 10 + 25 + 70 + 4
    assert one.loss == pytest.approx(two.loss, abs=1e-5)
    assert one.norm == pytest.approx(two.norm, rel=1e-4)
    for name, weight in whole.named_parameters():
        other = parts.get_parameter(name).grad
        assert weight.grad is not None
        assert other is not None
        assert torch.allclose(weight.grad, other, atol=1e-6), name


def test_a_loss_that_is_not_finite_moves_nothing_and_names_the_documents_of_its_micro_batch() -> (
    None
):
    """Weights and moments stay; the micro-batch without images is not suspected."""
    model = fresh()
    optimizer = adamw(model, Optimizer(learning_rate=0.1, weight_decay=0.1))
    stepped(model, [collate(ROWS)], optimizer)
    with torch.no_grad():  # only pictures meet this weight
        broken = next(weight for name, weight in model.named_parameters() if "vision_model" in name)
        kept = broken.clone()
        broken.fill_(float("nan"))
    before = copy.deepcopy(model.state_dict())
    moments = copy.deepcopy(optimizer.state_dict()["state"])
    told = stepped(model, [collate(ROWS[1:2]), collate(ROWS[2:])], optimizer)
    assert not told.moved
    assert told.suspects == ("heldout-00000/3", "heldout-00000/4")
    for name, weight in model.state_dict().items():
        assert torch.equal(weight.nan_to_num(7), before[name].nan_to_num(7)), name
    for number, one in optimizer.state_dict()["state"].items():
        for name, value in one.items():
            assert torch.equal(value, moments[number][name])
    with torch.no_grad():
        broken.copy_(kept)
    after = stepped(model, [collate(ROWS)], optimizer)
    assert after.moved, "a step that was left out leaves no gradient behind"
