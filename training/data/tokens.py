"""Tokens: a document as one sequence of tokens, and a piece of it as the model gets it.

    BOS  run  image  image  run  EOS          a run: neighbouring texts, joined by a blank line
              F I..I F I..I F                 F `<fake_token_around_image>`, I `<image>`; the two
                                              fakes between neighbouring images are one

In:      a Sample, an Encoder (a tokenizer's serialized form) and the visual tokens an image.
Out:     TextRuns; a TokenSequence; of a piece [start, end) of it: tokens, labels and images.
Refused: nothing; a piece is checked where it is planned. A text that holds "<image>" or "</s>" is
         text and no special token (tokenizer.py refuses a vocabulary that has "<image>").
See it:  interloom-train data DIR --step 1 renders a batch token by token.

Trained are the tokens of texts and EOS, each once: not BOS, image and fake tokens. A piece that
does not start its document is given the token before it as context, which it does not train.

Tokens are not additive over a joint (in GPT-2's vocabulary 346 of 346 joined pairs differed), so a
run is tokenised as one string, here and when counting; one of over LONGEST characters in parts,
since a tokenizer needs some 200 bytes a character. No torch: processes that count import this.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from tokenizers import Encoding, Tokenizer

from schemas.sample import Sample, SampleText

T = TypeVar("T")
Count = TypeVar("Count", int, npt.NDArray[np.int64])  # of one sample, or of each of many
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
JOINT: Final = "\n\n"  # between the texts of a run
LONGEST: Final = 1 << 20  # characters of a run, and of what is tokenised at a time
IGNORED: Final = -100  # a label without a loss: image and fake tokens, context, last position


@dataclass(frozen=True, kw_only=True, slots=True)
class Special:
    """Ids that stand for no text."""

    bos: int  # EOS again where a tokenizer has none
    eos: int
    fake: int
    image: int


class Encoder:
    """A tokenizer that takes what looks like a special token for text. Pickles."""

    def __init__(self, serialized: str, special: Special) -> None:
        self._serialized = serialized
        self.special = special
        self._tokenizer = Tokenizer.from_str(serialized)
        self._tokenizer.no_truncation()  # a saved tokenizer may cut at its old model's length
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True  # lost when a Tokenizer is pickled

    def __reduce__(self) -> tuple[type[Encoder], tuple[str, Special]]:
        return type(self), (self._serialized, self.special)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Tokens of each text, without BOS and EOS."""
        encode = self._tokenizer.encode_batch_fast
        return [
            encoding.ids
            for group in grouped(texts, len, most=LONGEST)
            for encoding in encode(group, add_special_tokens=False)
        ]

    def encode(self, texts: Sequence[str]) -> Iterator[Encoding]:
        """The same with the characters that each token stands for, which takes longer."""
        for group in grouped(texts, len, most=LONGEST):
            yield from self._tokenizer.encode_batch(group, add_special_tokens=False)

    def size_of(self, tokens: Sequence[int]) -> int:
        """Bytes of the text that tokens stand for."""
        return len(self._tokenizer.decode(tokens, skip_special_tokens=True).encode())


@dataclass(frozen=True, kw_only=True, slots=True)
class TextRun:
    """Some images, then one text; runs_of cuts a document into these."""

    images: int  # just before the text
    text: str  # "" at the end, for the images behind the last text
    paragraphs: tuple[int, ...]  # characters where its texts begin


def runs_of(sample: Sample) -> Iterator[TextRun]:
    """A sample's nodes in order; a run of no text follows where images end the document."""
    images = 0
    texts: list[str] = []
    for node in sample.nodes:
        if isinstance(node, SampleText):
            if node.text:
                texts.append(node.text)
        else:
            if texts:
                yield from _parts_of_run(images, texts)
                images, texts = 0, []
            images += 1
    if texts or images:
        yield from _parts_of_run(images, texts)


def _parts_of_run(images: int, texts: Sequence[str]) -> Iterator[TextRun]:
    """One run; of a run that is too long its parts, which end behind a space if they can."""
    starts = list(accumulate((len(text) + len(JOINT) for text in texts[:-1]), initial=0))
    text = JOINT.join(texts)
    first = 0
    while first < len(text) or not first:
        last = first + LONGEST
        if last < len(text):
            last = text.rfind(" ", first, last) + 1 or last
        paragraphs = tuple(start - first for start in starts if first <= start < last)
        yield TextRun(images=0 if first else images, text=text[first:last], paragraphs=paragraphs)
        first = last


