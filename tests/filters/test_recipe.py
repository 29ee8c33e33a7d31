"""Recipes: what they hold, what they may refuse for, and what a user's file makes of them."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any, cast

import pytest

from filters.image_rules import DeclaredSides, FormatIn
from filters.recipe import OBELICS, OFF, RECIPES, MinHashParameters, Recipe, as_settings
from filters.recipe_file import recipe_from_toml
from filters.rules import AtLeast, first_refusal
from filters.signals import Signal
from schemas.verdict import Reason
from tests.filters.reasons import reasons_of

# a text and an image that every rule of obelics passes
GOOD = {
    Signal.WORDS: 50.0,
    Signal.TOKENS: 55.0,
    Signal.CHARACTER_REPETITION: 0.0,
    Signal.WORD_REPETITION: 0.0,
    Signal.SPECIAL_CHARACTERS: 0.2,
    Signal.STOP_WORDS: 0.5,
    Signal.FLAGGED_WORDS: 0.0,
    Signal.COMMON_WORDS: 1.0,
    Signal.SPAM_WORDS: 0.0,
    Signal.PUNCTUATION: 0.1,
    Signal.SHORT_SIDE: 300.0,
    Signal.LONG_SIDE: 400.0,
    Signal.ASPECT: 4 / 3,
    Signal.IMAGES: 2.0,
}

SECTIONS = ("paragraph", "document", "image", "document_images")

# (section, signal, value on the limit, just beyond it, reason); the paper's table
LIMITS = [
    ("paragraph", Signal.WORDS, 4, 3, Reason.TOO_FEW_WORDS),
    ("paragraph", Signal.WORDS, 1_000, 1_001, Reason.TOO_MANY_WORDS),
    ("paragraph", Signal.CHARACTER_REPETITION, 0.1, 0.1001, Reason.CHARACTER_REPETITION),
    ("paragraph", Signal.WORD_REPETITION, 0.1, 0.1001, Reason.WORD_REPETITION),
    ("paragraph", Signal.SPECIAL_CHARACTERS, 0.3, 0.3001, Reason.SPECIAL_CHARACTERS),
    ("paragraph", Signal.STOP_WORDS, 0.3, 0.2999, Reason.FEW_STOP_WORDS),
    ("paragraph", Signal.FLAGGED_WORDS, 0.01, 0.0101, Reason.FLAGGED_WORDS),
    ("paragraph", Signal.PUNCTUATION, 0.001, 0.0009, Reason.LITTLE_PUNCTUATION),
    ("paragraph", Signal.COMMON_WORDS, 0.8, 0.7999, Reason.FEW_COMMON_WORDS),
    ("paragraph", Signal.SPAM_WORDS, 0.1199, 0.12, Reason.SPAM_WORDS),
    ("document", Signal.WORDS, 10, 9, Reason.TOO_FEW_WORDS),
    ("document", Signal.WORDS, 2_000, 2_001, Reason.TOO_MANY_WORDS),
    ("document", Signal.CHARACTER_REPETITION, 0.1, 0.1001, Reason.CHARACTER_REPETITION),
    ("document", Signal.WORD_REPETITION, 0.2, 0.2001, Reason.WORD_REPETITION),
    ("document", Signal.SPECIAL_CHARACTERS, 0.275, 0.2751, Reason.SPECIAL_CHARACTERS),
    ("document", Signal.STOP_WORDS, 0.35, 0.3499, Reason.FEW_STOP_WORDS),
    ("document", Signal.FLAGGED_WORDS, 0.01, 0.0101, Reason.FLAGGED_WORDS),
    ("document", Signal.PUNCTUATION, 0.03, 0.0299, Reason.LITTLE_PUNCTUATION),
    ("document", Signal.COMMON_WORDS, 0.9, 0.8999, Reason.FEW_COMMON_WORDS),
    ("image", Signal.SHORT_SIDE, 150, 149, Reason.IMAGE_SIDE_SHORT),
    ("image", Signal.LONG_SIDE, 20_000, 20_001, Reason.IMAGE_SIDE_LONG),
    ("image", Signal.ASPECT, 0.5, 0.4999, Reason.IMAGE_ASPECT),
    ("image", Signal.ASPECT, 2, 2.0001, Reason.IMAGE_ASPECT),
    ("document_images", Signal.IMAGES, 1, 0, Reason.NO_IMAGE),
    ("document_images", Signal.IMAGES, 30, 31, Reason.TOO_MANY_IMAGES),
]


@pytest.mark.parametrize(("section", "signal", "last", "beyond", "reason"), LIMITS)
def test_obelics_has_the_limits_of_the_paper(
    section: str, signal: Signal, last: float, beyond: float, reason: Reason
) -> None:
    rules = getattr(OBELICS, section)
    assert first_refusal(rules, GOOD | {signal: last}) is None
    refusal = first_refusal(rules, GOOD | {signal: beyond})
    assert refusal is not None
    assert (refusal.reason, refusal.value) == (reason, beyond)


def test_the_table_of_limits_has_every_rule_of_obelics() -> None:
    rules = [(section, rule.reason) for section in SECTIONS for rule in getattr(OBELICS, section)]
    assert sorted(rules) == sorted((section, reason) for section, *_, reason in LIMITS)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
@pytest.mark.parametrize("section", SECTIONS)
def test_a_signal_that_is_not_a_number_never_passes(recipe: Recipe, section: str) -> None:
    for rule in getattr(recipe, section):
        assert first_refusal(getattr(recipe, section), GOOD | {rule.signal: math.nan}) is not None
        assert rule(GOOD | {rule.signal: math.nan}) is not None


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
def test_every_rule_has_a_source(recipe: Recipe) -> None:
    rules = [
        rule for name in (*SECTIONS, "consent", "image_node") for rule in getattr(recipe, name)
    ]
    assert rules
    assert all(rule.source for rule in (*rules, recipe.formats))


OBELICS_REASONS = """
    character_repetition duplicate_in_document few_common_words few_stop_words flagged_words
    frequent_image image_aspect image_declared_aspect image_declared_side image_format
    image_side_long image_side_short image_url_frequent image_url_scheme image_url_word language
    little_punctuation near_duplicate_text no_image no_text noai noimageai repeated_in_domain
    same_image_set spam_words special_characters tdm_reserved too_few_words too_many_images
    too_many_words word_repetition
