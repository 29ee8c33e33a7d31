"""Plan: which rows each global batch holds, from a state of a few integers.

In:      sources with their weights, the digest of the tokenizer that counted them, an Order.
Out:     global batches of RowPlans, one a step; each rank takes its share of the same batch. Or one
         epoch as WindowPlans: rows in the order in which they are trained, and their sums.
Refused: an Order in which nothing could be trained, more ranks than rows, the state of other
         sources, counts that were not made: ValueError.
See it:  interloom-train plan --shards DIR, interloom-train data DIR --step 1

A window is some thousand samples of a source, a pure function of (source, epoch, window): the
shards of an epoch are put in an order by (seed, source, epoch), a window is so many samples of
them, its pieces are packed by best fit, and its rows are shuffled by (seed, source, epoch, window).
Unshuffled they would drift from few large to many small documents a row (1.8 to 3.5 seen).

The source of a row is drawn by weight from (seed, number of the row in the whole run); a source's
rows come in its own order, window after window and epoch after epoch. So a state is the step and
(epoch, window, row) of each source: what follows is planned again from there, which costs one
window a source whatever went before. Ranks and workers divide what is drawn and change nothing of
it. Random words are Philox's, keyed (Salmon et al. 2011, SC), and permutations sort them, so numpy
may change its generators' methods without changing an order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache, partial
from itertools import chain, islice
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from schemas.manifest import fingerprint
from training.data.counts import Counts, read_counts
from training.data.pieces import CountedRun, PiecePlan, check_length, pack, pieces_of
from training.data.sources import Shard, Source

Words = npt.NDArray[np.uint64]
ReadCounts = Callable[[Shard], Counts]
RowPlan = tuple[PiecePlan, ...]

SHARDS: Final = 0  # what random words are for, so that no two uses share theirs
ROWS: Final = 1
DRAWS: Final = 2
LARGEST: Final = 2**32  # no plan comes so far
CACHED: Final = 4  # shards whose counts are kept: a window's last is the next one's first


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
        for total in fields(self):
            setattr(self, total.name, getattr(self, total.name) + getattr(other, total.name))

    def fill(self, sequence_length: int) -> float:
        """The share of the places in rows that hold a token."""
        return self.tokens / (self.rows * sequence_length) if self.rows else 0.0


class WindowPlan(NamedTuple):
    rows: tuple[RowPlan, ...]
    totals: Totals


def window_count(source: Source, order: Order, most: int = LARGEST) -> int:
    return -(-min(source.samples, most) // order.window)


def plan_window(
    source: Source,
    order: Order,
    place: tuple[int, int, int],
    read: ReadCounts,
    *,
    most: int = LARGEST,
) -> WindowPlan:
    """The rows of window `place` = (source number, epoch, window); `most` samples in all."""
    number, epoch, window = place
    totals = Totals()
    pieces: list[PiecePlan] = []
    for shard, first, last in _spans(source, order, place, most):
        counts = read(source.shards[shard])
        for piece in _pieces(counts, order, (number, shard), range(first, last)):
            if piece.targets:
                pieces.append(piece)
                totals.targets += piece.targets
                totals.images += piece.images
            else:
                totals.dropped_pieces += 1
                totals.dropped_images += piece.images
        totals.samples += last - first
    packed = pack([piece.size for piece in pieces], sequence_length=order.sequence_length)
    shuffled = permutation(len(packed), (order.seed, ROWS, number, epoch, window))
    rows = tuple(tuple(pieces[piece] for piece in packed[row]) for row in shuffled)
    totals.pieces, totals.rows = len(pieces), len(rows)
    totals.tokens = sum(piece.size for row in rows for piece in row)
    return WindowPlan(rows, totals)


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
) -> Iterator[PiecePlan]:
    """Pieces of some samples of a shard; a sample that fits whole is planned without its runs."""
    some = slice(rows.start, rows.stop)
    lengths = counts.lengths(order.image_tokens)[some].tolist()
    texts, images = counts.tokens[some].tolist(), counts.images[some].tolist()
    for row, length, text_tokens, shown in zip(rows, lengths, texts, images, strict=True):
        if length <= order.sequence_length:
            yield PiecePlan(*place, row, 0, length, 0, shown, text_tokens + 1)  # EOS is trained
        else:
            yield from pieces_of(
                [CountedRun(**run) for run in counts.runs[row].as_py()],
                image_tokens=order.image_tokens,
                sequence_length=order.sequence_length,
                sample=(*place, row),
            )


def permutation(size: int, key: tuple[int, int, int, int, int]) -> list[int]:
    """The numbers below `size` in an order that the key decides."""
    numbers: list[int] = np.argsort(random_words(size, key), kind="stable").tolist()
    return numbers


def random_words(count: int, key: tuple[int, int, int, int, int], *, first: int = 0) -> Words:
    """Words `first`, `first` + 1, ... of the endless row of random words that a key names."""
    philox_key = np.random.SeedSequence(key).generate_state(2, np.uint64)
    block, skipped = divmod(first, 4)  # Philox makes four words of each counter
    counter = np.array([block, 0, 0, 0], dtype=np.uint64)
    words: Words = np.random.Philox(key=philox_key, counter=counter).random_raw(skipped + count)
    return words[skipped:]


def _read_by(digest: str) -> ReadCounts:
    """A function that reads counts, and keeps those of the shards that were read last."""
    return lru_cache(CACHED)(lambda shard: read_counts(shard, digest))


class _Cursor:
    """A source's rows, one after the other; epoch, window and row are of the next one."""

    def __init__(self, number: int, source: Source, order: Order, read: ReadCounts) -> None:
        self._number = number
        self._plan = lru_cache(1)(partial(plan_window, source, order, read=read))
        self.windows = window_count(source, order)
        self.epoch = self.window = self.row = 0

    def next_row(self) -> RowPlan:
        while self.row >= len(self._rows()):
            self.window, self.row = self.window + 1, 0
            if self.window == self.windows:
                self.epoch, self.window = self.epoch + 1, 0
        self.row += 1
        return self._rows()[self.row - 1]

    def _rows(self) -> tuple[RowPlan, ...]:
        return self._plan(place=(self._number, self.epoch, self.window)).rows


