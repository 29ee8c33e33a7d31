"""Fit: the training loop, in the plan's order, with metrics, checkpoints, and a way to stop.

In:      a Prepared run and an output folder; where it holds a checkpoint, the run goes on from it.
Out:     OUT/checkpoints, metrics.jsonl, evaluations.jsonl, tensorboard.
Refused: a checkpoint of another run; steps in a row without a finite loss: an error that names the
         documents of the last.

SIGTERM and SIGINT end the step, save a checkpoint and stop; a second SIGINT ends at once. After a
`kill -9` the run goes on from the last checkpoint, and gives the same documents and losses as if
it had never stopped, to the bit on the same ranks and threads.
"""

from __future__ import annotations

import json
import signal
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from training.data.order import RankPlan
from training.data.stream import Step
from training.evaluate.losses import Evaluation
from training.fit import checkpoint
from training.fit.checkpoint import State
from training.fit.metrics import EVALUATIONS, Metrics, cut
from training.fit.optimizer import adamw, learning_rate, set_learning_rate
from training.fit.prepare import Prepared
from training.fit.progress import watch
from training.fit.step import Stepped, train_step
from training.model.idefics2 import PackedIdefics2
from training.model.lora import base_digest
from training.parallel import World


@dataclass(kw_only=True, slots=True)
class Stop:
    """Whether a signal has asked this rank to stop, and which."""

    number: int = 0

    def asked(self, number: int, _: FrameType | None) -> None:
        if self.number == number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = number


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    stop = Stop()
    before = {one: signal.signal(one, stop.asked) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


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
        self._config = chosen = recipe.asked.config
        recipe.set_up_torch()
        # where the next step begins
        self._data: Mapping[str, Any] = self.prepared.plan().state_dict()
        self.model = recipe.model().to(self.world.device)
        self._identity = self.prepared.identity() | {"base weights": base_digest(self.model)}
        if chosen.run.recompute:
            self.model.recompute()
        self._optimizer = adamw(self.model, chosen.optimizer)
        self._bad = 0  # steps in a row without a finite loss
        found = checkpoint.whole_ones(self.output)
        if found:
            self._go_on(found[-1])
        if chosen.lora.rank and recipe.asked.language_model is None:
            self.say(f"the whole model is trained: lora.rank = {chosen.lora.rank} is for "
                     "--language-model")  # fmt: skip

    def _go_on(self, folder: Path) -> None:
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
        chosen = self._config
        plan = self.prepared.plan()
        plan.load_state_dict(self._data)  # a plan runs ahead of its steps, by what workers prefetch
        ranks = RankPlan(plan, rank=self.world.rank, world=self.world.size)
        model = self.world.wrap(self.model)
        model.train()
        total, done = chosen.optimizer.steps, self.steps_done
        last = total if until is None else min(until, total)
        with (
            closing(self.prepared.steps(ranks)) as steps,
            watch(self.console, "training", total=total, done=done, on=self.world.first) as tell,
            Metrics(self.output, start=done, on=self.world.first) as metrics,
        ):
            while self.steps_done < last:
                began = time.perf_counter()
                step = next(steps)
                rate = learning_rate(self.steps_done, chosen.optimizer)
                set_learning_rate(self._optimizer, rate)
                stepped = train_step(
                    model,
                    step.batches,
                    self._optimizer,
                    clip=chosen.optimizer.clip,
                    precision=self.prepared.recipe.precision(self.world.device),
                    world=self.world,
                )
                self.steps_done, self._data = self.steps_done + 1, step.state
                told = self._told(step, stepped, rate)
                host = self._host(step, time.perf_counter() - began)
                metrics.step(self.steps_done, told, host)
                tell(self.steps_done, _line(told, host))
                self._check_finite(stepped)
                if self._ends(last):
                    break
        return self.steps_done == last

    def _ends(self, last: int) -> bool:
        """Save where it is time to; whether to stop here."""
        stopping = self.world.sums(self.stop.number > 0)[0] > 0
        every = self._config.run.checkpoint_every
        if stopping or self.steps_done == last or self.steps_done % every == 0:
            self._save()
        return stopping

    def _save(self) -> None:
        checkpoint.save(
            self.output,
            self.model,
            self._optimizer,
            State(step=self.steps_done, data=dict(self._data), identity=self._identity),
            keep=self._config.run.keep,
            world=self.world,
        )

    def _told(self, step: Step, stepped: Stepped, rate: float) -> dict[str, Any]:
        """What is the same however often the run was stopped."""
        pieces = [piece for batch in step.batches for piece in batch.pieces]
        names = (f"{one.shard}/{one.key}:{one.start}-{one.end}" for one in pieces)
        tokens, images, documents, checksum, broken = self.world.sums(
            sum(batch.tokens_T.numel() for batch in step.batches),
            sum(batch.images_N1.numel() - 1 for batch in step.batches),
            len(pieces),
            sum(zlib.crc32(name.encode()) for name in names),
            len(step.broken),
        )
        order = self.prepared.recipe.order
        told: dict[str, Any] = {
            "loss": stepped.loss,
            "gradient_norm": stepped.norm,
            "learning_rate": rate,
            "targets": stepped.targets,
            "tokens": int(tokens),
            "images": int(images),
            "documents": int(documents),
            "checksum": int(checksum),  # of the documents' names, whatever their order
            "fill": tokens / (order.rows * order.sequence_length),
        }
        if broken:
            told["broken"] = self.world.gather(
                [f"{one.shard}/{one.key}/{one.member}: {one.reason}" for one in step.broken]
            )
        if not stepped.moved:
            told["skipped"] = list(stepped.suspects)
        return told

    def _host(self, step: Step, seconds: float) -> dict[str, float]:
        """Of this rank: speeds, which differ from run to run."""
        tokens = sum(batch.tokens_T.numel() for batch in step.batches)
        images = sum(batch.images_N1.numel() - 1 for batch in step.batches)
        return {
            "seconds": seconds,
            "tokens_per_second": tokens / seconds,
            "images_per_second": images / seconds,
            "stall": step.stall / seconds,
        }

    def _check_finite(self, stepped: Stepped) -> None:
        self._bad = 0 if stepped.moved else self._bad + 1
        if stepped.moved:
            return
        some = ", ".join(stepped.suspects[:8])
        self.say(
            f"step {self.steps_done}: loss {stepped.loss}, gradient {stepped.norm}: left out. Its "
            f"documents: {some}"
        )
        most = self._config.optimizer.non_finite
        if self._bad == most:
            raise RuntimeError(
                f"{most} steps in a row without a finite loss (optimizer.non_finite = {most}), the "
                f"last with {some}: lower optimizer.learning_rate, or go on from an older "
                f"checkpoint in {self.output}"
            )

    def evaluate(self) -> Evaluation | None:
        """The held-out documents, with the pictures and without; None where there are none."""
        prepared = self.prepared
        found = prepared.recipe.evaluate(self.model, prepared.heldout, self.world)
        if found is not None and self.world.first:
            path = self.output / EVALUATIONS
            cut(path, self.steps_done - 1)
            with path.open("a") as file:
                file.write(json.dumps({"step": self.steps_done, **found.told()}) + "\n")
        return found


def _line(told: dict[str, Any], host: dict[str, float]) -> str:
    return (
        f"loss {told['loss']:.3f}  {host['tokens_per_second']:,.0f} tokens/s  "
        f"{host['images_per_second']:,.1f} images/s  fill {told['fill']:.2f}  "
        f"stall {host['stall']:.0%}"
    )
