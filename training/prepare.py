"""Prepare: what was asked for, checked and opened, before hours of work.

In:      shard folders with weights, a Config, an output folder, and perhaps a tokenizer and
         pretrained models.
Out:     Prepared: shape, tokenizer, sources with their counts, and ways to a model and to batches.
         OUT/run.json says all that a later command needs: `evaluate`, `generate`, `export`.
Refused: all that could not be trained, with the value, the limit and the remedy: ValueError.

The tokenizer is the one that was asked for, else that of the language model, else a byte-level BPE
trained on the training split and kept in OUT/tokenizer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from schemas.sample import SampleText
from training import config, lora, tokenizer
from training.config import Config
from training.counts import count_sources, samples_of
from training.model import PackedIdefics2, build
from training.order import OnePass, Plan, one_epoch
from training.parallel import World
from training.pretrained import pretrained
from training.rows import ImageRule, RowReader
from training.shapes import SHAPES, Shape
from training.sources import Source, Split, open_source
from training.stream import Step, Steps, stream
from training.tokenizer import Loaded
from training.windows import Order

FORMAT: Final = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What a run is asked for, as it is kept in run.json."""

    shards: tuple[tuple[str, float], ...]  # folder and weight
    config: Config
    tokenizer: str | None = None
    language_model: str | None = None
    vision_model: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    asked: Asked
    shape: Shape
    order: Order
    images: ImageRule
    loaded: Loaded
    sources: tuple[Source, ...]
    heldout: tuple[Source, ...]  # none where no folder has a held-out shard

    def plan(self) -> Plan:
        return Plan(self.sources, self.loaded.digest, self.order)

    def steps(self, plan: Steps, *, split: Split = "train") -> Generator[Step, None, None]:
        """Batches of a plan over the sources of a split."""
        data = self.asked.config.data
        return stream(plan, self.reader(split), micro_rows=data.micro_rows, workers=data.workers)

    def heldout_steps(self, world: World) -> Generator[Step, None, None]:
        """Held-out documents once, this rank's share."""
        chosen = self.asked.config
        windows = one_epoch(self.heldout, self.loaded.digest, self.order, most=chosen.run.heldout)
        one_pass = OnePass(windows, rows=chosen.data.micro_rows, rank=world.rank, world=world.size)
        return self.steps(one_pass, split="heldout")

    def reader(self, split: Split = "train") -> RowReader:
        return RowReader(
            sources=self.sources if split == "train" else self.heldout,
            encoder=self.loaded.encoder,
            digest=self.loaded.digest,
            images=self.images,
        )

    def model(self) -> PackedIdefics2:
        """The model as it is before the first step."""
        special, seed = self.loaded.special, self.asked.config.data.seed
        ids = {"bos": special.bos, "eos": special.eos, "pad": special.eos,
               "image_token": special.image}  # fmt: skip
        asked = self.asked
        if asked.language_model is None:
            return build(self.shape, vocabulary=self.loaded.vocabulary, seed=seed, **ids)
        model = pretrained(
            asked.language_model,
            asked.vision_model,
            self.shape,
            ids=ids,
            vocabulary=self.loaded.vocabulary,
            new_tokens=self.loaded.added,
            seed=seed,
        )
        chosen = asked.config.lora
        if chosen.rank:
            lora.add_lora(
                model,
                rank=chosen.rank,
                alpha=chosen.alpha,
                dora=chosen.dora,
                new_tokens=self.loaded.added,
                train_vision=asked.vision_model is None,  # a random one has all to learn
            )
        return model

    def identity(self) -> dict[str, Any]:
        """What may not differ when a run goes on from a checkpoint."""
        asked = self.asked
        return {
            **self.plan().identity(),
            "shape": json.loads(json.dumps(asdict(self.shape))),
            "language_model": asked.language_model,
            "vision_model": asked.vision_model,
            "lora": asdict(asked.config.lora) if asked.language_model else None,
        }


