"""Image sources: the attributes of an `<img>` and its `<source>`s in, URL references out.

In:   attributes as parsed; a `<picture>`'s `<source>` elements come with their `<img>`.
Out:  references, the best first; the caller takes the first that resolves. Empty where there is
      none but a `data:` URI, which stands for an image that a script puts in later. Apart from
      them, the URLs of the same picture in other sizes: a crawl may hold it under any of them.
Order: the largest sensible candidate of a (lazy) srcset, that of the sources, a lazy attribute,
      `src`, and last any `data-*` that looks like an image's file name.

A srcset is parsed by the HTML standard (4.8.4.3.10): a URL may hold commas, and a candidate whose
descriptors are wrong is not a candidate.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from pipeline.words.consent import Attributes
from pipeline.words.urls import absolute_url

SENSIBLE_WIDTH: Final = 2_048  # pixels; more is not seen by any vision tower, and costs its bytes
SENSIBLE_DENSITY: Final = 3.0
LONGEST_SRCSET: Final = 65_536  # characters
MOST_OTHERS: Final = 8  # URLs of one picture beside its own
_MOST_UNSIZED: Final = 4  # of these, from lazy attributes and `src`, which have no size

LAZY_SRCSETS: Final = (
    "data-srcset",
    "data-lazy-srcset",
    "data-src-set",
    "data-ll-srcset",
    "srcset",
)
LAZY_SOURCES: Final = (
    "data-src", "data-lazy-src", "data-original", "data-lazy", "data-src-fg", "data-scroll-image",
    "data-lateloadsrc", "data-img-src", "data-gt-lazy-src", "data-actualsrc", "data-echo",
    "data-defer-src", "data-cfsrc", "data-ezsrc", "data-hi-res-src", "data-image-src",
    "data-original-src", "data-pagespeed-lazy-src", "data-url", "data-image", "lazy-src",
    "lazysrc", "src2",
)  # fmt: skip
_LAZY: Final = frozenset(LAZY_SOURCES)
_SIZED: Final = _LAZY | frozenset(LAZY_SRCSETS)  # an image without them has its `src` and no other
_TYPES: Final = ("image/jpeg", "image/jpg", "image/png", "image/webp", "image/gif")
_FILE: Final = re.compile(r"^[^\s{}<>]+\.(?:jpe?g|png|webp|gif)(?:\?[^\s]*)?$", re.IGNORECASE)
_PLACEHOLDER: Final = re.compile(  # by its file's name
    r"(?:^|[^a-z])(?:blank|spacer|placeholder|loading|loader|spinner|transparent|pixel|clear|empty"
    r"|dummy|lazy|lazyload|trans|1x1|1px)(?:[^a-z]|$)|^(?:0|1|s|t|x|grey|gray|white)\.gif$",
    re.IGNORECASE,
)
_URL: Final = re.compile(r"[ \t\n\f\r,]*([^ \t\n\f\r]+)")
_DESCRIPTORS: Final = re.compile(r"(?:[^,()]++|\([^)]*+\)?+|\))*+")
_WIDTH: Final = re.compile(r"([0-9]{1,9})w")
_HEIGHT: Final = re.compile(r"([0-9]{1,9})h")
_DENSITY: Final = re.compile(r"([0-9]{0,9}(?:\.[0-9]{1,9})?(?:[eE][+-]?[0-9]{1,2})?)x")
_SIDE: Final = re.compile(r"\s*([0-9]{1,7})(?![0-9])(?:\.[0-9]*)?\s*(%|[a-z]*)", re.IGNORECASE)


class Candidate(NamedTuple):
    """One candidate of a srcset; it has a width or a density, or neither."""

    url: str
    width: int | None = None
    density: float | None = None


class ImageElement(NamedTuple):
    """An image element with its `<source>`s, and the one URL of theirs that the node has."""

    image: Attributes
    sources: Sequence[Attributes]
    url: str


@lru_cache(maxsize=32)  # a srcset is parsed for the best URL, and again for the others
def parse_srcset(text: str) -> tuple[Candidate, ...]:
    """The candidates of a srcset, in its order."""
    text, position = text[:LONGEST_SRCSET], 0
    candidates: list[Candidate] = []
    while match := _URL.match(text, position):
        url, position = match[1], match.end()
        descriptors: list[str] = []
        if not url.endswith(","):
            rest = _DESCRIPTORS.match(text, position)
            assert rest is not None  # it matches nothing, too
            descriptors, position = rest[0].split(), rest.end()
        candidate = _candidate(url.rstrip(","), descriptors)
        if candidate is not None:
            candidates.append(candidate)
    return tuple(candidates)


def _candidate(url: str, descriptors: list[str]) -> Candidate | None:
    width = density = height = None
    if not url:
        return None
    for descriptor in descriptors:
        if (match := _WIDTH.fullmatch(descriptor)) and width is density is None and int(match[1]):
            width = int(match[1])
        elif (match := _DENSITY.fullmatch(descriptor)) and match[1] and width is density is None:
            density = float(match[1])
        elif (match := _HEIGHT.fullmatch(descriptor)) and height is density is None:
            height = int(match[1])
        else:
            return None
    if height is not None and width is None:
        return None
    return Candidate(url=url, width=width, density=density)


def largest_sensible(candidates: Sequence[Candidate]) -> Candidate | None:
    """The widest up to SENSIBLE_WIDTH, else the narrowest above it; so with densities."""
    return min((c for c in candidates if not is_data(c.url)), key=_rank, default=None)


def _rank(candidate: Candidate) -> tuple[int, bool, float]:
    """The best candidate has the least: by width, else by density, the largest sensible one."""
    if candidate.width:
        kind, size, limit = 0, float(candidate.width), float(SENSIBLE_WIDTH)
    elif candidate.density:
        kind, size, limit = 1, candidate.density, SENSIBLE_DENSITY
    else:
        return 2, False, 0.0
    return kind, size > limit, size if size > limit else -size


def references(image: Attributes, sources: Sequence[Attributes] = ()) -> list[str]:
    """What the image may be loaded from, the best first."""
    if not sources and image.keys().isdisjoint(_SIZED):
        return [value] if (value := _reference(image.get("src"))) else _named_files(image)
    urls: list[str] = []
    own = largest_sensible(_candidates_of(image))
    widest = largest_sensible(
        [c for source in sources if _readable(source) for c in _candidates_of(source)]
    )
    if own is not None:
        urls.append(own.url)
    if widest is not None and widest.width is not None:
        urls.append(widest.url)
    urls += [*_lazy_references(image), _reference(image.get("src"))]
    if widest is not None:
        urls.append(widest.url)
    urls += [_reference(source.get("src")) for source in sources]
    return [url for url in urls if url] or _named_files(image)


def _named_files(image: Attributes) -> list[str]:
    return [
        value.strip()
        for name, value in image.items()
        if value and name.startswith("data-") and _FILE.match(value.strip())
    ]


def others_of(elements: Sequence[ImageElement], *, base: str) -> tuple[str, ...]:
    """The URLs of a picture beside that of its first element; the other elements are twins."""
    chosen = elements[0].url
    urls: dict[str, None] = {}  # in order
    for image, sources, url in elements:
        urls[url] = None
        urls |= dict.fromkeys(other_urls(image, sources, url=url, base=base))
        if len(urls) > MOST_OTHERS:
            break
    return tuple(url for url in urls if url != chosen)[:MOST_OTHERS]


def other_urls(
    image: Attributes, sources: Sequence[Attributes], *, url: str, base: str
) -> tuple[str, ...]:
    """The absolute URLs of the same picture beside `url`, the best first."""
    if not sources and image.keys().isdisjoint(_SIZED):
        return ()
    offered = [image, *(source for source in sources if _readable(source))]
    candidates = (candidate for element in offered for candidate in _candidates_of(element))
    sized = sorted(candidates, key=_rank)
    larger = _absolute([c.url for c in sized[: 2 * MOST_OTHERS]], base=base)
    lazy = _absolute(_lazy_references(image), base=base)
    shown = _absolute([_reference(image.get("src"))], base=base)
    if lazy or any(map(_waits, offered)):
        shown = _named_as(shown, (url, *larger, *lazy))
    shown = [address for address in shown if not _PLACEHOLDER.search(file_of(address))]
    unsized = lazy[: _MOST_UNSIZED - len(shown)] + shown
    sizes = [address for address in larger if address != url][: MOST_OTHERS - len(unsized)]
    return tuple(address for address in dict.fromkeys(sizes + unsized) if address != url)


def _waits(attributes: Attributes) -> bool:
    """Whether a script is to put the srcset in."""
    return any(attributes.get(name) for name in LAZY_SRCSETS if name != "srcset")


def _named_as(urls: Sequence[str], known: Sequence[str]) -> list[str]:
    """Those whose file has the name of a known one: any other is what pages show while they load,
    and is shared by many pictures."""
    names = {name for url in known if _FILE.match(name := file_of(url))}
    return [url for url in urls if file_of(url) in names]


def _absolute(references: Sequence[str], *, base: str) -> list[str]:
    """The http(s) URLs of these references, each once."""
    urls = dict.fromkeys(absolute_url(text, base=base) for text in references if text)
    return [url for url in urls if url.startswith(("http://", "https://"))]


def file_of(url: str) -> str:
    """The name of the file in a URL's path."""
    return urlsplit(url).path.rpartition("/")[2]


