"""One host, one domain: whatever its spelling, and under whatever suffix."""

from __future__ import annotations

import pytest

from pipeline.words.urls import registered_domain


@pytest.mark.parametrize(
    ("url", "domain"),
    [
        ("https://a.b.co.uk/x", "b.co.uk"),
        ("https://SITE0.com/", "site0.com"),
        ("https://user.github.io/", "user.github.io"),  # a private suffix
        ("https://exämple.de/", "xn--exmple-cua.de"),
        ("https://site1-0.example/", "site1-0.example"),  # a suffix that is not listed
        ("http://a.wiki.corp/", "wiki.corp"),
        ("http://localhost:8080/", "localhost"),
        ("http://127.0.0.1/a", "127.0.0.1"),
        ("https://com/", "com"),
    ],
)
def test_the_registered_domain_of(url: str, domain: str) -> None:
    assert registered_domain(url) == domain
