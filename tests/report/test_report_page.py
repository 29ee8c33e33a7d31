from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from pipeline.shard.report.card import HERE, big, environment, percent, short
from pipeline.shard.report.page import span
from pipeline.shard.report.samples import without_controls
from schemas.document import ImageNode, Role, TextNode
from schemas.verdict import Reason
from tests.report.fabricated import Fabricate, Fabricator, Pages

URL = "https://example.org/0/0.img"


class Seen(HTMLParser):
    """What a browser would make of the page: elements, their attributes, the text."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def page_of(run: Fabricator) -> str:
    return Path(run.job.path("report.html")).read_bytes().decode()


def seen(html: str) -> Seen:
    parser = Seen()
    parser.feed(html)
    parser.close()
    return parser


@pytest.fixture
def html(fabricate: Fabricate, every_outcome: Pages) -> str:
    run = fabricate(every_outcome)
    run.shard()
    return page_of(run)


def test_the_page_needs_no_other_file_and_no_script(html: str) -> None:
    elements = seen(html).elements
    tags = {tag for tag, _ in elements}
    assert not tags & {"script", "link", "iframe", "object", "embed", "form", "base"}
    for tag, attributes in elements:
        assert not any(name.startswith("on") or name == "style" for name in attributes), tag
        assert (attributes.get("src") or "data:").startswith("data:image/jpeg;base64,"[:5])
        assert (attributes.get("href") or "#").startswith("#")
    assert sum(tag == "img" for tag, _ in elements) >= 12


def test_the_policy_allows_this_style_sheet_and_pictures_and_nothing_else(html: str) -> None:
    (policy,) = (
        attributes["content"]
        for tag, attributes in seen(html).elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert [part.strip() for part in policy.split(";")] == [
        "default-src 'none'", "img-src data:", f"style-src 'sha256-{digest}'",
        "base-uri 'none'", "form-action 'none'",
    ]  # fmt: skip


def test_every_number_of_the_funnel_is_there_with_its_reasons(html: str) -> None:
    text = " ".join(seen(html).text.split())
    for words in ("image side short", "too few words", "language", "no image", "http status"):
        assert words in text
    assert "6 of 8 pages" in text
    assert "12 of 20" in text


def test_a_document_reads_in_its_order_with_its_pictures_in_place(
    fabricate: Fabricate, every_outcome: Pages
) -> None:
    page = every_outcome["000000-00000000000000"][1]
    run = fabricate({"000000-00000000000000": [page]})
    run.shard()
    text = seen(page_of(run)).text
    places = [
        text.index(word)
        for word in (
            "Paragraph 0 of page 1",
            "picture 0 of 1",
            "Paragraph 1",
            "picture 1 of 1",
            "A last",
        )
    ]
    assert places == sorted(places)


HOSTILE = (
    "<script>alert(1)</script>",
    "</style><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "\u202egnp.exe",
    "\x00\x07\x1b[31m",
    "]]>--><svg/onload=alert(1)>",
    "```\n---\nconfigs: []\n---",
)


def naughty(shared_data: Callable[[str], Path]) -> list[str]:
    lines = shared_data("bad/blns/blns.txt").read_text(encoding="utf-8").splitlines()
    strings = [line for line in lines if line and not line.startswith("#")]
    assert len(strings) > 400
    return strings


def hostile_run(fabricate: Fabricate, every_outcome: Pages, strings: list[str]) -> Fabricator:
    """Strings in titles, texts, alts, domains and the texts of dropped nodes."""
    pages = every_outcome["000000-00000000000000"][:6]
    for place, page in enumerate(pages):
        mine = strings[place :: len(pages)]
        page.title = page.domain = mine[0]
        extra: list[Any] = [TextNode(text=text, role=Role.CODE) for text in mine]
        extra += [ImageNode(url=URL, alt=text) for text in mine[:3]]
        if page.refusal is None:
            lost = range(len(page.nodes) + len(extra), len(page.nodes) + len(extra) + len(mine[:4]))
            page.refused |= dict.fromkeys(lost, ("filter_text", Reason.SPAM_WORDS))
            extra += [TextNode(text=text) for text in mine[:4]]
        page.nodes = (*page.nodes, *extra)
    run = fabricate({"000000-00000000000000": pages}, name="hostile")
    run.shard()
    return run


def assert_harmless(html: str, plain: set[str]) -> None:
    elements = seen(html).elements
    assert {tag for tag, _ in elements} <= plain
    for _, attributes in elements:
        assert not any(name.startswith("on") or name == "style" for name in attributes)
        assert (attributes.get("href") or "#").startswith("#")
        assert (attributes.get("src") or "data:").startswith("data:image/jpeg;base64,"[:5])
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", html)


def test_hostile_strings_are_shown_as_text(
    html: str, fabricate: Fabricate, every_outcome: Pages
) -> None:
    plain = {tag for tag, _ in seen(html).elements} | {"p", "div"}
    run = hostile_run(fabricate, every_outcome, list(HOSTILE))
    shown = page_of(run)
    assert_harmless(shown, plain)
    assert "<script>alert(1)</script>" in seen(shown).text
    assert "{{ 7 * 7 }}" in seen(shown).text


def test_naughty_strings_are_shown_as_text(
    html: str, fabricate: Fabricate, every_outcome: Pages, shared_data: Callable[[str], Path]
) -> None:
    plain = {tag for tag, _ in seen(html).elements} | {"p", "div"}
    run = hostile_run(fabricate, every_outcome, naughty(shared_data))
    assert_harmless(page_of(run), plain)


def test_the_card_holds_no_text_of_the_crawl(fabricate: Fabricate, every_outcome: Pages) -> None:
    run = hostile_run(fabricate, every_outcome, list(HOSTILE))
    card = Path(run.job.path("README.md")).read_text(encoding="utf-8")
    assert "alert" not in card
    assert "7 * 7" not in card


def test_the_same_run_elsewhere_gives_the_same_bytes(
    fabricate: Fabricate, every_outcome: Pages
) -> None:
    one = fabricate(every_outcome, name="one")
    other = fabricate(every_outcome, name="another/folder")
    for run in (one, other):
        run.shard()
    for name in (
        "report.html",
        "README.md",
        "shard.manifest.json",
        "tables/drops/000000-00000000000000.parquet",
    ):
        assert Path(one.job.path(name)).read_bytes() == Path(other.job.path(name)).read_bytes(), (
            name
        )


def test_a_run_that_keeps_nothing_has_a_report(fabricate: Fabricate, every_outcome: Pages) -> None:
    run = fabricate({"000000-00000000000000": every_outcome["000000-00000000000000"][2:4]})
    run.shard()
    assert "Nothing was kept" in page_of(run)


def test_control_characters_become_the_replacement_character() -> None:
    assert without_controls("a\x00b\x1b\x7f\ttab\nline") == "a\ufffdb\ufffd\ufffd\ttab\nline"


def test_every_template_is_complete() -> None:
    names = sorted(path.name for path in HERE.glob("*.j2"))
    assert names == ["card.md.j2", "plots.html.j2", "report.html.j2"]
    for name in names:
        environment().get_template(name)


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0%"), (0.004, "0.4%"), (0.0999, "10%"), (0.1, "10%"), (1, "100%")]
)
def test_a_small_share_is_not_shown_as_none(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(
    ("number", "text"), [(353e6, "353M"), (115e9, "115B"), (999_999, "999,999"), (1e6, "1M")]
)
def test_big_numbers_are_written_as_papers_do(number: float, text: str) -> None:
    assert big(number) == text


@pytest.mark.parametrize(("number", "text"), [(9_999, "9,999"), (10_000, "10k"), (10**7, "10M")])
def test_counts_over_columns_are_short(number: int, text: str) -> None:
    assert short(number) == text


def test_a_span_of_one_value_is_one_number() -> None:
    assert span(None, None) == ""
    assert span(3, 3) == "3"
    assert span(0.25, 1_200) == "0.25 to 1,200"
    assert span(0.12345, 216_700.5) == "0.1235 to 216,700"
    assert span(math.nan, math.inf) == "nan to inf"
