"""Windows: some thousand samples of a source, in the order of an epoch, packed into rows.

In:      a source, its token counts, an Order, and (source, epoch, window).
Out:     a Window: its rows in the order in which they are trained, and what they hold, in sums.
Refused: an Order in which nothing could be trained: ValueError.

A pure function of three integers: the shards of an epoch are put in an order by (seed, source,
epoch), a window is so many samples of them, its pieces are packed by best fit, and its rows are
shuffled by (seed, source, epoch, window). Unshuffled they would drift from few large to many small
documents a row (1.8 to 3.5 seen). Random words are Philox's, keyed (Salmon et al. 2011, SC), and
permutations sort them, so numpy may change its generators' methods without changing an order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import cache
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from training.data.pack import pack
from training.data.pieces import RunCount, check_length, pieces_of
from training.data.shards.counts import Counts
from training.data.shards.index import REMEDY, read_index
from training.data.shards.sources import Shard, Source
from training.data.tokens import block_size

Words = npt.NDArray[np.uint64]
Grid = Callable[[int, int], tuple[int, int]]  # width and height -> rows and columns of patches
ReadCounts = Callable[[Shard], Counts]

SHARDS: Final = 0  # what random words are for, so that no two uses share theirs
ROWS: Final = 1
DRAWS: Final = 2


class PiecePlan(NamedTuple):
    """A piece of a sample that a row holds; all that a worker needs to make it."""

    source: int
    shard: int  # of the source's shards
    row: int  # of the shard's index
    start: int  # of the sample's sequence
    end: int
    image: int  # the first of its images among the sample's
    images: int

    @property
    def size(self) -> int:
        """Tokens in the row, its context with them."""
        return self.end - self.start + (self.start > 0)


RowPlan = tuple[PiecePlan, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What decides which tokens stand in which row."""

    sequence_length: int  # tokens of a row
    image_tokens: int  # visual tokens an image
    rows: int  # of a global batch
    window: int = 4096  # samples that are packed together
    seed: int = 0

    def __post_init__(self) -> None:
        check_length(self.sequence_length, self.image_tokens)
        for name, least in (("rows", 1), ("window", 1), ("image_tokens", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}: choose {least} or more")


@dataclass(kw_only=True, slots=True)
class Totals:
    """Sums over windows; each is counted where it arises, none from the others."""

    samples: int = 0
    pieces: int = 0
    rows: int = 0
    tokens: int = 0  # in rows, context with them
    targets: int = 0
    images: int = 0  # in rows
    dropped_pieces: int = 0  # without a target: images that no text follows closely enough
    dropped_images: int = 0  # in those

    def add(self, other: Totals) -> None:
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))

    def fill(self, sequence_length: int) -> float:
        """The share of the places in rows that hold a token."""
        return self.tokens / (self.rows * sequence_length) if self.rows else 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    rows: tuple[RowPlan, ...]
    totals: Totals


def window_count(source: Source, order: Order, most: int | None = None) -> int:
    return -(-_samples(source, most) // order.window)


def _samples(source: Source, most: int | None) -> int:
    return source.samples if most is None else min(source.samples, most)


def plan_window(
    source: Source,
    order: Order,
    place: tuple[int, int, int],
    read: ReadCounts,
    *,
    most: int | None = None,
) -> Window:
    """The rows of window `place` = (source number, epoch, window); `most` samples in all."""
    number, epoch, window = place
    totals = Totals()
    pieces: list[PiecePlan] = []
    for shard, first, last in _spans(source, order, place, _samples(source, most)):
        counts = read(source.shards[shard])
        for piece, targets in _pieces(counts, order, (number, shard), range(first, last)):
            if targets:
                pieces.append(piece)
                totals.targets += targets
                totals.images += piece.images
            else:
                totals.dropped_pieces += 1
                totals.dropped_images += piece.images
        totals.samples += last - first
    packed = pack([piece.size for piece in pieces], sequence_length=order.sequence_length)
    shuffled = permutation(len(packed), (order.seed, ROWS, number, epoch, window))
    rows = tuple(tuple(pieces[one] for one in packed[row]) for row in shuffled)
    totals.pieces, totals.rows = len(pieces), len(rows)
    totals.tokens = sum(piece.size for row in rows for piece in row)
    return Window(rows=rows, totals=totals)


def _spans(
    source: Source, order: Order, place: tuple[int, int, int], most: int
) -> Iterator[tuple[int, int, int]]:
    """Shards of a window, each with the first and the last of its samples."""
    number, epoch, window = place
    shards = permutation(len(source.shards), (order.seed, SHARDS, number, epoch, 0))
    start, stop = window * order.window, min((window + 1) * order.window, most)
    before = 0
    for shard in shards:
        samples = source.shards[shard].samples
        first, last = max(start - before, 0), min(stop - before, samples)
        if first < last:
            yield shard, first, last
        before += samples
        if before >= stop:
            return


def _pieces(
    counts: Counts, order: Order, place: tuple[int, int], rows: range
) -> Iterator[tuple[PiecePlan, int]]:
    """Pieces of some samples of a shard with their targets; those that fit whole need no runs."""
    source, shard = place
    some = slice(rows.start, rows.stop)
    tokens, images, groups = counts.tokens[some], counts.images[some], counts.groups[some]
    lengths = 2 + tokens + images * (block_size(1, order.image_tokens) - 1) + groups
    for row, length, words, shown in zip(
        rows, lengths.tolist(), tokens.tolist(), images.tolist(), strict=True
    ):
        if length <= order.sequence_length:
            yield PiecePlan(source, shard, row, 0, length, 0, shown), words + 1
            continue
        image = 0
        for one in pieces_of(
            _runs(counts, row),
            image_tokens=order.image_tokens,
            sequence_length=order.sequence_length,
        ):
            plan = PiecePlan(source, shard, row, one.start, one.end, image, one.images)
            yield plan, one.targets
            image += one.images


def _runs(counts: Counts, row: int) -> list[RunCount]:
    return [RunCount(**run) for run in counts.runs[row].as_py()]


def permutation(size: int, key: tuple[int, int, int, int, int]) -> list[int]:
    """The numbers below `size` in an order that the key decides."""
    found: list[int] = np.argsort(random_words(size, key), kind="stable").tolist()
    return found


def random_words(count: int, key: tuple[int, int, int, int, int], *, first: int = 0) -> Words:
    """Words `first`, `first` + 1, ... of the endless row of random words that a key names."""
    words = np.random.SeedSequence(key).generate_state(2, np.uint64)
    block, skipped = divmod(first, 4)  # Philox makes four words of each counter
    generator = np.random.Philox(key=words, counter=np.array([block, 0, 0, 0], dtype=np.uint64))
    found: Words = generator.random_raw(skipped + count)[skipped:]
    return found


def row_patches(source: Source, rows: tuple[RowPlan, ...], grid: Grid) -> list[int]:
    """Patches that the images of each row come to, by the sides in the index; no tar is read."""
    sides = {shard: _image_patches(source.shards[shard], cache(grid))
             for shard in {piece.shard for row in rows for piece in row}}  # fmt: skip
    found = []
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
        found.append(patches)
    return found


def _image_patches(shard: Shard, grid: Grid) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
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
    patches = [rows * columns for rows, columns in (grid(*one) for one in sides)]
    offsets = nodes.offsets.to_numpy()
    return shown[offsets - offsets[0]].astype(np.int64), np.asarray(patches, dtype=np.int64)
