"""Pieces: where a document that is longer than a row is cut, from its counts alone.

In:      a document's Runs by count, the visual tokens an image and the sequence length.
Out:     Slices [start, end) of its sequence (tokens.py), which follow each other without a gap. A
         later piece takes the token before it along as context, so it holds one token less.
Refused: a sequence length that cannot hold context, one image and one target: ValueError.

A piece ends, so that it has a target, at the last place that fits among
  1. the starts of images (of neighbours the first: they go together),
  2. the starts of paragraphs, 3. of sentences, 4. all places in a text.
Images side by side that fill a row are cut behind the first of them, which then has no target: a
piece that is dropped and counted, as long as the others do not fit before a text. No piece ends
inside an image's tokens. The fake token between neighbours is the context of the second's piece.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from training.data.tokens import block_size


@dataclass(frozen=True, kw_only=True, slots=True)
class RunCount:
    """A run by count: as counts.py keeps it."""

    images: int  # just before it
    tokens: int  # of its text; 0 behind the last one
    paragraphs: Sequence[int] = ()
    sentences: Sequence[int] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Slice:
    """A piece of a sample's sequence as it is planned."""

    start: int
    end: int
    targets: int
    images: int

    @property
    def size(self) -> int:
        """Tokens in a row, its context with them."""
        return self.end - self.start + (self.start > 0)


def check_length(sequence_length: int, image_tokens: int) -> None:
    """Raises ValueError where a row cannot hold context, one image and one target."""
    least = 1 + block_size(1, image_tokens) + 1
    if sequence_length < least:
        raise ValueError(
            f"sequence_length is {sequence_length} tokens, but context, one image of "
            f"{image_tokens} tokens between two fakes and one target need {least}: choose at "
            f"least {least}, or a shape with fewer visual tokens an image"
        )


def pieces_of(runs: Iterable[RunCount], *, image_tokens: int, sequence_length: int) -> list[Slice]:
    """All pieces of a document in order, those without targets too."""
    layout = _Layout.of(runs, image_tokens)
    found = []
    start = 0
    while start < layout.size:
        end = cut(layout, start, start + sequence_length - (start > 0))
        found.append(
            Slice(
                start=start,
                end=end,
                targets=layout.targets(start, end),
                images=bisect_left(layout.images, end) - bisect_left(layout.images, start),
            )
        )
        start = end
    return found


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
    def of(cls, runs: Iterable[RunCount], image_tokens: int) -> _Layout:
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
                images += (place + 1 + n * (image_tokens + 1) for n in range(run.images))
                place += block_size(run.images, image_tokens)
            if run.tokens:
                texts.append(place)
                sizes.append(run.tokens)
                paragraphs += (place + at for at in run.paragraphs)
                sentences += (place + at for at in run.sentences)
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
        return self._targets_before(end) - self._targets_before(start)

    def _targets_before(self, place: int) -> int:
        run = bisect_right(self.texts, place) - 1
        if run < 0:
            return 0
        within = place - self.texts[run]
        return min(self.before[run] + within, self.before[run + 1])


def cut(layout: _Layout, start: int, most: int) -> int:
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
