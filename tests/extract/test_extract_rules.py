"""Rules: what of a page is its main content."""

from __future__ import annotations

import pytest

from pipeline.extract.html.vocabulary import (
    CAPTION,
    HIDDEN,
    HIDDEN_PHRASES,
    IS_COMMENTS,
    IS_CONSENT,
    IS_FURNITURE,
    IS_HEADER,
    IS_NAVIGATION,
    LONGEST_NAME,
    SITE_HEADER,
    signs_of,
    words_of,
)
from pipeline.extract.page import Page, read_page
from schemas.document import ImageNode, TextNode

PROSE = [
    f"Paragraph {n} says in some words of its own what this page is about, and goes on for a while."
    for n in range(12)
]
ARTICLE = "".join(f"<p>{text}</p>" for text in PROSE)
WORD = "Hokuspokus"


def read(body: str) -> Page:
    page = read_page(f"<body>{body}</body>".encode(), url="https://example.com/")
    assert isinstance(page, Page), page
    return page


def texts(page: Page) -> list[str]:
    return [node.text for node in page.nodes if isinstance(node, TextNode)]


def images(page: Page) -> list[str]:
    return [
        node.url.removeprefix("https://example.com/")
        for node in page.nodes
        if isinstance(node, ImageNode)
    ]


LEFT_OUT = [
    ("navigation", f"<nav><a href=x>{WORD}</a></nav>"),
    ("navigation", f"<div role=navigation>{WORD}</div>"),
    ("navigation", f"<ul class=main-menu><li>{WORD}</ul>"),
    ("navigation", f"<ol class=breadcrumb><li>{WORD}</ol>"),
    ("navigation", f"<div class=navheader><table><tr><th>{WORD}</table></div>"),
    ("footer", f"<footer><p>{WORD}</footer>"),
    ("header", f"<header><p>{WORD}</header>"),
    ("header", f"<div id=siteHeader>{WORD}</div>"),
    ("aside", f"<aside>{WORD}</aside>"),
    ("boilerplate", f"<div class='cookie-banner'><p>{WORD} uses cookies</div>"),
    ("boilerplate", f"<div id=sidebar>{WORD}</div>"),
    ("boilerplate", f"<div class='has-rail sidebar'>{WORD}</div>"),
    ("boilerplate", f"<section class=relatedPosts>{WORD}</section>"),
    ("comments", f"<div class=comment-list>{WORD}</div>"),
    ("dialog", f"<div role=dialog>{WORD}</div>"),
    ("form", f"<form><label>{WORD}</label><input></form>"),
    ("hidden", f"<div hidden>{WORD}</div>"),
    ("hidden", f"<div style='color:red; DISPLAY : none'>{WORD}</div>"),
    ("hidden", f"<div aria-hidden=true>{WORD}</div>"),
    ("hidden", f"<div class=sr-only>{WORD}</div>"),
    ("hidden", f"<div class=d-none>{WORD}</div>"),
    ("hidden", f"<div class='d-block d-md-none'>{WORD}</div>"),
    ("hidden", f"<div class='d-none d-md-none col-md-4'>{WORD}</div>"),
    ("hidden", f"<div hidden id=S:x>{WORD}</div>"),
    ("link_list", f"<ul><li><a href=x>{WORD} a</a><li><a href=y>{WORD} b</a></ul>"),
    ("links", f"<p><a href=x>{WORD}</a></p>"),
]


@pytest.mark.parametrize(("kind", "html"), LEFT_OUT)
def test_what_is_no_main_content_is_left_out_and_counted_by_kind(kind: str, html: str) -> None:
    page = read(ARTICLE + html)
    assert texts(page) == PROSE
    assert page.edits[kind] >= 1


def test_images_go_with_their_block_and_are_counted_apart() -> None:
    page = read(f"<nav><img src=a.png>{WORD}</nav>{ARTICLE}<img src=b.png>")
    assert images(page) == ["b.png"]
    assert page.edits == {"navigation": 1, "navigation_image": 1}


