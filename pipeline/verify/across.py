"""Across: what can only be told when all parts and shards are read, gathered while they are.

In:   fates of documents, rows of images/ and wanted/, samples as they are met in tars.
Out:  differences whose two sides lie in different parts. Nothing but hashes is held (claims.py,
      wanted.py and digest.py say how many bytes).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.verify.claims import Files
from pipeline.verify.crawl import AtRest, input_of
from pipeline.verify.differences import (
    FILES_OF_KEPT,
    IMAGE_VALUES,
    KEPT_IMAGES,
    SPLITS,
    WANTED,
    Differences,
    recipe_of,
)
from pipeline.verify.digest import Pairs, kept_digest
from pipeline.verify.fate import DECIDING, Fate
from pipeline.verify.folder import Row, RunFolder
from pipeline.verify.limits import Limits, Recipe
from pipeline.verify.wanted import Wanted
from pipeline.words.opt_out_list import OptOutList, read_list
from pipeline.words.urls import normal_url


@dataclass(kw_only=True)
class Across:
    """`samples` are kept documents and what tars say; `splits` where tables and tars put them."""

    inputs: list[str]
    recipes: Mapping[str, Recipe]  # by deciding stage
    limits: Mapping[str, Limits]
    wanted: Wanted
    listed: OptOutList
    files: Files
    samples: Pairs = field(default_factory=Pairs)
    splits: Pairs = field(default_factory=Pairs)
    records: AtRest = field(default_factory=AtRest)

    @classmethod
    def of(cls, folder: RunFolder) -> Across:
        recipes = {stage: _recipe(folder, stage) for stage in DECIDING}
        listed = _list(folder)
        return cls(
            inputs=folder.run["crawl"]["inputs"],
            recipes=recipes,
            limits={stage: Limits(recipe) for stage, recipe in recipes.items()},
            wanted=Wanted(partitions=folder.run["crawl"]["partitions"]),
            listed=listed,
            files=Files(listed),
        )

    def input_of(self, part: str) -> str:
        place = input_of(part)
        return self.inputs[place] if place < len(self.inputs) else ""

    def hold(self, part: str, image: Row) -> None:
        """A row of images/ that extract wrote."""
        self.files.tell(image, self.recipes["filter_images"])
        self.wanted.hold(image["url"])
        self.records.image(part, image)

    def object(self, objection: Row) -> None:
        """A row of objections/."""
        self.files.object(normal_url(objection["url"]), objection, self.recipes["filter_images"])

    def take(self, fate: Fate) -> None:
        """A document with all that was decided about it."""
        self.records.document(fate.part, fate.document)
        self.wanted.need(fate)
        self.files.ask(fate)
        for kept in fate.kept:
            self.samples.keep(fate.document["id"], kept_digest(fate.document, kept))

    def compare(self, wrong: Differences) -> None:
        """Everything is read: what does not fit together."""
        facts, agreed = self.files.facts(), self.samples.agreed()
        wrong[WANTED] += self.wanted.differing()
        wrong[IMAGE_VALUES] += [
            f"{place}: images/ tells no such reason"
            for place in self.files.refused.places(facts, borne_out=False)
        ]
        wrong[IMAGE_VALUES] += [
            f"{place}: images/ has it" for place in self.files.missing.places(facts, borne_out=True)
        ]
        wrong[KEPT_IMAGES] += map(str, self.files.lie.places(facts, borne_out=False))
        for place in self.files.seen.places(facts, borne_out=False):
            # two witnesses against one: where the sample says what kept/ says, images/ is wrong
            wrong[FILES_OF_KEPT if place.id in agreed else KEPT_IMAGES].append(str(place))
        wrong[SPLITS] += self.splits.compare()["other than what was kept"]


def _recipe(folder: RunFolder, stage: str) -> Recipe:
    """By which a stage decided; none, and a note, where its manifest is not what was written."""
    told = folder.told.get(stage)
    if told is not None and told.manifest.fingerprint == folder.fingerprints()[stage]:
        recipe: Recipe = told.manifest.settings["recipe"]
        return recipe
    folder.broken.add(recipe_of(stage))
    return {}


def _list(folder: RunFolder) -> OptOutList:
    """Who is opted out; where the list is not what it was, no decision is held against it."""
    try:
        return read_list(folder.path(folder.opt_out)) if folder.opt_out else OptOutList()
    except (OSError, ValueError):  # a check of its own names it (files.py)
        folder.broken |= {recipe_of(stage) for stage in DECIDING}
        return OptOutList()
