"""Image sources: srcset by the HTML standard, lazy attributes, declared sides."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.extract.html.images import (
    LAZY_SOURCES,
    MOST_OTHERS,
    SENSIBLE_WIDTH,
    Candidate,
    declared_side,
    largest_sensible,
    other_urls,
    parse_srcset,
    references,
)
from pipeline.words.consent import Attributes

GIF = "data:image/gif;base64,R0lGODlhAQABAAAAACw="

SRCSETS = [
    ("a.png", [("a.png", None, None)]),
    ("a.png, b.png 2x", [("a.png", None, None), ("b.png", None, 2.0)]),
    ("a.png 1.5x,b.png 300w", [("a.png", None, 1.5), ("b.png", 300, None)]),
    # a comma belongs to a URL unless it ends it
    ("/w_100,h_50/a.png 1x, /w_200,h_100/a.png 2x", [
        ("/w_100,h_50/a.png", None, 1.0), ("/w_200,h_100/a.png", None, 2.0)]),
    ("a.png,b.png", [("a.png,b.png", None, None)]),
    ("a.png, b.png", [("a.png", None, None), ("b.png", None, None)]),
    ("a.png,, b.png 2x", [("a.png", None, None), ("b.png", None, 2.0)]),
    (" \n,\ta.png\n 2x ", [("a.png", None, 2.0)]),
    ("data:image/png;base64,AA== 1x, b.png 2x", [
        ("data:image/png;base64,AA==", None, 1.0), ("b.png", None, 2.0)]),
    # wrong descriptors make no candidate
    ("a.png 0w, b.png -1x, c.png 1w 2x, d.png 1q, e.png 5h, f.png 3w", [("f.png", 3, None)]),
    ("a.png 300w 200h", [("a.png", 300, None)]),
    ("a.png (x, 2x) , b.png 2x", [("b.png", None, 2.0)]),
    ("", []),
    (", ,", []),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), SRCSETS)
def test_a_srcset_is_parsed_by_the_html_standard(
    text: str, expected: list[tuple[str, int | None, float | None]]
) -> None:
    assert [(c.url, c.width, c.density) for c in parse_srcset(text)] == expected


@given(st.text(alphabet="ab.,() \n1x2w3h", max_size=60))
def test_any_srcset_has_an_end_and_no_candidate_without_a_url(text: str) -> None:
    candidates = parse_srcset(text)
    assert all(c.url and not c.url.endswith(",") for c in candidates)
    assert all(c.width is None or c.width > 0 for c in candidates)


LARGEST = [
    ("a 400w, b 800w, c 1600w", "c"),
    (f"a 400w, b {SENSIBLE_WIDTH}w, c {SENSIBLE_WIDTH + 1}w", "b"),
    (f"a {SENSIBLE_WIDTH + 2}w, b {SENSIBLE_WIDTH + 1}w", "b"),
    ("a, b 2x, c 3x, d 4x", "c"),
    ("a 100w, b 100w", "a"),
    ("a, b", "a"),
    (f"{GIF} 800w, b 100w", "b"),
]


@pytest.mark.parametrize(("text", "expected"), LARGEST)
def test_the_largest_sensible_candidate_is_taken(text: str, expected: str) -> None:
    best = largest_sensible(parse_srcset(text))
    assert best is not None
    assert best.url == expected


def test_a_srcset_of_data_uris_offers_nothing() -> None:
    assert largest_sensible([Candidate(url=GIF, density=2.0)]) is None


BEST: list[tuple[dict[str, str | None], list[dict[str, str | None]], str | None]] = [
    ({"src": "a.png"}, [], "a.png"),
    ({"src": " a.png\n"}, [], "a.png"),
    ({"src": GIF, "data-src": "a.png"}, [], "a.png"),
    ({"src": "small.jpg", "data-src": "large.jpg"}, [], "large.jpg"),
    ({"src": "a.png", "srcset": "b.png 2x"}, [], "b.png"),
    ({"src": "a.png", "data-srcset": "b.png 2x", "srcset": "c.png 2x"}, [], "b.png"),
    ({"src": GIF, "srcset": f"{GIF} 1w"}, [], None),
    ({"src": GIF}, [], None),
    ({"src": ""}, [], None),
    ({"src": None}, [], None),
    ({}, [], None),
    ({"src": GIF, "data-something": "photo.jpeg?w=3"}, [], "photo.jpeg?w=3"),
    ({"src": GIF, "data-something": '{"a": "photo.jpeg"}'}, [], None),
    ({"src": "a.png", "data-src": "{{ image }}"}, [], "a.png"),
    ({"src": "a.png", "data-lazy": "true"}, [], "a.png"),
    ({"src": "a.jpg"}, [{"srcset": "a-400.webp 400w, a-900.webp 900w"}], "a-900.webp"),
    ({"src": "a.jpg"}, [{"srcset": "a.avif 900w", "type": "image/avif"}], "a.jpg"),
    ({"src": "a.jpg"}, [{"srcset": "a.webp"}], "a.jpg"),
    ({"src": GIF}, [{"srcset": "a.webp"}], "a.webp"),
    ({"src": GIF}, [{"src": "a.webp"}], "a.webp"),
]


@pytest.mark.parametrize(("image", "sources", "expected"), BEST)
def test_a_data_uri_gives_way_to_where_the_image_is_loaded_from(
    image: Attributes, sources: list[Attributes], expected: str | None
) -> None:
    assert next(iter(references(image, sources)), None) == expected


@pytest.mark.parametrize("name", LAZY_SOURCES)
def test_each_lazy_attribute_is_read(name: str) -> None:
    assert references({"src": GIF, name: "a.png"}) == ["a.png"]


SIDES = [
    ("300", 300), ("300px", 300), (" 300 PX", 300), ("300.7", 300), ("50%", None), ("auto", None),
    ("", None), (None, None), ("0", None), ("0px", None), ("1", 1), ("10em", None), ("-5", None),
    ("9" * 8, None),
]  # fmt: skip


@pytest.mark.parametrize(("value", "expected"), SIDES)
def test_a_declared_side_is_in_pixels_or_unknown(value: str | None, expected: int | None) -> None:
    assert declared_side(value) == expected


BASE = "https://a.org/"
WIDE = ", ".join(f"{n}.png {n}w" for n in range(1, 2 * MOST_OTHERS))
OTHERS: list[tuple[dict[str, str | None], list[dict[str, str | None]], list[str]]] = [
    ({"src": "a.png"}, [], []),
    ({"src": "a.png", "srcset": "a.png 1x"}, [], []),
    ({"src": "a.png", "srcset": "b.png 2x"}, [], ["a.png"]),
    ({"src": "a.png", "srcset": "b.png 400w, c.png 800w, d.png 600w"}, [], [
        "d.png", "b.png", "a.png"]),
    ({"src": "a.png", "srcset": f"{GIF} 3x, ftp://b.org/b.png 2x, c.png 1x"}, [], [
        "c.png", "a.png"]),
    # what waits for a script shows something else, if its file is not called the same
    ({"src": "spin.gif", "data-src": "a.png", "data-lazy": "b.png"}, [], ["b.png"]),
    ({"src": "spin.gif", "data-srcset": "a.png 1x, b.png 2x"}, [], ["a.png"]),
    ({"src": "small/a.png?w=20", "data-src": "a.png"}, [], ["small/a.png?w=20"]),
    ({"src": "image.php?1", "data-src": "image.php?2"}, [], []),
    ({"src": GIF, "data-src": "a.png"}, [], []),
    ({"src": "i/blank.gif", "srcset": "a.png 2x, b.png"}, [], ["b.png"]),
    ({"src": "img-1x1.gif", "srcset": "a.png 2x"}, [], []),
    ({"src": "pixelated.jpg", "srcset": "a.png 2x"}, [], ["pixelated.jpg"]),
    # the sources of a <picture>
    ({"src": "a.jpg"}, [{"srcset": "b.webp 400w, c.webp 900w"}, {"srcset": "d.jpg 800w"}], [
        "d.jpg", "b.webp", "a.jpg"]),
    ({"src": "a.jpg"}, [{"srcset": "b.avif 900w", "type": "image/avif"}], []),
    ({"src": "spin.gif"}, [{"data-srcset": "b.webp 400w, c.webp 900w"}], ["b.webp"]),
    # at most so many, and what is shown is one of them
    ({"src": "a.png", "srcset": WIDE}, [], [
        *(f"{n}.png" for n in range(2 * MOST_OTHERS - 2, MOST_OTHERS - 1, -1)), "a.png"]),
    ({"src": "15.png", "srcset": WIDE}, [], [
        f"{n}.png" for n in range(2 * MOST_OTHERS - 2, MOST_OTHERS - 1, -1)]),
]  # fmt: skip


@pytest.mark.parametrize(("image", "sources", "expected"), OTHERS)
def test_the_other_sizes_of_a_picture_are_told_the_best_first(
    image: Attributes, sources: list[Attributes], expected: list[str]
) -> None:
    url = BASE + references(image, sources)[0]
    others = other_urls(image, sources, url=url, base=BASE)
    assert [other.removeprefix(BASE) for other in others] == expected


_VALUES = st.sampled_from([GIF, "", "a.png", "b.png 2x, c.png", WIDE, "spin.gif", "//x y/", "{}"])
_ATTRIBUTES = st.dictionaries(
    st.sampled_from(["src", "srcset", "data-srcset", *LAZY_SOURCES[:5]]), _VALUES
)


@given(_ATTRIBUTES, st.lists(_ATTRIBUTES, max_size=3))
def test_other_sizes_are_few_and_absolute_and_never_the_url_itself(
    image: Attributes, sources: list[Attributes]
) -> None:
    others = other_urls(image, sources, url=BASE + "a.png", base=BASE)
    assert len(others) == len(set(others)) <= MOST_OTHERS
    assert BASE + "a.png" not in others
    assert all(other.startswith(("http://", "https://")) for other in others)