def _candidates_of(attributes: Attributes) -> list[Candidate]:
    """The candidates of its first srcset that has any."""
    for name in LAZY_SRCSETS:
        text = attributes.get(name)
        if text and (candidates := [c for c in parse_srcset(text) if not is_data(c.url)]):
            return candidates
    return []


def _readable(source: Attributes) -> bool:
    kind = (source.get("type") or "").partition(";")[0].strip().lower()
    return not kind or kind in _TYPES


def _reference(value: str | None) -> str:
    """The value without the space around it, "" for a data: URI."""
    value = (value or "").strip()
    return "" if is_data(value) else value


def _lazy_references(image: Attributes) -> list[str]:
    if image.keys().isdisjoint(_LAZY):
        return []
    return [value for name in LAZY_SOURCES if (value := _lazy_reference(image.get(name)))]


def _lazy_reference(value: str | None) -> str:
    """The value if it may be a URL: no flag, no JSON, no template of a script."""
    value = _reference(value)
    if "{" in value or value[:1] in {"[", "<", "#"}:
        return ""
    return "" if value.lower() in {"true", "false", "null", "undefined", "about:blank"} else value


def is_data(reference: str) -> bool:
    return reference[:5].lower() == "data:"


def declared_side(value: str | None) -> int | None:
    """A width or height attribute in pixels; None for none, for a share, and for 0.

    Frameworks write 0 for an image that fills its box, so 0 says nothing about it.
    """
    match = _SIDE.match(value or "")
    if match is None or match[2].lower() not in {"", "px"}:
        return None
    return int(match[1]) or None
