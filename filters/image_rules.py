"""Image rules that are no thresholds of signals: schemes, words, declared sides, formats.

In:   an ImageNode, before any of its bytes is fetched; a format name, after.
Out:  Refusal or None.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, unquote

from filters.rules import Refusal
from schemas.document import ImageNode
from schemas.verdict import Reason

_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
# of RFC 3986, appendix B; urllib's raises for some of what pages hold
_SPLIT: Final = re.compile(
    r"(?:[a-z][a-z0-9+.-]*:)?(?://[^/?#]*)?(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?", re.IGNORECASE
)
_TOKEN: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


@dataclass(frozen=True, kw_only=True, slots=True)
class SchemeIn:
    """Keep images whose URL can be fetched, not data:, blob: and the like."""

    schemes: tuple[str, ...]
    source: str
    reason: Reason = Reason.IMAGE_URL_SCHEME

    def __call__(self, node: ImageNode) -> Refusal | None:
        scheme = _SCHEME.match(node.url)
        if scheme and scheme[1].lower() in self.schemes:
            return None
        return Refusal(reason=self.reason)


@dataclass(frozen=True, kw_only=True, slots=True)
class NoWordInPath:
    """Refuse images whose URL path holds one of these words as a whole token.

    Tokens are runs of letters, cut where a small letter meets a capital: siteLogo.png and
    site_logo2.png hold `logo`; essex, catalogo and the host hold nothing. A path inside the query
    counts too: there the pictures of image proxies are named. The value is the number of tokens.
    """

    words: tuple[str, ...]
    source: str
    reason: Reason = Reason.IMAGE_URL_WORD

    def __call__(self, node: ImageNode) -> Refusal | None:
        count = sum(token in self.words for token in path_tokens(node.url))
        return Refusal(reason=self.reason, value=count, limit=0) if count else None


def path_tokens(url: str) -> list[str]:
    """The words, in lower case, in the path of a URL, and in the paths that its query holds."""
    nested = [value for _, value in parse_qsl(_part(url, "query")) if "/" in value]
    paths = [unquote(_part(text, "path")) for text in (url, *nested)]
    return [token.lower() for path in paths for token in _TOKEN.findall(path)]


def _part(url: str, name: str) -> str:
    split = _SPLIT.match(url)
    assert split is not None, "every part of the pattern may be empty"
    return split[name] or ""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeclaredSides:
    """Refuse an image that its page declares too small or too large.

    A side that is not declared passes here: filter_images judges every image by its pixels before
    it is kept.
    """

    at_least: int  # pixels
    at_most: int
    source: str
    reason: Reason = Reason.IMAGE_DECLARED_SIDE

    def __call__(self, node: ImageNode) -> Refusal | None:
        sides = [side for side in (node.width, node.height) if side is not None]
        for side in sorted(sides):
            if side < self.at_least:
                return Refusal(reason=self.reason, value=side, limit=self.at_least)
            if side > self.at_most:
                return Refusal(reason=self.reason, value=side, limit=self.at_most)
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class DeclaredAspect:
    """Refuse an image of which both sides are declared, and width / height is out of bounds."""

    at_least: float
    at_most: float
    source: str
    reason: Reason = Reason.IMAGE_DECLARED_ASPECT

    def __call__(self, node: ImageNode) -> Refusal | None:
        if node.width is None or node.height is None:
            return None
        if node.height <= 0:
            return Refusal(reason=self.reason, limit=self.at_most)
        aspect = node.width / node.height
        if aspect < self.at_least:
            return Refusal(reason=self.reason, value=aspect, limit=self.at_least)
        if aspect > self.at_most:
            return Refusal(reason=self.reason, value=aspect, limit=self.at_most)
        return None


NodeRule = SchemeIn | NoWordInPath | DeclaredSides | DeclaredAspect


@dataclass(frozen=True, kw_only=True, slots=True)
class FormatIn:
    """Keep images whose content is of one of these formats."""

    formats: tuple[str, ...]
    source: str
    reason: Reason = Reason.IMAGE_FORMAT

    def __call__(self, image_format: str) -> Refusal | None:
        return None if image_format in self.formats else Refusal(reason=self.reason)
