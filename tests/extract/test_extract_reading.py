"""Reading: what stands on a page becomes nodes in the order in which a reader meets them.

Each fault that was seen in OBELICS' own extractor is a test here: images lost in figure, picture,
list items, tables and noscript, URLs joined wrongly, words glued at a `<br>`, text lost for a class
that merely contains a word.
"""

from __future__ import annotations

import pytest

from pipeline.extract.html.images import MOST_OTHERS
from pipeline.extract.page import Page, read_page
from schemas.document import ImageNode, Role, TextNode

URL = "https://example.com/docs/page.html"
PLACE = "https://example.com/docs/"
GIF = "data:image/gif;base64,R0lGODlhAQABAAAAACw="


def read(body: str, *, head: str = "", url: str = URL) -> Page:
    page = read_page(f"<head>{head}</head><body>{body}</body>".encode(), url=url)
    assert isinstance(page, Page), page
    return page


def brief(page: Page) -> list[str]:
    """Nodes as short strings: texts as they are, images as <name>."""
    return [
        f"<{node.url.removeprefix(PLACE)}>" if isinstance(node, ImageNode) else node.text
        for node in page.nodes
    ]


def roles(page: Page) -> list[tuple[str, Role]]:
    return [(node.text, node.role) for node in page.nodes if isinstance(node, TextNode)]


KEPT_IN_PLACE = [
    "<p>before<figure><img src=a.png></figure><p>after",
    "<p>before<picture><source srcset='b.avif' type=image/avif><img src=a.png></picture><p>after",
    "<p>before</p><noscript><img src=a.png></noscript><p>after",
    "<article><p>before<header><img src=a.png></header><p>after</article>",
    "<p>before<div><a href=x><img src=a.png></a></div><p>after",
    "<p>before<div><div><span><img src=a.png></span></div></div><p>after",
    f"<p>before<img src='{GIF}' data-src=a.png><p>after",
    "<p>before<object type=image/png data=a.png>not shown</object><p>after",
    "<p>before<amp-img src=a.png></amp-img><p>after",
    "before<br><img src=a.png><br>after",
    "<table><tr><td>before<tr><td><img src=a.png><tr><td>after</table>",
    "<center>before<hr><img src=a.png><hr>after</center>",
    "<p>before</p><div style='display:none'>no</div><img src=a.png><p>after",
    "<section><p>before</p></section><custom-card><img src=a.png></custom-card><p>after",
]


@pytest.mark.parametrize("body", KEPT_IN_PLACE)
def test_an_image_stays_in_its_place(body: str) -> None:
    assert brief(read(body)) == ["before", "<a.png>", "after"]


def test_an_image_in_a_list_item_stays_beside_its_text() -> None:
    page = read("<ul><li><img src=a.png>one<li>two<p><img src=b.png></p></ul>")
    assert brief(page) == ["<a.png>", "one", "two", "<b.png>"]
    assert roles(page) == [("one", Role.LIST_ITEM), ("two", Role.LIST_ITEM)]


def test_what_else_stands_in_a_picture_is_read_too() -> None:
    """A browser shows all that follows a <picture> that was never closed."""
    found = read(
        "<div><picture><source srcset=a.webp><img src=a.jpg><p>first<img src=b.jpg><p>second</div>"
        "<p>third <picture><span>a caption</span><img src=c.jpg></picture>"
    )
    assert brief(found) == [
        "<a.jpg>", "first", "<b.jpg>", "second", "third a caption", "<c.jpg>"
    ]  # fmt: skip


def test_a_picture_with_many_sources_is_one_image() -> None:
    page = read(
        "<picture><source media='(min-width: 9px)' srcset='a-400.webp 400w, a-900.webp 900w'>"
        "<source srcset='c.jpg'><img src=a.png srcset='d.png 2x' alt='  An \n A ' width=300>"
        "</picture>"
    )
    others = tuple(PLACE + name for name in ("a-900.webp", "a-400.webp", "c.jpg", "a.png"))
    assert page.nodes == (ImageNode(url=PLACE + "d.png", others=others, alt="An A", width=300),)


TWINS = [
    f"<img src='{GIF}' data-src=a.png><noscript><img src=a.png></noscript>",
    f"<img class=lazy src='{GIF}'><noscript><img src=a.png></noscript>",
    "<img src=spacer.gif><noscript><img src=a.png width=300 height=200></noscript>",
    "<noscript><img src=a.png></noscript><img data-src=a.png>",
    "<p><img data-src=a.png></p> <noscript> <p><img src=a.png></p></noscript>",
    "<figure><picture><source data-srcset='a.png'><img></picture>"
    "<noscript><img src=a.png></noscript></figure>",
]


