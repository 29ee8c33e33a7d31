"""Charset: the bytes of a page in, its text out, by the HTML standard's order.

In:      bytes, and the HTTP headers that came with them.
Out:     text without lone surrogates, the name of the encoding, how many bytes it did not fit.
Order:   byte order mark, HTTP header, `<meta>` or XML declaration, detector (HTML standard,
         13.2.3.2). Where a declaration does not fit (every fourth character beyond ASCII is a
         replacement), the detector guesses as well, and its guess is taken if it needs fewer
         replacements. A page that is UTF-8 from end to end is read as UTF-8 even if it declares a
         single-byte encoding, in which any bytes are text: browsers show it garbled.
Refused: nothing. Whether too much was replaced, `page.py` decides.

Labels are those of the Encoding Standard: a page that says latin1 means windows-1252, gb2312 means
gb18030, shift_jis means windows-31j. Names are Python's.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

_HEAD: Final = 65_536  # bytes; the standard prescans 1,024, and changes its mind for a later <meta>
_SAMPLE: Final = 131_072  # bytes that the detector looks at
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
)
_HEADER: Final = re.compile(r"charset\s*+=\s*+[\"']?+\s*+([^\s\"';,]++)", re.IGNORECASE)
_META: Final = re.compile(rb"<meta\s([^>]{0,1024}+)", re.IGNORECASE)
_CHARSET: Final = re.compile(rb"charset\s*+=\s*+[\"']?+\s*+([^\s\"'/>;]++)", re.IGNORECASE)
_XML: Final = re.compile(rb"\s*+<\?xml([^>]{0,256}+)", re.IGNORECASE)
_ENCODING: Final = re.compile(rb"encoding\s*+=\s*+[\"']([^\"'>]++)", re.IGNORECASE)
_COMMENT: Final = re.compile(rb"<!--(?:[^-]++|-(?!->))*+(?:-->)?+")
_NOT_ASCII: Final = re.compile(r"[^\x00-\x7f]")
_MISFIT: Final = 0.25  # share of the characters beyond ASCII that are replacements
_SINGLE: Final = re.compile(r"cp125|iso8859|koi8|cp866|cp874|mac")
_WIDE: Final = frozenset(("utf-16-le", "utf-16-be"))
# the Encoding Standard's decoders read more than Python's of the same name
_WIDER: Final = {
    "gbk": "gb18030",
    "gb2312": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
    "iso8859-11": "cp874",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoded:
    """`replaced` counts the replacement characters that decoding had to put in."""

    text: str
    charset: str
    replaced: int
    utf8: bytes | None = None  # the text's bytes, where they need not be made


def decode_page(html: bytes, *, headers: Sequence[tuple[str, str]] = ()) -> Decoded:
    """The text of a page."""
    for mark, name in _MARKS:
        if html.startswith(mark):
            return _decode(html[len(mark) :], name)
    declared = _of_headers(headers) or _of_markup(html)
    if declared is None:
        return _decode(html, _detected(html))
    decoded = _decode(html, declared)
    doubted = decoded.replaced or (_SINGLE.match(declared) and not html.isascii())
    if doubted and (utf8 := _decode(html, "utf-8")).replaced == 0:
        return utf8  # text of another encoding is not UTF-8 from end to end by chance
    if _fits(decoded):
        return decoded
    guess = _decode(html, _detected(html))
    return guess if guess.replaced < decoded.replaced else decoded


def _decode(html: bytes, name: str) -> Decoded:
    text = html.decode(name, "replace")
    if name != "utf-8":
        return Decoded(text=text, charset=name, replaced=text.count("\ufffd"))
    replaced = 0
    if "\ufffd" in text:  # some that the page holds itself
        replaced = text.count("\ufffd") - html.count("\ufffd".encode())
    return Decoded(text=text, charset=name, replaced=replaced, utf8=None if replaced else html)


def _fits(decoded: Decoded) -> bool:
    """Whether the encoding is plausible: a few stray bytes do not speak against it."""
    if not decoded.replaced:
        return True
    return decoded.replaced < _MISFIT * len(_NOT_ASCII.findall(decoded.text))


def _known(label: str) -> str | None:
    """The codec of a label, None for one that the Encoding Standard does not know."""
    name = map_encoding_to_html5(label.strip().lower(), fallback_utf8=False)
    return None if name is None else _WIDER.get(name, name)


def _of_headers(headers: Sequence[tuple[str, str]]) -> str | None:
    for name, value in headers:
        if name.lower() == "content-type":
            match = _HEADER.search(value)
            known = match and _known(match[1])
            if known:
                return known
    return None


def _of_markup(html: bytes) -> str | None:
    head = _COMMENT.sub(b"", html[:_HEAD])
    for label in _labels(head):
        known = _known(label.decode("ascii", "replace"))
        if known in _WIDE:  # it was read as ASCII, so it is none (HTML standard, prescan)
            return "utf-8"
        if known:
            return known
    return None


def _labels(head: bytes) -> Iterator[bytes]:
    if (declaration := _XML.match(head)) and (match := _ENCODING.search(declaration[1])):
        yield match[1]
    for meta in _META.finditer(head):
        if match := _CHARSET.search(meta[1]):
            yield match[1]


def _detected(html: bytes) -> str:
    if b"\0" not in html and _fits(_decode(html, "utf-8")):
        return "utf-8"
    wide = _wide(html[:4096])
    if wide:
        return wide
    return _known(detect_encoding(html, max_len=_SAMPLE) or "") or "cp1252"


def _wide(sample: bytes) -> str | None:
    """UTF-16 without a mark: markup is ASCII, so every other byte of it is zero."""
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    if max(even, odd) * 4 < len(sample) or min(even, odd) * 4 > max(even, odd):
        return None
    return "utf-16-be" if even > odd else "utf-16-le"
