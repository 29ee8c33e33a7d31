"""Prepare: what the user asked for, checked, opened and counted, before hours of work.

In:      an output folder and FitOptions; or the folder of a run, which is only read and may have
         been copied from another machine.
Out:     Prepared: a TrainingRecipe with its sources and their counts, to train. Trained: a recipe
         and the model of its last checkpoint, without shards and without an optimizer.
Refused: all that could not be trained, with the value, the limit and the remedy; an output folder
         in which a run would touch what is not its own; a folder without a run or a checkpoint, a
         checkpoint of another model: ValueError.

Where no tokenizer and no language model is named, a byte-level BPE is trained on the training split
and kept in OUT/tokenizer. It is as old as the run's first checkpoint: before that it is made anew.

run.json is the first file of a run: a folder without it is no run, not even a killed one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from schemas.sample import SampleText
from training.data import tokenizer
from training.data.counts import count_sources, samples_of
from training.data.plan import Plan
from training.data.sources import NoShardsError, Source, open_source
from training.data.tokenizer import LoadedTokenizer
from training.fit import metrics
from training.fit.checkpoint import State, load_weights, whole_checkpoints
from training.fit.parallel import World
from training.model.idefics2 import PackedIdefics2
from training.model.lora import base_digest
from training.recipe import (
    RUN,
    FitOptions,
    TrainingRecipe,
    order_of,
    read_run,
    shape_of,
    tokenizer_folder,
    tokenizer_of,
    write_run,
)

ASIDE: Final = f"{RUN}.aside"  # all that a kill may leave before run.json
_FOLDERS: Final = frozenset({"checkpoints", "tokenizer", "tensorboard"})
_LINES: Final = (metrics.METRICS, metrics.HOST, metrics.EVALUATIONS)
_FILES: Final = frozenset(
    {RUN, ASIDE, "samples.html", *_LINES, *(f"{name}.aside" for name in _LINES)}
)
_PAGE: Final = re.compile(r"step-\d{6,}\.html")

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    recipe: TrainingRecipe
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

    def identity(self) -> dict[str, Any]:
        """What may not differ when a run goes on from a checkpoint."""
        options = self.recipe.options
        return {
            **self.plan().identity(),
            **self.recipe.identity(),
            "vocabulary": options.config.data.vocabulary if options.own_tokenizer else None,
        }


def prepare(output: Path, options: FitOptions, *, world: World, say: Say) -> Prepared:
    """Open and count everything; the first rank makes what is missing, the others wait."""
    shape = shape_of(options)
    order_of(options, shape)  # raises now, before anything is opened
    sources = tuple(open_source(folder, weight=weight) for folder, weight in options.shards)
    heldout = open_heldout(options, say)
    if world.first:
        output.mkdir(parents=True, exist_ok=True)
        if not (output / RUN).exists():  # first of all: a rerun knows the folder by it
            write_run(output, options)
        if options.own_tokenizer and not whole_checkpoints(output):
            own, size = tokenizer_folder(output), options.config.data.vocabulary
            say(f"training a tokenizer of {size:,} tokens on the training split, kept in {own}")
            tokenizer.train_bpe(_texts(sources), size, own)
    world.wait()
    loaded = tokenizer_of(output, options)
    if world.first:
        count([*sources, *heldout], loaded, say)
    world.wait()
    recipe = TrainingRecipe(options=options, shape=shape, loaded=loaded)
    return Prepared(recipe=recipe, sources=sources, heldout=heldout)


def count(sources: Sequence[Source], loaded: LoadedTokenizer, say: Say) -> None:
    """Make the token counts that are not there yet, and say so."""

    def progress(done: int, todo: int) -> None:
        if done == todo or done % 10_000 == 0:
            say(f"counting tokens: {done:,} of {todo:,} documents")

    count_sources(sources, loaded.encoder, loaded.digest, progress=progress)


def open_heldout(options: FitOptions, say: Say) -> tuple[Source, ...]:
    """The held-out shards of each folder that has some."""
    sources = []
    for folder, weight in options.shards:
        try:
            sources.append(open_source(folder, weight=weight, split="heldout"))
        except NoShardsError as error:
            say(f"not evaluated on: {error}")
    return tuple(sources)


def _texts(sources: Sequence[Source]) -> Iterator[str]:
    for source in sources:
        for shard in source.shards:
            for sample in samples_of(shard):
                yield from (node.text for node in sample.nodes if isinstance(node, SampleText))


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    recipe: TrainingRecipe
    model: PackedIdefics2
    step: int


def open_trained(run: Path, world: World) -> Trained:
    """The model of a run as its last checkpoint has it."""
    options, checkpoints = read_run(run), whole_checkpoints(run)
    if not checkpoints:
        raise ValueError(f"{run} holds 0 checkpoints, at least 1 is needed: fit it first")
    shape = shape_of(options)
    recipe = TrainingRecipe(options=options, shape=shape, loaded=tokenizer_of(run, options))
    recipe.set_up_torch()
    model = recipe.model().to(world.device)
    identity = recipe.identity() | {"base weights": base_digest(model)}
    state = load_weights(checkpoints[-1], model, identity=identity)
    return Trained(recipe=recipe, model=model, step=state.step)


def check_output(output: Path) -> None:
    """Raises ValueError for a folder in which a run would touch what is not its own.

    Refused are names of a run's own files in a folder that is no training run (a crawl's run,
    someone's project), a link or another kind of file under such a name, and metrics with a line
    that no run writes. The folder itself, and what is above it, may be a link.
    """
    if not os.path.lexists(output):
        return
    if not output.is_dir():
        raise ValueError(f"output is {output}, which is no folder: choose another output")
    own = [path for path in sorted(output.iterdir()) if _is_own(path.name)]
    if name := next((path.name for path in own if path.name != ASIDE), ""):
        try:
            read_run(output)
        except ValueError as error:
            raise ValueError(
                f"{output} has {name}, a name that fit writes under, but is no training run "
                f"({error.__cause__}): choose another output"
            ) from error
    inner = tokenizer_folder(output)
    for path in (*own, *(inner.iterdir() if inner in own and inner.is_dir() else ())):
        if path.is_symlink():
            raise ValueError(
                f"{path} is a link, and a run writes under that name: move it elsewhere; to have a "
                f"run on another disk, make {output} itself a link"
            )
        if not (path.is_dir() if path.name in _FOLDERS else path.is_file()):
            kind = "folder" if path.name in _FOLDERS else "regular file"
            raise ValueError(f"{path} is no {kind}, as a run has there: move it elsewhere")
    for name in _LINES:
        for _ in metrics.read(output / name):
            pass


def _is_own(name: str) -> bool:
    return name in _FOLDERS | _FILES or _PAGE.fullmatch(name) is not None
