"""Options of a training run: whole configurations by name, a TOML file, and --set key=value.

In:      a name of CONFIGS or a TOML file, and settings as text.
Out:     one frozen Config, every value checked against its type and limit.
Refused: a key that does not exist (the nearest one is offered), a value of another type or beyond
         its limit: ValueError, before anything is read.

Sources: Idefics2 (arXiv 2405.02246), sections 3 and 4 and its appendix: AdamW, weight decay 0.1,
clip 1.0, learning rate 1e-4, 2048 sequences a batch at 2048 tokens in stage 1.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

T = TypeVar("T")
_SHOWN: Final = 60  # characters of a value
Positive = Annotated[int, Field(ge=1, le=2**31)]
Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Data:
    """What a step is made of."""

    sequence_length: Positive | None = None  # tokens a row; None: as the shape has it
    rows: Positive = 2048  # of a global batch, over all ranks
    micro_rows: Positive = 8  # of one forward and backward on one rank
    window: Positive = 4096  # samples that are packed together
    longest: Positive | None = None  # pixels of an image's longest side; None: as the shape has it
    shortest: Positive | None = None  # pixels of its shortest
    vocabulary: Annotated[int, Field(ge=512)] = 4096  # of a tokenizer trained on the shards
    workers: Annotated[int, Field(ge=0)] = 4  # processes that read and decode, a rank
    seed: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Optimizer:
    steps: Positive = 10_000
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    final: Share = 0.1  # of the learning rate, at the last step
    warmup: Annotated[int, Field(ge=0)] = 2000  # steps
    betas: tuple[Share, Share] = (0.9, 0.95)
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    clip: Annotated[float, Field(gt=0)] = 1.0  # of the gradient's norm
    non_finite: Positive = 10  # steps in a row without a finite loss that stop the run


@dataclass(frozen=True, kw_only=True, slots=True)
class Lora:
    """On the language model of --language-model (arXiv 2106.09685; DoRA: 2402.09353)."""

    rank: Annotated[int, Field(ge=0)] = 64  # 0 trains it whole
    alpha: Positive = 128
    dora: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    checkpoint_every: Positive = 500  # steps
    keep: Positive = 2  # checkpoints
    evaluate_every: Annotated[int, Field(ge=0)] = 0  # steps; 0: only at the end
    heldout: Positive = 1000  # documents to evaluate on
    threads: Annotated[int, Field(ge=0)] = 0  # of torch on a CPU; 0: as torch chooses
    precision: Literal["float32", "bfloat16"] = "bfloat16"  # of the forward pass on a GPU
    recompute: bool = False  # activations in backward: less memory, a third more work
    deterministic: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    shape: str = "idefics2-8b"  # of shapes.py
    data: Data = field(default_factory=Data)
    optimizer: Optimizer = field(default_factory=Optimizer)
    lora: Lora = field(default_factory=Lora)
    run: RunConfig = field(default_factory=RunConfig)


# On 2 cores and a few hundred documents: minutes.
TINY: Final = Config(
    shape="tiny",
    data=Data(rows=8, micro_rows=8, workers=1),
    optimizer=Optimizer(steps=300, learning_rate=2e-3, warmup=30),
    lora=Lora(rank=0),
    run=RunConfig(checkpoint_every=100, heldout=40),
)
SMALL: Final = Config(
    shape="small",
    data=Data(rows=256, micro_rows=16),
    optimizer=Optimizer(steps=20_000, learning_rate=6e-4, warmup=1000),
    lora=Lora(rank=0),
)
# stage 1 of the paper: images of 384 pixels
LARGE: Final = Config(
    shape="idefics2-8b", data=Data(longest=384, shortest=378), run=RunConfig(recompute=True)
)
CONFIGS: Final[Mapping[str, Config]] = {"tiny": TINY, "small": SMALL, "idefics2-8b": LARGE}


def load(name: str, settings: Sequence[str] = ()) -> Config:
    """A configuration by name or from a TOML file, with `key=value` settings put over it.

    A file may say `base = "tiny"` to change only some values of a named one.
    """
    if name in CONFIGS:
        values = asdict(CONFIGS[name])
    elif name.endswith(".toml"):
        values = _from_file(Path(name))
    else:
        raise ValueError(
            f"config is {name!r}: choose {', '.join(CONFIGS)}, or a FILE.toml{_nearest(name)}"
        )
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise ValueError(f"--set {setting!r}: write it as key=value")
        _put(values, key.strip(), value.strip())
    return parse(values)


def parse(values: object) -> Config:
    """A Config of nested values; ValueError for a key or value that does not fit."""
    if isinstance(values, Mapping):
        _check_keys(values, of="config")
    return checked(Config, values, of="config")


def checked(kind: type[T], values: object, *, of: str) -> T:
    """A dataclass of what a file holds; ValueError for the first value that does not fit."""
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        key, wrong = ".".join(map(str, first["loc"])), first["input"]
        is_single = isinstance(wrong, str | int | float)
        shown = repr(wrong)[:_SHOWN] if is_single else f"a {type(wrong).__name__}"
        raise ValueError(f"{of} has {key or 'all'} = {shown}: {first['msg']}") from error


def _from_file(path: Path) -> dict[str, Any]:
    try:
        read = tomllib.loads(path.read_text())
    except FileNotFoundError as error:
        raise ValueError(f"config is {path}, which does not exist: check its name") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"config is {path}, which is not TOML ({error}): mend it") from error
    base = read.pop("base", None)
    if base is not None and base not in CONFIGS:
        raise ValueError(f"{path} has base = {base!r}: choose one of {', '.join(CONFIGS)}")
    values = asdict(CONFIGS[base] if base else Config())
    _check_keys(read, of=str(path))
    for name, value in read.items():
        values[name] = values[name] | value if isinstance(value, dict) else value
    return values


def _put(values: dict[str, Any], key: str, value: str) -> None:
    if key not in KEYS:
        raise ValueError(f"--set {key}={value}: {key!r} is no key{_nearest(key)}")
    table, _, name = key.rpartition(".")
    held = values[table] if table else values
    held[name] = value.split(",") if isinstance(held[name], (tuple, list)) else value


def _keys(values: Mapping[str, Any]) -> Iterator[str]:
    """Keys of a configuration as nested values, in the way that --set names them."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from (f"{name}.{key}" for key in value)
        else:
            yield name


KEYS: Final = tuple(_keys(asdict(Config())))


def _check_keys(values: Mapping[str, Any], *, of: str) -> None:
    for key in _keys(values):
        if key not in KEYS:
            raise ValueError(f"{of} has {key!r}, which is no key{_nearest(key)}")


def _nearest(name: str) -> str:
    """ " (did you mean ...?)" by the last part of a key's name, too; else what there is."""
    known = [*KEYS, *CONFIGS]
    by_last = {key.rsplit(".", 1)[-1]: key for key in known}
    nearest = difflib.get_close_matches(name, known, 1)
    if not nearest:
        last = difflib.get_close_matches(name.rsplit(".", 1)[-1], list(by_last), 1)
        nearest = [by_last[part] for part in last]
    return f"; did you mean {nearest[0]}?" if nearest else f"; there are {', '.join(known)}"