@pytest.mark.parametrize("body", TWINS)
def test_an_image_in_noscript_and_its_lazy_twin_are_one(body: str) -> None:
    assert brief(read(body + "<p>text")) == ["<a.png>", "text"]


TWINS_OTHERS = [
    ("<img src=spin.gif><noscript><img src=a.png srcset='a.png 2x, b.png 1x'></noscript>", ["b"]),
    ("<noscript><img src=a.png></noscript><img src=spin.gif>", []),
    (
        "<noscript><img src=a.png></noscript><img data-src=//b.org/a.png src=spin.gif>",
        ["//b.org/a"],
    ),
    ("<img src=spin.gif data-src=a.png><noscript><img src=s/a.png></noscript>", ["s/a"]),
    ("<img src=a.png srcset='a.png 2x, b.png 1x'><noscript><img src=a.png></noscript>", ["b"]),
]


@pytest.mark.parametrize(("body", "expected"), TWINS_OTHERS)
def test_an_image_and_its_twin_have_their_sizes_together(body: str, expected: list[str]) -> None:
    (node,) = read(body).nodes
    assert isinstance(node, ImageNode)
    others = [other.removeprefix(PLACE).removeprefix("https:") for other in node.others]
    assert (node.url, others) == (PLACE + "a.png", [f"{name}.png" for name in expected])


def test_a_pixel_that_counts_visitors_is_not_taken_for_the_image_before_it() -> None:
    body = "<img src=a.png><noscript><img src=//t.org/p.gif width=1 height=1></noscript>"
    assert brief(read(body)) == ["<a.png>", "<https://t.org/p.gif>"]


def test_the_same_image_twice_with_text_between_is_two() -> None:
    assert len(read("<img src=a.png>text<br><noscript><img src=a.png></noscript>").nodes) == 3


INLINE = [
    ("A <img src=i.png> in a sentence.", ["A in a sentence.", "<i.png>"]),
    ("<img src=i.png> opens a line", ["<i.png>", "opens a line"]),
    ("ends a line <img src=i.png>", ["ends a line", "<i.png>"]),
    ("wo<img src=i.png>rd", ["word", "<i.png>"]),
    ("one<br><img src=i.png>two", ["one", "<i.png>", "two"]),
    ("one<br>two <img src=i.png> two<br>three", ["one\ntwo two\nthree", "<i.png>"]),
    ("<img src=i.png><img src=j.png>", ["<i.png>", "<j.png>"]),
]


@pytest.mark.parametrize(("paragraph", "expected"), INLINE)
def test_an_icon_never_cuts_a_sentence_or_a_word(paragraph: str, expected: list[str]) -> None:
    assert brief(read(f"<p>{paragraph}</p>")) == expected


TEXTS = [
    ("<p>one<br class=x/>two", ["one\ntwo"]),
    ("<p>one<br/>two<BR>three", ["one\ntwo\nthree"]),
    ("<p>one<br><br/>two", ["one", "two"]),
    ("<p>one<br>&nbsp;<br>two", ["one", "two"]),
    ("<p>w<b>or</b>d <i>x</i><span>y</span>", ["word xy"]),
    ("<p>a\n  b\t c&nbsp;d", ["a b c d"]),
    ("<p>soft&shy;hyphen zero&#8203;width", ["softhyphen zerowidth"]),
    ("<p>x<wbr>y<sup>2</sup>", ["xy2"]),
    ("one<div>two</div>three<p>four", ["one", "two", "three", "four"]),
    ("<p>one<p>two", ["one", "two"]),
    ("<x-tag>one</x-tag><x-tag>two</x-tag>", ["one two"]),
    ("<p>a<script>b</script>c<style>d</style><!-- e -->", ["ac"]),
    ("<p>\u3042<ruby>\u6f22<rt>kan</rt></ruby>", ["\u3042\u6f22"]),
    ("<p>&zwnj;</p><p>text", ["text"]),
    ("<p>a</p>\n\n\n<p>   </p><p></p><p>b", ["a", "b"]),
]


@pytest.mark.parametrize(("body", "expected"), TEXTS)
def test_words_are_neither_glued_nor_split(body: str, expected: list[str]) -> None:
    assert brief(read(body)) == expected