class Plan:
    """Global batches from any state on."""

    def __init__(self, sources: Sequence[Source], digest: str, order: Order) -> None:
        if not sources:
            raise ValueError("0 sources, at least 1 is needed: give --shards DIR")
        self.order = order
        self.sources = tuple(sources)
        self._digest = digest
        self._bounds = np.cumsum([source.weight for source in sources])
        read = _read_by(digest)
        self._cursors = [
            _Cursor(number, source, order, read) for number, source in enumerate(sources)
        ]
        self.step = 0

    def next_batch(self) -> list[RowPlan]:
        """The rows of the next global batch."""
        drawn = self.draw(self.step * self.order.rows, self.order.rows)
        batch = [self._cursors[number].next_row() for number in drawn]
        self.step += 1
        return batch

    def draw(self, first: int, count: int) -> list[int]:
        """Numbers of the sources of rows `first`, `first` + 1, ... of the whole run."""
        words = random_words(count, (self.order.seed, DRAWS, 0, 0, 0), first=first)
        uniform = (words >> np.uint64(11)) * 2.0**-53
        drawn = np.searchsorted(self._bounds, uniform * self._bounds[-1], side="right")
        numbers: list[int] = np.minimum(drawn, len(self._bounds) - 1).tolist()
        return numbers

    def state_dict(self) -> dict[str, Any]:
        """The step and (epoch, window, row) of each source; JSON holds it."""
        places = [[cursor.epoch, cursor.window, cursor.row] for cursor in self._cursors]
        return {"step": self.step, "sources": places}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; ValueError for that of another number of sources."""
        try:
            step, places = int(state["step"]), [(*map(int, place),) for place in state["sources"]]
            if any(len(place) != 3 for place in places):
                raise ValueError("a place is an epoch, a window and a row")
            if any(not 0 <= number < LARGEST for number in (step, *chain(*places))):
                raise ValueError("a number in it is none that a plan can come to")
        except (KeyError, OverflowError, TypeError, ValueError) as error:
            raise ValueError(f"it is damaged ({error})") from error
        if len(places) != len(self._cursors):
            raise ValueError(
                f"the state is of {len(places)} sources, but there are {len(self._cursors)}: give "
                "the same --shards again"
            )
        cursors = list(zip(self._cursors, places, strict=True))
        if any(window >= cursor.windows for cursor, (_, window, _) in cursors):
            raise ValueError("it is damaged (a window is none of its source's)")
        self.step = step
        for cursor, place in cursors:
            cursor.epoch, cursor.window, cursor.row = place

    def identity(self) -> dict[str, Any]:
        """All that may not differ where a state is taken up; no folder's name, so it may move."""
        shards = [
            [(shard.name, shard.samples, shard.tar_bytes) for shard in source.shards]
            for source in self.sources
        ]
        return {
            "shards": fingerprint(shards),
            "weights": [source.weight for source in self.sources],
            "tokenizer": self._digest,
            **asdict(self.order),
        }


class RankPlan:
    """What the stream of one rank asks for: its rows, and the state of the whole plan."""

    def __init__(self, plan: Plan, *, rank: int = 0, world: int = 1) -> None:
        check_ranks(plan.order.rows, world)
        self._plan = plan
        self._rank = rank
        self._world = world

    def next_batch(self) -> Sequence[RowPlan]:
        return share(self._plan.next_batch(), rank=self._rank, world=self._world)

    def state_dict(self) -> Mapping[str, Any]:
        return self._plan.state_dict()


class OnePass:
    """Each sample once and then the end, in a rank's batches; to evaluate on."""

    def __init__(self, windows: Iterable[WindowPlan], *, rows: int, rank: int, world: int) -> None:
        every = (row for window in windows for row in window.rows)
        self._rows = islice(every, rank, None, world)
        self._size = rows
        self._step = 0

    def next_batch(self) -> Sequence[RowPlan]:
        """At most `rows` rows; none at the end."""
        self._step += 1
        return list(islice(self._rows, self._size))

    def state_dict(self) -> Mapping[str, Any]:
        return {"step": self._step}


def one_epoch(
    sources: Sequence[Source], digest: str, order: Order, *, most: int = LARGEST
) -> Iterator[WindowPlan]:
    """The windows of each source's first epoch, or of its first `most` samples only."""
    read = _read_by(digest)
    for number, source in enumerate(sources):
        for window in range(window_count(source, order, most)):
            yield plan_window(source, order, (number, 0, window), read, most=most)


def check_ranks(rows: int, world: int) -> None:
    """Raises ValueError where a rank would have no row."""
    if world > rows:
        raise ValueError(
            f"{world} ranks, but a global batch has {rows} rows: start at most {rows} ranks, or "
            f"set data.rows to {world} or more"
        )


def share(batch: Sequence[RowPlan], *, rank: int, world: int) -> Sequence[RowPlan]:
    """The rows of a rank: neighbours, and as many as any other's or one less."""
    check_ranks(len(batch), world)
    return batch[rank * len(batch) // world : (rank + 1) * len(batch) // world]
