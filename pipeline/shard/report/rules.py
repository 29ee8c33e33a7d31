"""Rules in force: the recipe as the manifest holds it, as lines that a reader can check.

In:   the settings of a filter stage (JSON): lists of rules, single rules, and plain parameters.
Out:  a RuleLine for each rule with its limit and where that comes from; the other parameters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

_SAID_ELSEWHERE = frozenset({"rule", "signal", "limit", "reason", "source"})


class RuleLine(NamedTuple):
    about: str  # paragraph, document, image, ...
    reason: str
    says: str  # at least 4 words
    source: str


def rules_of(recipe: Mapping[str, Any]) -> list[RuleLine]:
    return [
        RuleLine(about, rule["reason"], says(rule), rule["source"])
        for about, value in recipe.items()
        for rule in _rules_in(value)
    ]


def parameters_of(recipe: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is no rule: a number, a name, or a few of them."""
    return [
        (name, _plain(value))
        for name, value in recipe.items()
        if not any(_rules_in(value)) and value not in ([], {})
    ]


def says(rule: Mapping[str, Any]) -> str:
    """words at least 4; no word in path: logo, icon; in the words of its own settings."""
    kind = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", rule["rule"]).lower()
    begin, end = kind, ": "
    if "signal" in rule:
        begin, end = f"{rule['signal']} {kind} {_plain(rule['limit'])}".replace("_", " "), ", "
    told = [
        _setting(name.replace("_", " "), value)
        for name, value in rule.items()
        if name not in _SAID_ELSEWHERE and value is not False
    ]
    return begin + end + ", ".join(told) if told else begin


def _setting(name: str, value: object) -> str:
    if value is True:
        return name
    return _plain(value) if isinstance(value, list) else f"{name} {_plain(value)}"


def _rules_in(value: object) -> Iterator[Mapping[str, Any]]:
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, dict) and "rule" in one:
            yield one


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(one)}" for name, one in value.items())
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)
