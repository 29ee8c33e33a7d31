"""explain: one page on disk in, what the extractor makes of it and what the text rules say out.

In:      a file of HTML, the URL that it came from, a recipe, a language identifier.
Out:     Explanation: title, language, page signals, who decided on main content, edits by kind;
         each node in reading order with its signals and its verdict; the document's verdict.
Refused: a file that is missing, empty or no HTML, a URL that no crawl would hold: ValueError. A
         page that the extractor refuses is no error: its reason is the explanation.
Not:     what needs other pages or pixels (repeats in a domain, near-duplicates, image files).
See it:  interloom explain PAGE.html --url URL [--json]

Pages, counts and verdicts come from the functions that extract and filter_text call. Nodes are
judged and shown even where the document is refused before its nodes are looked at.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TextIO

from rich.console import Console
from rich.text import Text

from filters.recipe import Recipe
from filters.rules import Refusal
from filters.signals import Signal, measure_document, ratios
from filters.text import judge_text
from pipeline.extract.document import document_of
from pipeline.extract.page import Page, read_page
from pipeline.job import read_recipe
from pipeline.media.decode import sniff
from pipeline.options.launch import job_of, recipe_source
from pipeline.problem import Problem
from pipeline.read.records import Record
from pipeline.words.language import Identifier, find_model
from pipeline.words.lexicon import load_lexicon
from pipeline.words.urls import absolute_url
from schemas.document import Document, ImageNode, Node, TextNode, document_to_row
from schemas.manifest import StageName
from schemas.terminal import printable, printable_lines

EXCERPT: Final = 96  # characters of a text that are shown
NODES: Final = 2_000  # that are shown: a page of more is read as JSON
# columns of a document that a file on disk does not have
_PLACE: Final = frozenset({"id", "date", "input", "offset", "length"})
# what people save by mistake for a page, by its first bytes
_OTHERS: Final = {
    b"%PDF-": "a PDF",
    b"PK\x03\x04": "a zip file",
    b"\x1f\x8b": "gzip: unpack it first",
    b"\x28\xb5\x2f\xfd": "zstd: unpack it first",
    b"WARC/": "a WARC: use interloom run",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeExplanation:
    """A node with what was measured of it (texts only) and why it goes, None where it stays."""

    position: int
    node: Node
    signals: Mapping[Signal, float]
    refusal: Refusal | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """`problem` is why there is no document; `refusal` why the document goes as a whole."""

    path: str
    url: str
    recipe: str
    problem: Problem | None = None
    page: Page | None = None
    document: Document | None = None
    refusal: Refusal | None = None
    signals: Mapping[Signal, float] = field(default_factory=dict)  # of the texts that stay
    nodes: tuple[NodeExplanation, ...] = ()


def explain(
    path: Path,
    *,
    url: str,
    recipe: str | Recipe = "obelics",
    language_model: str = "",
    run: str = "",
) -> Explanation:
    """Explain a page. `recipe` is a name, a TOML file or a Recipe; a `run` has its own, with its
    word lists and language identifier.

    Raises:
        ValueError: for a file or a URL that no page can be made of; with value and remedy.
    """
    _check_url(url)
    html = _read_html(path)
    word_files: Mapping[str, str] = {}
    if run:
        settings = job_of(run).settings
        recipe, language_model = settings.recipe, settings.lid_model
        word_files = settings.word_files
    chosen = recipe if isinstance(recipe, Recipe) else read_recipe(recipe_source(recipe))
    page = read_page(html, url=url)
    if isinstance(page, Problem):
        return Explanation(path=str(path), url=url, recipe=chosen.name, problem=page)
    try:
        lexicon = load_lexicon(chosen.language, **word_files, named_elsewhere=word_files)
    except ValueError as error:
        raise ValueError(f"{error}; explain takes it from a run that has it: --run DIR") from error
    identifier = Identifier(find_model(language_model or None))
    record = Record(offset=0, length=len(html), type="resource", url=url,
                    payload_sha256=hashlib.sha256(html).digest())  # fmt: skip
    document = document_of(page, record, lexicon=lexicon, identify=identifier.identify)
    # only the rules that ask about the whole page end a judgement before its nodes
    nodes = judge_text(document, replace(chosen, consent=(), spoken=None)).nodes
    texts = [
        node
        for position, node in enumerate(document.nodes)
        if isinstance(node, TextNode) and position not in nodes
    ]
    counts = [node.counts for node in texts if node.counts is not None]
    return Explanation(
        path=str(path),
        url=url,
        recipe=chosen.name,
        page=page,
        document=document,
        refusal=judge_text(document, chosen).refusal,
        signals=ratios(measure_document([node.text for node in texts], counts)),
        nodes=tuple(
            NodeExplanation(
                position=position,
                node=node,
                signals=_signals_of(node),
                refusal=nodes.get(position),
            )
            for position, node in enumerate(document.nodes)
        ),
    )


def _signals_of(node: Node) -> Mapping[Signal, float]:
    if isinstance(node, ImageNode) or node.counts is None:
        return {}
    return ratios(node.counts)


def _read_html(path: Path) -> bytes:
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise ValueError(f"{path} {what}: name a file of HTML")
    html = path.read_bytes()
    if not html.strip():
        raise ValueError(f"{path} has {len(html)} bytes and nothing in them: save the page again")
    other = next((name for magic, name in _OTHERS.items() if html.startswith(magic)), "")
    if image := sniff(html):
        other = f"an image ({image})"
    if not other and b"<" not in html:
        other = f"{len(html):,} bytes without a single tag"
    if other:
        raise ValueError(f"{path} is no HTML but {other}: name a page as a browser saves it")
    return html


def _check_url(url: str) -> None:
    if not url.startswith(("http://", "https://")) or not absolute_url(url, base=url):
        raise ValueError(
            f"url is {url!r}: give the page's own address, as https://example.org/page; its links "
            "are resolved against it"
        )


def write_json(explanation: Explanation, file: TextIO) -> None:
    """All of it, with every node whole; what was not measured is null."""
    page, document = explanation.page, explanation.document
    output: dict[str, Any] = {
        "path": explanation.path,
        "url": explanation.url,
        "recipe": explanation.recipe,
        "problem": _plain(explanation.problem),
        "refusal": _plain(explanation.refusal),
        "signals": _numbers(explanation.signals),
    }
    if page is not None and document is not None:
        row = document_to_row(document)
        row["nodes"] = [
            node | {"signals": _numbers(judged.signals), "refusal": _plain(judged.refusal)}
            for node, judged in zip(row["nodes"], explanation.nodes, strict=True)
        ]
        output["document"] = {name: row[name] for name in row if name not in _PLACE}
        names = ("elements", "second_opinion", "edits")
        output["page"] = {name: getattr(page, name) for name in names}
    encoder = json.JSONEncoder(indent=1, ensure_ascii=False, allow_nan=False)
    file.writelines(map(printable_lines, encoder.iterencode(output)))
    file.write("\n")


def _plain(why: Problem | Refusal | None) -> dict[str, Any] | None:
    if why is None:
        return None
    return {"reason": str(why.reason)} | _numbers({"value": why.value, "limit": why.limit})


def _numbers(values: Mapping[Any, float | None]) -> dict[str, float | None]:
    return {
        str(name): None if value is None or not math.isfinite(value) else value
        for name, value in values.items()
    }


def show(explanation: Explanation, console: Console) -> None:
    """The page's facts, its verdict, then every node with what was measured and decided."""
    for line in _lines(explanation):
        console.print(line, soft_wrap=True, highlight=False)


