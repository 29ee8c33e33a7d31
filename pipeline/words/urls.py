"""URLs as a browser resolves them, and the registered domain that a URL belongs to.

In:      a reference as an attribute holds it: spaces, commas, other scripts, backslashes, dots.
Out:     the WHATWG serialisation (percent-encoded, host in punycode), without its fragment.
Refused: what that standard cannot parse, given back as "": the caller counts it.
Domains: by the public suffix list with its private part. The list is the one inside the package:
         nothing is asked of the network, and runs agree.

The standard's own parser (ada) does the work. `urllib.parse.urljoin` follows RFC 3986 instead: it
keeps spaces and non-ASCII as they are, so that no crawl record is ever found under its result.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache, lru_cache
from typing import Final

import ada_url
import tldextract

from pipeline.read.records import LONGEST_URL

# a file and its query behind a folder, of characters that the standard leaves as they are
_PLAIN: Final = re.compile(
    r"[A-Za-z0-9_~-][A-Za-z0-9_~.%!$&()*+,;=:@-]*(?:\?[A-Za-z0-9_~.%!$&()*+,;=:@?-]*)?"
)


def absolute_url(reference: str, *, base: str) -> str:
    """The reference resolved against the base, or "" where there is no such URL."""
    if len(reference) > LONGEST_URL:
        return ""
    folder, slash, file = reference.rpartition("/")
    if slash and _PLAIN.fullmatch(file) and "?" not in folder and "#" not in folder:
        resolved = _resolved(folder + slash, base)
        if resolved.startswith(("http://", "https://")):
            return resolved + file
    return _resolved(reference, base)


@lru_cache(maxsize=256)  # a page names many a picture twice, and more of the same folder
def _resolved(reference: str, base: str) -> str:
    try:
        url = ada_url.join_url(base, reference)
    except ValueError:  # the standard calls it a failure
        return ""
    return url.partition("#")[0]


def normal_url(url: str) -> str:
    """One spelling for all by which a browser asks for one thing; as it is, where it is no URL."""
    return absolute_url(url, base=url) or url


def base_url(url: str, *, href: str | None) -> str:
    """The base of a page: its own URL, or what the first `<base href>` makes of it."""
    if not href:
        return url
    base = absolute_url(href, base=url)
    return base if base.startswith(("http://", "https://")) else url


@cache
def _suffixes() -> tldextract.TLDExtract:
    return tldextract.TLDExtract(
        suffix_list_urls=(), cache_dir=None, include_psl_private_domains=True
    )


def registered_domain(url: str) -> str:
    """The registered domain in lower case and punycode, or the host of an address or one name.

    A host under no listed suffix follows the list's default rule: its last label is the suffix.
    """
    name = _suffixes()(host_of(url))
    if name.top_domain_under_public_suffix:
        return name.top_domain_under_public_suffix
    labels = name.fqdn or name.domain or name.suffix
    if not name.suffix and name.subdomain:  # an unlisted suffix: wiki.corp, site.example
        labels = f"{name.subdomain.rsplit('.', 1)[-1]}.{name.domain}"
    return labels


def host_of(url: str) -> str:
    """The host as the WHATWG standard writes it, so that one host has one name."""
    try:
        return ada_url.URL(url).hostname
    except ValueError:
        return url


def partition_of(url: str, partitions: int) -> tuple[int, str]:
    """By its registered domain, so that one partition asks all hosts of one; and the URL."""
    digest = hashlib.sha256(registered_domain(url).encode()).digest()
    return int.from_bytes(digest[:8], "big") % partitions, url
