"""Charset: the HTML standard's order, a detector behind it, and never a lone surrogate."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.extract.html.charset import decode_page

RUSSIAN = "Съешь же ещё этих мягких французских булок, да выпей чаю. " * 4
JAPANESE = "これは日本語の文章です。文字コードを調べるために、少し長く書いてあります。" * 4
META = '<meta charset="{}">'


def html(charset: str, text: str, encoding: str) -> bytes:
    return f"<html><head>{META.format(charset)}</head><body><p>{text}</p></body></html>".encode(
        encoding
    )


def header(charset: str) -> list[tuple[str, str]]:
    return [("Server", "x"), ("CONTENT-type", f"text/html; Charset={charset}")]


def test_a_byte_order_mark_overrules_the_header() -> None:
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ):
        decoded = decode_page(mark + "<p>é</p>".encode(encoding), headers=header("koi8-r"))
        assert (decoded.text, decoded.charset, decoded.replaced) == ("<p>é</p>", encoding, 0)


def test_the_header_overrules_the_meta_element() -> None:
    decoded = decode_page(html("utf-8", RUSSIAN, "koi8-r"), headers=header('"koi8-r"'))
    assert decoded.charset == "koi8-r"
    assert RUSSIAN in decoded.text


def test_a_header_that_names_no_encoding_is_passed_over() -> None:
    decoded = decode_page(html("windows-1251", RUSSIAN, "cp1251"), headers=header("none-such"))
    assert decoded.charset == "cp1251"
    assert RUSSIAN in decoded.text


@pytest.mark.parametrize(
    "declaration",
    [
        "<meta charset=koi8-r>",
        "<META CHARSET = 'KOI8-R'>",
        '<meta http-equiv="Content-Type" content="text/html; charset=koi8-r">',
        '<?xml version="1.0" encoding="koi8-r"?>',
        "<!-- <meta charset=utf-8> --><meta charset=koi8-r>",
        "<meta charset=none-such><meta charset=koi8-r>",
        "<title>" + "x" * 3000 + "</title><meta charset=koi8-r>",
    ],
)
def test_a_declaration_in_the_page_is_found(declaration: str) -> None:
    decoded = decode_page((declaration + RUSSIAN).encode("koi8-r"))
    assert decoded.charset == "koi8-r"
    assert RUSSIAN in decoded.text


def test_latin1_means_windows_1252() -> None:
    decoded = decode_page(html("iso-8859-1", "“quoted”", "cp1252"))
    assert "“quoted”" in decoded.text


def test_shift_jis_means_the_code_page_that_the_web_uses() -> None:
    decoded = decode_page(html("shift_jis", "①髙" + JAPANESE, "cp932"))
    assert "①髙" in decoded.text
    assert decoded.replaced == 0


def test_a_meta_element_that_says_utf_16_was_read_as_ascii_and_means_utf_8() -> None:
    decoded = decode_page(html("utf-16", RUSSIAN, "utf-8"))
    assert (decoded.charset, decoded.replaced) == ("utf-8", 0)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [(RUSSIAN, "cp1251"), (RUSSIAN, "koi8-r"), (JAPANESE, "euc_jp"), (JAPANESE, "cp932")],
)
def test_without_a_declaration_the_detector_decides(text: str, encoding: str) -> None:
    assert text in decode_page(f"<p>{text}</p>".encode(encoding)).text


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_is_told_by_its_zeros(encoding: str) -> None:
    page = "".join(f'<p class="text">{word}</p>\n' for word in RUSSIAN.split())
    decoded = decode_page(page.encode(encoding))
    assert (decoded.text, decoded.charset) == (page, encoding)


def test_a_declaration_that_does_not_fit_gives_way_to_a_detection_that_does() -> None:
    decoded = decode_page(html("utf-8", RUSSIAN, "cp1251"))
    assert RUSSIAN in decoded.text
    assert decoded.replaced == 0


@pytest.mark.parametrize("declared", ["iso-8859-1", "windows-1252", "windows-1251", "iso-8859-15"])
def test_utf_8_from_end_to_end_is_read_so_whatever_single_bytes_are_declared(declared: str) -> None:
    text = "Don\u2019t \u2013 caf\u00e9"
    page = f"<meta charset={declared}><p>{text}</p>".encode()
    assert text in decode_page(page).text
    plain = f"<meta charset={declared}><p>caf\u00e9</p>"
    if declared != "windows-1251":
        assert decode_page(plain.encode("cp1252")).text == plain, "what is not UTF-8 stays as named"
    ascii_only = f"<meta charset={declared}><p>cafe</p>".encode()
    assert decode_page(ascii_only).charset != "utf-8"


def test_a_stray_byte_does_not_change_the_encoding_of_a_page() -> None:
    stray = f"<p>{RUSSIAN}</p>".encode() + b"\xe9"
    for headers in ([], header("utf-8")):
        decoded = decode_page(stray, headers=headers)
        assert (decoded.charset, decoded.replaced) == ("utf-8", 1)


def test_replaced_bytes_are_counted_and_replacement_characters_of_the_page_are_not() -> None:
    page = "<meta charset=utf-8>" + "ä�ö " * 20
    assert decode_page(page.encode()).replaced == 0
    assert decode_page(page.encode() + b"\xff").replaced == 1


@given(st.binary(max_size=300), st.sampled_from(["", "utf-8", "utf-16", "gb18030", "big5", "x"]))
def test_any_bytes_become_valid_text(data: bytes, charset: str) -> None:
    decoded = decode_page(data, headers=header(charset) if charset else [])
    decoded.text.encode("utf-8")  # a lone surrogate would raise
    assert decoded.replaced >= 0


def test_a_page_that_is_utf_8_from_end_to_end_is_not_what_it_declares_with_holes() -> None:
    text = "Café à la carte, naïve “quotes” and a façade: " * 20
    html = f'<meta charset="iso-8859-1"><p>{text}</p>'.encode()
    assert b"\x9d" in html  # a hole of the declared encoding
    decoded = decode_page(html)
    assert decoded.charset == "utf-8"
    assert text in decoded.text
    assert decoded.replaced == 0
