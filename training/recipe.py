"""Recipe: what a run's model is and how it is fed, without a document; what run.json keeps.

In:      what the command line says, or a folder that holds run.json.
Out:     TrainingRecipe: shape, tokenizer, rules of rows and images, and ways to a model and to
         batches. OUT/run.json holds all that a later command needs: `evaluate`, `export`.
Refused: what could not be trained, with the value, the limit and the remedy: ValueError.

The tokenizer is the one that was named, else that of the language model, else the run's own
(fit/prepare.py trains it).
"""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch

from schemas.from_json import json_object
from schemas.manifest import version_shown
from training import config as configuration
from training.config import Config
from training.data import tokenizer
from training.data.images import ImageRule
from training.data.plan import Order
from training.data.rows import RowReader
from training.data.sources import Source
from training.data.stream import Step, Steps, stream
from training.data.tokenizer import LoadedTokenizer
from training.model.idefics2 import PackedIdefics2, build
from training.model.lora import add_lora
from training.model.pretrained import limit_of, pretrained
from training.model.shapes import SHAPES, Shape, check_limit

FORMAT: Final = 1
RUN: Final = "run.json"
PRECISIONS: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True, slots=True)
class FitOptions:
    """What the user asked for; run.json keeps it."""

    shards: tuple[tuple[str, float], ...]  # folder and weight
    config: Config
    tokenizer: str | None = None
    language_model: str | None = None
    vision_model: str | None = None

    @property
    def own_tokenizer(self) -> bool:
        """Whether the run trains a tokenizer on its shards."""
        return self.tokenizer is None and self.language_model is None

    def with_shards(self, shards: Sequence[str] | None) -> FitOptions:
        """The same with the shards where they lie now."""
        return replace(self, shards=folders(shards)) if shards else self


def options_of(
    shards: Sequence[str],
    config: str,
    settings: Sequence[str] | None,
    *,
    tokenizer: str | None = None,
    language_model: str | None = None,
    vision_model: str | None = None,
) -> FitOptions:
    """Options of a command line. Paths are made absolute, since later commands run elsewhere."""
    return FitOptions(
        shards=folders(shards),
        config=configuration.load(config, settings or ()),
        tokenizer=_absolute(tokenizer),
        language_model=_absolute(language_model),
        vision_model=_absolute(vision_model),
    )


def _absolute(source: str | None) -> str | None:
    """A path; a name of the hub stays as it is."""
    return str(Path(source).absolute()) if source and Path(source).exists() else source


def folders(shards: Sequence[str]) -> tuple[tuple[str, float], ...]:
    """Each folder, absolute, with its weight; ValueError for one that is no number."""
    weighted = []
    for text in shards:
        folder, equals, weight = ("", "", "") if Path(text).is_dir() else text.rpartition("=")
        try:
            name, share = (folder, float(weight)) if equals else (text, 1.0)
        except ValueError as error:
            raise ValueError(
                f"--shards {text}: {weight!r} is no weight; write DIR, or DIR=0.7"
            ) from error
        weighted.append((name if "://" in name else str(Path(name).absolute()), share))
    return tuple(weighted)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingRecipe:
    options: FitOptions
    shape: Shape
    loaded: LoadedTokenizer

    @property
    def order(self) -> Order:
        return order_of(self.options, self.shape)

    @property
    def images(self) -> ImageRule:
        """How images are cut."""
        shape = self.shape
        return ImageRule(
            longest=shape.longest,
            shortest=shape.shortest,
            table=shape.table,
            image_tokens=shape.image_tokens,
        )

    def set_up_torch(self) -> None:
        """Threads and determinism; of the whole process, so once."""
        chosen = self.options.config.run
        if chosen.threads:
            torch.set_num_threads(chosen.threads)
        if chosen.deterministic:
            torch.use_deterministic_algorithms(mode=True)

    def precision(self, device: torch.device) -> torch.dtype:
        """Of the forward pass; on a CPU always float32."""
        chosen = PRECISIONS[self.options.config.run.precision]
        return chosen if device.type == "cuda" else torch.float32

    def model(self) -> PackedIdefics2:
        """The model as it is before the first step."""
        special, seed = self.loaded.special, self.options.config.data.seed
        ids = {"bos": special.bos, "eos": special.eos, "pad": special.eos,
               "image_token": special.image}  # fmt: skip
        options, vocabulary, added = self.options, self.loaded.vocabulary, self.loaded.added
        language, vision = options.language_model, options.vision_model
        if language is None:
            return build(self.shape, vocabulary=vocabulary, seed=seed, **ids)
        model = pretrained(
            language, vision, self.shape,
            ids=ids, vocabulary=vocabulary, new_tokens=added, seed=seed,
        )  # fmt: skip
        if options.config.lora.rank:
            # a random vision transformer has all to learn
            settings, train_vision = asdict(options.config.lora), vision is None
            add_lora(model, **settings, new_tokens=added, seed=seed, train_vision=train_vision)
        return model

    def identity(self) -> dict[str, Any]:
        """What may not differ where a checkpoint's weights are put into this model."""
        options = self.options
        return {
            "shape": json.loads(json.dumps(asdict(self.shape))),
            "tokenizer": self.loaded.digest,
            "language_model": options.language_model,
            "vision_model": options.vision_model,
            "lora": asdict(options.config.lora) if options.language_model else None,
        }

    def steps(self, plan: Steps, sources: Sequence[Source]) -> Generator[Step, None, None]:
        """Batches of a plan over sources."""
        data = self.options.config.data
        reader = self.reader(sources)
        return stream(plan, reader, micro_rows=data.micro_rows, workers=data.workers)

    def reader(self, sources: Sequence[Source]) -> RowReader:
        return RowReader(
            sources=sources,
            encoder=self.loaded.encoder,
            digest=self.loaded.digest,
            images=self.images,
        )


