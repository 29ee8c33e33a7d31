"""The learning rate of a step, what decays, and FLOPs against what the paper's shape needs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from training.config import Optimizer
from training.fit.step import adamw, check_warmup, learning_rate
from training.model.shapes import SHAPES, flops

CHOSEN = Optimizer(steps=100, warmup=10, learning_rate=1.0, final=0.1)


@pytest.mark.parametrize(("step", "rate"), [(0, 0.1), (9, 1.0), (10, 1.0), (99, 0.1), (500, 0.1)])
def test_the_rate_rises_over_the_warm_up_and_ends_at_its_final_share(
    step: int, rate: float
) -> None:
    assert learning_rate(step, CHOSEN) == pytest.approx(rate)


def test_halfway_between_warm_up_and_end_the_rate_is_halfway() -> None:
    odd = Optimizer(steps=111, warmup=10, learning_rate=1.0, final=0.0)
    assert learning_rate(60, odd) == pytest.approx(0.5)


def test_a_run_of_nothing_but_warm_up_is_refused() -> None:
    with pytest.raises(ValueError, match=r"warmup is 10 steps of optimizer.steps = 10"):
        check_warmup(Optimizer(steps=10, warmup=10))


def test_matrices_decay_and_vectors_do_not() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    with torch.no_grad():
        for weight in model.parameters():
            weight.fill_(1.0)
            weight.grad = torch.zeros_like(weight)
    adamw(model, Optimizer(learning_rate=0.5, weight_decay=0.1)).step()
    decayed = {
        name: float(weight.detach().flatten()[0]) for name, weight in model.named_parameters()
    }
    assert decayed == pytest.approx({"0.weight": 0.95, "0.bias": 1, "1.weight": 1, "1.bias": 1})


def test_a_model_of_which_nothing_is_trained_is_refused() -> None:
    with pytest.raises(ValueError, match="trains 0 parameters"):
        adamw(nn.Linear(2, 2).requires_grad_(requires_grad=False), CHOSEN)


@pytest.mark.parametrize(
    ("side", "vision", "connector"), [(384, 0.67e12, 0.23e12), (980, 7.0e12, 1.1e12)]
)
def test_an_image_of_the_papers_model_costs_what_its_shape_needs(
    side: int, vision: float, connector: float
) -> None:
    patches = (side // 14) ** 2
    one = flops(SHAPES["idefics2-8b"], 32_003, documents=[64], images=[patches], targets=0)
    assert one.vision == pytest.approx(vision, rel=0.02)
    assert one.connector == pytest.approx(connector, rel=0.02)
    assert one.text == pytest.approx(0.91e12, rel=0.02)


def test_frozen_backbones_need_no_weight_gradients() -> None:
    one = flops(SHAPES["tiny"], 100, documents=[50], images=[25], targets=10)
    assert one.step() == pytest.approx(3 * one.forward)
    frozen = one.vision + 3 * one.connector + 2 * one.text
    assert one.step(frozen_backbones=True) == pytest.approx(frozen)
