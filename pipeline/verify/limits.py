"""Limits: a refusal holds only if its value misses its limit, on the side that its rule refuses.

In:   reason, value and limit as they lie in verdicts/ and images/; the recipe that the manifest of
      the deciding stage tells; the node with its counts, as it lies in documents/.
Out:  why a refusal does not hold, "" where it does. Of a text node the value is measured again from
      its stored counts, of a declared side from the node. What images/ says of a file is looked up
      in claims.py. The values of groupings, and of what was left of a document, are held against
      their limits alone: nothing at rest tells them.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pipeline.verify.folder import Row
from schemas.verdict import CONSENT, Reason

Misses = Callable[[float, float], bool]  # value, limit: whether it is refused
Recipe = Mapping[str, Any]
ANY: Final = None  # a limit that the recipe does not tell


def _above(value: float, limit: float) -> bool:
    return value > limit


def _below(value: float, limit: float) -> bool:
    return value < limit


def _not_below(value: float, limit: float) -> bool:
    return value >= limit


def _other(value: float, limit: float) -> bool:
    return value != limit


@dataclass(frozen=True, kw_only=True, slots=True)
class Bound:
    """One way in which something may be refused for a reason."""

    misses: Misses
    limit: float | None = ANY
    signal: str = ""  # of a text node, measured again
    unmeasured: bool = False  # whether there may be no value


# of records and files, by the reason's definition; those that are not here measure nothing
_HEADER: Final = Bound(misses=_above, unmeasured=True)  # measured where it is too long
RECORDS: Final[Mapping[str, Bound]] = {
    **dict.fromkeys((Reason.DAMAGED_RECORD, Reason.BAD_HTTP, Reason.BAD_URL), _HEADER),
    Reason.RECORD_TOO_LARGE: Bound(misses=_above),
    Reason.TRUNCATED_PAYLOAD: Bound(misses=_below),
    Reason.BAD_ENCODING: Bound(misses=_above, unmeasured=True),
    Reason.HTTP_STATUS: Bound(misses=_other, limit=200),
    Reason.PAGE_TOO_LARGE: Bound(misses=_above),
    Reason.TOO_MANY_ELEMENTS: Bound(misses=_above),
    Reason.UNDECODABLE: Bound(misses=_above, unmeasured=True),
    Reason.TRUNCATED_IMAGE: Bound(misses=_below, unmeasured=True),
    Reason.TOO_MANY_PIXELS: Bound(misses=_above, unmeasured=True),
    Reason.SIDE_TOO_LONG: Bound(misses=_above),
    Reason.IMAGE_BYTES: Bound(misses=_above),
}
_ONCE: Final = Bound(misses=_above, limit=0)
# of what fetch asked for, beside those
FETCHED: Final[Mapping[str, Bound]] = {
    **RECORDS,
    Reason.TRUNCATED_PAYLOAD: Bound(misses=_below, unmeasured=True),
    Reason.DEFERRED: Bound(misses=_not_below, unmeasured=True),
    Reason.RULES_UNREACHABLE: Bound(misses=_above, unmeasured=True),
    Reason.FORBIDDEN_PORT: Bound(misses=_above),
    Reason.TOO_MANY_REDIRECTS: Bound(misses=_above),
    **dict.fromkeys(CONSENT, _ONCE),
}
_NONE_LEFT: Final = Bound(misses=_below, limit=1)
# of what all recipes share: value and limit are told by the reason
_ALWAYS: Final[Mapping[str, Bound]] = {
    Reason.SAME_RECORD: _ONCE,
    Reason.OLDER_CAPTURE: Bound(misses=_above, limit=1),
    Reason.SAME_IMAGE_SET: Bound(misses=_above, limit=1),
    Reason.NEAR_DUPLICATE_TEXT: _ONCE,
    Reason.DUPLICATE_IN_DOCUMENT: _ONCE,
    **dict.fromkeys(CONSENT, _ONCE),
    Reason.IMAGE_URL_WORD: _ONCE,
    Reason.NO_TEXT: _NONE_LEFT,
    Reason.NO_IMAGE: _NONE_LEFT,
}
DIRECTIONS: Final[Mapping[str, Misses]] = {
    "AtMost": _above,
    "AtLeast": _below,
    "AtLeastFrom": _below,
    "Below": _not_below,
}
# signal -> the counts whose quotient it is; a text without words or characters has none
_QUOTIENTS: Final[Mapping[str, tuple[str, str]]] = {
    "special_characters": ("special_characters", "characters"),
    "stop_words": ("stop_words", "words"),
    "flagged_words": ("flagged_words", "words"),
    "common_words": ("common_words", "words"),
    "spam_words": ("spam_words", "words"),
    "punctuation": ("punctuation", "tokens"),
}
_REPEATED: Final[Mapping[str, tuple[str, str, str]]] = {
    "character_repetition": ("character_ngrams_repeated", "character_ngrams", "characters"),
    "word_repetition": ("word_ngrams_repeated", "word_ngrams", "words"),
}


def asks(row: Row, rule: Row) -> bool:
    """Whether a page or an image's response asks for what a rule of consent grants."""
    asked = rule.get("directive")
    return bool(row["tdm_reservation"] if asked is None else asked in row["robots"])


