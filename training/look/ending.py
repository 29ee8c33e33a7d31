"""How a run ends: held-out losses, samples with their pictures, where the files are."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from training.evaluate.losses import BANDS, Evaluation
from training.fit.loop import Trainer
from training.look.samples import write_samples


def show_ending(trainer: Trainer) -> None:
    """Evaluate, write samples.html, and say what there is."""
    prepared, world = trainer.prepared, trainer.world
    evaluated = trainer.evaluate()
    if world.first:
        show_evaluation(evaluated, step=trainer.steps_done, console=trainer.console)
        page = trainer.output / "samples.html"
        batches = prepared.recipe.one_pass(prepared.heldout, world) if prepared.heldout else ()
        step = trainer.steps_done
        for one in write_samples(page, trainer.model, batches, prepared.recipe, step=step)[:1]:
            trainer.say(f"a held-out document   {one.given}\ngoes on, as written   {one.written}")
    world.wait()
    trainer.say(
        f"samples: {trainer.output}/samples.html\nmodel: {trainer.output}/checkpoints\n"
        f"metrics: {trainer.output}/metrics.jsonl, and for TensorBoard {trainer.output}/tensorboard"
    )


def show_evaluation(found: Evaluation | None, *, step: int, console: Console) -> None:
    """Losses by kind of pictures and distance from the last image."""
    if found is None:
        console.print("0 held-out documents: not evaluated. Shard with a larger --heldout share")
        return
    table = Table(title=f"held-out loss, nats a token, after step {step:,}")
    table.add_column("tokens since the last image")
    table.add_column("tokens", justify="right")
    for kind in found.measured:
        table.add_column(f"{kind} images", justify="right")
    first = next(iter(found.measured.values()))
    for band in BANDS:
        tokens = first.bands[band][0]
        if tokens:
            losses = [f"{one.bands[band][1] / tokens:.4f}" for one in found.measured.values()]
            table.add_row(band, f"{tokens:,}", *losses)
    all_of_them = [f"{one.loss:.4f}" for one in found.measured.values()]
    table.add_row("all", f"{first.tokens:,}", *all_of_them, style="bold")
    bits = [f"{one.bits_per_byte:.4f}" for one in found.measured.values()]
    table.add_row("bits a byte", "", *bits)
    console.print(table)
    console.print(
        f"unigram entropy of the same tokens: {found.unigram:.4f}; {found.documents:,} documents, "
        f"{found.images:,} images"
        + (f", {found.unshuffled} of them in no other's place" if found.unshuffled else ""),
        markup=False, highlight=False,
    )  # fmt: skip
