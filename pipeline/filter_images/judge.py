"""filter_images: what is known of the pixels meets the documents that need them.

In:   documents/PART less verdicts/filter_text/PART, image facts joined to every use of their URL,
      clusters of near-duplicates, sets of images met before.
Out:  verdicts/filter_images/PART, kept/PART and their counts.
Of several captures of an image URL the latest usable one counts, then the smallest sha256; where
none is usable, the latest says why. What a later answer asks for, usable or not, it asks for too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import PCollection

from filters.images import ImageFacts, ImageJudgement, judge_images
from filters.rules import Refusal
from pipeline.account.facts import (
    WHOLE,
    Objection,
    Place,
    count_document,
    drops_of,
    key_of,
    read_documents,
    read_objections,
    verdict_row,
)
from pipeline.job import Job
from pipeline.store import parquet
from pipeline.words.consent import opted_out
from pipeline.words.urls import normal_url
from schemas.document import Document, ImageNode, TextNode
from schemas.manifest import Ledger, PartResult, StageName
from schemas.tables import KEPT, VERDICTS
from schemas.verdict import OK, Reason


class StoredImage(NamedTuple):
    """A row of images/, as the join needs it."""

    date: str
    facts: ImageFacts
    pack: str
    offset: int


class ImageUse(NamedTuple):
    """An image node that a document still needs, under one of its URLs: 0 is the best."""

    place: Place
    id: str
    rank: int


class UsedImage(NamedTuple):
    """An image node that is still needed; `stored` is None where no bytes are known of."""

    row: int
    node: int
    id: str  # of the document
    stored: StoredImage | None


class Cluster(NamedTuple):
    """What near-duplicates say of one use."""

    row: int
    node: int
    cluster: str
    documents: int  # that hold one within the distance; counted up to the limit + 1


def survivors(job: Job, part: str) -> Iterator[tuple[int, Document, list[int]]]:
    """Row, document and kept positions of what filter_text let pass."""
    gone: dict[int, set[int]] = defaultdict(set)
    for verdict in parquet.read_rows(job.part(f"verdicts/{StageName.FILTER_TEXT}", part)):
        gone[verdict["row"]].add(WHOLE if verdict["node"] is None else verdict["node"])
    for row, document in read_documents(job, part):
        if WHOLE not in gone[row]:
            positions = range(len(document.nodes))
            yield row, document, [node for node in positions if node not in gone[row]]


def read_uses(part: str, job: Job) -> Iterator[tuple[str, ImageUse]]:
    for row, document, kept in survivors(job, part):
        for position in kept:
            node = document.nodes[position]
            if isinstance(node, ImageNode):
                for rank, url in enumerate((node.url, *node.others)):
                    yield url, ImageUse(Place(part, row, position), document.id, rank)


def by_image_url(part: str, job: Job) -> Iterator[tuple[str, Objection]]:
    for objection in read_objections(job, part):
        yield normal_url(objection.url), objection


def read_images(part: str, job: Job) -> Iterator[tuple[str, StoredImage]]:
    """What is known of a part's images; of those on the opt-out list, that they are."""
    listed = opted_out(job)
    for row in parquet.read_rows(job.part("images", part)):
        out = row["url"] in listed or (row["final_url"] or "") in listed
        facts = ImageFacts(
            url=row["url"],
            status=Reason.OPTED_OUT if out else row["status"],
            value=None if out else row["value"],
            limit=None if out else row["limit"],
            sha256=row["sha256"] or "",
            phash=row["phash"] or 0,
            width=row["width"] or 0,
            height=row["height"] or 0,
            format=row["format"] or "",
            bytes=row["bytes"] or 0,
            robots=tuple(row["robots"]),
            tdm_reservation=row["tdm_reservation"],
        )
        yield (
            row["url"],
            StoredImage(row["date"], facts, row["pack"] or "", row["pack_offset"] or 0),
        )


