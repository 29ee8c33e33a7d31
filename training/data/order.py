"""Order: which rows a global batch holds, at any step, from a state of a few integers.

In:      sources with their weights, the digest of the tokenizer that counted them, an Order.
Out:     global batches of RowPlans, one a step; each rank takes its share of the same batch.
Refused: more ranks than rows, the state of other sources, counts that were not made: ValueError.
See it:  interloom-train plan --shards DIR, interloom-train data DIR --step 1

The source of a row is drawn by weight from (seed, number of the row in the whole run); a source's
rows come in its own order, window after window and epoch after epoch (windows.py). So a state is
the step and (epoch, window, row) of each source: what follows is planned again from there, which
costs one window a source whatever went before. Ranks and workers divide what is drawn and change
nothing of it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, Final

import numpy as np

from schemas.manifest import fingerprint
from training.data.shards.counts import Counts, read_counts
from training.data.shards.sources import Shard, Source
from training.data.windows import (
    DRAWS,
    Order,
    RowPlan,
    Window,
    plan_window,
    random_words,
    window_count,
)

LARGEST: Final = 2**32  # no plan comes so far
HELD: Final = 4  # shards whose counts are kept: a window's last is the next one's first


class _Held:
    """Counts of the shards that were read last."""

    def __init__(self, digest: str) -> None:
        self._digest = digest
        self._held: OrderedDict[str, Counts] = OrderedDict()

    def __call__(self, shard: Shard) -> Counts:
        if shard.tar not in self._held:
            self._held[shard.tar] = read_counts(shard, self._digest)
            if len(self._held) > HELD:
                self._held.popitem(last=False)
        self._held.move_to_end(shard.tar)
        return self._held[shard.tar]


class _Cursor:
    """A source's rows, one after the other; epoch, window and row are of the next one."""

    def __init__(self, number: int, source: Source, order: Order, read: _Held) -> None:
        self._number = number
        self._source = source
        self._order = order
        self._read = read
        self._windows = window_count(source, order)
        self._planned: tuple[tuple[int, int], Window] | None = None
        self.epoch = self.window = self.row = 0

    def next_row(self) -> RowPlan:
        while self.row >= len(self._rows()):
            self.window, self.row = self.window + 1, 0
            if self.window == self._windows:
                self.epoch, self.window = self.epoch + 1, 0
        self.row += 1
        return self._rows()[self.row - 1]

    def _rows(self) -> tuple[RowPlan, ...]:
        place = (self.epoch, self.window)
        if self._planned is None or self._planned[0] != place:
            planned = plan_window(self._source, self._order, (self._number, *place), self._read)
            self._planned = (place, planned)
        return self._planned[1].rows


class Plan:
    """Global batches from any state on."""

    def __init__(self, sources: Sequence[Source], digest: str, order: Order) -> None:
        if not sources:
            raise ValueError("0 sources, at least 1 is needed: give --shards DIR")
        self.order = order
        self.sources = tuple(sources)
        self._digest = digest
        self._bounds = np.cumsum([source.weight for source in sources])
        read = _Held(digest)
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
        found: list[int] = np.minimum(drawn, len(self._bounds) - 1).tolist()
        return found

    def state_dict(self) -> dict[str, Any]:
        """The step and (epoch, window, row) of each source; JSON holds it."""
        places = [[one.epoch, one.window, one.row] for one in self._cursors]
        return {"step": self.step, "sources": places}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state.

        Raises:
            ValueError: for the state of another number of sources.
        """
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
        if any(place[1] >= one._windows for one, place in zip(self._cursors, places, strict=True)):
            raise ValueError("it is damaged (a window is none of its source's)")
        self.step = step
        for cursor, place in zip(self._cursors, places, strict=True):
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
            "sequence_length": self.order.sequence_length,
            "image_tokens": self.order.image_tokens,
            "rows": self.order.rows,
            "window": self.order.window,
            "seed": self.order.seed,
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

    def __init__(self, windows: Iterable[Window], *, rows: int, rank: int, world: int) -> None:
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
    sources: Sequence[Source], digest: str, order: Order, *, most: int | None = None
) -> Iterator[Window]:
    """The windows of each source's first epoch, or of its first `most` samples only."""
    read = _Held(digest)
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
