"""Registered domain of a URL, by the public suffix list with its private part.

The list is the one inside the package: nothing is asked of the network, and runs agree.
"""

from __future__ import annotations

from functools import cache

import tldextract


@cache
def _suffixes() -> tldextract.TLDExtract:
    return tldextract.TLDExtract(
        suffix_list_urls=(), cache_dir=None, include_psl_private_domains=True
    )


def registered_domain(url: str) -> str:
    """The registered domain, or the host where there is none (an address, localhost)."""
    found = _suffixes()(url)
    return found.top_domain_under_public_suffix or found.fqdn or found.domain
