"""Near-duplicate images, exactly and without comparing all pairs.

In:   every image node whose bytes are known, with its phash and sides.
Out:  for each that passes alone, its cluster and how many documents hold an image within the
      distance; and the number of comparisons, for the manifest.
How:  hamming.py has the algorithms and why they are exact. Here they become joins over distinct
      hashes: a hash met a million times is compared once, and its uses only stream past the
      answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, Literal, NamedTuple, cast

import apache_beam as beam
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.typehints.decorators import no_annotations

from filters.images import refuse_image
from pipeline.account.facts import Capture, Decided, Place, about
from pipeline.filter_images.hamming import Bands, HashFacts, Picture, merge
from pipeline.filter_images.judge import Cluster, UsedImage, read_sets
from pipeline.job import Job
from schemas.manifest import PartResult
from schemas.verdict import Reason


class PassingUse(NamedTuple):
    """An image node whose pixels pass: where it is, and what orders it among its kin."""

    place: Place
    id: str  # of the document
    pixels: int
    url: str


class DropNearImages(
    beam.PTransform[PCollection[tuple[str, UsedImage]], tuple[PCollection[Any], ...]]
):
    """(PART, UsedImage) -> (PART, Cluster) of each that passes alone, and the comparisons made."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self._job = job
        recipe = job.settings.recipe
        assert recipe.phash_distance is not None, "only asked for by a recipe that has it"
        self._bands = Bands(distance=recipe.phash_distance, bands=recipe.phash_bands)
        self._most = recipe.image_documents or 1

    @no_annotations
    def expand(self, images: PCollection[tuple[str, UsedImage]]) -> tuple[PCollection[Any], ...]:
        uses = images | "Passing alone" >> beam.FlatMapTuple(partial(_passing_uses, job=self._job))
        facts = (
            uses
            | "To facts" >> beam.MapTuple(_facts_of)
            | "Merge uses" >> beam.CombinePerKey(MergeFacts(self._most))
        )
        compared = (
            facts
            | "Key by bands" >> beam.FlatMapTuple(partial(_by_bands, bands=self._bands))
            | "Group by bands" >> beam.GroupByKey()
            | "Compare"
            >> beam.FlatMapTuple(partial(_compare, bands=self._bands)).with_outputs(
                "count", main="needs"
            )
        )
        around = (
            {"facts": facts, "needs": compared.needs}
            | "Join neighbours" >> beam.CoGroupByKey()
            | "Send to neighbours" >> beam.FlatMapTuple(_send)
            | "Merge neighbours" >> beam.CombinePerKey(MergeFacts(self._most))
        )
        clusters = (
            (around, uses)
            | "Gather by hash" >> beam.Flatten()
            | "Join uses" >> beam.GroupByKey()  # CoGroupByKey would hold all uses in a list
            | "Answer uses" >> beam.FlatMapTuple(_answer)
        )
        fingerprint = self._job.fingerprint
        comparisons = (
            compared["count"]
            | "Sum comparisons" >> beam.CombineGlobally(sum)
            | "To counts" >> beam.Map(_comparisons, fingerprint=fingerprint)
        )
        return clusters, comparisons


class MergeFacts(beam.CombineFn):
    """HashFacts of one hash, from all its uses or from all its neighbours."""

    def __init__(self, most: int) -> None:
        self._most = most

    def create_accumulator(self) -> HashFacts | None:
        return None

    def add_input(self, merged: HashFacts | None, facts: HashFacts) -> HashFacts:
        known = (facts,) if merged is None else (merged, facts)
        return merge(known, most=self._most)

    def merge_accumulators(self, parts: Iterable[HashFacts | None]) -> HashFacts | None:
        known = [part for part in parts if part is not None]
        return merge(known, most=self._most) if known else None

    def extract_output(self, merged: HashFacts | None) -> HashFacts:
        assert merged is not None, "a key comes with a value"
        return merged


def _passing_uses(part: str, image: UsedImage, job: Job) -> Iterator[tuple[bytes, PassingUse]]:
    if image.stored is None or refuse_image(image.stored.facts, job.settings.recipe) is not None:
        return
    facts = image.stored.facts
    place = Place(part, image.row, image.node)
    yield _key(facts.phash), PassingUse(place, image.id, facts.width * facts.height, facts.url)


def _key(phash: int) -> bytes:
    return phash.to_bytes(8, "big")  # unsigned: Beam's integers have a sign


def _facts_of(phash: bytes, use: PassingUse) -> tuple[bytes, HashFacts]:
    best = Picture(pixels=use.pixels, url=use.url)
    return phash, HashFacts(best=best, documents=(use.id,))


def _by_bands(phash: bytes, _facts: HashFacts, bands: Bands) -> Iterator[tuple[bytes, bytes]]:
    for key in bands.keys(int.from_bytes(phash, "big")):
        yield key, phash


def _compare(
    key: bytes, hashes: Iterable[bytes], bands: Bands
) -> Iterator[tuple[bytes, bytes] | TaggedOutput[Literal["count"], int]]:
    pairs = bands.pairs_in_bucket(key, [int.from_bytes(phash, "big") for phash in hashes])
    while True:
        try:
            smaller, larger = next(pairs)
        except StopIteration as end:  # its value is the number of comparisons made
            yield TaggedOutput("count", end.value)
            return
        yield _key(smaller), _key(larger)
        yield _key(larger), _key(smaller)


def _send(phash: bytes, joined: dict[str, Iterable[Any]]) -> Iterator[tuple[bytes, HashFacts]]:
    """The facts of a hash go to itself and to every hash within the distance."""
    (facts,) = cast("Iterable[HashFacts]", joined["facts"])
    yield phash, facts
    for neighbour in joined["needs"]:
        yield neighbour, facts


def _answer(
    _phash: bytes, known: Iterable[HashFacts | PassingUse]
) -> Iterator[tuple[str, Cluster]]:
    """Read twice and never held: a picture may be met a million times."""
    (around,) = (fact for fact in known if isinstance(fact, HashFacts))
    for use in known:
        if isinstance(use, PassingUse):
            part, row, node = use.place
            yield part, Cluster(row, node, around.best.url, len(around.documents))


def _comparisons(count: int, fingerprint: str) -> PartResult:
    return PartResult(part="", fingerprint=fingerprint, counts={"comparisons": count})


class DropSameSets(beam.PTransform[PCollection[Any], PCollection[Decided]]):
    """(PART, what is known) -> decisions about all but the latest document of a set of images."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self._job = job

    @no_annotations
    def expand(self, judged: PCollection[Any]) -> PCollection[Decided]:
        return (
            judged
            | "Key by set" >> beam.FlatMapTuple(partial(read_sets, job=self._job))
            | "Group by set" >> beam.GroupByKey()
            | "All but the latest" >> beam.FlatMapTuple(other_sets)
        )


def other_sets(_key: bytes, captures: Iterable[Capture]) -> Iterator[Decided]:
    latest, count = max(captures), sum(1 for _ in captures)
    for capture in captures:
        if capture != latest:
            yield about(capture[2], Reason.SAME_IMAGE_SET, value=count, limit=1)
