"""Passed: what was let pass must miss no limit; the other half of limits.py.

In:   the fates of documents; the recipes of the deciding stages, as their manifests tell them; the
      opt-out list.
Out:  documents, texts and images that a rule of the recipe should have refused: by what pages ask
      for, their language, the stored counts of a text, the sides and format of a kept image.
Not:  rules that look at what is left of a document, at URLs, or at other documents.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from pipeline.verify.fate import Fate
from pipeline.verify.limits import DIRECTIONS, Recipe, asks, measured
from pipeline.words.opt_out_list import OptOutList
from schemas.verdict import Reason

_GIVEN: Final = "AtLeastFrom"  # asked only where another signal is large enough


def passed_text(fate: Fate, recipe: Recipe, listed: OptOutList) -> Iterator[str]:
    """What filter_text should have refused, of a document that it let pass."""
    if not fate.passed_text:
        return
    document = fate.document
    if document["url"] in listed:
        yield f"{fate.where}: {Reason.OPTED_OUT}"
    for rule in recipe.get("consent", ()):
        if asks(document, rule):
            yield f"{fate.where}: {rule['reason']}"
    if (spoken := recipe.get("spoken")) and not (
        document["language"] == recipe["language"] and document["language_score"] >= spoken["score"]
    ):
        yield f"{fate.where}: language {document['language']}, {document['language_score']}"
    for position, node in fate.left_by_text():
        for rule in recipe.get("paragraph", ()) if node["kind"] == "text" else ():
            value = measured(rule["signal"], node)
            given = rule["rule"] == _GIVEN and measured(rule["given"], node) < rule["given_from"]
            if math.isnan(value) or (DIRECTIONS[rule["rule"]](value, rule["limit"]) and not given):
                yield f"{fate.where} node {position}: {rule['reason']}, {value}"


def passed_images(fate: Fate, recipe: Recipe) -> Iterator[str]:
    """What filter_images should have refused, of the images that it kept."""
    for image in (image for kept in fate.kept for image in kept["images"]):
        width, height = image["width"], image["height"]
        sides = {
            "short_side": min(width, height),
            "long_side": max(width, height),
            "aspect": width / height if height else math.nan,
        }
        wrong = [
            rule["reason"]
            for rule in recipe.get("image", ())
            if DIRECTIONS[rule["rule"]](sides[rule["signal"]], rule["limit"])
        ]
        if (formats := recipe.get("formats")) and image["format"] not in formats["formats"]:
            wrong.append(formats["reason"])
        if wrong:
            yield f"{fate.where} node {image['node']}: {', '.join(wrong)}"