def test_roles_are_those_of_the_elements() -> None:
    page = read(
        "<h2>h</h2><p>p<ul><li>li<ul><li>inner</ul></ul><dl><dt>dt<dd>dd</dl>"
        "<blockquote><p>q</blockquote><pre>c  c</pre><h4><a href=x>h4</a></h4>"
    )
    assert roles(page) == [
        ("h", Role.HEADING), ("p", Role.PARAGRAPH), ("li", Role.LIST_ITEM),
        ("inner", Role.LIST_ITEM), ("dt", Role.LIST_ITEM), ("dd", Role.LIST_ITEM),
        ("q", Role.QUOTE), ("c  c", Role.CODE), ("h4", Role.HEADING),
    ]  # fmt: skip


def test_code_keeps_its_spaces_and_ends_a_node_at_an_empty_line() -> None:
    page = read("<pre>\nif x:\n    <b>y</b>  \n \n\nz<br>w<div>v</div></pre>")
    assert roles(page) == [("if x:\n    y", Role.CODE), ("z\nw\nv", Role.CODE)]


def test_a_line_of_code_in_a_box_of_its_own_is_one_line() -> None:
    page = read(
        "<pre><div>a<br></div><div>  b</div><div>c<br></div></pre>"
        "<pre><div>d</div><div><br></div><div>e</div></pre>"
    )
    assert brief(page) == ["a\n  b\nc", "d", "e"]


DATA = (
    "<table><caption>Sizes</caption><tr><th>Name<th>Size<th>Note<tr><td>A<td>3<td></table>"
    "<table><thead><tr><td>x<td>y</thead>"
    "<tr><td><p>1</p><p>2</p><td><img src=a.png>3<tr><td>4</table>"
)


DATA_BELOW = ["x | y", "1 2 | 3", "<a.png>", "4"]


def test_a_row_of_a_data_table_is_one_node() -> None:
    page = read(DATA)
    assert brief(page) == ["Sizes", "Name | Size | Note", "A | 3", *DATA_BELOW]
    assert roles(page)[1] == ("Name | Size | Note", Role.TABLE_ROW)


def test_an_empty_cell_between_others_keeps_its_place() -> None:
    page = read("<table><tr><th>a<th>b<th>c<tr><td>1<td><td>3<tr><td>4<td>5<td>6</table>")
    assert brief(page) == ["a | b | c", "1 | | 3", "4 | 5 | 6"]


LAYOUTS = [
    "<table role=presentation><tr><th>one<td>two<td>x<tr><td>three<td>four<td>y</table>",
    "<table><tr><td>one<td>two</table>",
    "<table><tr><td><table><tr><td>one<td>two</table><td>x<tr><td>three<td>y</table>",
    "<table summary=Note><tr><td rowspan=2><img src=n.png><th>Note<tr><td>one</table>",
    "<table><tr><td><h2>one</h2><td>two<tr><td>three<td>four</table>",
    "<table><tr><td><img src=a.png><td>one<tr><td><img src=b.png><td>two<tr><td>c<td>d</table>",
]


@pytest.mark.parametrize("body", LAYOUTS)
def test_a_table_that_only_places_things_is_no_table(body: str) -> None:
    page = read(body)
    assert not any(role is Role.TABLE_ROW for _, role in roles(page))
    assert "one" in brief(page)


def test_a_gallery_in_a_table_keeps_each_picture_beside_its_text() -> None:
    page = read("<table><tr><td><img src=a.png><br>A<td><img src=b.png><br>B</table>")
    assert brief(page) == ["<a.png>", "A", "<b.png>", "B"]


CAPTIONS = [
    "<figure><img src=a.png><figcaption>C</figcaption></figure>",
    "<figure><figcaption>C</figcaption><img src=a.png></figure>",
    "<figure><a href=x><img src=a.png></a><p>C</p></figure>",
    "<div class=figure><p class=title><b>C</b></p><div class=figure-contents>"
    "<div class=mediaobject><img src=a.png></div></div></div>",
    "<div class='wp-caption alignleft'><img src=a.png><p class=wp-caption-text>C</p></div>",
    "<div class=thumbinner><img src=a.png><div class=thumbcaption>C</div></div>",
    "<li><div class=mediaobject><img src=a.png><div class=caption><p>C</p></div></div></li>",
]


@pytest.mark.parametrize("body", CAPTIONS)
def test_a_caption_names_the_position_of_its_image(body: str) -> None:
    page = read(f"<p>text</p>{body}<p>more text</p>")
    (position,) = (i for i, node in enumerate(page.nodes) if isinstance(node, ImageNode))
    captions = [n for n in page.nodes if isinstance(n, TextNode) and n.role is Role.CAPTION]
    assert [(caption.text, caption.caption_of) for caption in captions] == [("C", position)]


