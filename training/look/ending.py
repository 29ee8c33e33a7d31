"""How a run ends: held-out losses, held-out documents as the model continues them, where files are.

In:      a Trainer that has come to its last step, or the folder of a run.
Out:     losses on the terminal; OUT/samples.html: of some documents the pictures as the model saw
         them, the text it was given, what it wrote and what really follows. The page stands by
         itself, escaped, without scripts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from training.data.batch import Batch
from training.evaluate.generate import continuation, opening
from training.evaluate.losses import (
    BANDS,
    Evaluation,
    evaluate_heldout,
    evaluate_step,
    heldout_batches,
)
from training.fit.loop import Trainer
from training.fit.parallel import world
from training.fit.prepare import count, open_heldout, open_trained
from training.look.page import as_url, filled, picture_of
from training.model.idefics2 import PackedIdefics2
from training.recipe import TrainingRecipe

DOCUMENTS: Final = 8
PROMPT: Final = 12  # tokens of text behind the first pictures
LENGTH: Final = 48  # tokens that are written


@dataclass(frozen=True, kw_only=True, slots=True)
class Continued:
    """One document, and where it was cut."""

    key: str
    pictures: Sequence[str]  # data: URLs
    prompt: str
    written: str
    real: str


def write_samples(
    path: Path,
    model: PackedIdefics2,
    batches: Iterable[Batch],
    recipe: TrainingRecipe,
    *,
    step: int,
) -> Sequence[Continued]:
    """Write the page; the documents on it, the first ones that have a picture."""
    places = ((batch, document) for batch in batches for document in range(len(batch.pieces)))
    continued: list[Continued] = []
    for batch, document in places:
        prompt, rest = opening(
            batch, document, image_token=recipe.loaded.special.image, words=PROMPT
        )
        if prompt.images and rest and batch.pieces[document].start == 0:
            continued.append(_continued(model, prompt, rest, recipe))
        if len(continued) == DOCUMENTS:
            break
    path.write_text(filled("samples.html.j2", documents=continued, step=step))
    return continued


def _continued(
    model: PackedIdefics2, prompt: Batch, rest: list[int], recipe: TrainingRecipe
) -> Continued:
    special, decode = recipe.loaded.special, recipe.loaded.tokenizer.decode
    image_tokens = (special.image, special.fake)
    device = next(model.parameters()).device
    new = continuation(
        model, prompt.to(device), length=LENGTH, eos=special.eos, suppressed=image_tokens
    )
    patches, places = prompt.patches_KC.numpy(), prompt.patch_places_K.numpy()
    pictures = [
        as_url(picture_of(patches[start:end], places[start:end], table=recipe.shape.table))
        for start, end in pairwise(prompt.images_N1.tolist())
    ]

    def text(tokens: list[int]) -> str:
        return str(decode(tokens, skip_special_tokens=True))

    return Continued(
        key=prompt.pieces[0].key,
        pictures=pictures,
        prompt=text([token for token in prompt.tokens_T.tolist() if token != special.image]),
        written=text(new),
        real=text([token for token in rest[:LENGTH] if token not in image_tokens]),
    )


def show_ending(trainer: Trainer) -> None:
    """Evaluate, write samples.html, and say what there is."""
    ranks, recipe, heldout = trainer.world, trainer.prepared.recipe, trainer.prepared.heldout
    evaluation, step = evaluate_step(trainer), trainer.steps_done
    if ranks.first:
        show_evaluation(evaluation, step=step, console=trainer.console)
        page = trainer.output / "samples.html"
        batches = heldout_batches(recipe, heldout, ranks) if heldout else ()
        for sample in write_samples(page, trainer.model, batches, recipe, step=step)[:1]:
            trainer.say(
                f"a held-out document   {sample.prompt}\ngoes on, as written   {sample.written}"
            )
    ranks.wait()
    trainer.say(
        f"samples: {trainer.output}/samples.html\nmodel: {trainer.output}/checkpoints\n"
        f"metrics: {trainer.output}/metrics.jsonl, and for TensorBoard {trainer.output}/tensorboard"
    )


def evaluate_run(run: Path, shards: Sequence[str] | None, console: Console) -> None:
    """Show the losses of a run's last checkpoint on the held-out documents of `shards`.

    Without `shards` they are those of the folders that the run was trained on.
    """
    with world() as ranks:
        trained = open_trained(run, ranks)
        heldout = open_heldout(trained.recipe.options.with_shards(shards), console.print)
        if ranks.first:
            count(heldout, trained.recipe.loaded, console.print)
        ranks.wait()
        evaluation = evaluate_heldout(trained.recipe, trained.model, heldout, ranks)
        if ranks.first:
            show_evaluation(evaluation, step=trained.step, console=console)


def show_evaluation(evaluation: Evaluation | None, *, step: int, console: Console) -> None:
    """Losses by kind of pictures and distance from the last image."""
    if evaluation is None:
        console.print("0 held-out documents: not evaluated. Shard with a larger --heldout share")
        return
    table = Table(title=f"held-out loss, nats a token, after step {step:,}")
    table.add_column("tokens since the last image")
    table.add_column("tokens", justify="right")
    by_kind = list(evaluation.measured.values())
    for kind in evaluation.measured:
        table.add_column(f"{kind} images", justify="right")
    for band in BANDS:
        tokens = by_kind[0].bands[band][0]
        if tokens:
            losses = [f"{measured.bands[band][1] / tokens:.4f}" for measured in by_kind]
            table.add_row(band, f"{tokens:,}", *losses)
    losses = [f"{measured.loss:.4f}" for measured in by_kind]
    table.add_row("all", f"{by_kind[0].tokens:,}", *losses, style="bold")
    table.add_row("bits a byte", "", *(f"{measured.bits_per_byte:.4f}" for measured in by_kind))
    console.print(table)
    stayed = f", {evaluation.unshuffled} of them in no other's place"
    console.print(
        f"unigram entropy of the same tokens: {evaluation.unigram:.4f}; "
        f"{evaluation.documents:,} documents, {evaluation.images:,} images"
        + (stayed if evaluation.unshuffled else ""),
        markup=False, highlight=False,
    )  # fmt: skip
