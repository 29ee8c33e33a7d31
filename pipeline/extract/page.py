"""Page: one page's bytes in, its main content as nodes out; the only entry to html/.

In:      bytes of HTML, its URL, the HTTP headers that came with it.
Out:     Page: title, charset, what the page asks for, nodes in reading order, and how much of the
         page was left out or changed, by kind.
Refused: too many bytes, elements, or elements inside each other; text that does not decode;
         nothing left: a Problem with value and limit, and with what the page asks for where it was
         parsed. Nothing here looks at a clock.
See it:  interloom explain PAGE.html --url URL

Block rules decide what is main content. Where they leave too little, trafilatura says which of the
same blocks it would keep (`second_opinion.py`), so images stay where they are either way.
A caption belongs to the image before it in its figure, else to the next one in its figure. A
caption without an image is a paragraph.
"""

from __future__ import annotations

from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from selectolax.lexbor import LexborDocumentOptions, LexborHTMLParser, LexborNode

from pipeline.extract.html.charset import Decoded, decode_page
from pipeline.extract.html.dom import Walker
from pipeline.extract.html.images import others_of
from pipeline.extract.html.layout import Block, ImageBlock, Layout
from pipeline.extract.html.limits import PageLimits, broken_limit
from pipeline.extract.html.paragraphs import clean
from pipeline.extract.html.rules import judge
from pipeline.extract.html.second_opinion import is_unsure, second_opinion
from pipeline.problem import Problem
from pipeline.words.consent import header_signals, page_signals
from pipeline.words.urls import base_url
from schemas.document import ImageNode, Node, PageSignals, Role, TextNode
from schemas.verdict import Reason

DEFAULT_LIMITS: Final = PageLimits()
_HEAD: Final = "title, base[href], meta, link[rel], a[rel~=license]"  # wherever they stand
_HEAD_BYTES: Final = 64 << 10  # of a page that becomes no document: its head is looked for there
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
    second_opinion: bool  # whether trafilatura was run, even if its choice was not taken


@dataclass(frozen=True, kw_only=True, slots=True)
class RefusedPage(Problem):
    """Why a page that was parsed is none to keep; what it asks for counts all the same."""

    signals: PageSignals


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
    tree = _parsed(markup)
    head = defaultdict[str, list[LexborNode]](list)
    for node in tree.css(_HEAD):  # one search for all elements: each search takes as long
        tag = node.tag or ""
        head["link" if tag == "a" else tag].append(node)
    base = base_url(url, href=head["base"][0].attributes.get("href") if head["base"] else None)
    signals = page_signals(
        (meta.attributes for meta in head["meta"]),
        (link.attributes for link in head["link"]),
        headers=headers,
        base=base,
    )
    if tree.body is None:  # a frameset
        return RefusedPage(reason=Reason.NO_CONTENT, signals=signals)
    layout = Walker(base=base).walk(tree.body)
    most = max(layout.elements, len(layout.blocks))  # a <pre> has a block after each empty line
    if most > limits.elements:
        return RefusedPage(
            reason=Reason.TOO_MANY_ELEMENTS, value=most, limit=limits.elements, signals=signals
        )
    verdicts = judge(layout)
    unsure = is_unsure(layout, verdicts)
    other = second_opinion(layout, verdicts, decoded.text) if unsure else None
    if other is not None:
        verdicts = other
    kept = [block for block, verdict in zip(layout.blocks, verdicts, strict=True) if not verdict]
    nodes = _nodes(kept, base=base)
    if not nodes:
        return RefusedPage(reason=Reason.NO_CONTENT, signals=signals)
    title = head["title"][0].text() if head["title"] else ""
    return Page(
        title=clean(title)[:_LONGEST_TITLE].strip(),
        charset=decoded.charset,
        extractor="blocks" if other is None else "trafilatura",
        signals=signals,
        nodes=nodes,
        edits=_edits(layout, verdicts, decoded.replaced),
        elements=layout.elements,
        second_opinion=unsure,
    )


def head_signals(html: bytes, *, url: str, headers: Sequence[tuple[str, str]] = ()) -> PageSignals:
    """What a page that is not read (an error page, or one over a limit) asks for by its headers and
    by the `<meta>` elements in its first 64 KiB."""
    decoded = decode_page(html[:_HEAD_BYTES], headers=headers)
    markup = decoded.utf8 or decoded.text.encode()
    if broken_limit(markup, DEFAULT_LIMITS) is not None:
        return header_signals(headers)
    metas = (node.attributes for node in _parsed(markup).css("meta"))
    return page_signals(metas, (), headers=headers, base=url)


def _parsed(markup: bytes) -> LexborHTMLParser:
    return LexborHTMLParser(markup, options=LexborDocumentOptions.WO_EVENTS)


def _unreadable(decoded: Decoded, zeros: int, limits: PageLimits) -> Problem | None:
    """Bytes of something else: mostly replacements and zeros, whatever they were declared as."""
    share = (decoded.replaced + zeros) / max(1, len(decoded.text))
    if share <= limits.replaced:
        return None
    return Problem(reason=Reason.BAD_ENCODING, value=share, limit=limits.replaced)


def _nodes(blocks: Sequence[Block], *, base: str) -> tuple[Node, ...]:
    """The nodes of kept blocks. The URLs of an image's other sizes are worked out for these alone,
    since that takes time."""
    images = _images_by_figure(blocks)
    nodes: list[Node] = []
    for place, block in enumerate(blocks):
        if isinstance(block, ImageBlock):
            nodes.append(
                ImageNode(
                    url=block.url,
                    others=others_of(block.elements, base=base),
                    alt=block.alt,
                    width=block.width,
                    height=block.height,
                )
            )
            continue
        role, caption_of = block.role, None
        if role is Role.CAPTION:
            caption_of = _captioned(place, images.get(block.figure, ()))
            if caption_of is None:
                role = Role.PARAGRAPH
        nodes.append(TextNode(text=block.text, role=role, caption_of=caption_of))
    return tuple(nodes)


def _images_by_figure(blocks: Sequence[Block]) -> dict[int, list[int]]:
    images: dict[int, list[int]] = {}
    for place, block in enumerate(blocks):
        if isinstance(block, ImageBlock) and block.figure:
            images.setdefault(block.figure, []).append(place)
    return images


def _captioned(place: int, images: Sequence[int]) -> int | None:
    """The image of a caption, by its place among the images of the figure."""
    before = bisect(images, place)  # a page may be one figure of thousands
    if before:
        return images[before - 1]
    return images[0] if images else None


def _edits(layout: Layout, verdicts: Sequence[str], replaced: int) -> dict[str, int]:
    """What the walk left out or changed, and the blocks that rules left out, images apart."""
    edits = Counter(layout.edits)
    edits["replacement_character"] += replaced
    for block, verdict in zip(layout.blocks, verdicts, strict=True):
        if verdict:
            kind = f"{verdict}_image" if isinstance(block, ImageBlock) else verdict
            edits[kind] += 1
    return {kind: count for kind, count in sorted(edits.items()) if kind and count}