def test_each_picture_of_a_figure_has_its_own_caption() -> None:
    page = read(
        "<div class=figure><p class=title>T</p>"
        "<div class=mediaobject><img src=a.png><div class=caption>A</div></div>"
        "<div class=mediaobject><img src=b.png><div class=caption>B</div></div></div>"
    )
    texts = [n for n in page.nodes if isinstance(n, TextNode)]
    assert [(n.text, n.caption_of) for n in texts] == [("T", 1), ("A", 1), ("B", 3)]


def test_what_is_only_called_a_caption_is_a_paragraph() -> None:
    assert roles(read("<div class=carousel-caption>text</div>")) == [("text", Role.PARAGRAPH)]


URLS = [
    ("", "a.png", PLACE + "a.png"),
    ("", "/a.png", "https://example.com/a.png"),
    ("", "//cdn.org/a.png", "https://cdn.org/a.png"),
    ("", "http://cdn.org/a.png", "http://cdn.org/a.png"),
    ("", "a b,c.png", PLACE + "a%20b,c.png"),
    ("<base href='../img/'>", "a.png", "https://example.com/img/a.png"),
    ("<base target=_top><base href=//cdn.org/><base href=/no/>", "a.png", "https://cdn.org/a.png"),
]


@pytest.mark.parametrize(("head", "src", "expected"), URLS)
def test_an_image_url_is_absolute_as_in_a_browser(head: str, src: str, expected: str) -> None:
    (node,) = read(f'<img src="{src}">', head=head).nodes
    assert isinstance(node, ImageNode)
    assert node.url == expected


def test_a_class_that_merely_contains_a_word_is_not_that_word() -> None:
    names = ("updated-info", "essex", "canvas", "headers", "navel", "asidebar", "uncommented")
    body = "".join(f"<div class='{n}' id='{n}'>text of {n} that is kept</div>" for n in names)
    assert brief(read(body)) == [f"text of {n} that is kept" for n in names]


def test_an_image_that_has_only_a_data_uri_is_counted_and_left_out() -> None:
    page = read(f"<p>text</p><img src='{GIF}'><img><img src=''>")
    assert brief(page) == ["text"]
    assert page.edits == {"image_data_uri": 1, "image_without_source": 2}


@pytest.mark.parametrize("hidden", ["style='display: none'", "hidden", "class=d-none"])
def test_an_image_that_is_hidden_is_left_out_unless_a_script_puts_it_in(hidden: str) -> None:
    page = read(f"<p>text</p><img src=spin.gif {hidden}><img data-src=a.png {hidden}>")
    assert brief(page) == ["text", "<a.png>"]
    assert page.edits == {"hidden": 1}


def test_an_image_that_is_only_kept_from_being_read_aloud_stays() -> None:
    row = "<tr><th>a<th>b<tr><td aria-hidden=true><img src=b.png><td>c<tr><td>d<td>e"
    page = read(f"<img src=a.png aria-hidden=true><table>{row}</table>")
    assert brief(page) == ["<a.png>", "a | b", "<b.png>", "c", "d | e"]


def test_what_the_walk_leaves_out_is_counted_by_kind() -> None:
    page = read(
        "<p>text<script>x</script><svg><path></svg><iframe></iframe><input>"
        "<span hidden>y</span><button>z</button></p>"
    )
    assert brief(page) == ["text"]
    assert page.edits == {"drawing": 1, "embed": 1, "form_control": 2, "hidden": 1, "script": 1}


def test_the_title_is_that_of_the_head() -> None:
    page = read("<p>text<svg><title>no</title></svg>", head="<title> A \n B&amp;C </title>")
    assert page.title == "A B&C"


MANY = "<img src=spin.gif data-src=a.png>" + "".join(
    f"<noscript><img src=s{n}/a.png srcset='s{n}/a.png 2x, t{n}/a.png 1x'></noscript>"
    for n in range(5_000)
)


def test_an_image_with_many_twins_is_one_and_has_a_bounded_number_of_sizes() -> None:
    (node,) = read(MANY).nodes
    assert isinstance(node, ImageNode)
    assert [other.removeprefix(PLACE) for other in node.others] == [
        f"{folder}{n}/a.png" for n in range(MOST_OTHERS // 2) for folder in "st"
    ]
