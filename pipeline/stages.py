"""The five dataflows, one function each: verbs in the order in which things happen.

Every graph starts from one name (run.json, or a table of the stage before), so it is the same
for ten inputs and for ninety thousand, and it ends in the manifest. Only facts are grouped: ids,
hashes, counts. What the groupings decide comes back by PART, and every PART is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import Any, Final

import apache_beam as beam
from apache_beam.pvalue import PCollection

from filters.recipe import as_settings
from filters.signals import signals_settings
from pipeline.account.facts import Decided, TextFact
from pipeline.account.manifest import ByPart, ListParts, WriteManifest
from pipeline.extract.steps import CutInputs, ExtractParts, planned_parts
from pipeline.fetch.progress import Urls
from pipeline.fetch.steps import FetchPartitions, tidy
from pipeline.filter_images import judge as images
from pipeline.filter_images.dedup import DropNearImages, DropSameSets
from pipeline.filter_text import judge as texts
from pipeline.filter_text.dedup import DropFrequent, DropNearTexts, KeepLatestURL
from pipeline.filter_text.wanted import FindWanted
from pipeline.job import Crawl, Job, Settings
from pipeline.shard.plan import PlanShards, planned_files
from pipeline.shard.report.page import write_report
from pipeline.shard.report.part_tables import write_tables
from pipeline.shard.write import write_shard
from pipeline.stage import Stage
from pipeline.store import store
from schemas.manifest import FORMAT_VERSION, StageName, fingerprint
from schemas.verdict import Reason


def extract(root: beam.Pipeline, job: Job) -> None:
    """Records become documents and image files. Map only, a part at a time."""
    parts = root | "Cut inputs" >> CutInputs(job)
    done = parts | "Extract" >> ExtractParts(job)
    _ = done | "Account" >> WriteManifest(job, stage=EXTRACT)


def filter_text(root: beam.Pipeline, job: Job) -> None:
    """What the text alone decides, and which images are needed for what is left."""
    parts = root | "List parts" >> ListParts(job, of=EXTRACT)
    facts = parts | "Read facts" >> beam.FlatMap(texts.read_facts, job)
    latest, older = facts | "Keep latest of a URL" >> KeepLatestURL()
    decided = [older, *_text_decisions(latest, job)] | "Gather decisions" >> beam.Flatten()
    gathered = {"parts": parts, "decided": decided} | "Bring to parts" >> ByPart()
    written = gathered | "Write verdicts" >> beam.MapTuple(partial(texts.write_part, job=job))
    done = written | "Take results" >> beam.Map(texts.result_of)
    wanted = (parts, written) | "Find wanted" >> FindWanted(job)
    results = (done, wanted) | "Gather results" >> beam.Flatten()
    _ = results | "Account" >> WriteManifest(job, stage=FILTER_TEXT)


def _text_decisions(latest: PCollection[TextFact], job: Job) -> Iterator[PCollection[Decided]]:
    """What the recipe asks of documents together."""
    recipe = job.settings.recipe
    if recipe.paragraph_repeats is not None:
        most = recipe.paragraph_repeats - 1
        yield latest | "Drop repeated paragraphs" >> DropFrequent(
            texts.by_paragraph, limit=most, reason=Reason.REPEATED_IN_DOMAIN
        )
    if recipe.image_url_documents is not None:
        most = recipe.image_url_documents
        yield latest | "Drop frequent image URLs" >> DropFrequent(
            texts.by_image, limit=most, reason=Reason.IMAGE_URL_FREQUENT
        )
    if recipe.minhash is not None:
        yield latest | "Drop near-duplicate texts" >> DropNearTexts()


def fetch(root: beam.Pipeline, job: Job) -> None:
    """The images that are needed and not in the crawl. Map only, a partition at a time."""
    done = root | "Fetch" >> FetchPartitions(job)
    _ = done | "Account" >> WriteManifest(job, stage=FETCH)


def filter_images(root: beam.Pipeline, job: Job) -> None:
    """What the pixels decide: each image, its near-duplicates, what is left of the documents."""
    recipe = job.settings.recipe
    parts = root | "List parts" >> ListParts(job, of=EXTRACT)
    fetched = root | "List fetched" >> ListParts(job, of=FETCH)
    known = {"parts": parts, "images": (parts, fetched) | "Find images" >> images.JoinImages(job)}
    counted = []
    if recipe.phash_distance is not None:
        near = known["images"] | "Drop near-duplicate images" >> DropNearImages(job)
        known["clusters"], comparisons = near
        counted.append(comparisons)
    if recipe.image_set_minimum is not None:
        judged = known | "Bring to parts" >> ByPart()
        known["sets"] = judged | "Drop same sets" >> DropSameSets(job)
    settled = known | "Bring all to parts" >> ByPart()
    done = settled | "Write kept" >> beam.MapTuple(partial(images.write_part, job=job))
    results = [done, *counted] | "Gather results" >> beam.Flatten()
    _ = results | "Account" >> WriteManifest(job, stage=FILTER_IMAGES)


def shard(root: beam.Pipeline, job: Job) -> None:
    """Tars, their index, the tables and the report. Bytes go from pack to tar, never shuffled."""
    parts = root | "List parts" >> ListParts(job, of=FILTER_IMAGES)
    tables = parts | "Write tables" >> beam.Map(write_tables, job)
    cuts = parts | "Plan" >> PlanShards(job)
    shards = cuts | "Write shards" >> beam.MapTuple(partial(write_shard, job=job))
    results = (tables, shards) | "Gather results" >> beam.Flatten()
    _ = results | "Account" >> WriteManifest(job, stage=SHARD, before=write_report)


def _extract_settings(settings: Settings) -> dict[str, Any]:
    return {
        "language": settings.language,
        "signals": signals_settings(),
        "lid_model_sha256": settings.lid_model_sha256,
        "word_lists": [asdict(words) for words in settings.word_lists],
    }


def _filter_settings(settings: Settings) -> dict[str, Any]:
    return {"recipe": as_settings(settings.recipe), "opt_out": settings.opt_out}


def _fetch_settings(settings: Settings) -> dict[str, Any]:
    return settings.fetching.shaping


def _shard_settings(settings: Settings) -> dict[str, Any]:
    return {
        "shard_bytes": settings.shard_bytes,
        "heldout": settings.heldout,
        "heldout_by": settings.heldout_by,
    }


EXTRACT: Final = Stage(
    name=StageName.EXTRACT,
    dataflow=extract,
    tables={
        **dict.fromkeys(("documents", "images", "objections"), store.PART_NAMES),
        f"verdicts/{StageName.EXTRACT}": store.PART_NAMES,
        "packs": store.PACK_NAMES,
    },
    last=("documents",),
    keeps_parts=True,
    planned=planned_parts,
    revision=6,
    shaped_by=(
        "ada-url", "brotli", "fastwarc", "fasttext-numpy2", "imagehash", "justext", "lxml", "numpy",
        "pillow", "pyarrow", "resiliparse", "scipy", "selectolax", "tldextract", "trafilatura",
        "unicode", "warcio", "zstandard",
    ),
    settings=_extract_settings,
)  # fmt: skip
FILTER_TEXT: Final = Stage(
    name=StageName.FILTER_TEXT,
    dataflow=filter_text,
    tables={f"verdicts/{StageName.FILTER_TEXT}": store.PART_NAMES, "wanted": store.PARTITION_NAMES},
    last=(f"verdicts/{StageName.FILTER_TEXT}",),
    reads=EXTRACT.name,
    sees=EXTRACT.name,
    groups=True,
    revision=5,
    shaped_by=("ada-url", "datasketch", "numpy", "pyarrow", "tldextract", "unicode"),
    settings=_filter_settings,
)
FETCH: Final = Stage(
    name=StageName.FETCH,
    dataflow=fetch,
    tables={
        "images": store.FETCHED_NAMES,
        "packs": store.FETCHED_PACK_NAMES,
        "leases": store.LEASE_NAMES,
    },
    last=("images",),
    keeps_all=True,
    tidy=tidy,
    meter=Urls,
    revision=2,
    shaped_by=("pyarrow",),
    settings=_fetch_settings,
)
FILTER_IMAGES: Final = Stage(
    name=StageName.FILTER_IMAGES,
    dataflow=filter_images,
    tables=dict.fromkeys((f"verdicts/{StageName.FILTER_IMAGES}", "kept"), store.PART_NAMES),
    last=("kept",),
    reads=EXTRACT.name,
    sees=FILTER_TEXT.name,
    groups=True,
    revision=2,
    shaped_by=("pyarrow",),
    settings=_filter_settings,
)
SHARD: Final = Stage(
    name=StageName.SHARD,
    dataflow=shard,
    tables={
        "index": store.INDEX_NAMES,
        "shards": store.SHARD_NAMES,
        **dict.fromkeys(("tables/documents", "tables/images", "tables/drops"), store.PART_NAMES),
    },
    last=("tables/drops", "index"),
    reads=FILTER_IMAGES.name,
    sees=FILTER_IMAGES.name,
    keeps_parts=True,
    planned=planned_files,
    revision=1,
    shaped_by=("jinja2", "markupsafe", "pillow", "pyarrow", "pyyaml", "webdataset"),
    settings=_shard_settings,
)
STAGES: tuple[Stage, ...] = (EXTRACT, FILTER_TEXT, FETCH, FILTER_IMAGES, SHARD)
NAMES: Final = tuple(stage.name for stage in STAGES)


def versions_here() -> dict[str, dict[str, str]]:
    """By stage, the versions of what shapes its bytes, as installed here."""
    return {stage.name: stage.versions for stage in STAGES}


def make_job(output: str, crawl: Crawl, settings: Settings) -> Job:
    """A stage's fingerprint is built on that of the one before it, so that a changed setting, or
    another version of a package that shapes bytes, redoes the first stage that it touches and all
    after it.
    """
    chain = [FORMAT_VERSION, asdict(crawl)]
    prints: dict[str, str] = {}
    for stage in STAGES:
        versions = settings.versions.get(stage.name)
        chain = [*chain, stage.name, versions, stage.settings(settings)]
        prints[stage.name] = fingerprint(*chain)
    return Job(
        output=output,
        settings=settings,
        crawl=fingerprint(asdict(crawl)),
        partitions=crawl.partitions,
        fingerprints=prints,
    )
