"""What the commands do: each opens a run, calls the one function that does the work, and says so.

Apart from cli.py because importing this takes seconds (torch, transformers).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console

from training import config as configuration
from training import estimate, look
from training.checkpoint import whole_ones
from training.ending import show_ending, show_evaluation
from training.export import export as write_export
from training.fit import Stop, Trainer, stop_on_signals
from training.generate import continuation
from training.parallel import ALONE, World, world
from training.prepare import Asked, prepare, read_run
from training.prompt import prompt_of

CONSOLE: Final = Console(markup=False, highlight=False, soft_wrap=True)
BESIDE: Final = Console(markup=False, highlight=False, soft_wrap=True, stderr=True)
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
        tokenizer=tokenizer,
        language_model=language_model,
        vision_model=vision_model,
    )


def folders(shards: Sequence[str]) -> tuple[tuple[str, float], ...]:
    """Each folder with its weight; raises ValueError for one that is no number."""
    found = []
    for text in shards:
        folder, equals, weight = text.rpartition("=")
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
    with stop_on_signals() as stop, world() as here:
        trainer = _trainer(output, asked, here, stop)
        steps, every = asked.config.optimizer.steps, asked.config.run.evaluate_every
        while trainer.fit(until=_next(trainer.steps_done, every)):
            if trainer.steps_done == steps:
                show_ending(trainer)
                return 0
            trainer.evaluate()
        trainer.say(f"stopped at step {trainer.steps_done:,}: the same command goes on")
        return stop.number


def _next(done: int, every: int) -> int | None:
    """The step of the next evaluation; None where there is only one, at the end."""
    return (done // every + 1) * every if every else None


def evaluate(run: Path) -> None:
    with world() as here:
        trainer = _trained(run, here)
        show_evaluation(trainer, trainer.evaluate())


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
    trainer = _trained(run, ALONE, BESIDE)  # what is generated stands alone on standard output
    loaded = trainer.prepared.loaded
    batch = prompt_of(parts, encoder=loaded.encoder, rule=trainer.prepared.images)
    new = continuation(
        trainer.model,
        batch,
        length=length,
        eos=loaded.special.eos,
        suppressed=(loaded.special.fake, loaded.special.image),
        temperature=temperature,
        seed=seed,
    )
    return prompt + str(loaded.tokenizer.decode(new))


def export(run: Path, output: Path) -> None:
    trainer = _trained(run, ALONE)
    prepared = trainer.prepared
    write_export(trainer.model, prepared.loaded.tokenizer, prepared.shape, output)
    CONSOLE.print(f"step {trainer.steps_done:,} of {run} is in {output}")


def data(run: Path, step: int, output: Path | None) -> None:
    path = output or run / f"step-{step:06d}.html"
    prepared = prepare(run, read_run(run), world=ALONE, say=CONSOLE.print)
    look.write_step(prepared, run, step, path)
    CONSOLE.print(f"the documents of step {step:,}: {path}")


def plan(asked: Asked, *, gpus: int, gpu: str, mfu: float) -> None:
    estimate.show_plan(asked, CONSOLE, gpus=gpus, gpu=gpu, mfu=mfu)


def index(shards: Sequence[str], tokenizer: str) -> None:
    estimate.show_counts(folders(shards), tokenizer, CONSOLE)


def _trained(run: Path, here: World, console: Console = CONSOLE) -> Trainer:
    """A run at its last checkpoint."""
    if not whole_ones(run):
        raise ValueError(f"{run} holds 0 checkpoints, at least 1 is needed: fit it first")
    return _trainer(run, read_run(run), here, Stop(), console)


def _trainer(
    output: Path, asked: Asked, here: World, stop: Stop, console: Console = CONSOLE
) -> Trainer:
    prepared = prepare(output, asked, world=here, say=console.print)
    return Trainer(prepared=prepared, output=output, world=here, console=console, stop=stop)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"--image {path}: {error.strerror}") from error