"""
OFF_REASONS = "image_format image_url_scheme no_image no_text"


@pytest.mark.parametrize(
    ("recipe", "reasons"), [(OBELICS, OBELICS_REASONS), (OFF, OFF_REASONS)], ids=["obelics", "off"]
)
def test_the_reasons_of_a_recipe_are_frozen(recipe: Recipe, reasons: str) -> None:
    assert sorted(reasons_of(recipe)) == reasons.split()


def test_consent_is_kept_in_every_recipe_but_off() -> None:
    kept = {name for name, recipe in RECIPES.items() if len(recipe.consent) == 3}
    assert kept == set(RECIPES) - {"off"}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
def test_the_settings_of_a_recipe_are_json_and_tell_every_field(recipe: Recipe) -> None:
    settings = as_settings(recipe)
    assert json.loads(json.dumps(settings)) == settings
    assert set(settings) == set(Recipe.__dataclass_fields__) | {"signals"}
    changed = as_settings(replace(recipe, language="de"))
    assert {key for key in settings if settings[key] != changed[key]} == {"language"}


def test_settings_name_the_rule_its_limit_its_reason_and_its_source() -> None:
    first = as_settings(OBELICS)["paragraph"][0]
    assert first == {
        "rule": "AtLeast",
        "signal": "words",
        "limit": 4,
        "reason": "too_few_words",
        "source": "OBELICS (arXiv 2306.16527), appendix A",
    }


def test_two_recipes_that_differ_in_one_limit_have_other_settings() -> None:
    one = recipe_from_toml('base = "obelics"\nname = "mine"')
    other = recipe_from_toml('base = "obelics"\nname = "mine"\n[document]\nwords_at_least = 11')
    assert as_settings(one) != as_settings(other)
    assert as_settings(replace(one, name="obelics")) == as_settings(OBELICS)


def test_a_rule_for_what_is_not_measured_there_is_refused() -> None:
    rule = AtLeast(signal=Signal.ASPECT, limit=1, reason=Reason.IMAGE_ASPECT, source="a test")
    with pytest.raises(ValueError, match="recipe obelics: paragraph has a rule for aspect"):
        replace(OBELICS, paragraph=(rule,))


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [("paragraph_repeats", 1, 2), ("phash_distance", -1, 0), ("image_documents", 0, 1)],
)
def test_a_count_below_its_least_is_refused(name: str, value: int, least: int) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value}: choose {least} or more"):
        replace(OBELICS, **cast("dict[str, Any]", {name: value}))


def test_images_cannot_be_frequent_if_they_are_not_compared() -> None:
    with pytest.raises(ValueError, match="without phash_distance"):
        replace(OBELICS, phash_distance=None)


MINE = """
base = "obelics"
name = "mine"
language = "de"
language_score = 0.7
paragraph_repeats = 5
image_set_minimum = false
noai = false
formats = ["jpeg"]

