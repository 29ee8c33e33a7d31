"""Text to tokens, and nothing but text: the runs of a document, and the tokenizer they go through.

In:      a Sample; a tokenizer's serialized form (tokenizer.json).
Out:     Runs, neighbouring texts joined by a blank line; their tokens, alone or with the
         characters that each stands for.
Refused: nothing here; a text that holds "<image>" or "</s>" is text and no special token, as far as
         the tokenizer's model has no such word (tokenizer.py refuses one that has "<image>").

Tokens are not additive over a joint (in GPT-2's vocabulary 346 of 346 joined pairs differed), so a
run is tokenised as one string, here and when counting. No torch: processes that count import this.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from tokenizers import Encoding, Tokenizer

from schemas.sample import Sample, SampleText

JOINT: Final = "\n\n"  # between the texts of a run


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
        encoded = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [one.ids for one in encoded]

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """The same with the characters that each token stands for, which takes longer."""
        return self._tokenizer.encode_batch(list(texts), add_special_tokens=False)

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
                yield _run(images, texts)
                images, texts = 0, []
            images += 1
    if texts or images:
        yield _run(images, texts)


def _run(images: int, texts: Sequence[str]) -> Run:
    starts = accumulate((len(text) + len(JOINT) for text in texts[:-1]), initial=0)
    return Run(images=images, text=JOINT.join(texts), paragraphs=tuple(starts))