def prepare(output: Path, asked: Asked, *, world: World, say: Callable[[str], None]) -> Prepared:
    """Open and count everything; the first rank makes what is missing, the others wait.

    Raises:
        ValueError: for what could not be trained.
    """
    shape = shape_of(asked)
    order, images = order_of(asked, shape), images_of(shape)  # their limits hold, or this ends here
    sources = tuple(open_source(folder, weight=weight) for folder, weight in asked.shards)
    heldout = _heldout(asked, say)
    if world.first:
        output.mkdir(parents=True, exist_ok=True)
        _tokenizer(output, asked, sources, say)
    world.wait()
    loaded = _tokenizer(output, asked, sources, say)
    if world.first:
        count([*sources, *heldout], loaded, say)
        _write_run(output, asked)
    world.wait()
    return Prepared(
        asked=asked, shape=shape, order=order, images=images,
        loaded=loaded, sources=sources, heldout=heldout,
    )  # fmt: skip


def shape_of(asked: Asked) -> Shape:
    """The shape that a configuration names, with its own lengths and sides."""
    data, name = asked.config.data, asked.config.shape
    if name not in SHAPES:
        raise ValueError(f"shape is {name!r}: choose one of {', '.join(SHAPES)}")
    if asked.vision_model is not None and asked.language_model is None:
        raise ValueError("--vision-model without --language-model: give both, or neither")
    own = {
        one: getattr(data, one)
        for one in ("sequence_length", "longest", "shortest")
        if getattr(data, one) is not None
    }
    return replace(SHAPES[name], **own)


def order_of(asked: Asked, shape: Shape) -> Order:
    """How rows are planned."""
    data = asked.config.data
    return Order(
        sequence_length=shape.sequence_length,
        image_tokens=shape.image_tokens,
        rows=data.rows,
        window=data.window,
        seed=data.seed,
    )


def images_of(shape: Shape) -> ImageRule:
    """How images are cut."""
    return ImageRule(
        longest=shape.longest,
        shortest=shape.shortest,
        table=shape.table,
        image_tokens=shape.image_tokens,
    )


def count(sources: Sequence[Source], loaded: Loaded, say: Callable[[str], None]) -> None:
    """Make the token counts that are not there yet, and say so."""

    def told(done: int, todo: int) -> None:
        if done == todo or done % 10_000 == 0:
            say(f"counting tokens: {done:,} of {todo:,} documents")

    count_sources(sources, loaded.encoder, loaded.digest, progress=told)


def read_run(output: Path) -> Asked:
    """What a run folder was trained with.

    Raises:
        ValueError: where it holds no run.
    """
    path = output / "run.json"
    try:
        read = json.loads(path.read_text())
        if read["format"] != FORMAT:
            raise ValueError(f"it is of format {read['format']}, this interloom reads {FORMAT}")
        return Asked(
            shards=tuple((str(folder), float(weight)) for folder, weight in read["shards"]),
            config=config.parse(read["config"]),
            **{name: read[name] for name in ("tokenizer", "language_model", "vision_model")},
        )
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(
            f"{output} holds no training run ({error}): give the folder of interloom-train fit"
        ) from error


def _heldout(asked: Asked, say: Callable[[str], None]) -> tuple[Source, ...]:
    found = []
    for folder, weight in asked.shards:
        try:
            found.append(open_source(folder, weight=weight, split="heldout"))
        except ValueError as error:
            say(f"not evaluated on: {error}")
    return tuple(found)


def _tokenizer(
    output: Path, asked: Asked, sources: Sequence[Source], say: Callable[[str], None]
) -> Loaded:
    own = output / "tokenizer"
    named = asked.tokenizer or asked.language_model
    if named is not None:
        return tokenizer.load(named)
    if (own / "tokenizer.json").exists():
        return tokenizer.load(str(own))
    size = asked.config.data.vocabulary
    say(f"training a tokenizer of {size:,} tokens on the training split, kept in {own}")
    return tokenizer.train_bpe(_texts(sources), size, own)


def _texts(sources: Sequence[Source]) -> Iterator[str]:
    for source in sources:
        for shard in source.shards:
            for sample in samples_of(shard):
                yield from (one.text for one in sample.nodes if isinstance(one, SampleText))


def _write_run(output: Path, asked: Asked) -> None:
    facts = {"format": FORMAT, **asdict(asked)}
    aside = output / "run.json.aside"
    aside.write_text(json.dumps(facts, indent=1))
    aside.replace(output / "run.json")
