"""Page signals: what a page asks of its readers is read wherever it is said."""

from __future__ import annotations

import pytest

from pipeline.words.consent import Attributes, page_signals
from schemas.document import PageSignals

BASE = "https://example.com/a/"


def read(
    metas: list[Attributes] | None = None,
    links: list[Attributes] | None = None,
    headers: list[tuple[str, str]] | None = None,
) -> PageSignals:
    return page_signals(metas or [], links or [], headers=headers or [], base=BASE)


def test_robots_of_head_and_headers_are_taken_together() -> None:
    signals = read(
        [{"name": "ROBOTS", "content": "NoAI,  noindex"}],
        headers=[("X-Robots-Tag", "noimageai"), ("x-robots-tag", "noindex")],
    )
    assert signals.robots == ("noai", "noimageai", "noindex")


VALUES = [
    ("somebot: noai, nofollow", ("noai", "nofollow")),
    ("max-snippet:-1, max-image-preview:large", ("max-image-preview", "max-snippet")),
    ("unavailable_after: 25 Jun 2030 15:00:00 PST", ("unavailable_after",)),
    ("all", ("all",)),
    (",, ,", ()),
    ("no ai", ()),
    ("noimageai noai", ("noai", "noimageai")),
    ("noindex;noai", ("noai", "noindex")),
    ("somebot: noindex noai; nofollow", ("noai", "nofollow")),
    ("noai please", ("noai",)),
    ("noai/noimageai", ("noai", "noimageai")),
    ("max-image-preview:large noai", ("max-image-preview", "noai")),
    ("noaid, not-noai", ("noaid", "not-noai")),
]


@pytest.mark.parametrize(("value", "expected"), VALUES)
def test_directives_are_whole_words_whoever_they_address(
    value: str, expected: tuple[str, ...]
) -> None:
    assert read(headers=[("X-Robots-Tag", value)]).robots == expected


def test_directives_in_the_place_of_a_header_are_read() -> None:
    assert read([{"http-equiv": "X-Robots-Tag", "content": "noai"}]).robots == ("noai",)
    assert read([{"http-equiv": "refresh", "content": "noai"}]).robots == ()


def test_no_flood_of_directives_hides_one() -> None:
    flood = ", ".join(f"a{i}" for i in range(5_000)) + ", noai"
    assert "noai" in read([{"name": "robots", "content": flood}]).robots


@pytest.mark.parametrize(
    ("value", "reserved"), [("1", True), (" 1 ", True), ("0", False), ("", False)]
)
def test_tdm_reservation_is_1_in_head_or_header(value: str, *, reserved: bool) -> None:
    assert read([{"name": "tdm-reservation", "content": value}]).tdm_reservation is reserved
    assert read(headers=[("TDM-Reservation", value)]).tdm_reservation is reserved


def test_the_tdm_policy_is_kept() -> None:
    assert (
        read(headers=[("tdm-policy", "https://e.org/p.json")]).tdm_policy == "https://e.org/p.json"
    )


def test_canonical_and_licence_are_resolved() -> None:
    signals = read(
        links=[
            {"rel": "stylesheet", "href": "x.css"},
            {"rel": "Canonical", "href": "b c.html"},
            {"rel": "license noopener", "href": "//creativecommons.org/licenses/by/4.0/"},
        ]
    )
    assert signals.canonical == "https://example.com/a/b%20c.html"
    assert signals.licence == "https://creativecommons.org/licenses/by/4.0/"


def test_a_licence_may_be_a_meta_element() -> None:
    assert read([{"name": "dcterms.license", "content": "CC BY  4.0"}]).licence == "CC BY 4.0"


def test_a_page_that_says_nothing_has_no_signals() -> None:
    assert read([{"charset": "utf-8"}, {"name": None}], [{"rel": None}]) == PageSignals()


@pytest.mark.parametrize(
    "name", ["CCBot", "GPTBot", "Google-Extended", "img2dataset", "anthropic-ai"]
)
def test_what_is_asked_of_any_crawler_not_to_do_with_ai_is_heard(name: str) -> None:
    asked = read([{"name": name, "content": "NoAI, noindex; noimageai"}])
    assert asked.robots == ("noai", "noimageai")


@pytest.mark.parametrize(
    "name", ["keywords", "description", "aim", "robotics", "email", "maintainer"]
)
def test_a_page_may_write_about_noai(name: str) -> None:
    assert read([{"name": name, "content": "noai, art"}]).robots == ()
