"""What the user chose, checked at once, before hours of work: options in, a Launch out.

A rerun of a run folder takes from run.json whatever is not given anew; what is fixed for a
run's life (inputs, part size, partitions) is refused where it differs. The versions of packages
are those of the day, and what they and the settings change since the last start is said.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, TypeVar

from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from filters.recipe import RECIPES, Recipe
from pipeline import stages
from pipeline.filter_images.hamming import Bands
from pipeline.filter_text.minhash import MinHash
from pipeline.job import (
    HELDOUT,
    HELDOUT_BY,
    MIB,
    PARTITIONS,
    SHARD_BYTES,
    UNREADABLE,
    Crawl,
    Fetching,
    Job,
    Settings,
    crawl_of,
    read_recipe,
    read_run,
    settings_of,
)
from pipeline.local.workers import default_workers
from pipeline.options.beam import check_runner, local_options, split_arguments
from pipeline.options.fetching import choose_fetching, text_of
from pipeline.options.run_options import RefetchOptions, RunOptions
from pipeline.read.index import is_index
from pipeline.read.inputs import expand
from pipeline.read.parts import FEW_INPUTS, default_part_size
from pipeline.run.execute import whole
from pipeline.run.layout import check_output, prepare
from pipeline.stage import Stage
from pipeline.store import store
from pipeline.store.raw import local_path, open_local, scheme_of, size_of
from pipeline.words.consent import name_of
from pipeline.words.language import Identifier, file_sha256, find_model
from pipeline.words.lexicon import load_lexicon
from schemas.verdict import FETCH_REASONS, WORTH_AGAIN

T = TypeVar("T")
END: Final = 64 << 10  # bytes at each end of an input by which another one is told


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """Everything that execute() needs."""

    job: Job
    todo: tuple[Stage, ...]
    runner: str
    options: tuple[str, ...]
    news: str  # what is done again and why; "" where nothing has changed since the last start


def launch(
    arguments: Sequence[str],
    output: str,
    chosen: RunOptions,
    *,
    fetching: Fetching | None = None,
) -> Launch:
    """Check everything, write run.json, and say what is to be done.

    `arguments` are inputs and options of Beam; `fetching` is that of a further round.

    Raises:
        ValueError: naming the value, the limit and the remedy.
    """
    known = {stage.name: stage for stage in stages.STAGES}
    if chosen.stage is not None and chosen.stage not in known:
        raise ValueError(f"stage is {chosen.stage!r}: choose one of {', '.join(known)}")
    runner = chosen.runner
    check_runner(runner)
    check_output(output)
    names, options = split_arguments(arguments)
    if runner != "FnApiRunner" and chosen.workers is not None:
        raise ValueError(f"workers is for FnApiRunner; give {runner} its own --num_workers=N")
    FileSystems.set_options(PipelineOptions(options))  # endpoints and credentials are in them
    old = read_run(output) if store.exists(store.join(output, "run.json")) else {}
    crawl = choose_crawl(names, chosen, old.get("crawl"))
    opt_out = None if chosen.opt_out is None else text_of("opt_out", chosen.opt_out)
    settings = choose_settings(chosen, old.get("settings"), fetching, opt_out)
    if runner == "FnApiRunner":
        workers = chosen.workers
        count = default_workers(sum(crawl.sizes)) if workers is None else workers
        options = [*options, *local_options(count)]
    news = news_of(settings_of(old), settings) if old else ""
    return Launch(
        job=prepare(output, crawl, settings, opt_out),
        todo=stages.STAGES if chosen.stage is None else (known[chosen.stage],),
        runner=runner,
        options=tuple(options),
        news=news,
    )


def launch_refetch(output: str, chosen: RefetchOptions) -> Launch:
    """A further round of fetching: what has one of the reasons as its status is asked for anew.

    Raises:
        ValueError: naming the value, the limit and the remedy.
    """
    before = job_of(output)
    old, reasons = before.settings, chosen.reason or []
    if whole(before, stages.FETCH) is None:
        raise ValueError(f"{output} has no whole fetch to go on from: use interloom run first")
    for reason in reasons:
        if reason not in FETCH_REASONS:
            raise ValueError(f"reason is {reason!r}: choose of {', '.join(sorted(FETCH_REASONS))}")
    options = RunOptions(
        contact=chosen.contact,
        rates=chosen.rates,
        fetch_deadline=chosen.fetch_deadline,
        workers=chosen.workers,
    )
    fetching = replace(
        choose_fetching(options, asdict(old.fetching) | {"on": True}),
        round=old.fetching.round + 1,
        again=tuple(reasons or sorted(WORTH_AGAIN)),
    )
    launched = launch([], output, RunOptions(workers=chosen.workers), fetching=fetching)
    news = f"round {fetching.round} of fetching: {', '.join(fetching.again)}"
    return replace(launched, news=news)


def news_of(was: Settings, now: Settings) -> str:
    """What is another since the last start, and from which stage on it counts; "" for nothing."""
    for stage in stages.STAGES:
        if told := list(stage.changes(was, now)):
            last = stage is stages.STAGES[-1]
            touched = f"{stage.name} starts" if last else f"{stage.name} and all after it start"
            return f"{', '.join(told)}: {touched} again"
    return ""


def choose_crawl(names: Sequence[str], chosen: RunOptions, old: dict[str, Any] | None) -> Crawl:
    """The inputs and what is fixed with them."""
    if not names and old is None:
        raise ValueError("no input: name WARC files, folders, globs, URLs, a list or an index")
    known = old or {}

    def pick(value: T | None, name: str, default: T) -> T:
        return known.get(name, default) if value is None else value

    base = chosen.base or known.get("base", "")
    inputs, indexes = tuple(known.get("inputs", ())), tuple(known.get("indexes", ()))
    if names:
        inputs, indexes = choose_inputs(names, base)
    sizes = tuple(map(_size_of, inputs)) if len(inputs) < FEW_INPUTS else ()
    part_size = _bytes_of("part size", chosen.part_size)
    return Crawl(
        inputs=inputs,
        indexes=indexes,
        sizes=sizes,
        ends=tuple(map(_ends_of, inputs)),
        base=base,
        part_size=pick(part_size, "part_size", default_part_size(sum(sizes))),
        limit=pick(chosen.limit, "limit", None),
        partitions=pick(chosen.partitions, "partitions", PARTITIONS),
    )


def _ends_of(name: str) -> str:
    """Tells a file from another of its name and size, and reads 128 KiB of it."""
    if scheme_of(name) not in {"", "file"}:
        return ""
    try:
        with open_local(local_path(name)) as handle:
            digest = hashlib.sha256(handle.read(END))
            size = handle.seek(0, os.SEEK_END)
            handle.seek(max(0, size - END))
            digest.update(handle.read(END) + b"%d" % size)
    except OSError as error:
        raise _gone(name, error) from error
    return digest.hexdigest()[:32]


def _bytes_of(name: str, mebibytes: float | None) -> int | None:
    if mebibytes is None:
        return None
    if not math.isfinite(mebibytes):
        raise ValueError(f"{name} is {mebibytes} MiB: choose 0.0625 or more")
    return int(mebibytes * MIB)


def choose_inputs(names: Sequence[str], base: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(inputs, those of the names that are indexes: which records of the inputs are wanted).

    A file named by two spellings is one input, by the first of them. A link is another file: its
    records are then met twice, and dropped as such.
    """
    indexes = [name for name in names if is_index(name)]
    others = [name for name in names if not is_index(name)]
    chosen: dict[str, str] = {}
    for name in expand(others, base=base) if others else ():
        chosen.setdefault(_place_of(name), name)
    whole = set(chosen)
    for name in expand(indexes, base=base) if indexes else ():
        place = _place_of(name)
        if place in whole:
            raise ValueError(f"{name} is named whole, and by records in an index: name it once")
        if chosen.setdefault(place, name) != name:
            raise ValueError(f"{chosen[place]} and {name} are one file: index it by one name")
    return tuple(sorted(chosen.values(), key=os.fsencode)), tuple(sorted(indexes))


