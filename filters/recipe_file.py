"""Recipe file: a user's TOML text in, a Recipe out.

    base = "obelics"               # or "off"
    name = "mine"
    language = "en"
    language_score = 0.7
    paragraph_repeats = 5
    noai = false                   # false turns a rule off, never a number

    [paragraph]                    # also [document], [image], [document_images]
    words_at_least = 5             # only the limit changes; reason and order are obelics's
    stop_words_at_least = false

    [image_node]
    url_words = ["logo", "icon"]
    declared_sides = [100, 20_000]
    declared_aspect = false

    [minhash]
    bands = 20

In:       text; the file is read by the caller.
Out:      the base with what the file says; a rule that it changed has the file as its source.
Refused:  a key that does not exist (the nearest one is offered), a value of another kind.
A rule that obelics has and the base lacks goes where obelics has it, if the file names it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, fields, replace
from difflib import get_close_matches
from typing import Any, Final

from filters.image_rules import DeclaredAspect, DeclaredSides, FormatIn, NodeRule, NoWordInPath
from filters.recipe import OBELICS, RECIPES, MinHashParameters, Recipe
from filters.rules import ConsentRule, LanguageAtLeast, NoDirective, Threshold
from schemas.sample import EXTENSIONS

Table = Mapping[str, object]

_RULES: Final = ("paragraph", "document", "image", "document_images")
_COUNTS: Final = (
    "paragraph_repeats",
    "image_url_documents",
    "image_documents",
    "phash_distance",
    "image_set_minimum",
)
_NODE_RULES: Final[Mapping[str, type[NodeRule]]] = {
    "url_words": NoWordInPath,
    "declared_sides": DeclaredSides,
    "declared_aspect": DeclaredAspect,
}


def _consent_key(rule: ConsentRule) -> str:
    return rule.directive if isinstance(rule, NoDirective) else "tdm_reservation"


_CONSENT: Final = {_consent_key(rule): rule for rule in OBELICS.consent}
_TOP: Final = (
    *("base", "name", "language", "language_score", "formats", "image_node", "minhash"),
    *(*_RULES, *_COUNTS, *_CONSENT, "phash_bands"),
)


def recipe_from_toml(text: str) -> Recipe:
    """Raises ValueError naming the key, what it holds and what it may hold."""
    try:
        file = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ValueError(f"the recipe file is no TOML: {error}") from error
    _check_names(file, _TOP, of="the recipe file")
    base = _base(file)
    name = _text(file, "name")
    source = f"recipe file of {name}"
    changes: dict[str, Any] = {"name": name}
    if "language" in file:
        changes["language"] = _text(file, "language")
    changes |= {key: _count_or_off(key, file[key]) for key in _COUNTS if key in file}
    if "phash_bands" in file:
        changes["phash_bands"] = _whole("phash_bands", file["phash_bands"])
    for key in _RULES:
        changes[key] = _rules(key, base, _table(file, key), source)
    if "minhash" in file:
        off = file["minhash"] is False
        changes["minhash"] = None if off else _minhash(base, _table(file, "minhash"))
    if "formats" in file:
        changes["formats"] = FormatIn(formats=_formats(file["formats"]), source=source)
    return replace(
        base,
        consent=_consent(base, file),
        spoken=_spoken(base, file, source),
        image_node=_image_node(base, _table(file, "image_node"), source),
        **changes,
    )


def _base(file: Table) -> Recipe:
    base = _text(file, "base")
    if base not in RECIPES:
        raise ValueError(f"base is {base!r}: choose one of {', '.join(RECIPES)}")
    if file.get("name") in RECIPES:
        raise ValueError(f"name is {file['name']!r}, a recipe that exists: choose another name")
    return RECIPES[base]


def _check_names(file: Iterable[str], known: Iterable[str], *, of: str) -> None:
    known = sorted(known)
    for name in file:
        if name not in known:
            near = get_close_matches(name, known, n=1, cutoff=0.5)
            offer = f"did you mean {near[0]}?" if near else f"choose from {', '.join(known)}"
            raise ValueError(f"{of} has no key {name!r}: {offer}")


def _rules(section: str, base: Recipe, table: Table, source: str) -> tuple[Threshold, ...]:
    """The rules of a section, in obelics's order: the base's, but for what the table says."""
    mine = {rule.key: rule for rule in getattr(base, section)}
    known: Mapping[str, Threshold] = {rule.key: rule for rule in getattr(OBELICS, section)}
    _check_names(table, known, of=f"[{section}]")
    chosen = []
    for key, rule in known.items():
        if key not in table:
            chosen += [mine[key]] if key in mine else []
        elif (limit := _number_or_off(f"{section}.{key}", table[key])) is not None:
            chosen.append(replace(rule, limit=limit, source=source))
    return tuple(chosen)


def _consent(base: Recipe, file: Table) -> tuple[ConsentRule, ...]:
    chosen = {_consent_key(rule) for rule in base.consent}
    for key in _CONSENT:
        if key in file:
            chosen = chosen | {key} if _flag(key, file[key]) else chosen - {key}
    return tuple(rule for key, rule in _CONSENT.items() if key in chosen)


def _spoken(base: Recipe, file: Table, source: str) -> LanguageAtLeast | None:
    if "language_score" not in file:
        return base.spoken
    score = _number_or_off("language_score", file["language_score"])
    return None if score is None else LanguageAtLeast(score=score, source=source)


def _image_node(base: Recipe, table: Table, source: str) -> tuple[NodeRule, ...]:
    _check_names(table, _NODE_RULES, of="[image_node]")
    make: Mapping[str, Callable[[object], NodeRule]] = {
        "url_words": lambda value: NoWordInPath(words=_words(value), source=source),
        "declared_sides": lambda value: DeclaredSides(**_pair("sides", value), source=source),
        "declared_aspect": lambda value: DeclaredAspect(**_pair("aspect", value), source=source),
    }
    mine = {type(rule): rule for rule in base.image_node}
    for key, kind in _NODE_RULES.items():
        if table.get(key) is False:
            mine.pop(kind, None)
        elif key in table:
            mine[kind] = make[key](table[key])
    order = [type(rule) for rule in OBELICS.image_node]
    return tuple(mine[kind] for kind in order if kind in mine)


def _minhash(base: Recipe, table: Table) -> MinHashParameters:
    known = [field.name for field in fields(MinHashParameters)]
    _check_names(table, known, of="[minhash]")
    values = asdict(base.minhash or MinHashParameters())
    for key, value in table.items():
        values[key] = _whole(f"minhash.{key}", value)
    return MinHashParameters(**values)


def _table(file: Table, key: str) -> Table:
    """A table; empty where it is absent."""
    value = file.get(key, {})
    if not isinstance(value, Mapping):
        raise ValueError(f"{key} is {value!r}: it is a table, written as [{key}]")
    return value


def _text(file: Table, key: str) -> str:
    value = file.get(key)
    if not isinstance(value, str) or not value:
        raise ValueError(f'{key} is {value!r}: the recipe file needs a text, as {key} = "..."')
    return value


def _flag(key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{key} is {value!r}: choose true or false")
    return value


def _whole(key: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{key} is {value!r}: give a whole number")
    return value


def _count_or_off(key: str, value: object) -> int | None:
    return None if value is False else _whole(key, value)


def _number_or_off(key: str, value: object) -> float | None:
    if value is False:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(f"{key} is {value!r}: give a number, or false to turn the rule off")
    return value


def _words(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(
        isinstance(word, str) and word.isascii() and word.isalpha() for word in value
    ):
        raise ValueError(f"image_node.url_words is {value!r}: give a list of words of a to z")
    return tuple(word.lower() for word in value)


def _formats(value: object) -> tuple[str, ...]:
    known = sorted(EXTENSIONS)
    if not isinstance(value, list) or not value or not all(name in known for name in value):
        raise ValueError(f"formats is {value!r}: give a list out of {', '.join(known)}")
    return tuple(value)


def _pair(what: str, value: object) -> dict[str, Any]:
    match value:
        case [int() | float() as least, int() | float() as most] if least <= most:
            return {"at_least": least, "at_most": most}
    raise ValueError(f"image_node.declared_{what} is {value!r}: give [least, most], or false")