KEPT = [
    f"<div class='updated-info has-sidebarless'>{WORD}</div>",
    f"<aside class='note'>{WORD}</aside>",
    f"<article><header><h1>{WORD}</h1></header>{ARTICLE}</article>",
    f"<div class=tab-panel style='display:none'>{WORD}</div>",
    f"<div role=tabpanel aria-hidden=true>{WORD}</div>",
    f"<div class='d-none d-md-block'>{WORD}</div>",
    f"<div class='row d-none col-md-4 d-lg-flex'>{WORD}</div>",
    f"<div hidden id=S:3>{WORD}</div>",
    f"<div hidden=until-found>{WORD}</div>",
    f"<div class=has-rail-right>{WORD}</div>",
    f"<div class=no-sidebar>{WORD}</div>",
    f"<div class='two-column-right-rail'>{WORD}</div>",
    f"<div class='sidebar-sidecar-layout'>{WORD}</div>",
    f"<div class='section-footer'>{WORD}</div>",
    f"<div class='follow-up'>{WORD}</div>",
    f"<div class='cmp-promo'>{WORD}</div>",
    f"<div class='form-field-survey-3'>{WORD}</div>",
    f"<div aria-hidden=true>{PROSE[0]} {WORD}</div>",
    f"<div aria-hidden=true><img src=a.png>{WORD}</div>",
    f"<figure><img src=a.png><div class=modal>{WORD}</div></figure>",
    f"<p>{WORD} and a <a href=x>link</a> in a sentence</p>",
    f"<h2><a href=x>{WORD}</a></h2>",
    f"<dl><dt><a href=x>{WORD}</a><dd>It is explained here</dl>",
    f"<blockquote>{WORD}</blockquote>",
]


@pytest.mark.parametrize("html", KEPT)
def test_what_only_looks_like_it_is_kept(html: str) -> None:
    assert any(WORD in text for text in texts(read(html + ARTICLE)))


def test_no_name_takes_most_of_a_page() -> None:
    body = f"<div class='sidebar menu cookie' id=footer>{ARTICLE}</div>"
    assert texts(read(body)) == PROSE


@pytest.mark.parametrize("name", ["onetrust-consent-sdk", "CybotCookiebotDialog"])
def test_a_panel_that_asks_for_consent_is_never_the_page(name: str) -> None:
    page = read(f"<p>{PROSE[0]}</p><div id={name}>{ARTICLE * 9}</div>")
    assert texts(page) == PROSE[:1]
    assert page.edits["consent"] == 9 * len(PROSE)
    assert texts(read(f"<main class={name}>{ARTICLE}</main>")) == PROSE


def test_a_page_that_hides_its_content_until_a_script_shows_it_is_read() -> None:
    assert texts(read(f"<div style='display:none'>{ARTICLE}</div>")) == PROSE


def test_a_page_for_readers_without_scripts_is_read_where_there_is_no_other() -> None:
    assert texts(read(f"<div>Loading</div><noscript>{ARTICLE}</noscript>"))[-12:] == PROSE
    assert texts(read(f"{ARTICLE}<noscript><p>{PROSE[0] * 5}</noscript>")) == PROSE


def test_comments_are_content_where_there_is_little_else() -> None:
    body = f"<p>A question?</p><div class=comments>{ARTICLE}</div>"
    assert texts(read(body))[-12:] == PROSE


@pytest.mark.parametrize("tag", ["main", "div role=main", "article"])
def test_the_marked_main_content_is_taken(tag: str) -> None:
    close = tag.partition(" ")[0]
    body = f"<div><p>{WORD}</p></div><{tag}>{ARTICLE}</{close}><div><p>{WORD}</p></div>"
    assert texts(read(body)) == PROSE


def test_of_many_articles_none_is_the_main_content() -> None:
    body = f"<article>{ARTICLE}</article>" * 3
    assert len(texts(read(body))) == 3 * len(PROSE)


