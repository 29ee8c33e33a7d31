"""Recipe: what a run's model is and how it is fed, without a document; what run.json keeps.

In:      an output folder and what was asked for, or a folder that holds run.json.
Out:     Recipe: shape, tokenizer, rules of rows and images, and ways to a model and to batches.
         OUT/run.json says all that a later command needs: `evaluate`, `generate`, `export`.
Refused: what could not be trained, with the value, the limit and the remedy: ValueError.

The tokenizer is the one that was asked for, else that of the language model, else the run's own
(prepare.py trains it).
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch

from schemas.from_json import json_object
from schemas.manifest import version_shown
from training import config
from training.config import Config
from training.data import tokenizer
from training.data.batch import Batch
from training.data.order import OnePass, one_epoch
from training.data.rows import ImageRule, RowReader
from training.data.shards.sources import Source
from training.data.stream import Step, Steps, stream
from training.data.tokenizer import Loaded
from training.data.windows import Order
from training.evaluate.losses import Evaluation, evaluate
from training.model import lora
from training.model.idefics2 import PackedIdefics2, build
from training.model.pretrained import limit_of, pretrained
from training.model.shapes import SHAPES, Shape, check_limit
from training.parallel import World

FORMAT: Final = 1
RUN: Final = "run.json"
PRECISIONS: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What a run is asked for, as it is kept in run.json."""

    shards: tuple[tuple[str, float], ...]  # folder and weight
    config: Config
    tokenizer: str | None = None
    language_model: str | None = None
    vision_model: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    asked: Asked
    shape: Shape
    order: Order
    images: ImageRule
    loaded: Loaded

    def set_up_torch(self) -> None:
        """Threads and determinism; of a process, so once."""
        chosen = self.asked.config.run
        if chosen.threads:
            torch.set_num_threads(chosen.threads)
        if chosen.deterministic:
            torch.use_deterministic_algorithms(mode=True)

    def precision(self, device: torch.device) -> torch.dtype:
        """Of the forward pass; on a CPU always float32."""
        chosen = PRECISIONS[self.asked.config.run.precision]
        return chosen if device.type == "cuda" else torch.float32

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
                seed=seed,
                train_vision=asked.vision_model is None,  # a random one has all to learn
            )
        return model

    def identity(self) -> dict[str, Any]:
        """What may not differ where a checkpoint's weights are put into this model."""
        asked = self.asked
        return {
            "shape": json.loads(json.dumps(asdict(self.shape))),
            "tokenizer": self.loaded.digest,
            "language_model": asked.language_model,
            "vision_model": asked.vision_model,
            "lora": asdict(asked.config.lora) if asked.language_model else None,
        }

    def steps(self, plan: Steps, sources: Sequence[Source]) -> Generator[Step, None, None]:
        """Batches of a plan over sources."""
        data = self.asked.config.data
        reader = self.reader(sources)
        return stream(plan, reader, micro_rows=data.micro_rows, workers=data.workers)

    def reader(self, sources: Sequence[Source]) -> RowReader:
        return RowReader(
            sources=sources,
            encoder=self.loaded.encoder,
            digest=self.loaded.digest,
            images=self.images,
        )

    def one_pass(self, heldout: Sequence[Source], world: World) -> Iterator[Batch]:
        """Held-out documents once, this rank's share."""
        chosen = self.asked.config
        windows = one_epoch(heldout, self.loaded.digest, self.order, most=chosen.run.heldout)
        one_pass = OnePass(windows, rows=chosen.data.micro_rows, rank=world.rank, world=world.size)
        with closing(self.steps(one_pass, heldout)) as steps:
            for step in steps:
                yield from step.batches

    def evaluate(
        self, model: PackedIdefics2, heldout: Sequence[Source], world: World
    ) -> Evaluation | None:
        """Held-out losses with the pictures and without; None where no document is held out."""
        if not heldout:
            return None
        return evaluate(
            model,
            self.one_pass(heldout, world),
            size_of=self.loaded.encoder.size_of,
            vocabulary=self.loaded.vocabulary,
            precision=self.precision(world.device),
            world=world,
        )


def recipe_of(asked: Asked, loaded: Loaded) -> Recipe:
    shape = shape_of(asked)
    return Recipe(
        asked=asked, shape=shape, order=order_of(asked, shape), images=images_of(shape),
        loaded=loaded,
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
    shape = replace(SHAPES[name], **own)
    limit = limit_of(asked.language_model) if asked.language_model else shape.text.limit
    check_limit(shape.sequence_length, limit)
    return shape


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


def tokenizer_of(output: Path, asked: Asked) -> Loaded:
    """The one that was asked for, or the run's own."""
    named, own = asked.tokenizer or asked.language_model, own_tokenizer(output)
    if named is None and not (own / "tokenizer.json").exists():
        raise ValueError(
            f"{own} holds no tokenizer, but {output} was trained with one: copy it back, or give "
            "another folder"
        )
    return tokenizer.load(named or str(own))


def own_tokenizer(output: Path) -> Path:
    return output / "tokenizer"


def read_run(output: Path) -> Asked:
    """What a run folder was trained with.

    Raises:
        ValueError: where it holds no run.
    """
    path = output / RUN
    try:
        if path.exists() and not path.is_file():
            raise ValueError(f"{RUN} is no regular file")
        read = json_object(path.read_bytes())
        if (version := read.pop("format", None)) != FORMAT:
            raise ValueError(
                f"it is of format {version_shown(version)}, this interloom reads {FORMAT}"
            )
        return config.checked(Asked, read | {"config": config.parse(read.get("config"))}, of="it")
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{output} holds no training run ({error}): give the folder of interloom-train fit"
        ) from error


def write_run(output: Path, asked: Asked) -> None:
    facts = {"format": FORMAT, **asdict(asked)}
    aside = output / f"{RUN}.aside"
    aside.write_text(json.dumps(facts, indent=1))
    aside.replace(output / RUN)
