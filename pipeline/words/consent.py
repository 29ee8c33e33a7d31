"""Consent: who asks not to be used, by a page's head, by HTTP headers, by the user's list.

Page signals: the `<meta>` and `<link>` elements of a page and its HTTP headers in; PageSignals out:
robots directives of both places together, the TDM reservation, the canonical URL, the licence.
Nothing is decided here (law 6): recipes refuse noai and its like. An X-Robots-Tag that names a
crawler (`somebot: noindex`) is kept as if it named none, and noai or noimageai in the `<meta>` of
any crawler too: a wish not to be used is honoured whoever it was first addressed to.

Opt-out list: a file of domains and URLs, a line each (`example.org`: it and all below it;
`https://...`: all that begins so). It lies in the run folder under its digest, so that every worker
has it. It tells which URLs are opted out: pages in filter_text, images in fetch, before they are
asked for, and in filter_images, wherever their bytes came from.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from pipeline.job import Job
from pipeline.store import store
from pipeline.store.store import OPT_OUT
from pipeline.words.urls import absolute_url, host_of, normal_url
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
    pairs = [(n.lower(), v.strip()) for n, v in headers] + named
    linked = [((link.get("rel") or "").lower().split(), link.get("href")) for link in links]

    def first(rel: str) -> str:
        urls = (absolute_url(href, base=base) for rels, href in linked if href and rel in rels)
        return next(filter(None, urls), "")

    return PageSignals(
        robots=tuple(sorted(set(_directives(robots)))),
        tdm_reservation=any(n == "tdm-reservation" and v == "1" for n, v in pairs),
        tdm_policy=next((v[:2048] for n, v in pairs if n == "tdm-policy"), ""),
        canonical=first("canonical"),
        licence=first("license") or next((v[:2048] for n, v in named if n in _LICENCE), ""),
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
            if _DIRECTIVE.fullmatch(named):
                yield named
        yield from _WISH.findall(value.lower())


_HOST: Final = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\]")


@dataclass(frozen=True, kw_only=True, slots=True)
class OptOutList:
    """Domains, with all below them, and beginnings of URLs, by their length."""

    domains: frozenset[str] = frozenset()
    beginnings: Mapping[int, set[str]] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> OptOutList:
        """Raises ValueError for a line that is neither a domain nor a URL."""
        lines = [line.partition("#")[0].strip() for line in text.splitlines()]
        domains, beginnings = set[str](), defaultdict[int, set[str]](set)
        for line in filter(None, lines):
            url = line if "://" in line else f"http://{line.removeprefix('*').strip('.')}/"
            host = host_of(url).rstrip(".")
            if not _HOST.fullmatch(host) or (url is not line and ("/" in line or " " in line)):
                raise ValueError(
                    f"opt-out list has {line!r}: write a domain, or a URL with https://"
                )
            if url is line:
                beginning = _plain(normal_url(url))
                beginnings[len(beginning)].add(beginning)
            else:
                domains.add(host)
        return cls(domains=frozenset(domains), beginnings=beginnings)

    def __contains__(self, url: str) -> bool:
        if not (self.domains or self.beginnings):
            return False  # as most runs have it, asked of every page and image
        url = _plain(url)
        labels = host_of(url).rstrip(".").split(".")
        above = (".".join(labels[at:]) for at in range(len(labels)))
        if any(domain in self.domains for domain in above):
            return True
        return any(url[:length] in urls for length, urls in self.beginnings.items())


def _plain(url: str) -> str:
    """Without a user, and without the dot behind a host."""
    scheme, mark, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    host, colon, port = place.rpartition("@")[2].partition(":")
    return f"{scheme}{mark}{host.rstrip('.')}{colon}{port}{slash}{path}"


def name_of(text: str) -> str:
    """Of the file in the run folder; "" of a list that names nobody. Raises as parse does."""
    return "" if OptOutList.parse(text) == OptOutList() else digest_name(text.encode())


def digest_name(data: bytes) -> str:
    return f"{OPT_OUT}{hashlib.sha256(data).hexdigest()[:16]}.txt"


def opted_out(job: Job) -> OptOutList:
    """The list of a run, read once a process; an empty one where none was given."""
    return read_list(job.path(job.settings.opt_out)) if job.settings.opt_out else OptOutList()


@lru_cache(maxsize=1)
def read_list(path: str) -> OptOutList:
    """Raises OSError, or ValueError for another file than its name tells; none of it is quoted."""
    data = store.read_bytes(path)
    if digest_name(data) != path.rpartition("/")[2]:
        raise ValueError(f"{path} is not the list that was given: give it again by --opt-out")
    return OptOutList.parse(data.decode())
