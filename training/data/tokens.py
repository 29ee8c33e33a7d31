"""Tokens: a document as one sequence, and a piece of that sequence as the model gets it.

    BOS  run  image  image  run  EOS          a run: neighbouring texts, joined by a blank line
              F I..I F I..I F                 F `<fake_token_around_image>`, I `<image>`; the two
                                              fakes between neighbouring images are one

In:      a Sample, an Encoder and the number of visual tokens an image.
Out:     a TokenSequence; of a piece [start, end) of it: tokens, labels and the images to show.
Refused: nothing; a piece is checked where it is planned.
See it:  interloom-train data DIR --step 1 renders a batch token by token.

Trained are the tokens of texts and EOS, each once: not BOS, image and fake tokens. A piece that
does not start its document is given the token before it as context, which it does not train.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from schemas.sample import Sample
from training.data.batch import IGNORED, Ints
from training.data.encode import Encoder, Special, runs_of

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenSequence:
    """A whole document. Image n stands at [images[n], images[n] + image_tokens)."""

    tokens: Ints
    trained: Bools
    images: Ints  # place of each image's first `<image>`
    image_tokens: int

    def shown(self, start: int, end: int) -> Ints:
        """Numbers of the images whose tokens lie in [start, end)."""
        first, last = np.searchsorted(self.images, (start, end))
        return np.arange(first, last, dtype=np.int64)


def sequence_of(sample: Sample, encoder: Encoder, image_tokens: int) -> TokenSequence:
    """The tokens of a document, which ones are trained, and where its images stand."""
    special = encoder.special
    runs = list(runs_of(sample))
    parts: list[list[int]] = [[special.bos]]
    images: list[int] = []
    size, waiting = 1, 0  # images before a run without tokens stand beside the next ones
    for run, ids in zip(runs, encoder.ids([run.text for run in runs]), strict=True):
        waiting += run.images
        if not ids:
            continue
        parts += [block(waiting, special, image_tokens), ids]
        images += _places(size, waiting, image_tokens)
        size += block_size(waiting, image_tokens) + len(ids)
        waiting = 0
    parts += [block(waiting, special, image_tokens), [special.eos]]
    images += _places(size, waiting, image_tokens)
    # texts and EOS stand at the even places among the parts, and BOS at the first
    trained = [np.full(len(part), place % 2 == 0 < place) for place, part in enumerate(parts)]
    return TokenSequence(
        tokens=np.concatenate([np.asarray(part, dtype=np.int64) for part in parts]),
        trained=np.concatenate(trained),
        images=np.asarray(images, dtype=np.int64),
        image_tokens=image_tokens,
    )


def block(images: int, special: Special, image_tokens: int) -> list[int]:
    """The tokens of images that stand side by side; none for none."""
    one = [special.image] * image_tokens + [special.fake]
    return [special.fake, *one * images] if images else []


def block_size(images: int, image_tokens: int) -> int:
    return images * (image_tokens + 1) + 1 if images else 0


def _places(start: int, images: int, image_tokens: int) -> list[int]:
    return [start + 1 + number * (image_tokens + 1) for number in range(images)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Assembled:
    """A piece as it stands in a row: labels[i] is what position i predicts."""

    tokens: Ints
    labels: Ints
    images: Ints  # numbers of the sample's images, in the order of their tokens


def assemble(
    sequence: TokenSequence, start: int, end: int, broken: Collection[int] = ()
) -> Assembled:
    """The piece [start, end), without the images that are broken.

    A broken image leaves with its tokens and one fake; of neighbours that all leave no fake stays.
    What is trained stays the same: where the context would be the fake of an image that left, it
    is what stood before the images.
    """
    first = max(start - 1, 0)
    shown = sequence.shown(start, end)
    kept = [int(number) for number in shown if number not in broken]
    places = np.arange(first, end)
    if len(kept) < len(shown):
        places = _closed_up(sequence, first, end, kept)
    tokens = sequence.tokens[places]
    labels = np.full(len(places), IGNORED, dtype=np.int64)
    trained = sequence.trained[places[1:]]
    labels[:-1][trained] = tokens[1:][trained]
    return Assembled(tokens=tokens, labels=labels, images=np.asarray(kept, dtype=np.int64))


def _closed_up(sequence: TokenSequence, first: int, end: int, kept: Sequence[int]) -> Ints:
    """Places of a slice that stay when of its images only `kept` do."""
    stays = np.ones(len(sequence.tokens), dtype=np.bool_)
    for chain in chains(sequence, first, end):
        left = [number for number in chain if number in kept]
        opening = int(sequence.images[chain[0]]) - 1
        for number in chain:
            if number not in left:
                place = int(sequence.images[number])
                stays[place : place + sequence.image_tokens + 1] = False
        stays[opening] = bool(left)
    places = first + np.flatnonzero(stays[first:end])
    if first and not stays[first]:  # the context left with the images it opened
        before = np.flatnonzero(sequence.trained[:first])
        context = int(before[-1]) if before.size else 0
        places = np.concatenate([[context], places])
    return places


def chains(sequence: TokenSequence, first: int, end: int) -> list[list[int]]:
    """Images of a slice, those side by side together."""
    found: list[list[int]] = []
    for number in sequence.shown(first, end).tolist():
        apart = sequence.image_tokens + 1
        if found and sequence.images[number] - sequence.images[number - 1] == apart:
            found[-1].append(number)
        else:
            found.append([number])
    return found
