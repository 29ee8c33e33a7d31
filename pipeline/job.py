"""Job: where a run lies and what was chosen for it. Small, picklable, the same on every worker.

In:   `run.json`, written first: the inputs, the part size, what else is fixed for a run's life,
      and the settings of the day.
Out:  paths of everything at rest, and the fingerprint of each stage, built on the one before it,
      so that a changed setting redoes the first stage that it touches and all after it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from filters.recipe import Recipe, as_settings
from filters.signals import WordList, signals_settings
from pipeline import store
from schemas.manifest import FORMAT_VERSION, STAGES, fingerprint

MIB: Final = 1 << 20
PARTITIONS: Final = 16
SHARD_BYTES: Final = 256 * MIB
HELDOUT: Final = 0.01
HELDOUT_BY: Final = "id"
SECONDS: Final = "interloom.microseconds"  # namespace of metrics that go to *.host.json


@dataclass(frozen=True, kw_only=True, slots=True)
class Crawl:
    """What is chosen at a run's first start and kept: another choice is another run."""

    inputs: tuple[str, ...]
    indexes: tuple[str, ...] = ()  # Parquet or CSV: which records of the inputs are wanted
    sizes: tuple[int, ...] = ()  # bytes of each; empty where there are too many to ask
    base: str = ""  # what relative names in lists and indexes are joined to
    part_size: int = 64 * MIB
    limit: int | None = None  # only the first N records of each input
    partitions: int = PARTITIONS  # of the image URLs to fetch

    def __post_init__(self) -> None:
        if self.part_size < MIB // 16:
            raise ValueError(f"part size is {self.part_size} bytes: choose 0.0625 MiB or more")
        if self.partitions < 1:
            raise ValueError(f"partitions is {self.partitions}: choose 1 or more")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit is {self.limit} records an input: choose 1 or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What may change between two starts; the stages it touches are then done again."""

    recipe: Recipe
    recipe_source: str  # its name, or the text of the user's TOML file
    language: str
    lid_model: str = ""  # a file of the user's; else the packaged one, wherever it lies
    lid_model_sha256: str
    word_files: Mapping[str, str] = field(default_factory=dict)  # the user's, by kind of list
    word_lists: tuple[WordList, ...]  # all that are in use, with version and digest
    shard_bytes: int = SHARD_BYTES
    heldout: float = HELDOUT  # share of documents
    heldout_by: str = HELDOUT_BY  # or domain

    def __post_init__(self) -> None:
        if self.shard_bytes < MIB // 16:
            raise ValueError(f"shard size is {self.shard_bytes} bytes: choose 0.0625 MiB or more")
        if not 0 <= self.heldout < 1:
            raise ValueError(f"heldout is {self.heldout}: choose a share from 0 to below 1")
        if self.heldout_by not in {"id", "domain"}:
            raise ValueError(f"heldout_by is {self.heldout_by!r}: choose id or domain")


# bump a stage's number when the same input would give other bytes
VERSIONS: Final[Mapping[str, int]] = dict.fromkeys(STAGES, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A run folder with its settings; `crawl` is its fingerprint, since the list may be long."""

    output: str
    settings: Settings
    crawl: str
    partitions: int
    fingerprints: Mapping[str, str] = field(default_factory=dict)

    def path(self, *names: str) -> str:
        return store.join(self.output, *names)

    def part(self, kind: str, name: str) -> str:
        """Path of a part: kind is documents, images, wanted, kept, verdicts/STAGE, tables/X."""
        return self.path(kind, f"{name}.parquet")

    def parts_table(self, stage: str) -> str:
        return self.path(f"{stage}.parts.parquet")

    def manifest(self, stage: str) -> str:
        return self.path(f"{stage}.manifest.json")


def make_job(output: str, crawl: Crawl, settings: Settings) -> Job:
    chain = [FORMAT_VERSION, asdict(crawl)]
    prints: dict[str, str] = {}
    for stage in STAGES:
        chain = [*chain, stage, VERSIONS[stage], stage_settings(stage, settings)]
        prints[stage] = fingerprint(*chain)
    return Job(
        output=output,
        settings=settings,
        crawl=fingerprint(asdict(crawl)),
        partitions=crawl.partitions,
        fingerprints=prints,
    )


def stage_settings(stage: str, settings: Settings) -> dict[str, Any]:
    """The settings that a stage reads, and no other: they go into its manifest."""
    match stage:
        case "extract":
            return {
                "language": settings.language,
                "signals": signals_settings(),
                "lid_model_sha256": settings.lid_model_sha256,
                "word_lists": [asdict(one) for one in settings.word_lists],
            }
        case "filter_text" | "filter_images":
            return {"recipe": as_settings(settings.recipe)}
        case "fetch":
            return {"fetch": "off"}
        case "shard":
            return {
                "shard_bytes": settings.shard_bytes,
                "heldout": settings.heldout,
                "heldout_by": settings.heldout_by,
            }
    raise ValueError(f"{stage!r} is no stage: choose one of {', '.join(STAGES)}")


def read_crawl(output: str) -> Crawl:
    """The inputs of a run, from its run.json."""
    read = json.loads(store.read_bytes(store.join(output, "run.json")))
    crawl = read["crawl"]
    lists = {name: tuple(crawl[name]) for name in ("inputs", "indexes", "sizes")}
    return Crawl(**crawl | lists)