def _lines(explanation: Explanation) -> list[Text]:
    lines = [_fact("page", f"{explanation.path} as {explanation.url}")]
    if explanation.page is None or explanation.document is None:
        return [*lines, _fact(StageName.EXTRACT, _outcome(explanation.problem))]
    page, document = explanation.page, explanation.document
    kept = sum(node.refusal is None for node in explanation.nodes)
    lines += [
        _fact("title", document.title or "(none)"),
        _fact("language", f"{document.language or '?'} {document.language_score:.3f}"),
        _fact("charset", document.charset),
        _fact("main content", _extractor(page)),
        _fact("left out", _counted(page.edits) or "nothing"),
        _fact("the page says", _page_signals(document)),
        _fact("nodes", f"{document.texts} texts, {document.images} images; {kept} stay"),
        _fact("texts that stay", _measured(explanation.signals)),
        _fact(
            f"recipe {explanation.recipe}",
            _outcome(explanation.refusal, good="kept, as far as its text tells"),
        ),
        Text(),
    ]
    for node in explanation.nodes[:NODES]:
        lines += _node_lines(node)
    if (more := len(explanation.nodes) - NODES) > 0:
        lines.append(Text(f"and {more:,} nodes more: --json has all of them"))
    return lines


def _extractor(page: Page) -> str:
    refused = page.second_opinion and page.extractor == "blocks"
    other = "; trafilatura was asked, and its answer not taken" if refused else ""
    return f"by {page.extractor}, of {page.elements:,} elements{other}"


def _page_signals(document: Document) -> str:
    signals = document.signals
    named = {
        "robots": ", ".join(signals.robots),
        "tdm-reservation": "1" if signals.tdm_reservation else "",
        "tdm-policy": signals.tdm_policy,
        "canonical": signals.canonical,
        "licence": signals.licence,
    }
    return "; ".join(f"{name} {value}" for name, value in named.items() if value) or "nothing"


def _node_lines(explained: NodeExplanation) -> list[Text]:
    node = explained.node
    role = "image" if isinstance(node, ImageNode) else str(node.role)
    line = Text(f"{explained.position:>4}  {role:<10}  ")
    line.append_text(_outcome(explained.refusal))
    if isinstance(node, ImageNode):
        sides = f" ({node.width or '?'} x {node.height or '?'} declared)"
        shown = sides if node.width or node.height else ""
        return [line, _indented(f"{node.url}{shown}"), _indented(f"alt: {_excerpt(node.alt)}")]
    if node.caption_of is not None:
        line.append(f"  caption of {node.caption_of}")
    return [line, _indented(_excerpt(node.text)), _indented(_measured(explained.signals), dim=True)]


def _indented(text: str, *, dim: bool = False) -> Text:
    return Text(f"      {printable(text)}", style="dim" if dim else "")


def _fact(name: str, value: str | Text) -> Text:
    line = Text(f"{printable(name):<16}", style="bold")
    if isinstance(value, Text):
        return line.append_text(value)
    return line.append(printable(value), style="not bold")


def _outcome(why: Problem | Refusal | None, *, good: str = "kept") -> Text:
    if why is None:
        return Text(good, style="green")
    numbers = {"value": why.value, "limit": why.limit}
    known = [f"{name} {_short(float(n))}" for name, n in numbers.items() if n is not None]
    measured = f" ({', '.join(known)})" if known else ""
    return Text(f"dropped: {why.reason}{measured}", style="red")


def _measured(signals: Mapping[Signal, float]) -> str:
    return "  ".join(f"{name} {_short(value)}" for name, value in signals.items())


def _counted(edits: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in edits.items())


def _short(value: float) -> str:
    if not math.isfinite(value):
        return "not measured"
    return f"{value:,.0f}" if value.is_integer() else f"{value:.3g}"


def _excerpt(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= EXCERPT else f"{line[: EXCERPT - 1].rstrip()}…"
