"""Job: where a run lies and what was chosen for it. Small, picklable, the same on every worker.

In:   `run.json`, written first: the inputs, the part size, what else is fixed for a run's life,
      and the settings and versions of the day.
Out:  paths of everything at rest, and the fingerprint of each stage (stage.py).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from typing import Any, Final

from filters.recipe import OFF, RECIPES, Recipe, as_settings
from filters.recipe_file import recipe_from_toml
from filters.signals import WordList
from pipeline.media.pixels import Encoding
from pipeline.store import store
from schemas.from_json import built
from schemas.manifest import FORMAT_VERSION, version_shown

MIB: Final = 1 << 20
PARTITIONS: Final = 16
MOST_PARTITIONS: Final = 100_000  # a partition's name has five digits
SHARD_BYTES: Final = 256 * MIB
HELDOUT: Final = 0.01
HELDOUT_BY: Final = "id"
UNREADABLE: Final = 0.001
WORD_LISTS: Final = ("stop_words", "flagged_words", "common_words", "spam_words")
SHOWN: Final = 160  # characters of a message inside another one
AGENT: Final = "interloom"  # as robots.txt may name us
_CONTACT: Final = re.compile(
    r"(?:mailto:)?[^@\s<>()]+@[^@\s<>()]+\.[a-zA-Z]{2,}|https?://[^\s<>()]+"
)
_SERVICE: Final = re.compile(r"https?://[^\s/]+(/\S*)?")
_POSITIVE: Final = ("requests", "image_bytes", "connect", "read", "total", "deadline", "tries",
                    "host_failures", "host_images", "commit_bytes", "commit_seconds")  # fmt: skip
SECONDS: Final = "interloom.microseconds"  # namespace of metrics that go to *.host.json


@dataclass(frozen=True, kw_only=True, slots=True)
class Crawl:
    """What is chosen at a run's first start and kept: another choice is another run."""

    inputs: tuple[str, ...]
    indexes: tuple[str, ...] = ()  # Parquet or CSV: which records of the inputs are wanted
    sizes: tuple[int, ...] = ()  # bytes of each; empty where there are too many to ask
    ends: tuple[str, ...] = ()  # of each local one a digest of its first and last bytes, and size
    base: str = ""  # what relative names in lists and indexes are joined to
    part_size: int = 64 * MIB
    limit: int | None = None  # only the first N records of each input
    partitions: int = PARTITIONS  # of the image URLs to fetch

    def __post_init__(self) -> None:
        if self.part_size < MIB // 16:
            raise ValueError(f"part size is {self.part_size} bytes: choose 0.0625 MiB or more")
        if not 1 <= self.partitions <= MOST_PARTITIONS:
            raise ValueError(
                f"partitions is {self.partitions}: choose 1 or more, up to {MOST_PARTITIONS:,}"
            )
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit is {self.limit} records an input: choose 1 or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetching:
    """How images are asked for. `on` is False for --no-fetch. Sizes in bytes, times in seconds.

    Only what shapes rows is in the stage's fingerprint: another pace or contact redoes nothing.
    """

    on: bool = False
    contact: str = ""  # an address of mail, or a page: whom to ask about us
    round: int = 1  # one more for each refetch
    again: tuple[str, ...] = ()  # statuses that the last refetch asks for anew
    rates: str = ""  # text of a TOML file
    opt_out_service: str = ""  # URL
    host_map: str = ""  # text of a map
    ports: tuple[int, ...] = (80, 443)
    requests: int = 128  # under way at a time, a worker
    decoders: int = 0  # processes a worker; 0: as many as it has cores (look.py)
    image_bytes: int = 16 << 20
    connect: float = 10.0
    read: float = 20.0  # without a byte
    total: float = 60.0  # a request
    deadline: float | None = None  # the stage: then the rest is DEFERRED
    host_images: int | None = None  # asked of a host in a round; the rest is DEFERRED
    redirects: int = 5
    tries: int = 3
    host_failures: int = 10  # in a row, and a host is given up
    encoding: Encoding | None = None  # None: the bytes as they came
    commit_bytes: int = 256 << 20
    commit_seconds: float = 30.0

    def __post_init__(self) -> None:
        if self.on and not _CONTACT.fullmatch(self.contact):
            raise ValueError(
                f"contact is {self.contact!r}: images are asked of other people, who must "
                "know whom to write to: give --contact you@example.org or a page of yours, or "
                "--no-fetch to go without the images that the crawl does not hold"
            )
        service = self.opt_out_service
        if service and not _SERVICE.fullmatch(service):
            raise ValueError(f"opt-out service is {service!r}: give its http:// or https:// URL")
        for name in _POSITIVE:
            if (value := getattr(self, name)) is not None and not value > 0:
                raise ValueError(f"fetching: {name} is {value}: choose more than 0")
        for port in self.ports:
            if not 0 < port < 65_536:
                raise ValueError(f"port is {port}: choose 1 to 65535")

    @property
    def user_agent(self) -> str:
        return f"{AGENT}/{version('interloom')} (+{self.contact})"

    @property
    def shaping(self) -> dict[str, Any]:
        """What the fingerprint of the stage knows of it."""
        if not self.on:
            return {"fetch": "off"}
        encoding = None if self.encoding is None else asdict(self.encoding)
        return {"fetch": "on", "round": self.round, "image_bytes": self.image_bytes,
                "encoding": encoding}  # fmt: skip


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
    unreadable: float = UNREADABLE  # share of records that may be so; it shapes no byte
    opt_out: str = ""  # name of the list in the run folder, by its digest
    fetching: Fetching = field(default_factory=Fetching)
    # by stage, of what shapes its bytes; a run is told by those that it was last started with
    versions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.shard_bytes < MIB // 16:
            raise ValueError(f"shard size is {self.shard_bytes} bytes: choose 0.0625 MiB or more")
        if not 0 <= self.heldout < 1:
            raise ValueError(f"heldout is {self.heldout}: choose a share from 0 to below 1")
        if not 0 <= self.unreadable <= 1:
            raise ValueError(f"unreadable is {self.unreadable}: choose a share from 0 to 1")
        if self.heldout_by not in {"id", "domain"}:
            raise ValueError(f"heldout_by is {self.heldout_by!r}: choose id or domain")


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A run folder with its settings; `crawl` is its fingerprint, since the list may be long."""

    output: str
    settings: Settings
    crawl: str
    partitions: int
    until: float = math.inf  # seconds since 1970: when fetch has to be at its end
    fingerprints: Mapping[str, str] = field(default_factory=dict)  # of every stage, in their order
    stage: str = ""  # that is being done
    scratch: str = ""  # a folder for what begins with one of `remade`, in place of the run's own
    remade: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Of the stage that is being done."""
        return self.fingerprints[self.stage]

    def doing(self, stage: str) -> Job:
        """The same job, at a stage."""
        return replace(self, stage=stage)

    @property
    def stages(self) -> tuple[str, ...]:
        return tuple(self.fingerprints)

    def path(self, *names: str) -> str:
        remade = "/".join(names).startswith(self.remade)
        return store.join(self.scratch if remade else self.output, *names)

    def files(self) -> store.PartFiles:
        """For the digests of a part that is written."""
        return store.PartFiles(self.output, self.scratch)

    def part(self, kind: str, name: str) -> str:
        """Path of a part: kind is documents, images, wanted, kept, verdicts/STAGE, tables/X."""
        return self.path(kind, f"{name}.parquet")

    def parts_table(self, stage: str) -> str:
        return self.path(f"{stage}.parts.parquet")

    def manifest(self, stage: str) -> str:
        return self.path(f"{stage}.manifest.json")


