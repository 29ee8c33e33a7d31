"""How a run ends: held-out losses, samples with their pictures, where the files are."""

from __future__ import annotations

from rich.table import Table

from training.evaluate import BANDS, Evaluation
from training.fit import Trainer
from training.samples import write_samples


def show_ending(trainer: Trainer) -> None:
    """Evaluate, write samples.html, and say what there is."""
    evaluated = trainer.evaluate()
    if evaluated is not None:
        show_evaluation(trainer, evaluated)
    page = trainer.output / "samples.html"
    if trainer.world.first and trainer.prepared.heldout:
        batches = trainer.heldout_batches()
        done = trainer.steps_done
        for one in write_samples(page, trainer.model, batches, trainer.prepared, step=done)[:1]:
            trainer.say(f"a held-out document   {one.given}\ngoes on, as written   {one.written}")
    trainer.world.wait()
    trainer.say(
        f"samples: {page}\nmodel: {trainer.output}/checkpoints\n"
        f"metrics: {trainer.output}/metrics.jsonl, and for TensorBoard {trainer.output}/tensorboard"
    )


def show_evaluation(trainer: Trainer, found: Evaluation | None) -> None:
    """Losses by kind of pictures and distance from the last image."""
    if found is None:
        trainer.say("0 held-out documents: not evaluated. Shard with a larger --heldout share")
        return
    table = Table(title=f"held-out loss, nats a token, after step {trainer.steps_done:,}")
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
    if trainer.world.first:
        trainer.console.print(table)
    trainer.say(
        f"unigram entropy of the same tokens: {found.unigram:.4f}; {found.documents:,} documents, "
        f"{found.images:,} images"
        + (f", {found.unshuffled} of them in no other's place" if found.unshuffled else "")
    )
