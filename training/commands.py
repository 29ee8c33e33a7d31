"""What the commands do: each opens a run, calls the one function that does the work, and says so.

Apart from cli.py because importing this takes seconds (torch, transformers).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from schemas.terminal import PlainConsole
from training import config as configuration
from training.data.order import check_ranks
from training.evaluate.export import check_empty
from training.evaluate.export import export as write_export
from training.evaluate.generate import continuation
from training.evaluate.prompt import prompt_of
from training.fit.loop import Trainer, stop_on_signals
from training.fit.optimizer import check as check_optimizer
from training.fit.output import check_output
from training.fit.prepare import count, open_heldout, prepare
from training.fit.trained import open_trained
from training.look import estimate, page
from training.look.ending import show_ending, show_evaluation
from training.parallel import ALONE, world
from training.recipe import Asked, read_run, write_run

CONSOLE: Final = PlainConsole(soft_wrap=True)
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # processes share the cores, not threads


def ask(
    shards: Sequence[str],
    config: str,
    settings: Sequence[str] | None,
    *,
    tokenizer: str | None = None,
    language_model: str | None = None,
    vision_model: str | None = None,
) -> Asked:
    return Asked(
        shards=folders(shards),
        config=configuration.load(config, settings or ()),
        tokenizer=_absolute(tokenizer),
        language_model=_absolute(language_model),
        vision_model=_absolute(vision_model),
    )


def _absolute(source: str | None) -> str | None:
    """As run.json keeps it for later commands, given elsewhere; a name of the hub stays."""
    return str(Path(source).absolute()) if source and Path(source).exists() else source


def folders(shards: Sequence[str]) -> tuple[tuple[str, float], ...]:
    """Each folder with its weight; raises ValueError for one that is no number."""
    found = []
    for text in shards:
        folder, equals, weight = ("", "", "") if Path(text).is_dir() else text.rpartition("=")
        try:
            named, share = (folder, float(weight)) if equals else (text, 1.0)
        except ValueError as error:
            raise ValueError(
                f"--shards {text}: {weight!r} is no weight; write DIR, or DIR=0.7"
            ) from error
        # run.json keeps it for later commands, which may be given elsewhere
        found.append((named if "://" in named else str(Path(named).absolute()), share))
    return tuple(found)


def fit(output: Path, asked: Asked) -> int:
    """Train to the end, or to a signal, whose number it gives."""
    check_optimizer(asked.config.optimizer)
    with stop_on_signals() as stop, world() as here:
        check_ranks(asked.config.data.rows, here.size)
        if here.first:
            check_output(output)
        prepared = prepare(output, asked, world=here, say=CONSOLE.print)
        trainer = Trainer(prepared=prepared, output=output, world=here, console=CONSOLE, stop=stop)
        if here.first:
            write_run(output, asked)  # the checkpoint there was found to be of this run
        steps, every = asked.config.optimizer.steps, asked.config.run.evaluate_every
        while (done := trainer.steps_done) < steps:
            if every and done and done % every == 0:
                trainer.evaluate()
            if not trainer.fit(until=(done // every + 1) * every if every else None):
                trainer.say(f"stopped at step {trainer.steps_done:,}: the same command goes on")
                return stop.number
        show_ending(trainer)
        return 0


def evaluate(run: Path, shards: Sequence[str] | None) -> None:
    """On held-out documents of `shards`, else of those that the run was trained on."""
    with world() as here:
        trained = open_trained(run, here)
        heldout = open_heldout(_moved(trained.recipe.asked, shards), CONSOLE.print)
        if here.first:
            count(heldout, trained.recipe.loaded, CONSOLE.print)
        here.wait()
        found = trained.recipe.evaluate(trained.model, heldout, here)
        if here.first:
            show_evaluation(found, step=trained.step, console=CONSOLE)


def generate(
    run: Path,
    images: Sequence[Path],
    prompt: str,
    *,
    length: int,
    temperature: float,
    seed: int,
) -> str:
    """The prompt and its continuation."""
    parts: list[str | bytes] = [_bytes(path) for path in images]
    parts += [prompt] if prompt else []
    with world() as here:
        trained = open_trained(run, here)
        loaded = trained.recipe.loaded
        batch = prompt_of(parts, encoder=loaded.encoder, rule=trained.recipe.images)
        new = continuation(
            trained.model,
            batch.to(here.device),
            length=length,
            eos=loaded.special.eos,
            suppressed=(loaded.special.fake, loaded.special.image),
            temperature=temperature,
            seed=seed,
        )
    return prompt + str(loaded.tokenizer.decode(new))


def export(run: Path, output: Path) -> None:
    check_empty(output)
    trained = open_trained(run, ALONE)
    write_export(trained.model, trained.recipe.loaded.tokenizer, trained.recipe.shape, output)
    CONSOLE.print(f"step {trained.step:,} of {run} is in {output}")


def data(run: Path, shards: Sequence[str] | None, step: int, output: Path | None) -> None:
    path = output or run / f"step-{step:06d}.html"
    asked = _moved(read_run(run), shards)
    if output is None:
        check_output(run)
    prepared = prepare(run, asked, world=ALONE, say=CONSOLE.print)
    page.write_step(prepared, run, step, path)
    CONSOLE.print(f"the documents of step {step:,}: {path}")


def plan(asked: Asked, *, gpus: int, gpu: str, mfu: float) -> None:
    estimate.show_plan(asked, CONSOLE, gpus=gpus, gpu=gpu, mfu=mfu)


def index(shards: Sequence[str], tokenizer: str) -> None:
    estimate.show_counts(folders(shards), tokenizer, CONSOLE)


def _moved(asked: Asked, shards: Sequence[str] | None) -> Asked:
    """With the shards where they lie now."""
    return replace(asked, shards=folders(shards)) if shards else asked


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"--image {path}: {error.strerror}") from error
