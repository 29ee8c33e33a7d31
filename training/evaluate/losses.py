"""Held-out loss with the pictures, without them, and with those of other documents.

Shape suffixes: T tokens, L labelled positions, N images, K patches, C bytes of a patch.

In:      a model and batches of held-out documents; or a Trainer.
Out:     loss in nats a token and bits a byte, by the distance from the last image; the entropy of
         the same tokens' frequencies (their unigram entropy) beside it. A model that reads its
         pictures does better with the real ones than with grey (blank) or foreign (shuffled) ones.
         Of a Trainer also a line of OUT/evaluations.jsonl.
Refused: no held-out document: ValueError.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
import torch

from training.data.batch import Batch
from training.data.plan import OnePass, one_epoch
from training.data.sources import Source
from training.data.tokens import IGNORED, Ints
from training.fit.loop import Trainer
from training.fit.metrics import EVALUATIONS, cut
from training.fit.parallel import World
from training.model.idefics2 import PackedIdefics2
from training.recipe import TrainingRecipe

Pictures = Literal["real", "blank", "shuffled"]
PICTURES: Final[tuple[Pictures, ...]] = ("real", "blank", "shuffled")
GREY: Final = 128  # an all-zero image counts as padding in transformers
NO_IMAGE: Final = "no image before"
DISTANCES: Final = (16, 64, 256)  # tokens since the last image, upper bounds
BANDS: Final = (NO_IMAGE, *(f"up to {most}" for most in DISTANCES), f"over {DISTANCES[-1]}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """Sums over all labelled tokens, with one kind of pictures."""

    tokens: int
    nats: float
    utf8: int  # bytes of the tokens' text
    bands: Mapping[str, tuple[int, float]]  # by distance from the image: tokens, nats

    @property
    def loss(self) -> float:
        return self.nats / self.tokens

    @property
    def bits_per_byte(self) -> float:
        return self.nats / math.log(2) / max(1, self.utf8)

    def to_json(self) -> dict[str, Any]:
        return {
            "tokens": self.tokens,
            "loss": self.loss,
            "bits_per_byte": self.bits_per_byte,
            "by_distance": {
                name: {"tokens": tokens, "loss": nats / tokens}
                for name, (tokens, nats) in self.bands.items()
                if tokens
            },
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    measured: Mapping[Pictures, Measured]
    unigram: float  # nats a token
    documents: int
    images: int
    unshuffled: int  # images that had no other document to come from

    def to_json(self) -> dict[str, Any]:
        return {
            "documents": self.documents,
            "images": self.images,
            "images_not_shuffled": self.unshuffled,
            "unigram_entropy": self.unigram,
            **{kind: measured.to_json() for kind, measured in self.measured.items()},
        }


def evaluate_step(trainer: Trainer) -> Evaluation | None:
    """The losses of a run at the step that it has come to, also as a line of evaluations.jsonl."""
    heldout = trainer.prepared.heldout
    evaluation = evaluate_heldout(trainer.prepared.recipe, trainer.model, heldout, trainer.world)
    if evaluation is not None and trainer.world.first:
        path = trainer.output / EVALUATIONS
        cut(path, trainer.steps_done - 1)
        with path.open("a") as file:
            file.write(json.dumps({"step": trainer.steps_done, **evaluation.to_json()}) + "\n")
    return evaluation


def evaluate_heldout(
    recipe: TrainingRecipe, model: PackedIdefics2, heldout: Sequence[Source], world: World
) -> Evaluation | None:
    """Losses with each kind of pictures; None where no document is held out."""
    if not heldout:
        return None
    return evaluate(
        model,
        heldout_batches(recipe, heldout, world),
        size_of=recipe.loaded.encoder.size_of,
        vocabulary=recipe.loaded.vocabulary,
        precision=recipe.precision(world.device),
        world=world,
    )


def heldout_batches(
    recipe: TrainingRecipe, heldout: Sequence[Source], world: World
) -> Iterator[Batch]:
    """Held-out documents once, this rank's share."""
    config = recipe.options.config
    windows = one_epoch(heldout, recipe.loaded.digest, recipe.order, most=config.run.heldout)
    plan = OnePass(windows, rows=config.data.micro_rows, rank=world.rank, world=world.size)
    with closing(recipe.steps(plan, heldout)) as steps:
        for step in steps:
            yield from step.batches


