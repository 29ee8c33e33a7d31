"""Registered domain of a URL, by the public suffix list with its private part.

The list is the one inside the package: nothing is asked of the network, and runs agree.
"""

from __future__ import annotations

import hashlib
from functools import cache

import ada_url
import tldextract


@cache
def _suffixes() -> tldextract.TLDExtract:
    return tldextract.TLDExtract(
        suffix_list_urls=(), cache_dir=None, include_psl_private_domains=True
    )


def registered_domain(url: str) -> str:
    """The registered domain in lower case and punycode, or the host of an address or one name.

    A host under no listed suffix follows the list's default rule: its last label is the suffix.
    """
    found = _suffixes()(host_of(url))
    if found.top_domain_under_public_suffix:
        return found.top_domain_under_public_suffix
    labels = found.fqdn or found.domain or found.suffix
    if not found.suffix and found.subdomain:  # an unlisted suffix: wiki.corp, site.example
        labels = f"{found.subdomain.rsplit('.', 1)[-1]}.{found.domain}"
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
