"""Text judgement: the order of its questions, and a ledger that balances for any document."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.recipe import OBELICS, OFF, RECIPES, Recipe
from filters.rules import Refusal
from filters.signals import Lexicon, measure
from filters.stop_words import STOP_WORDS
from filters.text import TextJudgement, judge_text
from schemas.document import Document, ImageNode, Node, PageSignals, TextNode
from schemas.verdict import Reason
from tests.filters.reasons import reasons_of

GOOD_WORDS = """The painter mixes a little blue into the white, and then she waits for it to dry.
When the first coat is dry, you can see how the light of the room has changed it."""
SHORT = "A short line."  # 3 words
LEXICON = Lexicon(
    language="en",
    stop_words=STOP_WORDS,
    flagged_words=frozenset({"porn"}),
    common_words=frozenset(
        word.strip(".,;:") for word in GOOD_WORDS.lower().split()
    ) | {"short", "line", "we"},
    spam_words=frozenset({"newsletter"}),
)  # fmt: skip
PICTURE = ImageNode(url="https://a.org/blue.jpg")


def text(words: str = GOOD_WORDS) -> TextNode:
    return TextNode(text=words, counts=measure(words, LEXICON))


def page(*nodes: Node, language: str = "en", score: float = 0.9, robots: str = "") -> Document:
    return Document(
        id="0" * 32,
        url="https://a.org/",
        domain="a.org",
        date="2026-01-01T00:00:00Z",
        input="crawl.warc.gz",
        offset=0,
        length=1,
        language=language,
        language_score=score,
        signals=PageSignals(robots=tuple(robots.split())),
        nodes=nodes,
    )


def reason(judged: TextJudgement) -> Reason | None:
    return judged.refusal.reason if judged.refusal else None


def test_a_good_page_is_kept_whole() -> None:
    assert judge_text(page(text(), PICTURE), OBELICS) == TextJudgement(kept=(0, 1))


def test_a_refused_node_goes_alone() -> None:
    judged = judge_text(page(text(SHORT), text(), PICTURE), OBELICS)
    assert judged.kept == (1, 2)
    assert judged.nodes == {0: Refusal(reason=Reason.TOO_FEW_WORDS, value=3, limit=4)}


@pytest.mark.parametrize(
    ("document", "refused"),
    [
        (page(text(), PICTURE, robots="noai"), Reason.NOAI),
        (page(text(), PICTURE, robots="noimageai"), Reason.NOIMAGEAI),
        (page(text(), PICTURE, robots="noindex none nofollow"), None),
        (page(text(), PICTURE, language="de"), Reason.LANGUAGE),
        (page(text(), PICTURE, score=0.79), Reason.LANGUAGE),
        (page(PICTURE), Reason.NO_TEXT),
        (page(text(SHORT), PICTURE), Reason.NO_TEXT),
        (page(text("The light of the room is dry."), PICTURE), Reason.TOO_FEW_WORDS),
        (page(text()), Reason.NO_IMAGE),
        (page(text(), ImageNode(url="data:image/png;base64,A")), Reason.NO_IMAGE),
        (page(), Reason.NO_TEXT),
    ],
)
def test_a_document_is_refused_for_one_reason(document: Document, refused: Reason | None) -> None:
    assert reason(judge_text(document, OBELICS)) == refused


def test_a_reservation_refuses_the_document_first_of_all() -> None:
    signals = PageSignals(robots=("noai",), tdm_reservation=True)
    document = replace(page(PICTURE, language="de"), signals=signals)
    assert reason(judge_text(document, OBELICS)) == Reason.TDM_RESERVED
    assert reason(judge_text(replace(document, signals=PageSignals()), OBELICS)) == Reason.LANGUAGE


def test_off_keeps_what_a_page_asks_to_leave() -> None:
    assert judge_text(page(text(), PICTURE, robots="noimageai noai"), OFF).kept == (0, 1)


@pytest.mark.parametrize(("met", "kept"), [(2, (0, 1, 2)), (3, (1, 2))])
def test_a_paragraph_met_three_times_in_its_domain_goes(met: int, kept: tuple[int, ...]) -> None:
    other = text("If the room is dry, then it has changed: she can see how and when.")
    judged = judge_text(page(text(), other, PICTURE), OBELICS, repeated={0: met})
    assert judged.kept == kept
    if met > 2:
        assert judged.nodes[0] == Refusal(reason=Reason.REPEATED_IN_DOMAIN, value=3, limit=2)


@pytest.mark.parametrize(("met", "refused"), [(10, None), (11, Reason.NO_IMAGE)])
def test_an_image_url_in_more_than_10_documents_goes(met: int, refused: Reason | None) -> None:
    judged = judge_text(page(text(), PICTURE), OBELICS, frequent={1: met})
    assert reason(judged) == refused
    if refused:
        assert judged.nodes[1] == Refusal(reason=Reason.IMAGE_URL_FREQUENT, value=11, limit=10)


def test_a_nodes_own_fault_comes_before_what_other_documents_say_of_it() -> None:
    document = page(text(SHORT), text(), PICTURE, ImageNode(url="https://a.org/logo.png"))
    judged = judge_text(document, OBELICS, repeated={0: 9}, frequent={3: 99})
    assert judged.nodes[0].reason == Reason.TOO_FEW_WORDS
    assert judged.nodes[3].reason == Reason.IMAGE_URL_WORD


def test_a_document_is_judged_by_its_surviving_paragraphs_joined() -> None:
    line = "She waits for the light of the room to dry."
    lines = [line, f"{line} When?", f"{line} You see.", f"{line} And then?"]
    document = page(*map(text, lines), PICTURE)
    judged = judge_text(document, OBELICS)
    assert reason(judged) == Reason.CHARACTER_REPETITION
    once = judge_text(document, OBELICS, repeated={0: 4, 1: 4, 2: 4})
    assert reason(once) is None


def test_a_text_that_was_never_measured_is_an_error_and_not_a_pass() -> None:
    document = page(TextNode(text=GOOD_WORDS), PICTURE)
    with pytest.raises(ValueError, match=r"never measured .*: run extract again"):
        judge_text(document, OBELICS)
    assert judge_text(document, OFF).kept == (0, 1)


def test_off_keeps_every_page_with_a_text_and_an_image() -> None:
    document = page(text("porn"), ImageNode(url="https://a.org/logo.gif", width=1, height=1),
                    language="", score=0.0, robots="noai noimageai")  # fmt: skip
    document = replace(document, signals=replace(document.signals, tdm_reservation=True))
    assert judge_text(document, OFF, repeated={0: 99}, frequent={1: 99}).kept == (0, 1)
    assert reason(judge_text(page(text("porn")), OFF)) == Reason.NO_IMAGE
    assert reason(judge_text(page(PICTURE), OFF)) == Reason.NO_TEXT


WORDS = st.sampled_from(["the", "painter", "of", "blue", "porn", "newsletter", "zyx", "1999", "."])
SIDE = st.none() | st.sampled_from([0, 149, 150, 300, 601, 20_001])
TEXTS = st.one_of(
    st.just(GOOD_WORDS),
    st.just(GOOD_WORDS.replace("painter", "room")),
    st.lists(WORDS, max_size=15).map(" ".join),
    st.text(max_size=40),
).map(text)
IMAGES = st.builds(
    ImageNode,
    url=st.sampled_from(["https://a.org/1.jpg", "https://a.org/logo.png", "data:,"]) | st.text(),
    alt=st.text(max_size=5),
    width=SIDE,
    height=SIDE,
)
PAGES = st.builds(
    lambda nodes, language, score, robots: page(
        *nodes, language=language, score=score, robots=robots
    ),
    st.lists(TEXTS | IMAGES, max_size=8),
    st.sampled_from(["en", "de", ""]),
    st.sampled_from([0.0, 0.8, 1.0, float("nan")]),
    st.sampled_from(["", "noai", "noimageai", "noindex"]),
)
MET = st.dictionaries(st.integers(0, 8), st.integers(1, 20), max_size=4)


@settings(max_examples=300)
@given(PAGES, st.sampled_from(list(RECIPES.values())), MET, MET)
def test_every_node_of_a_document_is_kept_or_dropped_exactly_once(
    document: Document, recipe: Recipe, repeated: Mapping[int, int], frequent: Mapping[int, int]
) -> None:
    judged = judge_text(document, recipe, repeated=repeated, frequent=frequent)
    seen = list(range(len(document.nodes)))
    if judged.refusal is None:
        assert sorted([*judged.kept, *judged.nodes]) == seen
        kinds = {type(document.nodes[at]) for at in judged.kept}
        assert kinds == {TextNode, ImageNode}
    else:
        assert judged.kept == ()
        assert set(judged.nodes) <= set(seen)
    refusals = [*judged.nodes.values(), *([judged.refusal] if judged.refusal else [])]
    assert {refusal.reason for refusal in refusals} <= reasons_of(recipe)
    assert judged == judge_text(document, recipe, repeated=repeated, frequent=frequent)


@given(PAGES, MET, MET)
def test_what_other_documents_say_never_brings_a_node_back(
    document: Document, repeated: Mapping[int, int], frequent: Mapping[int, int]
) -> None:
    alone = judge_text(document, OBELICS)
    together = judge_text(document, OBELICS, repeated=repeated, frequent=frequent)
    assert set(together.kept) <= set(alone.kept) or alone.refusal is not None
    assert set(alone.nodes.items()) <= set(together.nodes.items())


def test_naughty_strings_as_texts_alts_and_urls_are_judged(
    shared_data: Callable[[str], Path],
) -> None:
    strings = json.loads(shared_data("bad/blns/blns.json").read_text(encoding="utf-8"))
    nodes = [node for s in strings for node in (text(s), ImageNode(url=s, alt=s))]
    assert len(nodes) > 800
    judged = judge_text(page(text(), *nodes, PICTURE), OBELICS)
    assert reason(judged) is None
    assert len(judged.kept) + len(judged.nodes) == len(nodes) + 2
    assert judged.nodes[2] == Refusal(reason=Reason.IMAGE_URL_SCHEME)


def test_a_copy_of_a_paragraph_in_its_own_page_goes_and_the_first_stays() -> None:
    line, other = GOOD_WORDS.split("\n")
    document = page(text(line), text(other), PICTURE, text(f"  {line.upper()}"), text(line))
    judged = judge_text(document, OBELICS)
    assert judged.kept == (0, 1, 2)
    assert {at: why.reason for at, why in judged.nodes.items()} == {
        3: Reason.DUPLICATE_IN_DOCUMENT,
        4: Reason.DUPLICATE_IN_DOCUMENT,
    }


def test_of_a_paragraph_that_repeats_in_its_domain_no_copy_stays() -> None:
    line, other = GOOD_WORDS.split("\n")
    document = page(text(line), text(other), PICTURE, text(line))
    judged = judge_text(document, OBELICS, repeated={0: 3, 3: 3})
    assert judged.kept == (1, 2)
    assert {at: why.reason for at, why in judged.nodes.items()} == {
        0: Reason.REPEATED_IN_DOMAIN,
        3: Reason.DUPLICATE_IN_DOCUMENT,  # its own fault comes first
    }


def test_a_recipe_without_the_rule_keeps_every_copy() -> None:
    document = page(text("Again and again."), PICTURE, text("Again and again."))
    assert judge_text(document, OFF).kept == (0, 1, 2)
