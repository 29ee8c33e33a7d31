"""Tokenizer: any of Hugging Face's with the image tokens added, or a small one trained here.

In:      a folder, a .gguf file or a name on the hub; or the texts of a training split.
Out:     LoadedTokenizer: transformers' tokenizer (which `export` saves), its ids, the tokens
         that are new to it and so have no embedding yet, and a digest that names its counts.
Refused: what is no tokenizer, one without EOS, one without a tokenizer.json (a "slow" one tells no
         character offsets), one that reads the text "<image>" as the token, one that brings code
         of its own (hub.py), too small a vocabulary for bytes: ValueError.
See it:  interloom-train index --shards DIR prints the digest and the tokens of each shard.

`train_bpe` is GPT-2's byte-level BPE (Radford et al. 2019, section 2.2), which spells any text. It
has `<end_of_utterance>`, since Idefics2Processor adds it to a tokenizer that lacks it, and puts BOS
before a prompt, as that processor leaves it to the tokenizer. Where a tokenizer has no BOS, EOS
stands in its place (GPT-2 was trained so).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from training.data.hub import arguments
from training.data.tokens import Encoder, Special

FAKE: Final = "<fake_token_around_image>"
IMAGE: Final = "<image>"
END: Final = "<end_of_utterance>"
ADDED: Final = (FAKE, IMAGE, END)
BOS: Final = "<s>"
EOS: Final = "</s>"
PAD: Final = "<pad>"
LONG_WORD: Final = re.compile(  # a trainer's time is the square of a word's length
    r"(?<!\w)\w{1000,}+|(?<!\s)\s{1000,}+|(?<![^\w\s])(?<!_)(?:[^\w\s]|_){1000,}+"
)
LEAST: Final = 512  # 256 bytes, the special tokens, and some merges


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedTokenizer:
    """A tokenizer with the image tokens in it."""

    tokenizer: PreTrainedTokenizerBase
    special: Special
    added: tuple[int, ...]  # ids that the tokenizer did not have before
    digest: str  # 32 hex digits of what decides its tokens
    serialized: str  # as tokenizer.json holds it

    @property
    def encoder(self) -> Encoder:
        return Encoder(self.serialized, self.special)

    @property
    def vocabulary(self) -> int:
        """Ids, from 0: what the embedding must hold."""
        return max(self.tokenizer.get_vocab().values()) + 1


def load(source: str) -> LoadedTokenizer:
    """A tokenizer from a folder, a .gguf file or a name on the hub, with the image tokens added."""
    named = arguments("tokenizer", source)
    try:
        tokenizer = AutoTokenizer.from_pretrained(**named)
    except Exception as error:  # readers raise all kinds of errors
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"tokenizer is {source}, which cannot be read ({reason}): give a folder with "
            "tokenizer.json, a .gguf file, or a name on the hub"
        ) from error
    return extended(tokenizer, source)


def extended(tokenizer: PreTrainedTokenizerBase, name: str) -> LoadedTokenizer:
    """The tokenizer with the image tokens, which are put into it where it lacks them."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        raise ValueError(
            f"tokenizer {name} has no tokenizer.json, but the places where a text may be cut need "
            "its character offsets: save it once as a fast one"
        )
    if tokenizer.eos_token_id is None:
        raise ValueError(
            f"tokenizer {name} has 0 end-of-sequence tokens, but each document ends with 1: set "
            "eos_token in its tokenizer_config.json"
        )
    before = set(tokenizer.get_vocab())
    extra = [
        str(token) for token in tokenizer.extra_special_tokens
    ]  # setting the list forgets them
    extra = [token for token in extra if token not in ADDED]
    tokenizer.add_special_tokens({"extra_special_tokens": [*extra, *ADDED]})
    ids = tokenizer.get_vocab()
    eos = int(tokenizer.eos_token_id)
    serialized = backend.to_str()
    loaded = LoadedTokenizer(
        tokenizer=tokenizer,
        special=Special(
            bos=eos if tokenizer.bos_token_id is None else int(tokenizer.bos_token_id),
            eos=eos,
            fake=ids[FAKE],
            image=ids[IMAGE],
        ),
        added=tuple(ids[token] for token in ADDED if token not in before),
        digest=_digest(serialized),
        serialized=serialized,
    )
    _check_text(loaded, name)
    return loaded


def _check_text(loaded: LoadedTokenizer, name: str) -> None:
    """Raises ValueError where a text could stand for a picture that is not there."""
    for token in (FAKE, IMAGE):
        for ids in loaded.encoder.ids([token, f"a {token} b"]):
            if {loaded.special.fake, loaded.special.image} & set(ids):
                raise ValueError(
                    f"tokenizer {name} has {token} among its words, so that a text which holds it "
                    "would be read as a picture: take it out of the vocabulary of its model, or "
                    "give another tokenizer"
                )


def train_bpe(texts: Iterable[str], vocabulary_size: int, folder: Path) -> LoadedTokenizer:
    """A byte-level BPE of these texts, saved so that AutoTokenizer loads it; few texts give fewer.

    The same texts in the same order give the same bytes. Words of 1,000 characters teach nothing.
    """
    if vocabulary_size < LEAST:
        raise ValueError(f"vocabulary is {vocabulary_size} tokens: choose at least {LEAST}")
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        min_frequency=2,
        special_tokens=[BOS, EOS, PAD, *ADDED],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator((LONG_WORD.sub(" ", text) for text in texts), trainer)
    bpe.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, bpe.token_to_id(BOS))]
    )
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=bpe,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        extra_special_tokens=list(ADDED),
    )
    tokenizer.save_pretrained(folder)
    return load(str(folder))


def _digest(serialized: str) -> str:
    """Of all that decides tokens; truncation and padding are states of a call, not of it."""
    content: dict[str, Any] = json.loads(serialized) | {"truncation": None, "padding": None}
    canonical = json.dumps(content, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]
