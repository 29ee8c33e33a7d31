"""Reasons: what a recipe can refuse for, so that no test takes a reason that no rule has."""

from __future__ import annotations

from filters.recipe import Recipe
from schemas.verdict import Reason


def reasons_of(recipe: Recipe) -> frozenset[Reason]:
    """All but those that are about the state of image files, or are of no recipe."""
    thresholds = (*recipe.paragraph, *recipe.document, *recipe.image, *recipe.document_images)
    reasons = {Reason.NO_TEXT, Reason.NO_IMAGE, recipe.formats.reason}
    reasons |= {rule.reason for rule in thresholds}
    reasons |= {rule.reason for rule in recipe.consent} | {
        rule.reason for rule in recipe.image_node
    }
    if recipe.spoken is not None:
        reasons.add(recipe.spoken.reason)
    by_field = {
        Reason.REPEATED_IN_DOMAIN: recipe.paragraph_repeats,
        Reason.IMAGE_URL_FREQUENT: recipe.image_url_documents,
        Reason.FREQUENT_IMAGE: recipe.image_documents,
        Reason.NEAR_DUPLICATE_TEXT: recipe.minhash,
        Reason.DUPLICATE_IN_DOCUMENT: recipe.paragraph_repeats or recipe.phash_distance,
        Reason.SAME_IMAGE_SET: recipe.image_set_minimum,
    }
    return frozenset(reasons | {reason for reason, value in by_field.items() if value is not None})