@torch.no_grad()
def evaluate(
    model: PackedIdefics2,
    batches: Iterable[Batch],
    *,
    size_of: Callable[[list[int]], int],
    vocabulary: int,
    precision: torch.dtype,
    world: World,
    pictures: tuple[Pictures, ...] = PICTURES,
) -> Evaluation:
    """Losses of the batches, which are this rank's share; every rank gets the sums of all.

    `size_of` gives the bytes of the text of tokens.
    """
    sums = {kind: np.zeros((len(BANDS), 2)) for kind in pictures}
    counts = np.zeros(vocabulary)
    facts = np.zeros(4)  # bytes, documents, images, unshuffled
    image_token = int(model.idefics2.config.image_token_id)
    training = model.training
    model.eval()
    for batch in batches:
        labels = batch.labels_T.numpy()
        targets = labels[labels != IGNORED]
        counts += np.bincount(targets, minlength=vocabulary)
        bands_L = _bands(batch, image_token=image_token)[labels != IGNORED]
        swapped, stayed = shuffled(batch, image_token)
        facts += (size_of(targets.tolist()), len(batch.pieces), batch.images, stayed)
        for kind in pictures:
            shown = {"real": batch, "blank": blank(batch), "shuffled": swapped}[kind]
            with world.autocast(precision):
                losses = model(shown.to(world.device)).double().cpu().numpy()
            sums[kind][:, 0] += np.bincount(bands_L, minlength=len(BANDS))
            sums[kind][:, 1] += np.bincount(bands_L, weights=losses, minlength=len(BANDS))
    model.train(training)
    return _evaluation(sums, counts, facts, world)


def _evaluation(
    sums: Mapping[Pictures, np.ndarray[Any, Any]],
    counts: np.ndarray[Any, Any],
    facts: np.ndarray[Any, Any],
    world: World,
) -> Evaluation:
    counts = np.array(world.sums(*counts))
    utf8, documents, images, stayed = map(int, world.sums(*facts))
    if not counts.sum():
        raise ValueError(
            "0 held-out tokens, at least 1 is needed: shard with a larger --heldout share"
        )
    share = counts[counts > 0] / counts.sum()
    measured = {}
    for kind, of_bands in sums.items():
        table = np.array(world.sums(*of_bands.ravel())).reshape(-1, 2)
        tokens, nats = table.sum(0)
        bands = {name: (int(n), float(of)) for name, (n, of) in zip(BANDS, table, strict=True)}
        measured[kind] = Measured(tokens=int(tokens), nats=float(nats), utf8=utf8, bands=bands)
    return Evaluation(
        measured=measured,
        unigram=float(-(share * np.log(share)).sum()),
        documents=documents,
        images=images,
        unshuffled=stayed,
    )


def blank(batch: Batch) -> Batch:
    """The same batch with grey pictures of the same sizes."""
    return replace(batch, patches_KC=torch.full_like(batch.patches_KC, GREY))


def shuffled(batch: Batch, image_token: int) -> tuple[Batch, int]:
    """The same batch with each image from another document; and how many images stayed in theirs.

    Images stand by document. Moved on by the size of the largest group none stays in its own,
    unless that group is more than half of them all.
    """
    owners = _owners(batch, image_token)
    if not owners.size:
        return batch, 0
    most = int(np.bincount(owners).max())
    order = np.roll(np.arange(owners.size), -most)
    lengths = (batch.images_N1[1:] - batch.images_N1[:-1]).tolist()
    patches = torch.split(batch.patches_KC, lengths)
    places = torch.split(batch.patch_places_K, lengths)
    moved = torch.tensor([0, *(lengths[image] for image in order)], dtype=torch.int32)
    return (
        replace(
            batch,
            patches_KC=torch.cat([patches[image] for image in order]),
            patch_places_K=torch.cat([places[image] for image in order]),
            images_N1=moved.cumsum(0, dtype=torch.int32),
        ),
        int((owners[order] == owners).sum()),
    )


def _owners(batch: Batch, image_token: int) -> Ints:
    """Which document each image belongs to."""
    images = batch.images
    places = np.flatnonzero(batch.tokens_T.numpy() == image_token)
    first = places[:: len(places) // images] if images else places
    return np.searchsorted(batch.documents_D1.numpy(), first, side="right") - 1


def _bands(batch: Batch, *, image_token: int) -> Ints:
    """The band of each position's label, by the tokens between it and the last image."""
    tokens = batch.tokens_T.numpy()
    here = np.arange(tokens.size)
    last = np.maximum.accumulate(np.where(tokens == image_token, here, -1))
    seen = last >= here - batch.positions_T.numpy()  # in the same document
    return np.where(seen, 1 + np.digitize(here - last, DISTANCES, right=True), 0)