def choose(captures: Iterable[StoredImage]) -> StoredImage | None:
    """The capture of a URL that counts: usable before broken, late before early."""

    def order(stored: StoredImage) -> tuple[bool, tuple[int, ...], str, str, int]:
        late_first = tuple(-ord(character) for character in stored.date)
        usable = stored.facts.status == OK
        return not usable, late_first, stored.facts.sha256, stored.pack, stored.offset

    return min(captures, key=order, default=None)


def with_objections(chosen: StoredImage | None, answers: Iterable[Objection]) -> StoredImage | None:
    """The capture that counts, with what later answers to its URL ask for."""
    if chosen is None:
        return None
    later = [answer for answer in answers if not answer.date or answer.date >= chosen.date]
    robots = {name for answer in later for name in answer.robots}
    facts = replace(
        chosen.facts,
        robots=tuple(sorted(robots.union(chosen.facts.robots))),
        tdm_reservation=chosen.facts.tdm_reservation
        or any(answer.tdm_reservation for answer in later),
    )
    return chosen._replace(facts=facts)


class JoinImages(beam.PTransform[tuple[PCollection[str], ...], PCollection[tuple[str, UsedImage]]]):
    """Parts, and those of fetch -> (PART, UsedImage) for every image node that is still needed."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self._job = job

    def expand(self, both: tuple[PCollection[str], ...]) -> PCollection[tuple[str, UsedImage]]:
        parts, fetched = both
        stored = (
            (parts, fetched)
            | "All image parts" >> beam.Flatten()
            | "Read images" >> beam.FlatMap(read_images, self._job)
        )
        objections = parts | "Read objections" >> beam.FlatMap(by_image_url, self._job)
        uses = parts | "Read uses" >> beam.FlatMap(read_uses, self._job)
        return (
            (stored, objections, uses)
            | "Gather by URL" >> beam.Flatten()
            | "Join by URL" >> beam.GroupByKey()  # CoGroupByKey would hold all uses in a list
            | "Choose capture" >> beam.FlatMapTuple(_choices)
            | "Choose size" >> beam.CombinePerKey(best_size)
            | "To parts" >> beam.MapTuple(_used_image)
        )


class ImageChoice(NamedTuple):
    """What is known of one URL of an image node."""

    use: ImageUse
    stored: StoredImage | None


Key = tuple[str, int, int]  # a Place as a plain tuple: as a key, Beam has no coder for its class


def _choices(
    _url: str, known: Iterable[StoredImage | Objection | ImageUse]
) -> Iterator[tuple[Key, ImageChoice]]:
    """Read again and again, its uses never held: an image may be on every page of a crawl."""
    chosen = choose(fact for fact in known if isinstance(fact, StoredImage))
    stored = with_objections(chosen, (fact for fact in known if isinstance(fact, Objection)))
    for use in known:
        if isinstance(use, ImageUse):
            part, row, node = use.place
            yield (part, row, node), ImageChoice(use, stored)


def best_size(choices: Iterable[ImageChoice]) -> ImageChoice:
    """Of a picture's sizes the best that can be used, else the best that is known of."""
    return min(choices, key=_preference)


def _preference(choice: ImageChoice) -> tuple[bool, bool, int]:
    usable = choice.stored is not None and choice.stored.facts.status == OK
    return not usable, choice.stored is None, choice.use.rank


def _used_image(key: Key, choice: ImageChoice) -> tuple[str, UsedImage]:
    part, row, node = key
    return part, UsedImage(row, node, choice.use.id, choice.stored)


# what came back to one PART: images (UsedImage), clusters (Cluster), sets (Decision)
Gathered = Mapping[str, Iterable[Any]]