class Limits:
    """What a recipe can refuse: documents, texts and images, each by reason."""

    def __init__(self, recipe: Recipe) -> None:
        self._bounds: dict[tuple[str, str], list[Bound]] = defaultdict(list)
        for about, lists in (
            ("text", ("paragraph",)),
            ("document", ("document", "document_images")),
            ("image", ("image",)),
        ):
            for rule in (rule for name in lists for rule in recipe.get(name, ())):
                self._add(about, rule)
        self._add_others(recipe)

    def _add(self, about: str, rule: Row) -> None:
        bound = Bound(
            misses=DIRECTIONS[rule["rule"]],
            limit=rule["limit"],
            signal=rule["signal"] if about == "text" else "",
            unmeasured=True,  # a NaN: where it is measured again, that is compared too
        )
        self._bounds[about, rule["reason"]].append(bound)

    def _add_others(self, recipe: Recipe) -> None:
        """Language, declared sides, and what is met too often."""
        if spoken := recipe.get("spoken"):
            self._bounds["document", spoken["reason"]] += [
                Bound(misses=_below, limit=spoken["score"], unmeasured=True)
            ]
        for rule in recipe.get("image_node", ()):
            if "at_least" in rule:
                low = Bound(misses=_below, limit=rule["at_least"])
                high = Bound(misses=_above, limit=rule["at_most"], unmeasured=True)
                self._bounds["image", rule["reason"]] += [low, high]
        for about, reason, name, less in (
            ("text", Reason.REPEATED_IN_DOMAIN, "paragraph_repeats", 1),
            ("image", Reason.IMAGE_URL_FREQUENT, "image_url_documents", 0),
            ("image", Reason.FREQUENT_IMAGE, "image_documents", 0),
        ):
            if (limit := recipe.get(name)) is not None:
                self._bounds[about, reason].append(Bound(misses=_above, limit=limit - less))

    def why_not(self, verdict: Row, node: Row | None) -> str:
        """Why a verdict does not hold; `node` is None for a whole document."""
        about = "document" if node is None else node["kind"]
        reason = verdict["reason"]
        bounds: Sequence[Bound] = self._bounds.get((about, reason), ())
        bounds = bounds or [one for one in (_ALWAYS.get(reason), FETCHED.get(reason)) if one]
        if not any(_holds(bound, verdict, node) for bound in bounds) and bounds:
            return _told(verdict)
        if not bounds and (verdict["value"], verdict["limit"]) != (None, None):
            return _told(verdict)
        return "" if _as_declared(verdict, node) else f"{_told(verdict)}, but it declares others"


def why_no_record(refused: Row, reason: str, bounds: Mapping[str, Bound] = RECORDS) -> str:
    """Why a refusal of a record or file does not hold; `refused` has value and limit."""
    bound = bounds.get(reason)
    if bound is None:
        good = reason in set(Reason) and (refused["value"], refused["limit"]) == (None, None)
    else:
        good = _holds(bound, refused, None)
    return "" if good else _told({**refused, "reason": reason})


def _holds(bound: Bound, verdict: Row, node: Row | None) -> bool:
    value, limit = verdict["value"], verdict["limit"]
    if bound.limit is not ANY and limit != bound.limit:
        return False
    if bound.signal and node is not None and not _same(value, measured(bound.signal, node)):
        return False
    if value is None:
        return bound.unmeasured
    # a record that its own header calls cut has no limit
    return bound.limit is ANY if limit is None else bound.misses(value, limit)


def measured(signal: str, node: Row) -> float:
    """A signal of a text node, from the counts that lie beside it; NaN where it has none."""
    counts = node["counts"] or defaultdict(int)
    if signal in {"words", "tokens"}:
        return float(counts[signal])
    if signal in _QUOTIENTS:
        part, whole = (counts[name] for name in _QUOTIENTS[signal])
        return part / whole if whole else math.nan
    repeated, all_, of = (counts[name] for name in _REPEATED[signal])
    return repeated / max(all_, 1) if of else math.nan


def _same(value: float | None, again: float) -> bool:
    return math.isnan(again) if value is None else value == again


def _as_declared(verdict: Row, node: Row | None) -> bool:
    """Whether a declared side or aspect is what the page declares."""
    if node is None or verdict["reason"] not in {
        Reason.IMAGE_DECLARED_SIDE,
        Reason.IMAGE_DECLARED_ASPECT,
    }:
        return True
    width, height, value = node["width"], node["height"], verdict["value"]
    if verdict["reason"] == Reason.IMAGE_DECLARED_SIDE:
        return value in {width, height} - {None}
    if width is None or height is None:
        return False
    return value is None if height <= 0 else bool(value == width / height)


def _told(verdict: Row) -> str:
    return f"{verdict['reason']}, {verdict['value']} against {verdict['limit']}"
