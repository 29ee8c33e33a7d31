"""Fit: the training loop, in the plan's order, with metrics, checkpoints, and a way to stop.

In:      FitOptions and an output folder; where it holds a checkpoint, the run goes on from it.
Out:     OUT/checkpoints, metrics.jsonl, metrics.host.jsonl, tensorboard.
Refused: a checkpoint of another run; steps in a row without a finite loss: an error that names the
         documents of the last.

SIGTERM and SIGINT end the step, save a checkpoint and stop; a second SIGINT ends at once. After a
`kill -9` the run goes on from the last checkpoint, and gives the same documents and losses as if
it had never stopped, to the bit on the same ranks and threads.
"""

from __future__ import annotations

import signal
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from training.data.plan import RankPlan, check_ranks
from training.data.stream import Step
from training.fit import checkpoint
from training.fit.checkpoint import State
from training.fit.metrics import watch, writer
from training.fit.parallel import World, world
from training.fit.prepare import Prepared, check_output, prepare
from training.fit.step import StepResult, adamw, check_warmup, learning_rate, train_step
from training.model.idefics2 import PackedIdefics2
from training.model.lora import base_digest
from training.recipe import FitOptions, write_run


@dataclass(kw_only=True, slots=True)
class Stop:
    """Whether a signal has told this rank to stop, and which."""

    number: int = 0  # of the signal

    def handle(self, number: int, _: FrameType | None) -> None:
        if self.number == number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = number


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    stop = Stop()
    before = {
        number: signal.signal(number, stop.handle) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def train(
    output: Path,
    options: FitOptions,
    *,
    console: Console,
    evaluate: Callable[[Trainer], object],
    end: Callable[[Trainer], object],
) -> int:
    """Train to the last step, then `end`; or to a signal, whose number it returns (else 0).

    `evaluate` is called after every run.evaluate_every steps.
    """
    check_warmup(options.config.optimizer)
    with stop_on_signals() as stop, world() as ranks:
        check_ranks(options.config.data.rows, ranks.size)
        if ranks.first:
            check_output(output)
        prepared = prepare(output, options, world=ranks, say=console.print)
        trainer = Trainer(prepared=prepared, output=output, world=ranks, console=console, stop=stop)
        if ranks.first:
            write_run(output, options)  # only now: a checkpoint there is one of this run
        steps, every = options.config.optimizer.steps, options.config.run.evaluate_every
        while trainer.steps_done < steps:
            done = trainer.steps_done
            if every and done and done % every == 0:
                evaluate(trainer)
            if not trainer.fit(until=(done // every + 1) * every if every else None):
                trainer.say(f"stopped at step {trainer.steps_done:,}: the same command goes on")
                return stop.number
        end(trainer)
        return 0


@dataclass(kw_only=True)
class Trainer:
    """One rank of a training run; `steps_done` counts the steps of the whole run."""

    prepared: Prepared
    output: Path
    world: World
    console: Console
    stop: Stop
    model: PackedIdefics2 = field(init=False)
    steps_done: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        recipe = self.prepared.recipe
        self._config = config = recipe.options.config
        recipe.set_up_torch()
        # state of the data where the next step begins
        self._data: Mapping[str, Any] = self.prepared.plan().state_dict()
        self.model = recipe.model().to(self.world.device)
        self._identity = self.prepared.identity() | {"base weights": base_digest(self.model)}
        if config.run.recompute:
            self.model.recompute()
        self._optimizer = adamw(self.model, config.optimizer)
        self._bad_steps = 0  # in a row, without a finite loss
        if checkpoints := checkpoint.whole_checkpoints(self.output):
            self._resume(checkpoints[-1])
        if config.lora.rank and recipe.options.language_model is None:
            self.say(f"the whole model is trained: lora.rank = {config.lora.rank} is for "
                     "--language-model")  # fmt: skip

    def _resume(self, folder: Path) -> None:
        state = checkpoint.load(
            folder, self.model, self._optimizer, identity=self._identity, world=self.world
        )
        steps = self._config.optimizer.steps
        if state.step > steps:
            raise ValueError(
                f"optimizer.steps is {steps:,}, but {folder} is of step {state.step:,}: choose "
                f"{state.step} or more, or another output"
            )
        self.prepared.plan_from(folder, state)
        self.steps_done, self._data = state.step, state.data
        self.say(f"the weights are those of step {state.step:,} ({folder})")

    def say(self, text: str) -> None:
        if self.world.first:
            self.console.print(text, markup=False, highlight=False)

    def fit(self, until: int | None = None) -> bool:
        """Train to the last step, or to step `until`; False where a signal stopped it before."""
        optimizer = self._config.optimizer
        plan = self.prepared.plan()
        plan.load_state_dict(self._data)  # the plan before it ran ahead, as workers prefetch
        rows = RankPlan(plan, rank=self.world.rank, world=self.world.size)
        model = self.world.wrap(self.model)
        model.train()
        total, done, first = optimizer.steps, self.steps_done, self.world.first
        last = total if until is None else min(until, total)
        with (
            closing(self.prepared.recipe.steps(rows, self.prepared.sources)) as steps,
            watch(self.console, "training", total=total, done=done, on=first) as show,
            writer(self.output, start=done, on=first) as write,
        ):
            while self.steps_done < last:
                began = time.perf_counter()
                step = next(steps)
                rate = learning_rate(self.steps_done, optimizer)
                result = train_step(
                    model,
                    step.batches,
                    self._optimizer,
                    rate=rate,
                    clip=optimizer.clip,
                    precision=self.prepared.recipe.precision(self.world.device),
                    world=self.world,
                )
                self.steps_done, self._data = self.steps_done + 1, step.state
                values = self._values(step, result, rate)
                speeds = _speeds(step, time.perf_counter() - began)
                write(self.steps_done, values, speeds)
                show(self.steps_done, _line(values, speeds))
                self._check_finite(result)
                if self._save_and_stop(last):
                    break
        return self.steps_done == last

    def _save_and_stop(self, last: int) -> bool:
        """Save a checkpoint where one is due; whether a signal told any rank to stop."""
        stopping = self.world.sums(1 if self.stop.number else 0)[0] > 0
        due = self.steps_done % self._config.run.checkpoint_every == 0
        if stopping or due or self.steps_done == last:
            checkpoint.save(
                self.output,
                self.model,
                self._optimizer,
                State(step=self.steps_done, data=dict(self._data), identity=self._identity),
                keep=self._config.run.keep,
                world=self.world,
            )
        return stopping

    def _values(self, step: Step, result: StepResult, rate: float) -> dict[str, Any]:
        """What is the same however often the run was stopped."""
        pieces = [piece for batch in step.batches for piece in batch.pieces]
        names = (f"{piece.shard}/{piece.key}:{piece.start}-{piece.end}" for piece in pieces)
        checksums = sum(zlib.crc32(name.encode()) for name in names)
        tokens, images, documents, checksum, broken = self.world.sums(
            step.tokens, step.images, len(pieces), checksums, len(step.broken)
        )
        order = self.prepared.recipe.order
        values: dict[str, Any] = {
            "loss": result.loss,
            "gradient_norm": result.norm,
            "learning_rate": rate,
            "targets": result.targets,
            "tokens": int(tokens),
            "images": int(images),
            "documents": int(documents),
            "checksum": int(checksum),  # of the documents' names, whatever their order
            "fill": tokens / (order.rows * order.sequence_length),
        }
        if broken:
            values["broken"] = self.world.gather(
                [f"{image.shard}/{image.key}/{image.member}: {image.reason}"
                 for image in step.broken]
            )  # fmt: skip
        if not result.moved:
            values["skipped"] = list(result.suspects)
        return values

    def _check_finite(self, result: StepResult) -> None:
        if result.moved:
            self._bad_steps = 0
            return
        self._bad_steps += 1
        documents = ", ".join(result.suspects[:8])
        self.say(
            f"step {self.steps_done}: loss {result.loss}, gradient {result.norm}: left out. Its "
            f"documents: {documents}"
        )
        most = self._config.optimizer.non_finite
        if self._bad_steps == most:
            raise RuntimeError(
                f"{most} steps in a row without a finite loss (optimizer.non_finite = {most}), the "
                f"last with {documents}: lower optimizer.learning_rate, or go on from an older "
                f"checkpoint in {self.output}"
            )


def _speeds(step: Step, seconds: float) -> dict[str, float]:
    """Of this rank; they differ from run to run."""
    return {
        "seconds": seconds,
        "tokens_per_second": step.tokens / seconds,
        "images_per_second": step.images / seconds,
        "stall": step.stall / seconds,
    }


def _line(values: dict[str, Any], speeds: dict[str, float]) -> str:
    return (
        f"loss {values['loss']:.3f}  {speeds['tokens_per_second']:,.0f} tokens/s  "
        f"{speeds['images_per_second']:,.1f} images/s  fill {values['fill']:.2f}  "
        f"stall {speeds['stall']:.0%}"
    )