def judge_part(
    part: str, gathered: Gathered, job: Job
) -> Iterator[tuple[int, Document, list[int], dict[int, StoredImage | None], ImageJudgement]]:
    """Every surviving document of a part with its judgement, in row order."""
    stored: dict[int, dict[int, StoredImage | None]] = defaultdict(dict)
    for image in gathered["images"]:
        stored[image.row][image.node] = image.stored
    clusters: dict[int, dict[int, Cluster]] = defaultdict(dict)
    for cluster in gathered.get("clusters", ()):
        clusters[cluster.row][cluster.node] = cluster
    sets = {decision.row: decision for decision in gathered.get("sets", ())}
    for row, document, kept in survivors(job, part):
        judged = judge_images(
            document,
            kept,
            {node: at and at.facts for node, at in stored[row].items()},
            job.settings.recipe,
            clusters={node: cluster.cluster for node, cluster in clusters[row].items()},
            holders={node: cluster.documents for node, cluster in clusters[row].items()},
        )
        if judged.refusal is None and row in sets:
            same = sets[row]
            refusal = Refusal(reason=Reason(same.reason), value=same.value, limit=same.limit)
            judged = ImageJudgement(refusal=refusal, nodes={}, kept=())
        yield row, document, kept, stored[row], judged


def read_sets(
    part: str, gathered: Gathered, job: Job
) -> Iterator[tuple[bytes, tuple[str, str, Place]]]:
    """The set of images of each document that holds two or more, as a key."""
    least = job.settings.recipe.image_set_minimum
    assert least is not None, "only asked for by a recipe that has it"
    clusters = {
        (cluster.row, cluster.node): cluster.cluster for cluster in gathered.get("clusters", ())
    }
    for row, document, _, stored, judged in judge_part(part, gathered, job):
        images = {
            clusters.get((row, node), at.facts.sha256)
            for node in judged.kept
            if (at := stored.get(node)) is not None
        }
        if len(images) >= least:
            yield key_of(*sorted(images)), (document.date, document.id, Place(part, row))


def write_part(part: str, gathered: Gathered, job: Job) -> PartResult:
    """Judge a part for good; write its verdicts and what is kept, in row order."""
    ledger, fingerprint, files = Ledger(), job.fingerprint, job.files()
    with (
        parquet.Writer(
            job.part("kept", part), KEPT, fingerprint=fingerprint, files=files
        ) as keeper,
        parquet.Writer(
            job.part(f"verdicts/{job.stage}", part),
            VERDICTS,
            fingerprint=fingerprint,
            files=files,
        ) as verdicts,
    ):
        verdicts.counts = keeper.counts = ledger
        for row, document, seen, stored, judged in judge_part(part, gathered, job):
            for drop in drops_of(document, Place(part, row), judged.refusal, judged.nodes):
                verdicts.add(verdict_row(drop))
            count_document(ledger, document, judged.refusal, judged.nodes, judged.kept, seen=seen)
            if judged.refusal is None:
                kept = kept_row(Place(part, row), document, judged.kept, stored)
                keeper.add(kept)
                ledger["bytes.kept"] += kept["bytes"]
    return PartResult(part=part, fingerprint=fingerprint, counts=dict(ledger), files=files.stored)


def kept_row(
    place: Place, document: Document, kept: Iterable[int], stored: Mapping[int, StoredImage | None]
) -> dict[str, Any]:
    """A row of tables.KEPT: all that shard needs to know where the bytes lie."""
    texts, images, size = [], [], 0
    for position in kept:
        node = document.nodes[position]
        if isinstance(node, TextNode):
            texts.append(position)
            size += len(node.text.encode())
            continue
        at = stored[position]
        assert at is not None, "judge_images refuses what has no facts"
        size += at.facts.bytes
        images.append(
            {
                "node": position,
                "url": at.facts.url,
                "sha256": at.facts.sha256,
                "pack": at.pack,
                "offset": at.offset,
                "length": at.facts.bytes,
                "width": at.facts.width,
                "height": at.facts.height,
                "format": at.facts.format,
            }
        )
    return {
        "part": place.part,
        "row": place.row,
        "id": document.id,
        "domain": document.domain,
        "bytes": size,
        "texts": texts,
        "images": images,
    }
