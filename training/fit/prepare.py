"""Prepare: what was asked for, checked, opened and counted, before hours of work.

In:      shard folders with weights, a Config, an output folder, and perhaps a tokenizer and
         pretrained models.
Out:     Prepared: a Recipe with its sources and their counts.
Refused: all that could not be trained, with the value, the limit and the remedy: ValueError.

Where no tokenizer and no language model is named, a byte-level BPE is trained on the training split
and kept in OUT/tokenizer. It is as old as the run's first checkpoint: before that it is made anew.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.sample import SampleText
from training.data import tokenizer
from training.data.order import Plan
from training.data.shards.counts import count_sources, samples_of
from training.data.shards.sources import NoShardsError, Source, open_source
from training.data.stream import Step, Steps
from training.data.tokenizer import Loaded
from training.fit.checkpoint import State, whole_ones
from training.parallel import World
from training.recipe import (
    RUN,
    Asked,
    Recipe,
    images_of,
    order_of,
    own_tokenizer,
    shape_of,
    tokenizer_of,
    write_run,
)

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    recipe: Recipe
    sources: tuple[Source, ...]
    heldout: tuple[Source, ...]  # none where no folder has a held-out shard

    def plan(self) -> Plan:
        return Plan(self.sources, self.recipe.loaded.digest, self.recipe.order)

    def plan_from(self, folder: Path, state: State) -> Plan:
        """The plan as a checkpoint has left it; ValueError, which names it, for a damaged one."""
        plan = self.plan()
        try:
            plan.load_state_dict(state.data)
            if plan.step != state.step:
                raise ValueError(f"it is of step {plan.step}, its checkpoint of {state.step}")
        except ValueError as error:
            raise ValueError(
                f"{folder} is no checkpoint (state of the data: {error}): remove it to go on from "
                "the one before"
            ) from error
        return plan

    def steps(self, plan: Steps) -> Generator[Step, None, None]:
        """Batches of a plan over the training split."""
        return self.recipe.steps(plan, self.sources)

    def identity(self) -> dict[str, Any]:
        """What may not differ when a run goes on from a checkpoint."""
        asked = self.recipe.asked
        own = asked.tokenizer is None and asked.language_model is None
        return {
            **self.plan().identity(),
            **self.recipe.identity(),
            "vocabulary": asked.config.data.vocabulary if own else None,
        }


def prepare(output: Path, asked: Asked, *, world: World, say: Say) -> Prepared:
    """Open and count everything; the first rank makes what is missing, the others wait.

    Raises:
        ValueError: for what could not be trained.
    """
    shape = shape_of(asked)
    order, images = order_of(asked, shape), images_of(shape)  # their limits hold, or this ends here
    sources = tuple(open_source(folder, weight=weight) for folder, weight in asked.shards)
    heldout = open_heldout(asked, say)
    if world.first:
        output.mkdir(parents=True, exist_ok=True)
        if not (output / RUN).exists():  # first of all: a rerun knows the folder by it
            write_run(output, asked)
        if not whole_ones(output):
            _train_tokenizer(output, asked, sources, say)
    world.wait()
    loaded = tokenizer_of(output, asked)
    if world.first:
        count([*sources, *heldout], loaded, say)
    world.wait()
    recipe = Recipe(asked=asked, shape=shape, order=order, images=images, loaded=loaded)
    return Prepared(recipe=recipe, sources=sources, heldout=heldout)


def count(sources: Sequence[Source], loaded: Loaded, say: Say) -> None:
    """Make the token counts that are not there yet, and say so."""

    def told(done: int, todo: int) -> None:
        if done == todo or done % 10_000 == 0:
            say(f"counting tokens: {done:,} of {todo:,} documents")

    count_sources(sources, loaded.encoder, loaded.digest, progress=told)


def open_heldout(asked: Asked, say: Say) -> tuple[Source, ...]:
    """The held-out shards of each folder that has some."""
    found = []
    for folder, weight in asked.shards:
        try:
            found.append(open_source(folder, weight=weight, split="heldout"))
        except NoShardsError as error:
            say(f"not evaluated on: {error}")
    return tuple(found)


def _train_tokenizer(output: Path, asked: Asked, sources: Sequence[Source], say: Say) -> None:
    if asked.tokenizer is not None or asked.language_model is not None:
        return
    size, own = asked.config.data.vocabulary, own_tokenizer(output)
    say(f"training a tokenizer of {size:,} tokens on the training split, kept in {own}")
    tokenizer.train_bpe(_texts(sources), size, own)


def _texts(sources: Sequence[Source]) -> Iterator[str]:
    for source in sources:
        for shard in source.shards:
            for sample in samples_of(shard):
                yield from (one.text for one in sample.nodes if isinstance(one, SampleText))
