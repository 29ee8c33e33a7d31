"""Limits: hostile pages cost what their size is, and are refused with value and limit."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.extract.html.limits import PageLimits, _Counts, _is_small
from pipeline.extract.page import Page, RefusedPage, read_page
from pipeline.problem import Problem
from schemas.verdict import Reason

URL = "https://example.com/"
SMALL = PageLimits(bytes=400, elements=20, depth=10, attributes=300)


def outcome(html: str | bytes, limits: PageLimits = SMALL) -> Page | Problem:
    page = read_page(html if isinstance(html, bytes) else html.encode(), url=URL, limits=limits)
    if isinstance(page, RefusedPage):
        return Problem(reason=page.reason, value=page.value, limit=page.limit)
    return page


def test_a_page_has_at_most_so_many_bytes() -> None:
    assert isinstance(outcome("x" * 400), Page)
    assert outcome("x" * 401) == Problem(reason=Reason.PAGE_TOO_LARGE, value=401, limit=400)


def test_a_page_has_at_most_so_many_elements() -> None:
    # the body is one of them
    assert isinstance(outcome("<p>x" * 19), Page)
    assert outcome("<p>x" * 21) == Problem(reason=Reason.TOO_MANY_ELEMENTS, value=21, limit=20)


def test_elements_that_the_parser_adds_are_counted() -> None:
    table = "<table>" + "<td>x" * 16 + "</table>"  # with body, tbody and tr 20
    assert isinstance(outcome(table), Page)
    assert outcome(table.replace("<table>", "<table><td>x", 1)) == Problem(
        reason=Reason.TOO_MANY_ELEMENTS, value=21, limit=20
    )


def test_a_page_has_at_most_so_many_elements_open_at_once() -> None:
    assert isinstance(outcome("<div>" * 10 + "x"), Page)
    assert outcome("<div>" * 11 + "x") == Problem(
        reason=Reason.TOO_MANY_ELEMENTS, value=11, limit=10
    )


def test_elements_that_close_themselves_in_a_drawing_are_not_open() -> None:
    assert isinstance(outcome("<svg>" + "<path d='M0 0'/>" * 12 + "</svg>x"), Page)


def test_what_a_script_writes_is_not_open() -> None:
    script = "<script>'" + "<div>" * 12 + "'</script><!--" + "<div>" * 12 + "-->x"
    assert isinstance(outcome(script), Page)


def test_an_element_has_at_most_so_many_attributes() -> None:
    limits = PageLimits(attributes=300)
    for count, allowed in ((300, True), (301, False)):
        page = outcome("<p " + " ".join(f"a{n}" for n in range(count)) + ">x", limits)
        assert isinstance(page, Page) is allowed
    assert page == Problem(reason=Reason.TOO_MANY_ELEMENTS, value=301, limit=300)


PIECES = (
    "<b", "<p", "<a", "<DIV", "<body", "<br", "</b>", "</a>", "</div>", ">", " ", "/", "\n", "=",
    "x", " y=Q Q", "<", "1 ", "/x", "long" * 200, " q" * 300, " r=Q>Q" * 20,
    " s=Q <p>Q", "z=QQ" * 40, "<table", "<TR", "<td", "</p", "<form", "<!--", "-->", "<select",
    "<option",
)  # fmt: skip


@given(
    st.lists(st.sampled_from(PIECES), max_size=40),
    st.sampled_from("\"'"),
    st.integers(1, 9),
    st.integers(1, 9),
)
def test_no_page_that_is_small_by_cheap_counts_breaks_a_limit(
    pieces: list[str], quote: str, few: int, times: int
) -> None:
    limits = PageLimits(bytes=9 * few, elements=4 * few, depth=2 * few, attributes=256 + 20 * few)
    page = "".join(pieces).replace("Q", quote).encode() * times
    counts = _Counts()
    counts.take(page.lower())
    if _is_small(page, limits):
        assert counts.elements <= limits.elements
        assert counts.depth <= limits.depth
        assert counts.copies <= limits.copies
        assert counts.attributes <= limits.attributes
        assert counts.pairs <= limits.pairs
        assert counts.texts.moved <= limits.moved


HOSTILE = {
    "nested divs": "<div>" * 100_000,
    "nested divs, closed": "<div>" * 100_000 + "x" + "</div>" * 100_000,
    "nested tables": "<table><tr><td>" * 50_000,
    "formatting copied into every paragraph": "".join(f"<b id={n}>" for n in range(3_000))
    + "</p>"
    + "<p>x" * 3_000,
    "attributes": "<div " + " ".join(f"a{n}" for n in range(200_000)) + ">",
    "attributes with quotes": "<div " + " ".join(f"a{n}='<'" for n in range(100_000)) + ">",
}
HOSTILE |= {
    f"many tags of many attributes {name}": (
        "<p " + "".join(form.format(n) for n in range(3_000)) + ">x"
    )
    * 150
    for name, form in {
        "alone": "a{} ",
        "with values": "a{}='v' ",
        "that hold a tag": 'a{}="<b>" ',
        "with no space": "a{}='v'",
        "behind slashes": "a{}/",
        "on lines": "a{}\n",
    }.items()
}
ATTRIBUTES = " ".join(f"b{n}=v" for n in range(50))
HOSTILE |= {
    "bodies, merged into one": "".join(
        f"<body {' '.join(f'a{m}n{n}' for n in range(200))}>" for m in range(2_000)
    ),
    "attributes copied into every paragraph": "<p>"
    + "".join(f"<b id={n} {ATTRIBUTES}>" for n in range(100))
    + "<p>x" * 3_000,
    "attributes compared with all that are open": "".join(
        f"<b {ATTRIBUTES * 5} id={n}>" for n in range(3_000)
    ),
    "nested, behind a stray quote": '<p ">' + "<div>" * 100_000,
    "nested, behind an empty comment": "<!-->" + "<div>" * 100_000,
    "nested, behind a comment that ends in !": "<!-- --!>" + "<div>" * 100_000,
    "nested, in the style of a drawing": "<svg><style>" + "<div>" * 100_000 + "</style>",
    "nested, with ends of others": "<h4></svg>" * 50_000,
    "nested, by a bracket too few": "<div</div>" * 100_000,
    "blocks of code": "<pre>" + "x\n\n" * 300_000,
    "text behind ends of nothing": 'x</sp class="o">' * 300_000,
    "long texts behind ends of nothing": ("x" * 1_000 + "</sp a=b>") * 8_000,
    "text behind rows of no table": "x<tr a=b>" * 190_000,
    "text between rows": "<table>" + "x<tr a=b>" * 190_000,
    "text between scripts of a table": "<table>" + "x<script a=b></script>" * 90_000,
    "text between comments of a table": "<table>" + "x<!-- -->" * 300_000,
    "options": "<select>" + "<option>x" * 100_000,
    "options of more than one select": ("<select>" + "<option>x" * 15_000) * 10,
}
HARMLESS = {
    "open brackets": "<" * 1_000_000,
    "unclosed tags": "<a " * 500_000,
    "unclosed quotes": "<a href='" * 300_000,
    "unclosed comments": "<!--" * 300_000,
    "unclosed scripts": "<script" * 300_000,
    "closing tags": "</div>" * 300_000,
    "a long attribute": f"<p title='{'x' * 3_000_000}'>text",
    "a long srcset": f"<img srcset='{'a,' * 500_000} 1x'>text",
    "a long class": f"<p class='{'menu ' * 300_000}'>text",
    "a long style": f"<p style='{'display:' * 300_000}'>text",
    "zeros": "text" + "\0" * 100_000 + "x" * 1_000_000,
    "character references": "&#xD800;&#0;&amp" * 100_000,
    "lines": "x<br>" * 100_000,
}


@pytest.mark.parametrize("html", HOSTILE.values(), ids=HOSTILE)
def test_a_page_that_would_cost_the_square_of_its_size_is_refused(html: str) -> None:
    problem = outcome(html, PageLimits())
    assert isinstance(problem, Problem)
    assert problem.reason is Reason.TOO_MANY_ELEMENTS
    assert problem.value is not None
    assert problem.limit is not None
    assert problem.value > problem.limit


@pytest.mark.parametrize("html", HARMLESS.values(), ids=HARMLESS)
def test_a_large_page_that_costs_no_more_is_read_or_refused(html: str) -> None:
    page = outcome(html, PageLimits())
    assert isinstance(page, Page) or page.reason in {
        Reason.TOO_MANY_ELEMENTS,
        Reason.NO_CONTENT,
        Reason.BAD_ENCODING,
    }


def test_a_page_as_deep_as_is_allowed_is_read_without_recursion() -> None:
    depth = PageLimits().depth
    page = outcome("<div>" * (depth - 1) + "<p>text <img src=a.png>", PageLimits())
    assert isinstance(page, Page)
    assert len(page.nodes) == 2


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(PageLimits)])
def test_a_limit_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"PageLimits.{name} is 0"):
        dataclasses.replace(PageLimits(), **{name: 0})
