"""One training step: a rank's micro-batches in, the weights moved once.

In:      the micro-batches that this rank has of a global batch; one at least.
Out:     the loss a token over the global batch, the gradient's norm, and whether weights moved.

The loss is the mean over the trained tokens of all ranks and micro-batches: each micro-batch's sum
is divided by that number, times the ranks, since DDP averages. So neither the number of ranks nor
that of micro-batches changes what is learnt. A step whose loss or gradient is not finite is left
out on all ranks alike, and names its documents.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from training.data.batch import Batch
from training.parallel import World, without_sync


@dataclass(frozen=True, kw_only=True, slots=True)
class Stepped:
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
    clip: float,
    precision: torch.dtype,
    world: World,
) -> Stepped:
    """Forward, backward and AdamW; every rank calls it with its own batches."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    _zero_gradients(trained, optimizer)
    targets = round(world.sums(sum(batch.targets for batch in batches))[0])
    losses = []
    for number, batch in enumerate(batches):
        here = batch.to(world.device)
        with (
            without_sync(model, last=number == len(batches) - 1),
            world.autocast(precision),
        ):
            nats = model(here, dummy_image=world.size > 1).sum()
            (nats * (world.size / max(1, targets))).backward()
        losses.append(nats.detach())
    own = [float(one) for one in torch.stack(losses).tolist()]  # the step's one wait
    norm = float(nn.utils.clip_grad_norm_(trained, clip))
    loss = world.sums(sum(own))[0] / max(1, targets)
    moved = math.isfinite(loss) and math.isfinite(norm)
    if moved:
        optimizer.step()
        return Stepped(loss=loss, norm=norm, targets=targets, moved=True)
    odd = [batch for batch, one in zip(batches, own, strict=True) if not math.isfinite(one)]
    told = [f"{piece.shard}/{piece.key}" for batch in odd or batches for piece in batch.pieces]
    return Stepped(
        loss=loss, norm=norm, targets=targets, moved=False, suspects=tuple(world.gather(told))
    )


def _zero_gradients(trained: Sequence[nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
    """Zeros, never None: AdamW would leave out what has had no gradient since the process began.

    A step without an image would then move the vision weights (decay, moments) or not, depending
    on whether the run was resumed before it.
    """
    for weight in trained:
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
    optimizer.zero_grad(set_to_none=False)
