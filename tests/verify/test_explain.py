"""explain says of a page what extract and filter_text would make of it, and refuses the rest."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from filters.recipe import OFF, RECIPES
from pipeline.explain import NODES, Explanation, explain, show, write_json
from pipeline.store import parquet
from schemas.document import ImageNode, TextNode, document_from_row
from schemas.verdict import Reason
from tests.pipeline.bad_crawls import command
from tests.read.crawls import gzipped, http, warc
from tests.verify.small_crawl import SITE, responses

URL = "https://example.org/a/page.html"
GOOD = (
    "When we came to the house in the spring, the wall was the only thing that anyone could see, "
    "because the roses had grown over the gate and nobody had cut them for years."
)
PAGES = {SITE + path: body for path, status, media, body in responses() if media == "text/html"}


def saved(tmp_path: Path, body: str | bytes, *, head: str = "") -> Path:
    path = tmp_path / "page.html"
    if isinstance(body, bytes):
        path.write_bytes(body)
    else:
        path.write_text(
            f"<html><head><meta charset=utf-8><title>T</title>{head}</head><body><main>{body}"
            "</main></body></html>",
            encoding="utf-8",
        )
    return path


def shown(path: Path, *, recipe: str = "obelics") -> str:
    console = Console(record=True, width=80, file=io.StringIO())
    show(explain(path, url=URL, recipe=recipe), console)
    return console.export_text()


def test_explain_says_what_a_run_made_of_the_same_pages(whole_run: Path, tmp_path: Path) -> None:
    compared = 0
    for part in sorted((whole_run / "documents").glob("*.parquet")):
        verdicts = list(parquet.read_rows(str(whole_run / "verdicts/filter_text" / part.name)))
        for number, row in enumerate(parquet.read_rows(str(part))):
            stored = document_from_row(row)
            found = explain(saved(tmp_path, PAGES[stored.url]), url=stored.url)
            assert found.document is not None
            for name in ("title", "language", "language_score", "charset", "extractor", "signals"):
                assert getattr(found.document, name) == getattr(stored, name)
            assert found.document.nodes == stored.nodes  # with every count
            mine = [verdict for verdict in verdicts if verdict["row"] == number]
            whole = [verdict for verdict in mine if verdict["node"] is None]
            if whole and whole[0]["reason"] == Reason.NEAR_DUPLICATE_TEXT:
                continue  # what other pages decide is not asked
            assert (found.refusal and found.refusal.reason) == (
                whole[0]["reason"] if whole else None
            )
            if not whole:
                dropped = {one.position: one.refusal.reason for one in found.nodes if one.refusal}
                assert dropped == {verdict["node"]: verdict["reason"] for verdict in mine}
            compared += 1
    assert compared == 8


def _json(explanation: Explanation) -> dict[str, Any]:
    written = io.StringIO()
    write_json(explanation, written)
    read: dict[str, Any] = json.loads(written.getvalue())
    return read


def test_every_node_is_shown_in_order_with_its_verdict(tmp_path: Path) -> None:
    path = saved(
        tmp_path,
        f'<h1>A heading of some words</h1><p>{GOOD}</p><figure><img src="../i.jpg" alt="a wall" '
        f"width=300 height=200></figure><p>1234 / 5678 / 9012 :: 3456 and so on and on</p>"
        f'<p>{GOOD}</p><figure><img src="/icon/x.png"></figure>',
    )
    found = explain(path, url=URL)
    kinds = [type(one.node) for one in found.nodes]
    assert kinds == [TextNode, TextNode, ImageNode, TextNode, TextNode, ImageNode]
    reasons = [one.refusal and str(one.refusal.reason) for one in found.nodes]
    assert reasons == [
        None, None, None, "special_characters", "duplicate_in_document", "image_url_word"
    ]  # fmt: skip
    text = shown(path)
    order = ["A heading", "When we came", "https://example.org/i.jpg (300 x 200 declared)",
             "alt: a wall", "1234 / 5678", "image_url_word"]  # fmt: skip
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert "dropped: special_characters (value 0.7" in text
    assert "limit 0.3)" in text


def test_a_page_refused_as_a_whole_shows_its_nodes_all_the_same(tmp_path: Path) -> None:
    numbers = "1234 / 5678 / 9012 :: 3456 and so on and on"
    body = f'<p>{GOOD}</p><img src="i.jpg"><p>{numbers}</p><p>{GOOD} Or was it?</p>'
    path = saved(tmp_path, body, head='<meta name="robots" content="noai">')
    found = explain(path, url=URL)
    assert found.refusal is not None
    assert found.refusal.reason is Reason.NOAI
    assert [one.refusal is None for one in found.nodes] == [True, True, False, True]
    text = shown(path)
    assert "dropped: noai (value 1, limit 0)" in text
    assert "robots noai" in text


def test_what_the_extractor_refuses_is_an_explanation_and_no_error(tmp_path: Path) -> None:
    path = saved(tmp_path, "<script>var nothing = 1</script>")
    found = explain(path, url=URL)
    assert found.problem is not None
    assert found.problem.reason is Reason.NO_CONTENT
    assert "dropped: no_content" in shown(path)
    assert _json(found)["problem"]["reason"] == "no_content"


def test_json_holds_every_node_whole_and_no_nan(tmp_path: Path) -> None:
    path = saved(tmp_path, f'<p>{GOOD}</p><img src="i.jpg"><p>…</p><p>{GOOD} And more of it.</p>')
    read = _json(explain(path, url=URL))
    nodes = read["document"]["nodes"]
    assert nodes[0]["text"] == GOOD
    assert nodes[0]["signals"]["words"] == 34
    assert nodes[0]["refusal"] is None
    assert nodes[1]["url"] == "https://example.org/a/i.jpg"
    assert {node["kind"] for node in nodes} == {"text", "image"}
    assert "id" not in read["document"]


def test_of_a_page_of_very_many_nodes_the_first_are_shown_and_the_rest_counted(
    tmp_path: Path,
) -> None:
    path = tmp_path / "long.html"
    path.write_text("<p>few words here" * (NODES + 3))
    text = shown(path)
    assert text.count("few words here") == NODES
    assert "3 nodes more" in text
    assert len(_json(explain(path, url=URL))["document"]["nodes"]) == NODES + 3


def test_another_recipe_judges_otherwise(tmp_path: Path) -> None:
    path = saved(tmp_path, '<p>Kurz.</p><img src="i.jpg">')
    assert explain(path, url=URL).refusal is not None
    assert explain(path, url=URL, recipe="off").refusal is None
    assert explain(path, url=URL, recipe=OFF).refusal is None
    own = tmp_path / "own.toml"
    own.write_text('base = "off"\nname = "own"\n[paragraph]\nwords_at_least = 2\n')
    found = explain(path, url=URL, recipe=str(own))
    assert [one.refusal and one.refusal.limit for one in found.nodes] == [2, None]


@pytest.mark.parametrize(
    "text", ["\x1b[31mred\x1b[0m", "[bold]markup[/bold] [/]", "\u202eright to left"]
)
def test_what_a_page_says_does_not_steer_the_terminal(tmp_path: Path, text: str) -> None:
    body = f'<h1>{text}</h1><p>{GOOD} {text}</p><img src="i.jpg" alt="{text}"><p>{GOOD}</p>'
    path = saved(tmp_path, body, head=f"<title>{text}</title>")
    assert "\x1b" not in shown(path)
    if "[bold]" in text:
        assert "[bold]markup[/bold]" in shown(path)


def _png() -> bytes:
    stored = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stored, "PNG")
    return stored.getvalue()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "has 0 bytes and nothing in them"),
        (b" \n\n", "has 3 bytes and nothing in them"),
        (b"only prose, no tag", "18 bytes without a single tag"),
        (b"%PDF-1.7 <</Type>>", "a PDF"),
        (b"\x1f\x8b\x08 <html>", "gzip: unpack it first"),
        (b"WARC/1.0\r\n<a>", "a WARC: use interloom run"),
        (_png(), r"an image \(png\)"),
    ],
)
def test_what_is_no_page_is_refused_with_what_it_is(tmp_path: Path, body: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        explain(saved(tmp_path, body), url=URL)


def test_a_file_that_is_not_there_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere\.html does not exist: name a file of HTML"):
        explain(tmp_path / "nowhere.html", url=URL)
    with pytest.raises(ValueError, match="is a folder"):
        explain(tmp_path, url=URL)


@pytest.mark.parametrize(
    "url", ["", "example.org/page", "ftp://example.org/", "http://", "https://[", "file:///x.html"]
)
def test_a_url_that_no_crawl_would_hold_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ValueError, match="give the page's own address"):
        explain(saved(tmp_path, f"<p>{GOOD}</p>"), url=url)


def test_a_recipe_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="recipe is 'obelix': choose one of obelics, off"):
        explain(saved(tmp_path, f"<p>{GOOD}</p>"), url=URL, recipe="obelix")


def test_a_run_s_own_recipe_words_and_language_are_those_of_its_pages(tmp_path: Path) -> None:
    """A German run, with a list of its own, that packages have none of."""
    page, words = tmp_path / "page.html", tmp_path / "words.txt"
    text = "Der Garten liegt hinter dem Haus, und die Kinder spielen dort jeden Tag bis zum Abend. "
    page.write_text(f"<html><body><h1>Garten</h1><p>{text * 3}</p><img src=a.jpg></body></html>")
    words.write_text("garten\n")
    url = "https://example.org/garten"
    crawl = tmp_path / "a.warc.gz"
    crawl.write_bytes(gzipped([warc(http(page.read_bytes()), url=url)]))
    asked = [f"--flagged-words={words}", f"--common-words={words}", "--language=de"]
    ended = command("run", crawl, "-o", tmp_path / "run", *asked, "--no-fetch", "--workers=1")
    assert ended.code in {0, 3}, ended.err
    with pytest.raises(ValueError, match=r"flagged words .*--run DIR"):
        explain(page, url=url, recipe=replace(RECIPES["obelics"], language="de"))
    told = explain(page, url=url, run=str(tmp_path / "run"))
    assert told.document is not None
    assert told.document.language == "de"
    counts = [node.counts for node in told.document.nodes if isinstance(node, TextNode)]
    (row,) = parquet.read_rows(str(next((tmp_path / "run" / "documents").iterdir())))
    stored = [node["counts"] for node in row["nodes"] if node["kind"] == "text"]
    flagged = [one.flagged_words for one in counts if one is not None]
    assert sum(flagged) > 2
    assert flagged == [dict(one)["flagged_words"] for one in stored]