[paragraph]
words_at_least = 5
stop_words_at_least = false

[image_node]
declared_sides = [100, 5_000]
declared_aspect = false
url_words = ["Banner"]

[minhash]
bands = 20
"""


def test_a_recipe_file_changes_what_it_names_and_nothing_else() -> None:
    mine = recipe_from_toml(MINE)
    assert (mine.name, mine.language, mine.paragraph_repeats) == ("mine", "de", 5)
    assert mine.image_set_minimum is None
    assert mine.spoken is not None
    assert mine.spoken.score == 0.7
    assert [rule.reason for rule in mine.consent] == [Reason.TDM_RESERVED, Reason.NOIMAGEAI]
    assert mine.formats == FormatIn(formats=("jpeg",), source="recipe file of mine")
    assert mine.minhash == MinHashParameters(bands=20)
    assert mine.paragraph[0] == AtLeast(
        signal=Signal.WORDS,
        limit=5,
        reason=Reason.TOO_FEW_WORDS,
        source="recipe file of mine",
    )
    assert len(mine.paragraph) == len(OBELICS.paragraph) - 1
    assert mine.image_node[2] == DeclaredSides(
        at_least=100, at_most=5_000, source="recipe file of mine"
    )
    assert [type(rule).__name__ for rule in mine.image_node] == [
        "SchemeIn",
        "NoWordInPath",
        "DeclaredSides",
    ]
    assert mine.document == OBELICS.document
    assert mine.image == OBELICS.image


def test_a_recipe_file_can_put_single_rules_on_to_off() -> None:
    mine = recipe_from_toml(
        'base = "off"\nname = "mine"\nnoai = true\nminhash = {}\n[document]\nwords_at_most = 9_000'
    )
    assert [rule.reason for rule in mine.consent] == [Reason.NOAI]
    assert mine.minhash == MinHashParameters()
    assert [(rule.key, rule.limit) for rule in mine.document] == [("words_at_most", 9_000)]
    assert recipe_from_toml('base = "off"\nname = "x"\nminhash = false').minhash is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("paragraf_repeats = 3", "no key 'paragraf_repeats': did you mean paragraph_repeats"),
        ("[paragraph]\nword_at_least = 3", "no key 'word_at_least': did you mean words_at_least"),
        ("[image_node]\nurl_word = []", "did you mean url_words"),
        ("[minhash]\nseeds = 3", "did you mean seed"),
        ("zzz = 1", "choose from base, "),
        ("paragraph_repeats = true", "paragraph_repeats is True: give a whole number"),
        ("paragraph_repeats = 1", "choose 2 or more"),
        ("language_score = 80", "choose 0 to 1"),
        ("noai = 0", "noai is 0: choose true or false"),
        ("[paragraph]\nwords_at_least = nan", "is NaN"),
        ("[paragraph]\nwords_at_least = true", "give a number, or false"),
        ("paragraph = 3", r"it is a table, written as \[paragraph\]"),
        ('formats = ["bmp"]', "give a list out of gif, jpeg, png, webp"),
        ("formats = [[]]", "give a list out of"),
        ("[image_node]\ndeclared_sides = [5, 1]", r"give \[least, most\]"),
        ('[image_node]\nurl_words = ["a b"]', "give a list of words of a to z"),
        ("phash_bands = false", "phash_bands is False: give a whole number"),
        ("= 3", "is no TOML"),
    ],
)
def test_a_mistake_in_a_recipe_file_is_named_with_its_remedy(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        recipe_from_toml('base = "obelics"\nname = "mine"\n' + text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "mine"', "base is None: the recipe file needs a text"),
        ('base = "obelix"\nname = "mine"', "base is 'obelix': choose one of obelics, off"),
        ('base = "obelics"', "name is None"),
        ('base = "obelics"\nname = "off"', "choose another name"),
    ],
)
def test_a_recipe_file_names_its_base_and_itself(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        recipe_from_toml(text)
