"""Trained: a run's model at its last checkpoint, without its shards and without an optimizer.

In:      a run's folder, which is only read; it may have been copied from another machine.
Out:     Trained: the recipe, the model with the checkpoint's weights, and its step.
Refused: a folder without a run or a checkpoint, a checkpoint of another model: ValueError.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from training.fit.checkpoint import load_weights, whole_ones
from training.model.idefics2 import PackedIdefics2
from training.model.lora import base_digest
from training.parallel import World
from training.recipe import Recipe, read_run, recipe_of, tokenizer_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    recipe: Recipe
    model: PackedIdefics2
    step: int


def open_trained(run: Path, world: World) -> Trained:
    """The model of a run as its last checkpoint has it."""
    asked, found = read_run(run), whole_ones(run)
    if not found:
        raise ValueError(f"{run} holds 0 checkpoints, at least 1 is needed: fit it first")
    recipe = recipe_of(asked, tokenizer_of(run, asked))
    recipe.set_up_torch()
    model = recipe.model().to(world.device)
    identity = recipe.identity() | {"base weights": base_digest(model)}
    state = load_weights(found[-1], model, identity=identity)
    return Trained(recipe=recipe, model=model, step=state.step)