def _place_of(name: str) -> str:
    """What two spellings of a local file have in common: ./a, a and file:///here/a."""
    if scheme_of(name) not in {"", "file"}:
        return name
    return os.path.abspath(local_path(name))  # noqa: PTH100  # resolve() would follow links


def _size_of(name: str) -> int:
    try:
        return size_of(name)
    except OSError as error:
        raise _gone(name, error) from error


def _gone(name: str, error: OSError) -> ValueError:
    return ValueError(
        f"{name} cannot be read any more ({error.strerror or error}): bring it back, or choose "
        "another output for a run without it"
    )


def choose_settings(
    chosen: RunOptions,
    old: dict[str, Any] | None,
    fetching: Fetching | None = None,
    opt_out: str | None = None,
) -> Settings:
    """The settings of the day: what is given, else what run.json has, else the defaults.

    `opt_out` is the text of the list; an empty one takes a list back.
    """
    known = old or {}

    def pick(name: str, default: T) -> T:
        value: T | None = getattr(chosen, name)
        return known.get(name, default) if value is None else value

    source = known.get("recipe_source", "obelics")
    if chosen.recipe is not None:
        source = recipe_source(chosen.recipe)
    recipe = read_recipe(source)
    language = pick("language", recipe.language)
    recipe = replace(recipe, language=language)
    check_searches(recipe)
    model = find_model(pick("lid_model", "") or None)
    if chosen.lid_model:
        Identifier(model).check()
    word_files = {**known.get("word_files", {}), **chosen.word_files}
    shard_bytes = _bytes_of("shard size", chosen.shard_size)
    return Settings(
        recipe=recipe,
        recipe_source=source,
        language=language,
        lid_model=pick("lid_model", ""),
        lid_model_sha256=file_sha256(model),
        word_files=word_files,
        word_lists=load_lexicon(
            language, **word_files, named_elsewhere=word_files.keys() - chosen.word_files.keys()
        ).names,
        shard_bytes=known.get("shard_bytes", SHARD_BYTES) if shard_bytes is None else shard_bytes,
        heldout=pick("heldout", HELDOUT),
        heldout_by=pick("heldout_by", HELDOUT_BY),
        unreadable=pick("unreadable", UNREADABLE),
        versions=stages.versions_here(),
        opt_out=known.get("opt_out", "") if opt_out is None else name_of(opt_out),
        fetching=fetching or choose_fetching(chosen, known.get("fetching")),
    )


def check_searches(recipe: Recipe) -> None:
    """What the searches refuse, now and not when they begin."""
    try:
        if recipe.phash_distance is not None:
            Bands(distance=recipe.phash_distance, bands=recipe.phash_bands)
        if recipe.minhash is not None:
            MinHash(**asdict(recipe.minhash))
    except ValueError as error:
        told = str(error).replace("dedup.distance", "phash_distance")
        raise ValueError(
            f"recipe {recipe.name}: {told.replace('dedup.bands', 'phash_bands')}"
        ) from error


def recipe_source(path: str) -> str:
    """What a user names as recipe, as `read_recipe` takes it: a name, or the text of a file."""
    if path in RECIPES:
        return path
    if not path.endswith(".toml") or not store.exists(path):
        raise ValueError(
            f"recipe is {path!r}: choose one of {', '.join(RECIPES)}, or a TOML file that exists"
        )
    return text_of("recipe", path)


def job_of(output: str) -> Job:
    """The job of a run folder as it was last started; nothing is loaded or changed.

    Raises:
        ValueError: where the folder holds no run.
    """
    read = read_run(output)
    return stages.make_job(output, crawl_of(read), settings_of(read))
