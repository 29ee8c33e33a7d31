"""Pieces: where a document that is longer than a row is cut, and how pieces fill rows.

In:      a document's CountedRuns, the visual tokens an image and the sequence length.
Out:     PiecePlans [start, end) of its sequence (tokens.py), one after the other without a gap. A
         later piece takes the token before it along as context, so it holds one token less.
         `pack` puts pieces into rows; the same sizes in the same order give the same rows.
Refused: a sequence length that cannot hold context, one image and one target; a piece that is
         larger than a row: ValueError.
See it:  interloom-train plan --shards DIR prints the fill

A piece ends, so that it has a target, at the last place that fits among
  1. the starts of images (of neighbours the first: they go together),
  2. the starts of paragraphs, 3. of sentences, 4. all places in a text.
Images side by side that fill a row are cut behind the first of them, which then has no target: a
piece that is dropped and counted, as long as the others do not fit before a text. No piece ends
inside an image's tokens. The fake token between neighbours is the context of the second's piece.

Rows are packed best fit decreasing: pieces from the largest to the smallest, each into the fullest
row that still has room; at most 11/9 of the best number of rows + 1 (Johnson et al. 1974, SIAM J.
Comput. 3), in practice far nearer. In windows of 4,096 documents of OBELICS' spread rows of 2,048
are full to .99 and more; best fit without sorting gives .965.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from training.data.tokens import Ints, block_length, document_length, image_places

SampleNumber = tuple[int, int, int]  # source, shard, row of the shard's index


class CountedRun(NamedTuple):
    """A TextRun by its counts, as counts.py keeps it."""

    images: int  # just before the text
    tokens: int  # of the text; 0 behind the last text
    paragraphs: Sequence[int] = ()
    sentences: Sequence[int] = ()


class PiecePlan(NamedTuple):
    """A piece of a document as it is planned; all that a worker needs to make it."""

    source: int
    shard: int  # of the source's shards
    row: int  # of the shard's index
    start: int  # of the document's sequence
    end: int
    image: int  # the first of its images among the document's
    images: int
    targets: int  # tokens that are trained

    @property
    def size(self) -> int:
        """Tokens in the row, context included."""
        return self.end - self.start + (1 if self.start else 0)

    @property
    def shown(self) -> range:
        """Numbers of its images among the document's."""
        return range(self.image, self.image + self.images)

    @property
    def sample(self) -> SampleNumber:
        return self.source, self.shard, self.row


def check_length(length: int, image_tokens: int) -> None:
    """Raises ValueError where a row cannot hold context, one image and one target."""
    least = document_length(0, 1, 1, image_tokens)  # context in BOS' place, the target in EOS'
    if length < least:
        raise ValueError(
            f"sequence_length is {length} tokens, but context, one image of "
            f"{image_tokens} tokens between two fakes and one target need {least}: choose at "
            f"least {least}, or a shape with fewer visual tokens an image"
        )


def pieces_of(
    runs: Iterable[CountedRun],
    *,
    image_tokens: int,
    sequence_length: int,
    sample: SampleNumber = (0, 0, 0),
) -> list[PiecePlan]:
    """All pieces of a document in order, those without targets too."""
    layout = _Layout.of(runs, image_tokens)
    pieces = []
    start = 0
    while start < layout.size:
        end = _cut(layout, start, start + sequence_length - (1 if start else 0))  # context
        image, next_image = (bisect_left(layout.images, place) for place in (start, end))
        targets = layout.targets(start, end)
        pieces.append(PiecePlan(*sample, start, end, image, next_image - image, targets))
        start = end
    return pieces


@dataclass(frozen=True, kw_only=True, slots=True)
class _Layout:
    """Places in a document's sequence."""

    size: int
    texts: Sequence[int]  # starts of the runs, EOS as the last one
    before: Sequence[int]  # targets before each of them
    images: Sequence[int]  # each image's first `<image>`
    groups: Sequence[int]  # the opening fake of images that stand side by side
    paragraphs: Sequence[int]
    sentences: Sequence[int]

    @classmethod
    def of(cls, runs: Iterable[CountedRun], image_tokens: int) -> _Layout:
        texts: list[int] = []
        sizes: list[int] = []
        images: list[int] = []
        groups: list[int] = []
        paragraphs: list[int] = []
        sentences: list[int] = []
        place = 1  # behind BOS
        for run in runs:
            if run.images:
                groups.append(place)
                images += image_places(place, run.images, image_tokens)
                place += block_length(run.images, 1, image_tokens)
            if run.tokens:
                texts.append(place)
                sizes.append(run.tokens)
                paragraphs += (place + offset for offset in run.paragraphs)
                sentences += (place + offset for offset in run.sentences)
                place += run.tokens
        return cls(
            size=place + 1,
            texts=[*texts, place],
            before=list(accumulate([*sizes, 1], initial=0)),
            images=images,
            groups=groups,
            paragraphs=paragraphs,
            sentences=sentences,
        )

    def targets(self, start: int, end: int) -> int:
        before = []
        for place in (start, end):
            run = bisect_right(self.texts, place) - 1
            within = place - self.texts[run]
            before.append(min(self.before[run] + within, self.before[run + 1]) if run >= 0 else 0)
        return before[1] - before[0]


def _cut(layout: _Layout, start: int, most: int) -> int:
    """Where a piece that begins at `start` and may go to `most` ends."""
    if most >= layout.size:
        return layout.size
    if not layout.targets(start, most):  # nothing but images: one goes, so that the others may stay
        return layout.images[bisect_left(layout.images, start) + 1]
    for places in (layout.groups, layout.paragraphs, layout.sentences):
        last = bisect_right(places, most) - 1
        if last >= 0 and layout.targets(start, places[last]) > 0:
            return places[last]
    return most


def pack(sizes: Sequence[int] | Ints, *, sequence_length: int) -> list[list[int]]:
    """Rows that hold each piece once: numbers of pieces, the largest first."""
    array = np.asarray(sizes, dtype=np.int64)
    if array.size and not 1 <= int(array.min()) <= int(array.max()) <= sequence_length:
        raise ValueError(
            f"a piece of {int(array.min())} to {int(array.max())} tokens does not fit a row of "
            f"{sequence_length}: pieces must have 1 to that many"
        )
    rows: list[list[int]] = []
    with_room: list[list[int]] = [[] for _ in range(sequence_length + 1)]  # room -> rows
    rooms = 0  # bit r is set where a row has room r, so a shift finds the fullest that fits
    largest_first = np.argsort(-array, kind="stable").tolist()
    for piece, size in zip(largest_first, array[largest_first].tolist(), strict=True):
        fitting = rooms >> size
        if fitting:
            room = size + (fitting & -fitting).bit_length() - 1
            row = with_room[room].pop()
            if not with_room[room]:
                rooms ^= 1 << room
            rows[row].append(piece)
        else:
            room, row = sequence_length, len(rows)
            rows.append([piece])
        with_room[room - size].append(row)
        rooms |= 1 << (room - size)
    return rows
