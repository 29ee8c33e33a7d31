"""Image judgement: a document, what its pixels turned out to be, what stays of it out.

In:   a Document, the positions that judge_text kept, ImageFacts of its image nodes (None where the
      crawl holds no such image and none was fetched), and what other documents decide: clusters of
      near-duplicates, and how many documents hold an image.
Out:  ImageJudgement. As in text.py: of a document that stays every position that came in is in
      `kept` or in `nodes`; one that goes has its refusal and nothing in `kept`.
See it: python -m pytest tests/filters/test_images.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from filters.recipe import Recipe
from filters.rules import Refusal, first_refusal, refuse_asking
from filters.signals import Signal, image_ratios
from schemas.document import Document, ImageNode
from schemas.verdict import OK, Reason


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFacts:
    """What is known of the image behind a URL. `status` is OK, or the Reason of no usable bytes."""

    url: str
    status: str
    value: float | None = None  # of the reason in `status`
    limit: float | None = None
    sha256: str = ""
    phash: int = 0
    width: int = 0  # pixels, as displayed
    height: int = 0
    format: str = ""  # by its content, not by its name
    bytes: int = 0
    robots: tuple[str, ...] = ()  # directives of its response
    tdm_reservation: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageJudgement:
    """What the pixels decided: the document's refusal or None, and its nodes by position."""

    refusal: Refusal | None = None
    nodes: Mapping[int, Refusal] = field(default_factory=dict)
    kept: tuple[int, ...] = ()


def refuse_image(facts: ImageFacts | None, recipe: Recipe) -> Refusal | None:
    """Why one image file is refused, whatever else its document holds."""
    if facts is None:
        return Refusal(reason=Reason.NOT_FETCHED)
    if facts.status != OK:
        return Refusal(reason=Reason(facts.status), value=facts.value, limit=facts.limit)
    refusal = refuse_asking(recipe.consent, facts) or recipe.formats(facts.format)
    if refusal is not None:
        return refusal
    return first_refusal(recipe.image, image_ratios(width=facts.width, height=facts.height))


def judge_images(
    document: Document,
    kept: Sequence[int],
    images: Mapping[int, ImageFacts | None],
    recipe: Recipe,
    *,
    clusters: Mapping[int, str],
    holders: Mapping[int, int],
) -> ImageJudgement:
    """Judge what filter_text kept of a document.

    `clusters` and `holders` (how many documents hold an image within the distance) must have every
    image that `refuse_image` lets pass, if the recipe compares images.
    """
    nodes: dict[int, Refusal] = {}
    before: set[tuple[str, str]] = set()  # what identifies the images kept so far
    for position in kept:
        if not isinstance(document.nodes[position], ImageNode):
            continue
        facts = images.get(position)
        refusal = refuse_image(facts, recipe)
        if refusal is None and recipe.phash_distance is not None:
            assert facts is not None, "refuse_image refuses what has no facts"
            refusal = _refuse_frequent(holders[position], recipe)
            if refusal is None:
                refusal = _refuse_second(facts, clusters[position], before)
        if refusal is not None:
            nodes[position] = refusal
    return _judge_rest(document, kept, nodes, recipe)


def _refuse_frequent(documents: int, recipe: Recipe) -> Refusal | None:
    limit = recipe.image_documents
    if limit is None or documents <= limit:
        return None
    return Refusal(reason=Reason.FREQUENT_IMAGE, value=documents, limit=limit)


def _refuse_second(facts: ImageFacts, cluster: str, before: set[tuple[str, str]]) -> Refusal | None:
    """A picture stays once in a document: the same cluster, bytes or URL is the same picture."""
    marks = {("cluster", cluster), ("sha256", facts.sha256), ("url", facts.url)}
    if marks & before:
        return Refusal(reason=Reason.DUPLICATE_IN_DOCUMENT, value=1, limit=0)
    before |= marks
    return None


def _judge_rest(
    document: Document, kept: Sequence[int], nodes: Mapping[int, Refusal], recipe: Recipe
) -> ImageJudgement:
    left = tuple(position for position in kept if position not in nodes)
    images = sum(isinstance(document.nodes[position], ImageNode) for position in left)
    refusal = first_refusal(recipe.document_images, {Signal.IMAGES: float(images)})
    if refusal is None and images == len(left):
        refusal = Refusal(reason=Reason.NO_TEXT, value=0, limit=1)
    if refusal is not None:
        return ImageJudgement(refusal=refusal, nodes=nodes)
    return ImageJudgement(nodes=nodes, kept=left)
