"""Floors: what extraction is measured to reach on real pages, and must not fall below.

Values were measured with what is committed, rounded to three digits, nothing taken off; each
stands beside the digest of the corpus that it was measured on.

See it:  PYTHONPATH=. python tests/extract/test_floors.py
         (today's values, pages a second, and the second opinion's share of pages and of time)
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import tarfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from selectolax.lexbor import LexborHTMLParser

from pipeline.extract.html import second_opinion
from pipeline.extract.html.images import parse_srcset
from pipeline.extract.html.layout import Layout
from pipeline.extract.page import Page, read_page
from pipeline.words.urls import absolute_url
from schemas.document import ImageNode, TextNode

Find = Callable[[str], Path]

FLOORS: Final = json.loads(Path(__file__).with_name("floors.json").read_text("utf-8"))
SAMPLE: Final = 5  # every fifth page of WCXB: the rest was looked at while tuning, too
FAKE_URL: Final = "http://fakehost/test/page.html"  # that of Readability's own tests
_WORD: Final = re.compile(r"\w+")


@dataclass(frozen=True, kw_only=True)
class Read:
    """One page of a corpus as we read it, beside what was expected."""

    texts: str
    images: tuple[str, ...]
    expected: str
    expected_images: tuple[frozenset[str], ...] = ()  # each as the URLs that it may have
    asked: bool = False


def read(html: bytes, *, url: str, expected: str, images: Sequence[frozenset[str]] = ()) -> Read:
    page = read_page(html, url=url)
    nodes = page.nodes if isinstance(page, Page) else ()  # a page not read is a page of nothing
    return Read(
        texts="\n".join(node.text for node in nodes if isinstance(node, TextNode)),
        images=tuple(node.url for node in nodes if isinstance(node, ImageNode)),
        expected=expected,
        expected_images=tuple(images),
        asked=isinstance(page, Page) and page.second_opinion,
    )


def members(path: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(path) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isfile() else None
            if file is not None:
                yield member.name, file.read()


def read_wcxb(path: Path, *, step: int = SAMPLE) -> list[Read]:
    truths: dict[str, Any] = {}
    pages: dict[str, bytes] = {}
    for name, data in members(path):
        stem = Path(name).stem
        if name.endswith(".json") and "/ground-truth/" in name:
            truths[stem] = json.loads(data)
        elif name.endswith(".html"):
            pages[stem] = data
    known = sorted(stem for stem in pages if truths[stem]["ground_truth"].get("main_content"))
    return [
        read(
            pages[stem],
            url=truths[stem]["url"],
            expected=truths[stem]["ground_truth"]["main_content"],
        )
        for stem in known[::step]
    ]


def read_readability(path: Path) -> list[Read]:
    files = dict(members(path))
    sources = sorted(name for name in files if name.endswith("/source.html"))
    result = []
    for name in sources:
        tree = LexborHTMLParser(files[name.replace("source.html", "expected.html")])
        assert tree.body is not None
        expected = tree.body.text(separator=" ")
        images = [urls for image in tree.css("img") if (urls := possible_urls(image.attributes))]
        result.append(read(files[name], url=FAKE_URL, expected=expected, images=images))
    return result


def possible_urls(attributes: dict[str, str | None]) -> frozenset[str]:
    """Every URL that the image may be loaded from: ours may be a larger one than its src."""
    references = [attributes.get("src") or ""]
    references += [c.url for c in parse_srcset(attributes.get("srcset") or "")]
    references += [v for n, v in attributes.items() if v and n.startswith("data-") and len(v) < 500]
    urls = {absolute_url(reference, base=FAKE_URL) for reference in references if reference}
    return frozenset(url for url in urls if url.startswith("http"))


def read_aeb(folder: Path) -> list[Read]:
    truths = json.loads((folder / "ground-truth.json").read_text("utf-8"))
    return [
        read(
            gzip.decompress((folder / "html" / f"{name}.html.gz").read_bytes()),
            url=truth["url"],
            expected=truth["articleBody"],
        )
        for name, truth in sorted(truths.items())
    ]


def overlap(found: Counter[Any], expected: Counter[Any]) -> tuple[float, float]:
    """Precision and recall of one bag in another."""
    both = sum((found & expected).values())
    return both / max(1, sum(found.values())), both / max(1, sum(expected.values()))


def f1(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def shingles(text: str) -> Counter[tuple[str, ...]]:
    found = words(text)
    return Counter(tuple(found[i : i + 4]) for i in range(max(1, len(found) - 3)))


def mean_word_f1(pages: Sequence[Read]) -> float:
    scores = [
        f1(*overlap(Counter(words(page.texts)), Counter(words(page.expected)))) for page in pages
    ]
    return sum(scores) / len(scores)


def shingle_f1(pages: Sequence[Read]) -> float:
    """F1 of mean precision and mean recall over pages, as the benchmark of AEB counts it."""
    scores = [overlap(shingles(page.texts), shingles(page.expected)) for page in pages]
    return f1(sum(p for p, _ in scores) / len(scores), sum(r for _, r in scores) / len(scores))


def in_order(found: Sequence[str], expected: Sequence[frozenset[str]]) -> int:
    """Images that are found in the expected order: the longest common subsequence."""
    best = [0] * (len(expected) + 1)
    for url in found:
        diagonal = 0
        for place, urls in enumerate(expected):
            above = best[place + 1]
            best[place + 1] = diagonal + 1 if url in urls else max(above, best[place])
            diagonal = above
    return best[-1]


def image_scores(pages: Sequence[Read]) -> tuple[float, float]:
    """Precision and recall of the images in their order, over all pages together."""
    both = sum(in_order(page.images, page.expected_images) for page in pages)
    found = sum(len(page.images) for page in pages)
    expected = sum(len(page.expected_images) for page in pages)
    return both / found, both / expected


def digest(path: Path) -> str:
    """SHA-256 of a file, or of all files of a folder with their names."""
    sha = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            sha.update(file.relative_to(path.parent).as_posix().encode() + b"\0")
            sha.update(hashlib.sha256(file.read_bytes()).digest())
    return sha.hexdigest()


CORPORA: Final = {
    "wcxb": "extraction/wcxb-dev.tar.xz",
    "readability": "extraction/readability.tar.xz",
    "aeb": "extraction/aeb",
}


@pytest.mark.parametrize("corpus", CORPORA)
def test_the_corpus_is_the_one_that_was_measured(corpus: str, shared_data: Find) -> None:
    assert digest(shared_data(CORPORA[corpus])) == FLOORS[corpus]["digest"]


def test_word_f1_on_a_fifth_of_wcxb(shared_data: Find) -> None:
    pages = read_wcxb(shared_data(CORPORA["wcxb"]))
    assert len(pages) == FLOORS["wcxb"]["pages"]
    assert round(mean_word_f1(pages), 3) >= FLOORS["wcxb"]["word_f1"]
    assert sum(page.asked for page in pages) <= FLOORS["wcxb"]["second_opinions"]


def test_text_and_images_in_order_on_readability(shared_data: Find) -> None:
    pages = read_readability(shared_data(CORPORA["readability"]))
    floors = FLOORS["readability"]
    precision, recall = image_scores(pages)
    assert len(pages) == floors["pages"]
    assert round(mean_word_f1(pages), 3) >= floors["word_f1"]
    assert round(recall, 3) >= floors["image_recall"]
    assert round(precision, 3) >= floors["image_precision"]


def test_shingle_f1_on_aeb(shared_data: Find) -> None:
    pages = read_aeb(shared_data(CORPORA["aeb"]))
    assert len(pages) == FLOORS["aeb"]["pages"]
    assert round(shingle_f1(pages), 3) >= FLOORS["aeb"]["shingle_f1"]


def test_the_measures_can_fail() -> None:
    text, images = "a b c d e", (frozenset({"x"}), frozenset({"y"}))
    good = Read(texts=text, images=("x", "y"), expected=text, expected_images=images)
    bad = Read(texts="f", images=("y", "x"), expected=text, expected_images=images)
    assert mean_word_f1([good]) == shingle_f1([good]) == 1.0
    assert mean_word_f1([bad]) == shingle_f1([bad]) == 0.0
    assert image_scores([good]) == (1.0, 1.0)
    assert image_scores([bad]) == (0.5, 0.5)


def measure(data: Path, *, step: int) -> dict[str, dict[str, Any]]:
    wcxb = read_wcxb(data / CORPORA["wcxb"], step=step)
    readability = read_readability(data / CORPORA["readability"])
    aeb = read_aeb(data / CORPORA["aeb"])
    precision, recall = image_scores(readability)
    return {
        "wcxb": {
            "digest": digest(data / CORPORA["wcxb"]),
            "pages": len(wcxb),
            "word_f1": round(mean_word_f1(wcxb), 3),
            "second_opinions": sum(page.asked for page in wcxb),
        },
        "readability": {
            "digest": digest(data / CORPORA["readability"]),
            "pages": len(readability),
            "word_f1": round(mean_word_f1(readability), 3),
            "image_recall": round(recall, 3),
            "image_precision": round(precision, 3),
        },
        "aeb": {
            "digest": digest(data / CORPORA["aeb"]),
            "pages": len(aeb),
            "shingle_f1": round(shingle_f1(aeb), 3),
        },
    }


def speed(path: Path) -> str:
    """Pages a second of one core, and what of it the second opinion takes."""
    pages = [data for name, data in members(path) if name.endswith(".html")][::SAMPLE]
    spent = [0.0]

    def timed(layout: Layout, verdicts: Sequence[str], text: str) -> list[str] | None:
        begin = time.process_time()
        answer = second_opinion.second_opinion(layout, verdicts, text)
        spent[0] += time.process_time() - begin
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.extract.page.second_opinion", timed)
        begin = time.process_time()
        read_ = [read_page(html, url=FAKE_URL) for html in pages]
        whole = time.process_time() - begin
    asked = sum(isinstance(page, Page) and page.second_opinion for page in read_)
    return (
        f"WCXB: {len(pages) / whole:.0f} pages/s a core, {len(pages) / (whole - spent[0]):.0f} "
        f"without the second opinion: {asked / len(pages):.1%} of pages, {spent[0] / whole:.1%} of "
        "time"
    )


if __name__ == "__main__":
    shared = Path(__file__).resolve().parents[3] / "shared" / "data"
    print(json.dumps(measure(shared, step=SAMPLE), indent=1))
    print(speed(shared / CORPORA["wcxb"]))
