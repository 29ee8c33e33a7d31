"""Page signals: what a page asks of its readers, and says of itself, read from head and headers.

In:   the `<meta>` and `<link>` elements of the page, its HTTP headers.
Out:  PageSignals: robots directives of both places together, the TDM reservation, the canonical
      URL, the licence. Nothing is decided here (law 6): recipes refuse noai and its like.

An X-Robots-Tag that names a crawler (`somebot: noindex`) is kept as if it named none, and noai or
noimageai in the `<meta>` of any crawler too: a wish not to be used is honoured whoever it was first
addressed to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from pipeline.words.urls import absolute_url
from schemas.document import PageSignals

Attributes = Mapping[str, str | None]

_DIRECTIVE: Final = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_VALUED: Final = frozenset(
    {"max-image-preview", "max-snippet", "max-video-preview", "unavailable_after"}
)
# wherever it stands: some pages put blanks or other words where commas belong
_WISH: Final = re.compile(r"(?<![a-z0-9_.-])(?:noai|noimageai)(?![a-z0-9_.-])")
_ROBOTS: Final = frozenset(
    {"robots", "x-robots-tag", "googlebot", "bingbot", "googlebot-news", "ai", "aibots"}
)
# a crawler of some kind: what is asked of it not to do with AI is heard, whoever it is
_CRAWLER: Final = re.compile(
    r"bot(?![a-z])|crawler|spider|(?<![a-z])ai(?![a-z])|extended|img2dataset"
)
_LICENCE: Final = frozenset({"license", "licence", "dc.rights", "dcterms.license", "dcterms.rights",
                             "dc.rights.license", "copyright-license"})  # fmt: skip


def page_signals(
    metas: Iterable[Attributes],
    links: Iterable[Attributes],
    *,
    headers: Sequence[tuple[str, str]],
    base: str,
) -> PageSignals:
    """What the page asks for; `links` are its `<link>` elements and its `<a rel=license>`."""
    named = list(_named(metas))
    robots = [value for name, value in named if name in _ROBOTS]
    robots += [wish for name, value in named if _CRAWLER.search(name)
               for wish in _WISH.findall(value.lower())]  # fmt: skip
    robots += [value for name, value in headers if name.lower() == "x-robots-tag"]
    asked = [(n.lower(), v.strip()) for n, v in headers] + named
    canonical = licence = ""
    for link in links:
        rel = (link.get("rel") or "").lower().split()
        url = absolute_url(link.get("href") or "", base=base) if link.get("href") else ""
        if "canonical" in rel and not canonical:
            canonical = url
        if "license" in rel and not licence:
            licence = url
    return PageSignals(
        robots=tuple(sorted(set(_directives(robots)))),
        tdm_reservation=any(n == "tdm-reservation" and v == "1" for n, v in asked),
        tdm_policy=next((v[:2048] for n, v in asked if n == "tdm-policy"), ""),
        canonical=canonical,
        licence=licence or next((v[:2048] for n, v in named if n in _LICENCE), ""),
    )


def header_signals(headers: Sequence[tuple[str, str]]) -> PageSignals:
    """What an answer asks for by its headers alone, whatever its body is."""
    return page_signals((), (), headers=headers, base="")


def _named(metas: Iterable[Attributes]) -> Iterator[tuple[str, str]]:
    for meta in metas:
        name = meta.get("name") or meta.get("property") or meta.get("http-equiv") or ""
        yield name.strip().lower(), " ".join((meta.get("content") or "").split())


def _directives(values: Iterable[str]) -> Iterator[str]:
    for value in values:
        for part in re.split("[,;]", value.lower()):
            left, _, right = (piece.strip() for piece in part.partition(":"))
            named = left if left in _VALUED or not right else right
            if found := _DIRECTIVE.fullmatch(named):
                yield found[0]
        yield from _WISH.findall(value.lower())
