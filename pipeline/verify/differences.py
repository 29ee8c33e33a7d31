"""Differences: what at rest may be at odds with what it was made from, by kind.

A kind names the stage to blame, and the folders of other stages without which nothing can be said:
where one of them failed on its own account, the check is "not counted". `breaks` is the folder
that no other stage is counted on once such a difference is found.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Final, NamedTuple

from pipeline.verify import tars


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    stage: str
    what: str
    counted_in: str
    held_against: str = ""
    needs: tuple[str, ...] = ()
    breaks: str = ""


class Differences(defaultdict[Kind, list[str]]):
    """Where each kind was found."""

    def __init__(self) -> None:
        super().__init__(list)


def recipe_of(stage: str) -> str:
    """Among what is broken, the recipe that a stage's manifest tells."""
    return f"the recipe of {stage}"


FETCHED_ROWS: Final = "images/fetch-*"  # among what is broken
_TEXT: Final = ("documents", "verdicts/filter_text")
_DECIDED: Final = (*_TEXT, "verdicts/filter_images")

REFUSED_RECORDS: Final = Kind(
    stage="extract", what="records refused for a reason that does not hold",
    counted_in="verdicts/extract/", breaks="verdicts/extract",
)  # fmt: skip
DOCUMENTS: Final = Kind(
    stage="extract", what="documents that contradict themselves", counted_in="documents/",
    breaks="documents",
)  # fmt: skip
IMAGES: Final = Kind(
    stage="extract", what="image files that contradict themselves", counted_in="images/",
    breaks="images",
)  # fmt: skip
OBJECTIONS: Final = Kind(
    stage="extract", what="objections that ask for nothing", counted_in="objections/",
    breaks="objections",
)  # fmt: skip


class OfPacks(NamedTuple):
    """What may be wrong with the packs of one stage."""

    images: Kind
    bytes: Kind
    pictures: Kind

    @classmethod
    def by(cls, stage: str, *, packs: str, rows: str) -> OfPacks:
        def held(what: str) -> Kind:
            return Kind(stage=stage, what=what, counted_in=packs, held_against=rows,
                        breaks="images")  # fmt: skip

        odd = "headers, padding and ends that no tar has"
        return cls(
            images=held("images other than images/ says"),
            bytes=Kind(stage=stage, what=odd, counted_in=packs),
            pictures=held("pictures that show otherwise"),
        )


OF_PACKS: Final = {
    "extract": OfPacks.by("extract", packs="packs/", rows="images/"),
    "fetch": OfPacks.by("fetch", packs="packs/fetch-*", rows="images/fetch-*"),
}
FILES_OF_KEPT: Final = Kind(
    stage="extract", what="image files other than kept/ and shards/ say", counted_in="images/",
    held_against="kept/, shards/", needs=("kept", "shards", FETCHED_ROWS), breaks="images",
)  # fmt: skip
TEXT_VERDICTS: Final = Kind(
    stage="filter_text", what="verdicts about what is not there",
    counted_in="verdicts/filter_text/", held_against="documents/", needs=("documents",),
    breaks="verdicts/filter_text",
)  # fmt: skip
TEXT_VALUES: Final = Kind(
    stage="filter_text", what="verdicts whose value was not measured, or misses no limit",
    counted_in="verdicts/filter_text/", held_against="documents/, recipe",
    needs=("documents", recipe_of("filter_text")), breaks="verdicts/filter_text",
)  # fmt: skip
TEXT_PASSED: Final = Kind(
    stage="filter_text", what="documents and nodes let pass that miss a limit",
    counted_in="verdicts/filter_text/", held_against="documents/, recipe",
    needs=("documents", recipe_of("filter_text")),
)  # fmt: skip
WANTED: Final = Kind(
    stage="filter_text", what="image URLs other than those needed and not held",
    counted_in="wanted/", held_against="documents/, images/", needs=("documents", "images"),
    breaks="wanted",
)  # fmt: skip
FETCHED: Final = Kind(
    stage="fetch", what="rows of another partition, of a URL twice, or that contradict themselves",
    counted_in="images/fetch-*", held_against="wanted/", needs=("wanted",),
)  # fmt: skip
IMAGE_VERDICTS: Final = Kind(
    stage="filter_images", what="verdicts about what is not there",
    counted_in="verdicts/filter_images/", held_against="documents/", needs=("documents",),
    breaks="verdicts/filter_images",
)  # fmt: skip
IMAGE_VALUES: Final = Kind(
    stage="filter_images", what="verdicts whose value was not measured, or misses no limit",
    counted_in="verdicts/filter_images/", held_against="images/, recipe",
    needs=(*_TEXT, "images", FETCHED_ROWS, recipe_of("filter_images")),
    breaks="verdicts/filter_images",
)  # fmt: skip
FATES: Final = Kind(
    stage="filter_images", what="documents and nodes with other than one fate",
    counted_in="verdicts/, kept/", needs=_TEXT,
)  # fmt: skip
KEPT: Final = Kind(
    stage="filter_images", what="kept documents other than documents/ says",
    counted_in="kept/", held_against="documents/", needs=_TEXT, breaks="kept",
)  # fmt: skip
KEPT_PASSED: Final = Kind(
    stage="filter_images", what="kept images that miss a limit", counted_in="kept/",
    held_against="recipe", needs=(recipe_of("filter_images"),),
)  # fmt: skip
KEPT_IMAGES: Final = Kind(
    stage="filter_images", what="kept images that images/ does not hold so", counted_in="kept/",
    held_against="images/", needs=("documents", "images", FETCHED_ROWS), breaks="kept",
)  # fmt: skip
TABLES: Final = {
    name: Kind(
        stage="shard", what=f"rows of {name} other than was decided",
        counted_in=f"tables/{name}/", held_against="documents/, images/, verdicts/, kept/",
        needs=("verdicts/extract", "images", *_DECIDED, "kept"),
    )
    for name in ("documents", "images", "drops")
}  # fmt: skip
TARS: Final = {
    what: Kind(stage="shard", what=what, counted_in="shards/, index/") for what in tars.WRONG
}
SPLITS: Final = Kind(
    stage="shard", what="documents that a table puts into the other split",
    counted_in="tables/documents/", held_against="shards/", needs=("kept", "shards"),
)  # fmt: skip
FATES_OF_SAMPLES: Final = ("documents", "kept")  # what the fates of samples need

# in the order in which a stage is to blame before those that build on it
KINDS: Final = (
    REFUSED_RECORDS, DOCUMENTS, IMAGES, OBJECTIONS, *OF_PACKS["extract"], FILES_OF_KEPT,
    TEXT_VERDICTS, TEXT_VALUES, TEXT_PASSED, WANTED,
    FETCHED, *OF_PACKS["fetch"],
    IMAGE_VERDICTS, IMAGE_VALUES, FATES, KEPT, KEPT_PASSED, KEPT_IMAGES,
    *TARS.values(), *TABLES.values(), SPLITS,
)  # fmt: skip
