"""One training step: a rank's micro-batches in, the weights moved once by AdamW.

In:      the micro-batches that this rank has of a global batch, at least one; the learning rate of
         the step (warm-up, then a cosine).
Out:     the loss a token over the global batch, the gradient's norm, and whether weights moved.
Refused: a model of which nothing is trained, a warm-up as long as the run: ValueError.

The loss is the mean over the trained tokens of all ranks and micro-batches: each micro-batch's sum
is divided by that number, times the ranks, since DDP averages. So neither the number of ranks nor
that of micro-batches changes what is learnt. A step whose loss or gradient is not finite is left
out on all ranks alike, and names its documents.

Weight decay is for matrices only, not for norms, biases and other vectors, as is usual since GPT-3
(arXiv 2005.14165, appendix B).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from training.config import Optimizer
from training.data.batch import Batch
from training.fit.parallel import World, without_sync


def adamw(model: nn.Module, config: Optimizer) -> torch.optim.AdamW:
    """AdamW (arXiv 1711.05101) over what a model trains."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    if not trained:
        raise ValueError("the model trains 0 parameters, at least 1 is needed: unfreeze a part")
    matrices = [weight for weight in trained if weight.ndim >= 2]
    vectors = [weight for weight in trained if weight.ndim < 2]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": config.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=config.learning_rate,
        betas=config.betas,
        fused=matrices[0].is_cuda if matrices else False,
    )


def learning_rate(step: int, config: Optimizer) -> float:
    """Of the step with this number, from 0: rises over the warm-up, falls to its final share."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - 1 - config.warmup)
    low = config.learning_rate * config.final
    return low + (config.learning_rate - low) * (1 + math.cos(math.pi * min(1.0, done))) / 2


def check_warmup(config: Optimizer) -> None:
    """Raises ValueError where the rate would never come down."""
    if config.warmup >= config.steps:
        raise ValueError(
            f"optimizer.warmup is {config.warmup} steps of optimizer.steps = {config.steps}: "
            "choose a shorter warm-up, or more steps"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class StepResult:
    loss: float  # nats a trained token
    norm: float  # of the gradient, before clipping
    targets: int  # trained tokens of all ranks
    moved: bool
    suspects: tuple[str, ...] = ()  # documents of the micro-batches without a finite loss


def train_step(
    model: nn.Module,
    batches: Sequence[Batch],
    optimizer: torch.optim.Optimizer,
    *,
    rate: float,
    clip: float,
    precision: torch.dtype,
    world: World,
) -> StepResult:
    """Forward, backward and AdamW at this learning rate; every rank calls it with its batches."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    zero_gradients(trained, optimizer)
    targets = round(world.sums(sum(batch.targets for batch in batches))[0])
    losses = []
    for number, batch in enumerate(batches, start=1):
        batch_here = batch.to(world.device)
        with (
            without_sync(model, last=number == len(batches)),
            world.autocast(precision),
        ):
            nats = model(batch_here, dummy_image=world.size > 1).sum()
            (nats * (world.size / max(1, targets))).backward()
        losses.append(nats.detach())
    own = [float(nats) for nats in torch.stack(losses).tolist()]  # the step's one wait for a GPU
    norm = float(nn.utils.clip_grad_norm_(trained, clip))
    loss = world.sums(sum(own))[0] / max(1, targets)
    moved = math.isfinite(loss) and math.isfinite(norm)
    if moved:
        optimizer.step()
        return StepResult(loss=loss, norm=norm, targets=targets, moved=True)
    odd = [batch for batch, nats in zip(batches, own, strict=True) if not math.isfinite(nats)]
    documents = [f"{piece.shard}/{piece.key}" for batch in odd or batches for piece in batch.pieces]
    suspects = tuple(world.gather(documents))
    return StepResult(loss=loss, norm=norm, targets=targets, moved=False, suspects=suspects)


def zero_gradients(trained: Sequence[nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
    """Set gradients to zeros, never to None: AdamW leaves out a weight whose gradient is None.

    Otherwise a step without an image would move the vision weights (by decay and moments) only
    where this process had met an image before, so a resumed run would differ from a straight one.
    """
    for weight in trained:
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
    optimizer.zero_grad(set_to_none=False)
