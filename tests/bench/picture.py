"""The picture test: do pictures reach the loss, through every joint from WARC to gradient?

    make proof              the crawl, the pipeline over it, training, picture.png with the curves
    python -m tests.bench.picture FOLDER [STEPS]

The crawl's text names what only its pictures show (picture_crawl.py). With the real pictures the
loss of a colour or a count must come near zero, and of shape and place clearly below its entropy;
with blank or foreign pictures all must stay at it. Ends with 1 where that is not so.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np
import torch
from rich.console import Console

from tests.bench.picture_crawl import ATTRIBUTES, write
from training.config import load
from training.data.batch import Batch
from training.data.tokens import IGNORED, Encoder
from training.evaluate.losses import PICTURES, blank, heldout_batches, shuffled
from training.fit.loop import Stop, Trainer
from training.fit.parallel import ALONE
from training.fit.prepare import prepare
from training.recipe import FitOptions

mpl.use("agg")
import matplotlib.pyplot as plt  # the backend is chosen first

PAGES: Final = 4000
STEPS: Final = 1000
EVERY: Final = 100  # steps between two points of the curves
SETTINGS: Final = (
    "data.longest=56", "data.shortest=56", "data.sequence_length=360", "data.vocabulary=512",
    "data.rows=4", "data.micro_rows=4", "data.workers=1", "optimizer.warmup=100",
    "optimizer.learning_rate=1e-3", "run.checkpoint_every=500", "run.heldout=60",
)  # fmt: skip
ENTROPY: Final = {name: math.log(len(values)) for name, values in ATTRIBUTES.items()}
NEAR_ZERO: Final = 0.1  # nats, of colour and count
CLEARLY_BELOW: Final = 0.8  # of the entropy, of shape and place
AT_ENTROPY: Final = 0.9  # of it at least, without the right picture

Losses = dict[str, dict[str, float]]  # kind of pictures -> attribute -> nats a word


def crawl_to_shards(folder: Path) -> Path:
    """The run folder; what is whole is not done again."""
    crawl = folder / "crawl"
    warcs = sorted(crawl.glob("*.warc.gz")) if crawl.is_dir() else write(crawl, PAGES)
    run = folder / "run"
    command = [
        sys.executable,
        "-m",
        "pipeline",
        "run",
        *map(str, warcs),
        "-o",
        str(run),
        "--no-fetch",
    ]
    subprocess.run([*command, "--recipe=off", "--heldout=0.02"], check=True)
    return run


def train(run: Path, output: Path, steps: int) -> list[tuple[int, Losses]]:
    """Points of the curves: step, and the losses of each kind of pictures."""
    options = FitOptions(
        shards=((str(run), 1.0),), config=load("tiny", [*SETTINGS, f"optimizer.steps={steps}"])
    )
    console = Console()
    prepared = prepare(output, options, world=ALONE, say=console.print)
    trainer = Trainer(prepared=prepared, output=output, world=ALONE, console=console, stop=Stop())
    points = [(trainer.steps_done, measure(trainer))]
    began = time.monotonic()
    while trainer.steps_done < steps:
        trainer.fit(until=trainer.steps_done + EVERY)
        points.append((trainer.steps_done, measure(trainer)))
        told = {kind: {name: round(nats, 3) for name, nats in of_kind.items()}
                for kind, of_kind in points[-1][1].items()}  # fmt: skip
        print(f"step {trainer.steps_done}, {time.monotonic() - began:.0f} s: {json.dumps(told)}")
    return points


@torch.no_grad()
def measure(trainer: Trainer) -> Losses:
    """Held-out nats of each attribute's words, with each kind of pictures."""
    special = trainer.prepared.recipe.loaded.special
    words = words_of(trainer.prepared.recipe.loaded.encoder)
    sums = {kind: {name: [0.0, 0] for name in ATTRIBUTES} for kind in PICTURES}
    trainer.model.eval()
    for batch in heldout_batches(trainer.prepared.recipe, trainer.prepared.heldout, ALONE):
        swapped, stayed = shuffled(batch, special.image)
        assert not stayed, f"{stayed} images had no other document to come from"
        shown = {"real": batch, "blank": blank(batch), "shuffled": swapped}
        places = list(find(batch, words))
        for kind in PICTURES:
            losses = np.zeros(batch.labels_T.numel())
            losses[(batch.labels_T != IGNORED).numpy()] = trainer.model(shown[kind]).numpy()
            for name, start, length in places:
                sums[kind][name][0] += float(losses[start : start + length].sum())
                sums[kind][name][1] += 1
    trainer.model.train()
    return {
        kind: {name: nats / count for name, (nats, count) in of_kind.items()}
        for kind, of_kind in sums.items()
    }


def words_of(encoder: Encoder) -> list[tuple[str, Sequence[int]]]:
    """The tokens of each attribute's words, as they stand in a sentence."""
    return [
        (name, encoder.ids([f" {word}"])[0]) for name, words in ATTRIBUTES.items() for word in words
    ]


def find(
    batch: Batch, words: Sequence[tuple[str, Sequence[int]]]
) -> Iterator[tuple[str, int, int]]:
    """(attribute, place of its first label, labels) of every such word in a batch."""
    labels = batch.labels_T.numpy()
    for name, ids in words:
        hits = np.ones(labels.size - len(ids) + 1, dtype=bool)
        for offset, token in enumerate(ids):
            hits &= labels[offset : offset + hits.size] == token
        yield from ((name, int(place), len(ids)) for place in np.flatnonzero(hits))


def draw_curves(points: Sequence[tuple[int, Losses]], path: Path) -> None:
    figure, axes = plt.subplots(1, len(ATTRIBUTES), figsize=(14, 3.6), layout="constrained")
    steps = [step for step, _ in points]
    for axis, name in zip(axes, ATTRIBUTES, strict=True):
        for kind, line in zip(PICTURES, ("-", "--", ":"), strict=True):
            axis.plot(steps, [losses[kind][name] for _, losses in points], line, label=kind)
        axis.axhline(ENTROPY[name], color="grey", linewidth=0.8, label="entropy")
        axis.set(title=name, xlabel="step", yscale="log", ylim=(1e-4, 30))
    axes[0].set_ylabel("nats a word, held out")
    axes[-1].legend()
    figure.savefig(path, dpi=110)


def failures(losses: Losses) -> list[str]:
    """What of the test does not hold."""
    found = []
    for name, entropy in ENTROPY.items():
        real = losses["real"][name]
        most = NEAR_ZERO if name in ("colour", "count") else CLEARLY_BELOW * entropy
        if real > most:
            found.append(f"{name} costs {real:.3f} with its picture, more than {most:.3f}")
        found += [
            f"{name} costs {losses[kind][name]:.3f} with {kind} pictures, its entropy {entropy:.3f}"
            for kind in ("blank", "shuffled")
            if losses[kind][name] < AT_ENTROPY * entropy
        ]
    return found


def main() -> None:
    folder = Path(sys.argv[1])
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else STEPS
    began = time.monotonic()
    run = crawl_to_shards(folder)
    points = train(run, folder / "model", steps)
    draw_curves(points, folder / "picture.png")
    for kind in PICTURES:
        told = ", ".join(f"{name} {nats:.3f}" for name, nats in points[-1][1][kind].items())
        print(f"{kind:9} {told}")
    print("entropy   " + ", ".join(f"{name} {nats:.3f}" for name, nats in ENTROPY.items()))
    print(f"{time.monotonic() - began:.0f} s; the curves: {folder / 'picture.png'}")
    if wrong := failures(points[-1][1]):
        raise SystemExit("\n".join(wrong))


if __name__ == "__main__":
    main()
