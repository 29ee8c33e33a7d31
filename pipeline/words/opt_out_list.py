"""Opt-out list: who has told the user that they do not want to be trained on.

In:   a file of domains and URLs, a line each (`example.org`: it and all below it; `https://...`:
      all that begins so). It lies in the run folder under its digest, so that every worker has it.
Out:  which URLs are opted out: pages in filter_text, images in fetch, before they are asked for,
      and in filter_images, wherever their bytes came from.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from pipeline.job import Job
from pipeline.store import store
from pipeline.store.forms import OPT_OUT
from pipeline.words.domain import host_of
from pipeline.words.urls import normal_url

_HOST: Final = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\]")


@dataclass(frozen=True, kw_only=True, slots=True)
class OptOutList:
    """Domains, with all below them, and beginnings of URLs, sorted, none the beginning of one."""

    domains: frozenset[str] = frozenset()
    beginnings: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> OptOutList:
        """Raises ValueError for a line that is neither a domain nor a URL."""
        lines = [line.partition("#")[0].strip() for line in text.splitlines()]
        domains, urls = set(), []
        for line in filter(None, lines):
            url = line if "://" in line else f"http://{line.removeprefix('*').strip('.')}/"
            host = host_of(url).rstrip(".")
            if not _HOST.fullmatch(host) or (url is not line and ("/" in line or " " in line)):
                raise ValueError(
                    f"opt-out list has {line!r}: write a domain, or a URL with https://"
                )
            if url is line:
                urls.append(_plain(normal_url(url)))
            else:
                domains.add(host)
        return cls(domains=frozenset(domains), beginnings=_shortest(urls))

    def __contains__(self, url: str) -> bool:
        if not (self.domains or self.beginnings):
            return False  # as most runs have it, asked of every page and image
        url = _plain(url)
        labels = host_of(url).rstrip(".").split(".")
        above = (".".join(labels[at:]) for at in range(len(labels)))
        if any(one in self.domains for one in above):
            return True
        # of beginnings that do not begin with one another, the last one before a URL is its own
        at = bisect_right(self.beginnings, url)
        return at > 0 and url.startswith(self.beginnings[at - 1])


def _plain(url: str) -> str:
    """Without a user, and without the dot behind a host."""
    scheme, mark, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    host, colon, port = place.rpartition("@")[2].partition(":")
    return f"{scheme}{mark}{host.rstrip('.')}{colon}{port}{slash}{path}"


def _shortest(urls: Iterable[str]) -> tuple[str, ...]:
    """Sorted, without those that begin with another one."""
    kept: list[str] = []
    for url in sorted(urls):
        if not kept or not url.startswith(kept[-1]):
            kept.append(url)
    return tuple(kept)


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
