"""Page: one page's bytes in, its main content as nodes out; the only entry of this folder.

In:      bytes of HTML, its URL, the HTTP headers that came with it.
Out:     Page: title, charset, what the page asks for, nodes in reading order, and how much of the
         page was left out or changed, by kind.
Refused: too many bytes, elements, or elements inside each other; text that does not decode;
         nothing left: a Problem with value and limit. Nothing here looks at a clock.
See it:  interloom explain PAGE.html --url URL

Block rules decide what is main content; where they leave too little, trafilatura is asked which
of the same blocks it would keep (`second_opinion.py`). So images stay where they are either way.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from selectolax.lexbor import LexborDocumentOptions, LexborHTMLParser, LexborNode

from pipeline.extract.boilerplate.rules import judge
from pipeline.extract.boilerplate.second_opinion import is_unsure, second_opinion
from pipeline.extract.html.charset import Decoded, decode_page
from pipeline.extract.html.dom import Walker
from pipeline.extract.html.layout import ImageBlock, Layout
from pipeline.extract.html.limits import PageLimits, broken_limit
from pipeline.extract.html.nodes import nodes_of
from pipeline.extract.html.paragraphs import clean
from pipeline.problem import Problem
from pipeline.words.page_signals import header_signals, page_signals
from pipeline.words.urls import base_url
from schemas.document import Node, PageSignals
from schemas.verdict import Reason

DEFAULT_LIMITS: Final = PageLimits()
_HEAD: Final = "title, base[href], meta, link[rel], a[rel~=license]"  # wherever they stand
_HEARD: Final = 64 << 10  # bytes of a page in which its head is looked for, where no more is read
_LONGEST_TITLE: Final = 1_024  # characters


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """What was read of a page. `edits` counts what the extractor left out or changed, by kind."""

    title: str
    charset: str
    extractor: str  # "blocks" or "trafilatura": who decided on main content
    signals: PageSignals
    nodes: tuple[Node, ...]
    edits: dict[str, int]
    elements: int
    second_opinion: bool  # whether trafilatura was asked, also where its answer was not taken


def read_page(
    html: bytes,
    *,
    url: str,
    headers: Sequence[tuple[str, str]] = (),
    limits: PageLimits = DEFAULT_LIMITS,
) -> Page | Problem:
    """The page, or why there is none."""
    if len(html) > limits.bytes:
        return Problem(reason=Reason.PAGE_TOO_LARGE, value=len(html), limit=limits.bytes)
    decoded = decode_page(html, headers=headers)
    zeros = decoded.text.count("\0") if b"\0" in html else 0
    markup = decoded.utf8 or decoded.text.encode()
    problem = _unreadable(decoded, zeros, limits) or broken_limit(markup, limits)
    if problem is not None:
        return problem
    tree = LexborHTMLParser(markup, options=LexborDocumentOptions.WO_EVENTS)
    if tree.body is None:  # a frameset
        return Problem(reason=Reason.NO_CONTENT)
    head = defaultdict[str, list[LexborNode]](list)
    for node in tree.css(_HEAD):  # one search for all: each takes as long
        tag = node.tag or ""
        head["link" if tag == "a" else tag].append(node)
    base = base_url(url, href=head["base"][0].attributes.get("href") if head["base"] else None)
    layout = Walker(base=base).walk(tree.body)
    most = max(layout.elements, len(layout.blocks))  # a <pre> has a block after each empty line
    if most > limits.elements:
        return Problem(reason=Reason.TOO_MANY_ELEMENTS, value=most, limit=limits.elements)
    return _page(head, layout, decoded, headers=headers, base=base)


def heard(html: bytes, *, url: str, headers: Sequence[tuple[str, str]]) -> PageSignals:
    """What an answer asks for that becomes no document: a page without content, an error page."""
    decoded = decode_page(html[:_HEARD], headers=headers)
    markup = decoded.utf8 or decoded.text.encode()
    if broken_limit(markup, DEFAULT_LIMITS) is not None:
        return header_signals(headers)
    tree = LexborHTMLParser(markup, options=LexborDocumentOptions.WO_EVENTS)
    metas = (node.attributes for node in tree.css("meta"))
    return page_signals(metas, (), headers=headers, base=url)


def _page(
    head: Mapping[str, Sequence[LexborNode]],
    layout: Layout,
    decoded: Decoded,
    *,
    headers: Sequence[tuple[str, str]],
    base: str,
) -> Page | Problem:
    verdicts = judge(layout)
    asked = is_unsure(layout, verdicts)
    other = second_opinion(layout, verdicts, decoded.text) if asked else None
    if other is not None:
        verdicts = other
    kept = [block for block, verdict in zip(layout.blocks, verdicts, strict=True) if not verdict]
    nodes = nodes_of(kept, base=base)
    if not nodes:
        return Problem(reason=Reason.NO_CONTENT)
    title = head["title"][0].text() if head["title"] else ""
    return Page(
        title=clean(title)[:_LONGEST_TITLE].strip(),
        charset=decoded.charset,
        extractor="blocks" if other is None else "trafilatura",
        signals=page_signals(
            (meta.attributes for meta in head["meta"]),
            (link.attributes for link in head["link"]),
            headers=headers,
            base=base,
        ),
        nodes=nodes,
        edits=_edits(layout, verdicts, decoded.replaced),
        elements=layout.elements,
        second_opinion=asked,
    )


def _unreadable(decoded: Decoded, zeros: int, limits: PageLimits) -> Problem | None:
    """Bytes of something else: mostly replacements and zeros, whatever they were declared as."""
    share = (decoded.replaced + zeros) / max(1, len(decoded.text))
    if share <= limits.replaced:
        return None
    return Problem(reason=Reason.BAD_ENCODING, value=share, limit=limits.replaced)


def _edits(layout: Layout, verdicts: Sequence[str], replaced: int) -> dict[str, int]:
    """What the walk left out or changed, and the blocks (`_image`: the images) that rules did."""
    edits = Counter(layout.edits)
    edits["replacement_character"] += replaced
    for block, verdict in zip(layout.blocks, verdicts, strict=True):
        if verdict:
            edits[verdict + "_image" * isinstance(block, ImageBlock)] += 1
    return {kind: count for kind, count in sorted(edits.items()) if kind and count}
