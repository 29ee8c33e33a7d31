"""What the user asked for, checked at once, before hours of work: options in, a Launch out.

A rerun of a run folder takes from run.json whatever is not asked for anew; what is fixed for a
run's life (inputs, part size, partitions) is refused where it differs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from filters.recipe import RECIPES, Recipe
from filters.recipe_file import recipe_from_toml
from filters.signals import WordList
from pipeline import store
from pipeline.beam_options import local_options, split_arguments
from pipeline.job import (
    HELDOUT,
    HELDOUT_BY,
    MIB,
    PARTITIONS,
    SHARD_BYTES,
    Crawl,
    Job,
    Settings,
    make_job,
    read_crawl,
)
from pipeline.language import file_sha256, find_model
from pipeline.lexicon import load_lexicon
from pipeline.read.index import is_index
from pipeline.read.inputs import expand
from pipeline.read.parts import FEW_INPUTS, default_part_size
from pipeline.read.raw import size_of
from pipeline.run import prepare, read_run
from pipeline.workers import default_workers
from schemas.manifest import STAGES

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """Options as given; None where nothing was said."""

    recipe: str | None = None
    language: str | None = None
    base: str = ""
    limit: int | None = None
    part_size: float | None = None  # MiB
    partitions: int | None = None
    shard_size: float | None = None  # MiB
    heldout: float | None = None
    heldout_by: str | None = None
    lid_model: str | None = None
    word_files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """Everything that execute() needs."""

    job: Job
    stages: tuple[str, ...]
    runner: str
    options: tuple[str, ...]


def launch(
    arguments: Sequence[str],
    *,
    output: str,
    asked: Asked,
    stage: str | None,
    runner: str,
    workers: int | None,
) -> Launch:
    """Check everything, write run.json, and say what is to be done.

    Raises:
        ValueError: naming the value, the limit and the remedy.
    """
    if stage is not None and stage not in STAGES:
        raise ValueError(f"stage is {stage!r}: choose one of {', '.join(STAGES)}")
    names, options = split_arguments(arguments)
    if runner == "FnApiRunner":
        options = [*options, *local_options(workers or default_workers())]
    elif workers is not None:
        raise ValueError(f"workers is for FnApiRunner; give {runner} its own --num_workers=N")
    old = read_run(output) if store.exists(store.join(output, "run.json")) else {}
    crawl = choose_crawl(names, asked, old.get("crawl"))
    settings = choose_settings(asked, old.get("settings"))
    return Launch(
        job=prepare(output, crawl, settings),
        stages=STAGES if stage is None else (stage,),
        runner=runner,
        options=tuple(options),
    )


def choose_crawl(names: Sequence[str], asked: Asked, old: dict[str, Any] | None) -> Crawl:
    """The inputs and what is fixed with them."""
    if not names and old is None:
        raise ValueError("no input: name WARC files, folders, globs, URLs, a list or an index")
    base = asked.base or (old or {}).get("base", "")
    inputs = expand(names, base=base) if names else tuple((old or {})["inputs"])
    sizes = tuple(map(size_of, inputs)) if len(inputs) < FEW_INPUTS else ()
    part_size = int(asked.part_size * MIB) if asked.part_size is not None else None
    known = old or {}
    return Crawl(
        inputs=inputs,
        indexes=choose_indexes(names, base) if names else tuple((old or {})["indexes"]),
        sizes=sizes,
        base=base,
        part_size=part_size or known.get("part_size") or default_part_size(sum(sizes)),
        limit=asked.limit or known.get("limit"),
        partitions=asked.partitions or known.get("partitions") or PARTITIONS,
    )


def choose_indexes(names: Sequence[str], base: str) -> tuple[str, ...]:
    """The inputs that say which records of which files are wanted."""
    indexes = [name for name in names if is_index(name)]
    others = [name for name in names if not is_index(name)]
    if indexes and others:
        both = set(expand(indexes, base=base)) & set(expand(others, base=base))
        if both:
            raise ValueError(
                f"{min(both)} is named whole, and by records in an index: name it in one way"
            )
    return tuple(sorted(indexes))


def choose_settings(asked: Asked, old: dict[str, Any] | None) -> Settings:
    """The settings of the day: what is asked for, else what run.json has, else the defaults."""
    known = old or {}

    def pick(name: str, default: T) -> T:
        value: T | None = getattr(asked, name)
        return known.get(name, default) if value is None else value

    source = known.get("recipe_source", "obelics")
    if asked.recipe is not None:
        source = asked.recipe if asked.recipe in RECIPES else _read_recipe(asked.recipe)
    recipe = read_recipe(source)
    language = pick("language", recipe.language)
    recipe = replace(recipe, language=language)
    model = find_model(pick("lid_model", "") or None)
    word_files = {**known.get("word_files", {}), **asked.word_files}
    shard_bytes = known.get("shard_bytes", SHARD_BYTES)
    if asked.shard_size is not None:
        shard_bytes = int(asked.shard_size * MIB)
    return Settings(
        recipe=recipe,
        recipe_source=source,
        language=language,
        lid_model=pick("lid_model", ""),
        lid_model_sha256=file_sha256(model),
        word_files=word_files,
        word_lists=load_lexicon(language, **word_files).names,
        shard_bytes=shard_bytes,
        heldout=pick("heldout", HELDOUT),
        heldout_by=pick("heldout_by", HELDOUT_BY),
    )


def read_recipe(source: str) -> Recipe:
    """A recipe by its name, or from the text of a TOML file."""
    return RECIPES[source] if source in RECIPES else recipe_from_toml(source)


def _read_recipe(path: str) -> str:
    if not path.endswith(".toml") or not store.exists(path):
        raise ValueError(
            f"recipe is {path!r}: choose one of {', '.join(RECIPES)}, or a TOML file that exists"
        )
    return store.read_bytes(path).decode()


def job_of(output: str) -> Job:
    """The job of a run folder as it was last started; nothing is loaded or changed.

    Raises:
        ValueError: where the folder holds no run.
    """
    stored: dict[str, Any] = dict(read_run(output)["settings"])
    stored["recipe"] = replace(read_recipe(stored["recipe_source"]), language=stored["language"])
    stored["word_lists"] = tuple(WordList(**words) for words in stored["word_lists"])
    return make_job(output, read_crawl(output), Settings(**stored))