def test_the_title_and_the_pictures_before_the_prose_belong_to_it() -> None:
    body = (
        "<div><h1>Title</h1><div>By somebody, today</div>"
        "<figure><img src=hero.jpg><figcaption>Hero</figcaption></figure>"
        f"<div class=body>{ARTICLE}</div><img src=end.jpg><div>Tags: none</div></div>"
    )
    page = read(body)
    assert texts(page) == ["Title", "Hero", *PROSE]
    assert images(page) == ["hero.jpg", "end.jpg"]


@pytest.mark.parametrize(("between", "expected"), [(12, ["hero.jpg"]), (13, [])])
def test_the_featured_picture_above_the_title_belongs_to_it(
    between: int, expected: list[str]
) -> None:
    body = (
        "<header><img src=logo.png><p>The site</header><img src=ad.png alt=A><div>Section</div>"
        "<figure><img src=hero.jpg><figcaption>Hero</figcaption></figure><img src=line.png>"
        f"<div><a href=x>{'word ' * between}</a></div><h1>Title</h1><div class=body>{ARTICLE}</div>"
    )
    assert images(read(f"<div>{body}</div>")) == expected


def test_sections_called_alike_are_all_taken() -> None:
    short = "<p>Twelve words are here so that it counts as a paragraph too.</p>"
    body = f"<div class=part>{ARTICLE}</div><div class=part>{short}<img src=a.png></div>"
    assert images(read(f"<div><div class=x>{WORD}</div>{body}</div>")) == ["a.png"]


def test_a_list_of_links_is_read_where_links_are_what_the_page_is_for() -> None:
    items = "".join(
        f"<li><a href=/{n}><img src={n}.png><h3>Product {n}</h3>{n} coins</a>" for n in range(30)
    )
    page = read(f"<h1>Shop</h1><ul>{items}</ul>")
    assert len(images(page)) == 30
    assert "Product 7" in texts(page)


def test_scripts_without_spaces_are_counted_by_their_letters() -> None:
    sentence = "これは日本語の文章で、単語のあいだに空白を書かないので、文字で数えるしかない。"
    menu = "".join(f"<li><a href=/{n}>項目{n}番</a>" for n in range(9))
    body = f"<div><ul>{menu}</ul></div><div class=text>{f'<p>{sentence}</p>' * 20}</div>"
    assert texts(read(body)) == [sentence] * 20


def test_words_of_names_are_cut_at_hyphens_and_humps() -> None:
    assert words_of("site-header mainNav  wp_caption2") == {
        "site", "header", "main", "nav", "wp", "caption2"
    }  # fmt: skip
    assert "date" not in words_of("updated-info")


SIGNS = [
    ("mainNav", IS_NAVIGATION),
    ("has-nav entry", 0),  # what is beside it
    ("layout-nav wp-caption", CAPTION),
    ("col sidebar", IS_FURNITURE),
    ("follow-up", 0),
    ("follow", IS_FURNITURE),
    ("disqus", IS_FURNITURE | IS_COMMENTS),
    ("page-header", IS_HEADER | SITE_HEADER),
    ("page header", IS_HEADER),  # two names
    ("no-header site-header", IS_HEADER | SITE_HEADER),
    ("has-site-header", SITE_HEADER),
    ("onetrust-pc", IS_CONSENT | IS_FURNITURE),
    ("sr-only", HIDDEN),
    ("sr only", 0),
    ("x" * LONGEST_NAME + " mainNav", 0),
]


@pytest.mark.parametrize(("name", "signs"), SIGNS)
def test_the_signs_of_names_are_those_of_each_name(name: str, signs: int) -> None:
    asked = (CAPTION | HIDDEN | IS_NAVIGATION | IS_FURNITURE | IS_COMMENTS | IS_HEADER | SITE_HEADER
             | IS_CONSENT)  # fmt: skip
    assert signs_of(name) & asked == signs


@pytest.mark.parametrize("phrase", sorted(map(sorted, HIDDEN_PHRASES)), ids=" ".join)
def test_every_phrase_that_hides_is_met_in_one_name(phrase: list[str]) -> None:
    assert signs_of("wide my-" + "-".join(phrase)) & HIDDEN
    assert not signs_of(" ".join([*phrase, "x"])) & HIDDEN or len(phrase) == 1
