"""Text to tokens, and nothing but text: the runs of a document, and the tokenizer they go through.

In:      a Sample; a tokenizer's serialized form (tokenizer.json).
Out:     Runs, neighbouring texts joined by a blank line; their tokens, alone or with the
         characters that each stands for.
Refused: nothing here; a text that holds "<image>" or "</s>" is text and no special token, as far as
         the tokenizer's model has no such word (tokenizer.py refuses one that has "<image>").

Tokens are not additive over a joint (in GPT-2's vocabulary 346 of 346 joined pairs differed), so a
run is tokenised as one string, here and when counting; one of over LONGEST characters in parts,
since a tokenizer needs some 200 bytes a character. No torch: processes that count import this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, TypeVar

from tokenizers import Encoding, Tokenizer

from schemas.sample import Sample, SampleText

T = TypeVar("T")
JOINT: Final = "\n\n"  # between the texts of a run
LONGEST: Final = 1 << 20  # characters of a run, and of what is tokenised at a time


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
            one.ids
            for some in together(texts, len, most=LONGEST)
            for one in encode(some, add_special_tokens=False)
        ]

    def encode(self, texts: Sequence[str]) -> Iterator[Encoding]:
        """The same with the characters that each token stands for, which takes longer."""
        for some in together(texts, len, most=LONGEST):
            yield from self._tokenizer.encode_batch(some, add_special_tokens=False)

    def size_of(self, tokens: Sequence[int]) -> int:
        """Bytes of the text that tokens stand for."""
        return len(self._tokenizer.decode(tokens, skip_special_tokens=True).encode())


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What stands between two places where no text is: some images, then one text."""

    images: int  # just before it
    text: str  # "" at the end, for the images behind the last text
    paragraphs: tuple[int, ...]  # characters where its texts begin


def runs_of(sample: Sample) -> Iterator[Run]:
    """A sample's nodes in order; a run of no text follows where images end the document."""
    images = 0
    texts: list[str] = []
    for node in sample.nodes:
        if isinstance(node, SampleText):
            if node.text:
                texts.append(node.text)
        else:
            if texts:
                yield from _runs(images, texts)
                images, texts = 0, []
            images += 1
    if texts or images:
        yield from _runs(images, texts)


def _runs(images: int, texts: Sequence[str]) -> Iterator[Run]:
    """One run, or where it is too long its parts, which end behind a space if they can."""
    starts = list(accumulate((len(text) + len(JOINT) for text in texts[:-1]), initial=0))
    text = JOINT.join(texts)
    first = 0
    while first < len(text) or not first:
        last = first + LONGEST
        if last < len(text):
            last = text.rfind(" ", first, last) + 1 or last
        paragraphs = tuple(start - first for start in starts if first <= start < last)
        yield Run(images=0 if first else images, text=text[first:last], paragraphs=paragraphs)
        first = last


def together(items: Iterable[T], size: Callable[[T], int], *, most: int) -> Iterator[list[T]]:
    """Items in their order, so many in a list that their sizes sum up to `most`, at least one."""
    some: list[T] = []
    total = 0
    for item in items:
        if some and total + size(item) > most:
            yield some
            some, total = [], 0
        some.append(item)
        total += size(item)
    if some:
        yield some
