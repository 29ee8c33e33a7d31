"""What a training run would be, before it is one; and the counts from which that is told.

In:      shards, a configuration, a number of GPUs of a named kind and the share of their peak.
Out:     printed: samples, tokens, patches, fill, pieces without targets, FLOPs a step, days.
Refused: a kind of GPU that is not known: ValueError.
See it:  interloom-train plan --shards DIR --config idefics2-8b --gpus 8 --gpu H100
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from training.data import tokenizer
from training.data.images import patch_grid
from training.data.index import REMEDY, read_index
from training.data.plan import RowPlan, Totals, WindowPlan, one_epoch
from training.data.sources import Shard, Source, open_source
from training.data.tokens import Ints
from training.fit.parallel import ALONE
from training.fit.prepare import Prepared, count, prepare
from training.model.shapes import PEAKS, Flops, flops
from training.recipe import FitOptions, TrainingRecipe, folders

Grid = Callable[[int, int], tuple[int, int]]  # width and height -> rows and columns of patches


def show_plan(options: FitOptions, console: Console, *, gpus: int, gpu: str, mfu: float) -> None:
    """Print what training on these shards would be."""
    if gpu not in PEAKS:
        raise ValueError(f"--gpu is {gpu!r}: choose one of {', '.join(PEAKS)}")
    with TemporaryDirectory() as folder:  # a tokenizer that is trained for this is not kept
        prepared = prepare(Path(folder), options, world=ALONE, say=console.print)
        totals, patches, forward = epoch_of(prepared)
    config, order = options.config, prepared.recipe.order
    steps, is_lora = config.optimizer.steps, bool(options.language_model and config.lora.rank)
    step = forward.step(frozen_backbones=is_lora) * order.rows / totals.rows
    seconds = steps * step / (gpus * PEAKS[gpu] * mfu)
    table = Table(show_header=False, title=f"{config.shape} on {len(options.shards)} shard folders")
    for name, value in (
        ("documents", f"{totals.samples:,}"),
        ("pieces of them", f"{totals.pieces:,} of at most {order.sequence_length:,} tokens"),
        ("without a target, left out", f"{totals.dropped_pieces:,} pieces, "
                                       f"{totals.dropped_images:,} images"),
        ("tokens", f"{totals.tokens:,}, {totals.targets:,} of them trained"),
        ("images", f"{totals.images:,}, {patches:,} patches"),
        ("rows", f"{totals.rows:,}, filled to {totals.fill(order.sequence_length):.2%}"),
        ("an epoch", f"{totals.rows / order.rows:,.1f} steps of {order.rows:,} rows"),
        ("the run", f"{steps:,} steps, {steps * order.rows / totals.rows:,.2f} epochs"),
        ("a step", f"{step:.3g} FLOPs, of its forward vision "
                   f"{forward.vision / forward.forward:.0%}, connector "
                   f"{forward.connector / forward.forward:.0%}"),
        ("on GPUs", f"{gpus:,} {gpu} at an MFU of {mfu:.0%}: {seconds / 86_400:,.2f} days"),
    ):  # fmt: skip
        table.add_row(name, value)
    console.print(table)


def epoch_of(prepared: Prepared) -> tuple[Totals, int, Flops]:
    """Sums, patches and forward FLOPs of the first epoch, from index and counts alone."""
    recipe = prepared.recipe
    grid = partial(patch_grid, longest=recipe.shape.longest, shortest=recipe.shape.shortest)
    totals, patches = Totals(), 0
    sums = Flops(vision=0, connector=0, text=0)
    for window in one_epoch(prepared.sources, recipe.loaded.digest, recipe.order):
        totals.add(window.totals)
        if window.rows:  # all of one source
            source = prepared.sources[window.rows[0][0].source]
            per_row = row_patches(source, window.rows, grid)
            patches += sum(per_row)
            sums = sums.plus(_flops(recipe, window, per_row))
    return totals, patches, sums


def _flops(recipe: TrainingRecipe, window: WindowPlan, patches: list[int]) -> Flops:
    """Of a window; the images of a row are taken to be of one size."""
    documents = [piece.size for row in window.rows for piece in row]
    images = []
    for row, of_row in zip(window.rows, patches, strict=True):
        shown = sum(piece.images for piece in row)
        images += [of_row // shown] * shown if shown else []
    vocabulary, targets = recipe.loaded.vocabulary, window.totals.targets
    return flops(recipe.shape, vocabulary, documents=documents, images=images, targets=targets)


def row_patches(source: Source, rows: tuple[RowPlan, ...], grid: Grid) -> list[int]:
    """Patches that the images of each row come to, by the sides in the index; no tar is read."""
    sides = {shard: _image_patches(source.shards[shard], cache(grid))
             for shard in {piece.shard for row in rows for piece in row}}  # fmt: skip
    of_rows = []
    for row in rows:
        patches = 0
        for piece in row:
            starts, of_image = sides[piece.shard]
            first = starts[piece.row] + piece.image
            if first + piece.images > starts[piece.row + 1]:
                raise ValueError(
                    f"{source.shards[piece.shard].index} has fewer images than its counts: {REMEDY}"
                )
            patches += int(of_image[first : first + piece.images].sum())
        of_rows.append(patches)
    return of_rows


def _image_patches(shard: Shard, grid: Grid) -> tuple[Ints, Ints]:
    """For each sample the number of images before it; for each image its patches."""
    table = read_index(shard.index, ["nodes"], tar_bytes=shard.tar_bytes)
    nodes = table["nodes"].combine_chunks()
    flat: pa.StructArray = nodes.flatten()
    widths, heights = flat.field("width"), flat.field("height")
    if not widths.is_valid().equals(heights.is_valid()) or any(
        side.drop_null().to_numpy().min(initial=1) < 1 for side in (widths, heights)
    ):
        raise ValueError(
            f"{shard.index} has an image without a width and a height of 1 or more pixels: {REMEDY}"
        )
    shown = np.concatenate([[0], np.cumsum(widths.is_valid().to_numpy(zero_copy_only=False))])
    sides = zip(widths.drop_null().to_pylist(), heights.drop_null().to_pylist(), strict=True)
    patches = [rows * columns for rows, columns in (grid(*side) for side in sides)]
    offsets = nodes.offsets.to_numpy()
    return shown[offsets - offsets[0]].astype(np.int64), np.asarray(patches, dtype=np.int64)


def show_counts(shards: Sequence[str], named: str, console: Console) -> None:
    """Make the token counts of shards, and say what they come to."""
    loaded = tokenizer.load(named)
    for folder, weight in folders(shards):
        source = open_source(folder, weight=weight)
        count([source], loaded, console.print)
        console.print(f"{folder}: {source.samples:,} samples in {len(source.shards):,} shards")
    console.print(f"tokenizer {loaded.digest}, {loaded.vocabulary:,} tokens")
