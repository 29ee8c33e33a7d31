"""Text judgement: one document and what other documents say of its nodes in, what stays out.

In:   a Document with its counts, a Recipe; the positions of paragraphs that repeat in its domain
      and of images whose URL is in too many documents, with their numbers.
Out:  TextJudgement. A document that stays has every node either in `kept` or in `nodes`. One that
      goes has its refusal, nothing in `kept`, and in `nodes` the refusals that led there: its
      nodes are counted with it, not one by one.
Order: consent, language, paragraphs, repeated paragraphs, images by what needs no pixel, what is
      left as a document. It is judged by the text that a shard would hold.
See it: python -m pytest tests/filters/test_text.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from filters.recipe import Recipe
from filters.rules import Refusal, first_refusal, refuse_asking
from filters.signals import measure_document, ratios
from schemas.document import Document, ImageNode, TextCounts, TextNode
from schemas.verdict import Reason

_NONE: Final[Mapping[int, int]] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True, slots=True)
class TextJudgement:
    """What the text alone decided: the document's refusal or None, and its nodes by position."""

    refusal: Refusal | None = None
    nodes: Mapping[int, Refusal] = field(default_factory=dict)
    kept: tuple[int, ...] = ()


def judge_text(
    document: Document,
    recipe: Recipe,
    *,
    repeated: Mapping[int, int] = _NONE,
    frequent: Mapping[int, int] = _NONE,
) -> TextJudgement:
    """Judge a document.

    `repeated` and `frequent` are position -> in how many places of the domain, or in how many
    documents, it stands. Without them a document is judged alone, which decides whether it takes
    part in the groupings.
    """
    if (refusal := _judge_page(document, recipe)) is not None:
        return TextJudgement(refusal=refusal)
    nodes: dict[int, Refusal] = {}
    before: set[str] = set()  # texts that passed their own rules so far
    for position, node in enumerate(document.nodes):
        if isinstance(node, TextNode):
            why = _judge_paragraph(node, recipe, places=repeated.get(position), before=before)
        else:
            why = _judge_image(node, recipe, documents=frequent.get(position))
        if why is not None:
            nodes[position] = why
    kept = tuple(position for position in range(len(document.nodes)) if position not in nodes)
    if (refusal := _judge_rest(document, kept, recipe)) is not None:
        return TextJudgement(refusal=refusal, nodes=nodes)
    return TextJudgement(nodes=nodes, kept=kept)


def _judge_page(document: Document, recipe: Recipe) -> Refusal | None:
    if (refusal := refuse_asking(recipe.consent, document.signals)) is not None:
        return refusal
    if recipe.spoken is None:
        return None
    return recipe.spoken(
        wanted=recipe.language, language=document.language, score=document.language_score
    )


def _judge_paragraph(
    node: TextNode, recipe: Recipe, *, places: int | None, before: set[str]
) -> Refusal | None:
    if recipe.paragraph:
        refusal = first_refusal(recipe.paragraph, ratios(_counts_of(node)))
        if refusal is not None:
            return refusal
    if recipe.paragraph_repeats is None:
        return None
    text = normal(node.text)
    if text in before:  # a quote, or a copy for another screen
        return Refusal(reason=Reason.DUPLICATE_IN_DOCUMENT, value=1, limit=0)
    before.add(text)
    return _too_often(places, recipe.paragraph_repeats - 1, Reason.REPEATED_IN_DOMAIN)


def normal(text: str) -> str:
    """A paragraph for comparing: case and white space make no difference."""
    return " ".join(text.casefold().split())


def _judge_image(node: ImageNode, recipe: Recipe, *, documents: int | None) -> Refusal | None:
    for rule in recipe.image_node:
        if (refusal := rule(node)) is not None:
            return refusal
    return _too_often(documents, recipe.image_url_documents, Reason.IMAGE_URL_FREQUENT)


def _too_often(count: int | None, limit: int | None, reason: Reason) -> Refusal | None:
    if count is None or limit is None or count <= limit:
        return None
    return Refusal(reason=reason, value=count, limit=limit)


def _judge_rest(document: Document, kept: Sequence[int], recipe: Recipe) -> Refusal | None:
    """What is left, as a document. Without any text NO_TEXT is the reason, not too few words."""
    texts = [node for at in kept if isinstance(node := document.nodes[at], TextNode)]
    if not texts:
        return Refusal(reason=Reason.NO_TEXT, value=0, limit=1)
    if recipe.document:
        counts = measure_document([node.text for node in texts], map(_counts_of, texts))
        if (refusal := first_refusal(recipe.document, ratios(counts))) is not None:
            return refusal
    if len(texts) == len(kept):
        return Refusal(reason=Reason.NO_IMAGE, value=0, limit=1)
    return None


def _counts_of(node: TextNode) -> TextCounts:
    if node.counts is None:
        raise ValueError(
            f"a text was never measured ({node.text[:40]!r}): run extract again; what has no "
            f"counts cannot pass"
        )
    return node.counts
