from __future__ import annotations

from filters.recipe import RECIPES, as_settings
from pipeline.shard.report.page import parameters_of, rules_of, says
from schemas.verdict import Reason


def test_a_rule_is_said_with_its_direction_and_limit() -> None:
    told = {"rule": "AtLeast", "signal": "stop_words", "limit": 0.3, "reason": "x", "source": "y"}
    assert says(told) == "stop words at least 0.3"
    assert says(told | {"rule": "AtMost", "limit": 2_000}) == "stop words at most 2,000"


def test_a_rule_of_its_own_kind_is_said_in_its_own_settings() -> None:
    words = {"rule": "NoWordInPath", "words": ["logo", "icon"], "reason": "x", "source": "y"}
    assert says(words) == "no word in path: logo, icon"
    assert says({"rule": "NoReservation"}) == "no reservation"
    assert says({"rule": "NoDirective", "directive": "noai"}) == "no directive: directive noai"
    given = {"rule": "AtLeastFrom", "signal": "punctuation", "limit": 0.001, "given_from": 12}
    assert says(given) == "punctuation at least from 0.001, given from 12"


def test_every_rule_of_the_recipe_is_a_line_with_a_reason_and_a_source() -> None:
    settings = as_settings(RECIPES["obelics"])
    rules = rules_of(settings)
    assert len(rules) > 20
    for rule in rules:
        assert rule.source
        assert Reason(rule.reason)
    names = {name for name, _ in parameters_of(settings)}
    assert {"name", "minhash", "phash_distance"} <= names
    assert names | {rule.about for rule in rules} == {
        name for name, value in settings.items() if value not in ([], {})
    }


def test_a_recipe_without_rules_says_its_parameters() -> None:
    assert rules_of({"name": "off", "paragraph": []}) == []
    assert parameters_of({"name": "off", "paragraph": []}) == [("name", "off")]