def grouped(items: Iterable[T], size: Callable[[T], int], *, most: int) -> Iterator[list[T]]:
    """Items in their order, as many a list as their sizes sum up to `most`, at least one."""
    group: list[T] = []
    total = 0
    for item in items:
        if group and total + size(item) > most:
            yield group
            group, total = [], 0
        group.append(item)
        total += size(item)
    if group:
        yield group


def block_length(images: Count, groups: Count, image_tokens: int) -> Count:
    """Tokens of images that stand in so many groups side by side: a fake opens each group."""
    return images * (image_tokens + 1) + groups


def document_length(text_tokens: Count, images: Count, groups: Count, image_tokens: int) -> Count:
    """Tokens of a whole document: BOS, its texts, its images, EOS."""
    return 2 + text_tokens + block_length(images, groups, image_tokens)


def image_places(start: int, images: int, image_tokens: int) -> list[int]:
    """The first `<image>` of each image of a group that begins at `start`."""
    return [start + 1 + number * (image_tokens + 1) for number in range(images)]


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
    tokens = [special.bos]
    trained = [False]
    images: list[int] = []
    waiting = 0  # images before a run without tokens stand beside the next ones
    for run, ids in (*zip(runs, encoder.ids([run.text for run in runs]), strict=True), (None, [])):
        waiting += run.images if run else 0
        if waiting and (ids or run is None):
            images += image_places(len(tokens), waiting, image_tokens)
            tokens += [special.fake]
            tokens += ([special.image] * image_tokens + [special.fake]) * waiting
            waiting = 0
        trained += [False] * (len(tokens) - len(trained)) + [True] * len(ids)
        tokens += ids
    return TokenSequence(
        tokens=np.asarray([*tokens, special.eos], dtype=np.int64),
        trained=np.asarray([*trained, True]),
        images=np.asarray(images, dtype=np.int64),
        image_tokens=image_tokens,
    )


class Assembled(NamedTuple):
    """A piece as it stands in a row: labels[i] is what position i predicts."""

    tokens: Ints
    labels: Ints
    images: list[int]  # numbers of the document's images, in the order of their tokens


def assemble(
    sequence: TokenSequence, start: int, end: int, broken: Collection[int] = ()
) -> Assembled:
    """The piece [start, end) without the images that are broken.

    A broken image leaves with its tokens and one fake; of neighbours that all leave no fake stays.
    What is trained stays the same: where the context would be the fake of an image that left, it is
    what stood before the images.
    """
    first = max(start - 1, 0)
    shown = sequence.shown(start, end).tolist()
    kept = [number for number in shown if number not in broken]
    places = np.arange(first, end)
    if len(kept) < len(shown):
        places = _closed_up(sequence, first, end, kept)
    tokens = sequence.tokens[places]
    labels = np.full(len(places), IGNORED, dtype=np.int64)
    trained = sequence.trained[places[1:]]
    labels[:-1][trained] = tokens[1:][trained]
    return Assembled(tokens, labels, kept)


def _closed_up(sequence: TokenSequence, first: int, end: int, kept: Sequence[int]) -> Ints:
    """Places of [first, end) that stay when only the images `kept` do."""
    stays = np.ones(len(sequence.tokens), dtype=np.bool_)
    for group in _neighbours(sequence, first, end):
        for number in group:
            if number not in kept:
                place = int(sequence.images[number])
                stays[place : place + sequence.image_tokens + 1] = False
        opening_fake = int(sequence.images[group[0]]) - 1
        stays[opening_fake] = any(number in kept for number in group)
    places = first + np.flatnonzero(stays[first:end])
    if first and not stays[first]:  # the context left with the images it opened
        before = np.flatnonzero(sequence.trained[:first])
        context = int(before[-1]) if before.size else 0
        places = np.concatenate([[context], places])
    return places


def _neighbours(sequence: TokenSequence, first: int, end: int) -> list[list[int]]:
    """Images of [first, end), those side by side in one list."""
    groups: list[list[int]] = []
    apart = sequence.image_tokens + 1
    for number in sequence.shown(first, end).tolist():
        if groups and sequence.images[number] - sequence.images[number - 1] == apart:
            groups[-1].append(number)
        else:
            groups.append([number])
    return groups
