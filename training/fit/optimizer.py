"""AdamW with weight-decay groups, and the learning rate of a step: warm-up, then a cosine.

Out:     an optimizer whose first group decays (matrices) and whose second does not (norms, biases
         and other vectors), as is usual since GPT-3 (arXiv 2005.14165, appendix B).
Refused: a model of which nothing is trained, a warm-up as long as the run: ValueError.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from training.config import Optimizer


def adamw(model: nn.Module, chosen: Optimizer) -> torch.optim.AdamW:
    """AdamW (arXiv 1711.05101) over what a model trains."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    if not trained:
        raise ValueError("the model trains 0 parameters, at least 1 is needed: unfreeze a part")
    matrices = [weight for weight in trained if weight.ndim >= 2]
    vectors = [weight for weight in trained if weight.ndim < 2]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": chosen.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=chosen.learning_rate,
        betas=chosen.betas,
        fused=matrices[0].is_cuda if matrices else False,
    )


def learning_rate(step: int, chosen: Optimizer) -> float:
    """Of the step with this number, from 0: rises over the warm-up, falls to its final share."""
    if step < chosen.warmup:
        return chosen.learning_rate * (step + 1) / chosen.warmup
    done = (step - chosen.warmup) / max(1, chosen.steps - 1 - chosen.warmup)
    low = chosen.learning_rate * chosen.final
    return low + (chosen.learning_rate - low) * (1 + math.cos(math.pi * min(1.0, done))) / 2


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def check(chosen: Optimizer) -> None:
    """Raises ValueError where the rate would never come down."""
    if chosen.warmup >= chosen.steps:
        raise ValueError(
            f"optimizer.warmup is {chosen.warmup} steps of optimizer.steps = {chosen.steps}: "
            "choose a shorter warm-up, or more steps"
        )