def shape_of(options: FitOptions) -> Shape:
    """The shape that a configuration names, with its own lengths and sides."""
    data, name = options.config.data, options.config.shape
    if name not in SHAPES:
        raise ValueError(f"shape is {name!r}: choose one of {', '.join(SHAPES)}")
    if options.vision_model is not None and options.language_model is None:
        raise ValueError("--vision-model without --language-model: give both, or neither")
    sizes = {size: getattr(data, size) for size in ("sequence_length", "longest", "shortest")}
    shape = replace(SHAPES[name], **{size: value for size, value in sizes.items() if value})
    limit = limit_of(options.language_model) if options.language_model else shape.text.limit
    check_limit(shape.sequence_length, limit)
    return shape


def order_of(options: FitOptions, shape: Shape) -> Order:
    """How rows are planned."""
    data = options.config.data
    return Order(
        sequence_length=shape.sequence_length,
        image_tokens=shape.image_tokens,
        rows=data.rows,
        window=data.window,
        seed=data.seed,
    )


def tokenizer_of(output: Path, options: FitOptions) -> LoadedTokenizer:
    """The tokenizer that was named, or the run's own."""
    named, own = options.tokenizer or options.language_model, tokenizer_folder(output)
    if named is None and not (own / "tokenizer.json").exists():
        raise ValueError(
            f"{own} holds no tokenizer, but {output} was trained with one: copy it back, or give "
            "another folder"
        )
    return tokenizer.load(named or str(own))


def tokenizer_folder(output: Path) -> Path:
    """Where a run keeps the tokenizer that it trained."""
    return output / "tokenizer"


def read_run(output: Path) -> FitOptions:
    """What a run folder was trained with; ValueError where it holds no run."""
    path = output / RUN
    try:
        if path.exists() and not path.is_file():
            raise ValueError(f"{RUN} is no regular file")
        values = json_object(path.read_bytes())
        if (version := values.pop("format", None)) != FORMAT:
            raise ValueError(
                f"it is of format {version_shown(version)}, this interloom reads {FORMAT}"
            )
        values |= {"config": configuration.parse(values.get("config"))}
        return configuration.checked(FitOptions, values, of="it")
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{output} holds no training run ({error}): give the folder of interloom-train fit"
        ) from error


def write_run(output: Path, options: FitOptions) -> None:
    aside = output / f"{RUN}.aside"
    aside.write_text(json.dumps({"format": FORMAT, **asdict(options)}, indent=1))
    aside.replace(output / RUN)