def run_text(crawl: Crawl, settings: Settings) -> str:
    """run.json. It carries a digest of all else that is in it, for verify."""
    held = {
        "format_version": FORMAT_VERSION,
        "crawl": asdict(crawl),
        "settings": asdict(settings) | {"recipe": as_settings(settings.recipe)},
    }
    digest = hashlib.sha256(json.dumps(held).encode()).hexdigest()
    return json.dumps(held | {"sha256": digest}, indent=1, ensure_ascii=False) + "\n"


def read_run(output: str) -> dict[str, Any]:
    """run.json, which may be foreign or damaged: `crawl_of` and `settings_of` take what it holds.

    Raises:
        ValueError: where there is none that this interloom can use; nothing of it is quoted.
    """
    path = store.join(output, "run.json")
    if not store.exists(path):
        raise ValueError(f"{output} holds no run: there is no run.json; make one by interloom run")
    with _readable(path):
        read = store.read_json(path)
    if (version := read.get("format_version")) != FORMAT_VERSION:
        raise ValueError(
            f"{path} is of format version {version_shown(version)}, but this interloom reads "
            f"{FORMAT_VERSION}: choose another output, or the version that wrote it"
        )
    with _readable(path):
        crawl_of(read)
        settings_of(read)
    return read


def read_crawl(output: str) -> Crawl:
    """The inputs of a run, from its run.json, of which nothing else is looked at."""
    path = store.join(output, "run.json")
    with _readable(path):
        return crawl_of(store.read_json(path))


@contextmanager
def _readable(path: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged ({shortened(error)}): put back what interloom run wrote, or choose "
            "another output"
        ) from error


def crawl_of(read: Mapping[str, Any]) -> Crawl:
    """The inputs that run.json holds; raises ValueError for what none can be."""
    crawl = built(Crawl, read.get("crawl"), "crawl")
    if not crawl.inputs:
        raise ValueError("crawl.inputs names nothing")
    for name in ("sizes", "ends"):
        if getattr(crawl, name) and len(getattr(crawl, name)) != len(crawl.inputs):
            raise ValueError(f"crawl.{name} is not of as many inputs as there are")
    return crawl


def settings_of(read: Mapping[str, Any]) -> Settings:
    """The settings that run.json holds, with the versions of that day.

    Raises:
        ValueError: for what none can be.
    """
    table = read.get("settings")
    if isinstance(table, Mapping):  # the recipe is made anew of its source
        table = {name: value for name, value in table.items() if name != "recipe"}
    settings = built(Settings, table, "settings", recipe=OFF)
    if not settings.word_files.keys() <= {*WORD_LISTS}:
        raise ValueError("settings.word_files names a list that there is not")
    if settings.opt_out and not store.OPT_OUT_NAMES.fullmatch(settings.opt_out):
        raise ValueError("settings.opt_out is no name of a list in a run folder")
    recipe = replace(read_recipe(settings.recipe_source), language=settings.language)
    return replace(settings, recipe=recipe)


def read_recipe(source: str) -> Recipe:
    """A recipe by its name, or from the text of a TOML file."""
    return RECIPES[source] if source in RECIPES else recipe_from_toml(source)


def shortened(error: Exception | str) -> str:
    """A message inside another one."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
