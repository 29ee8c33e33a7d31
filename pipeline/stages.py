"""The five dataflows, one function each: verbs in the order in which things happen.

Every graph starts from one name (run.json, or a table of the stage before), so it is the same
for ten inputs and for ninety thousand, and it ends in the manifest. Only facts are grouped: ids,
hashes, counts. What the groupings decide comes back by PART, and every PART is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

import apache_beam as beam
from apache_beam.pvalue import PCollection

from pipeline import filter_images as images
from pipeline import filter_text as texts
from pipeline.account import ByPart, ListParts, WriteManifest
from pipeline.dedup_images import DropNearImages, DropSameSets
from pipeline.dedup_text import Decided, DropFrequent, DropNearTexts, KeepLatestURL
from pipeline.extract.steps import CutInputs, ExtractParts
from pipeline.facts import TextFact
from pipeline.fetch.steps import FetchPartitions
from pipeline.job import Job
from pipeline.plan import PlanShards
from pipeline.report.build import write_report
from pipeline.report.tables import write_tables
from pipeline.shard import write_shard
from pipeline.wanted import FindWanted
from schemas.verdict import Reason


def extract(root: beam.Pipeline, job: Job) -> None:
    """Records become documents and image files. Map only, a part at a time."""
    parts = root | "Cut inputs" >> CutInputs(job)
    done = parts | "Extract" >> ExtractParts(job)
    _ = done | "Account" >> WriteManifest(job, stage="extract")


def filter_text(root: beam.Pipeline, job: Job) -> None:
    """What the text alone decides, and which images are needed for what is left."""
    parts = root | "List parts" >> ListParts(job, of="extract")
    facts = parts | "Read facts" >> beam.FlatMap(texts.read_facts, job)
    latest, older = facts | "Keep latest of a URL" >> KeepLatestURL()
    decided = [older, *_text_decisions(latest, job)] | "Gather decisions" >> beam.Flatten()
    gathered = {"parts": parts, "decided": decided} | "Bring to parts" >> ByPart()
    written = gathered | "Write verdicts" >> beam.MapTuple(partial(texts.write_part, job=job))
    done = written | "Take results" >> beam.Map(texts.result_of)
    wanted = (parts, written) | "Find wanted" >> FindWanted(job)
    results = (done, wanted) | "Gather results" >> beam.Flatten()
    _ = results | "Account" >> WriteManifest(job, stage="filter_text")


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
    _ = done | "Account" >> WriteManifest(job, stage="fetch")


def filter_images(root: beam.Pipeline, job: Job) -> None:
    """What the pixels decide: each image, its near-duplicates, what is left of the documents."""
    recipe = job.settings.recipe
    parts = root | "List parts" >> ListParts(job, of="extract")
    known = {"parts": parts, "found": parts | "Find images" >> images.JoinImages(job)}
    counted = []
    if recipe.phash_distance is not None:
        near = known["found"] | "Drop near-duplicate images" >> DropNearImages(job)
        known["clusters"], comparisons = near
        counted.append(comparisons)
    if recipe.image_set_minimum is not None:
        judged = known | "Bring to parts" >> ByPart()
        known["sets"] = judged | "Drop same sets" >> DropSameSets(job)
    settled = known | "Bring all to parts" >> ByPart()
    done = settled | "Write kept" >> beam.MapTuple(partial(images.write_part, job=job))
    results = [done, *counted] | "Gather results" >> beam.Flatten()
    _ = results | "Account" >> WriteManifest(job, stage="filter_images")


def shard(root: beam.Pipeline, job: Job) -> None:
    """Tars, their index, the tables and the report. Bytes go from pack to tar, never shuffled."""
    parts = root | "List parts" >> ListParts(job, of="filter_images")
    tables = parts | "Write tables" >> beam.Map(write_tables, job)
    cuts = parts | "Plan" >> PlanShards(job)
    shards = cuts | "Write shards" >> beam.MapTuple(partial(write_shard, job=job))
    results = (tables, shards) | "Gather results" >> beam.Flatten()
    _ = results | "Account" >> WriteManifest(job, stage="shard", before=write_report)


DATAFLOWS: Final[Mapping[str, Callable[[beam.Pipeline, Job], Any]]] = {
    "extract": extract,
    "filter_text": filter_text,
    "fetch": fetch,
    "filter_images": filter_images,
    "shard": shard,
}
