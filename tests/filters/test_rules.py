"""Rules: the limit itself, what is not a number, and what was never measured."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.image_rules import (
    DeclaredAspect,
    DeclaredSides,
    FormatIn,
    NodeRule,
    NoWordInPath,
    SchemeIn,
    path_tokens,
)
from filters.recipe import IMAGE_NODE, OBELICS
from filters.rules import (
    AtLeast,
    AtLeastFrom,
    AtMost,
    Below,
    LanguageAtLeast,
    Refusal,
    Threshold,
    first_refusal,
)
from filters.signals import Signal
from schemas.document import ImageNode
from schemas.verdict import Reason

RULE = {"signal": Signal.WORDS, "limit": 10.0, "reason": Reason.TOO_FEW_WORDS, "source": "a test"}
BELOW, ABOVE = math.nextafter(10, 0), math.nextafter(10, 11)


@pytest.mark.parametrize(
    ("kind", "passing", "refused"),
    [
        (AtMost, (-math.inf, BELOW, 10), (ABOVE, math.inf, math.nan)),
        (AtLeast, (10, ABOVE, math.inf), (-math.inf, BELOW, math.nan)),
        (Below, (-math.inf, BELOW), (10, ABOVE, math.inf, math.nan)),
    ],
)
def test_the_limit_passes_at_most_and_at_least_but_not_below(
    kind: type[AtMost | AtLeast | Below], passing: tuple[float, ...], refused: tuple[float, ...]
) -> None:
    rule = kind(**RULE)  # type: ignore[arg-type]
    for value in passing:
        assert rule({Signal.WORDS: value}) is None
    for value in refused:
        assert rule({Signal.WORDS: value}) is not None


def test_a_refusal_holds_reason_value_and_limit() -> None:
    rule = AtMost(signal=Signal.WORDS, limit=2, reason=Reason.TOO_MANY_WORDS, source="a test")
    refusal = rule({Signal.WORDS: 3.0})
    assert refusal == Refusal(reason=Reason.TOO_MANY_WORDS, value=3.0, limit=2)


def test_a_refusal_of_what_is_not_a_number_has_no_value() -> None:
    rule = AtMost(signal=Signal.WORDS, limit=2, reason=Reason.TOO_MANY_WORDS, source="a test")
    assert rule({Signal.WORDS: math.nan}) == Refusal(reason=Reason.TOO_MANY_WORDS, limit=2)


PUNCTUATED = AtLeastFrom(
    signal=Signal.PUNCTUATION,
    limit=0.001,
    given=Signal.TOKENS,
    given_from=12,
    reason=Reason.LITTLE_PUNCTUATION,
    source="a test",
)


@pytest.mark.parametrize(
    ("tokens", "punctuation", "passes"),
    [
        (11, 0.0, True),
        (12, 0.0, False),
        (12, 0.001, True),
        (12, math.nextafter(0.001, 0), False),
        (11, math.nan, False),
        (12, math.nan, False),
        (math.nan, 0.0, False),
    ],
)
def test_punctuation_is_asked_for_from_12_tokens_on(
    tokens: float,
    punctuation: float,
    passes: bool,  # noqa: FBT001 (a column of cases)
) -> None:
    refusal = PUNCTUATED({Signal.TOKENS: tokens, Signal.PUNCTUATION: punctuation})
    assert (refusal is None) == passes


def test_what_was_never_measured_is_an_error_and_not_a_pass() -> None:
    for rule in (*OBELICS.paragraph, *OBELICS.document, *OBELICS.image, *OBELICS.document_images):
        with pytest.raises(KeyError):
            rule({})


@pytest.mark.parametrize("kind", [AtMost, AtLeast, Below])
def test_a_rule_has_a_source_and_a_limit_that_is_a_number(
    kind: type[AtMost | AtLeast | Below],
) -> None:
    with pytest.raises(ValueError, match=r"words_\w+ has no source"):
        kind(**RULE | {"source": " "})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"limit of words_\w+ is NaN"):
        kind(**RULE | {"limit": math.nan})  # type: ignore[arg-type]


@given(st.permutations(OBELICS.document), st.data())
def test_the_first_rule_that_refuses_gives_the_reason(
    rules: list[Threshold], data: st.DataObject
) -> None:
    signals = {signal: data.draw(st.floats(), label=signal) for signal in Signal}
    refusal = first_refusal(rules, signals)
    refusals = [found for rule in rules if (found := rule(signals)) is not None]
    assert refusal == (refusals[0] if refusals else None)


def image(
    url: str = "https://a.org/cat.jpg", *, width: int | None = None, height: int | None = None
) -> ImageNode:
    return ImageNode(url=url, width=width, height=height)


@pytest.mark.parametrize(
    ("url", "passes"),
    [
        ("http://a.org/x.jpg", True),
        ("HTTPS://a.org/x.jpg", True),
        ("data:image/png;base64,AAAA", False),
        ("blob:https://a.org/1", False),
        ("file:///etc/passwd", False),
        ("//a.org/x.jpg", False),
        ("x.jpg", False),
        ("", False),
    ],
)
def test_an_image_url_is_http_or_https(url: str, passes: bool) -> None:  # noqa: FBT001
    rule = SchemeIn(schemes=("http", "https"), source="a test")
    assert (rule(image(url)) is None) == passes


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://a.org/essex/sussex.jpg", 0),
        ("https://a.org/sex/1.jpg", 1),
        ("https://logo.org/cat.jpg", 0),
        ("https://a.org/cat.jpg?logo=1#logo", 0),
        ("https://a.org/siteLogo.png", 1),
        ("https://a.org/site_logo2x.png", 1),
        ("https://a.org/SITE-LOGO.png", 1),
        ("https://a.org/%6Cogo.png", 1),
        ("https://a.org/catalogo/logos.png", 1),
        ("https://a.org/silicon/iconic.png", 0),
        ("https://a.org/_next/image?url=https%3A%2F%2Flogo.org%2Fblue.png&w=64", 0),
        ("https://a.org/_next/image?w=64&url=https%3A%2F%2Flogo.org%2Flogo.png", 1),
        ("https://a.org/favicon-32.png", 1),
        ("https://a.org/icons/Button-xxx.gif", 3),
        ("https://a.org/plugins/widget/porn/plugin", 4),
        ("not a url logo", 1),
        ("", 0),
    ],
)
def test_a_word_is_met_as_a_whole_token_of_the_path(url: str, found: int) -> None:
    rule = next(rule for rule in IMAGE_NODE if isinstance(rule, NoWordInPath))
    refusal = rule(image(url))
    assert (refusal.value if refusal else 0) == found


@given(st.text())
def test_any_text_can_stand_where_a_url_is_expected(url: str) -> None:
    assert all(token.isalpha() for token in path_tokens(url))
    for rule in IMAGE_NODE:
        rule(image(url))


SIDES = DeclaredSides(at_least=150, at_most=20_000, source="a test")
ASPECT = DeclaredAspect(at_least=0.5, at_most=2, source="a test")


@pytest.mark.parametrize(
    ("rule", "width", "height", "value"),
    [
        (SIDES, 150, 20_000, None),
        (SIDES, 149, None, 149),
        (SIDES, None, 149, 149),
        (SIDES, 20_001, 150, 20_001),
        (SIDES, 0, 0, 0),
        (SIDES, None, None, None),
        (ASPECT, 200, 100, None),
        (ASPECT, 100, 200, None),
        (ASPECT, 201, 100, 2.01),
        (ASPECT, 99, 200, 0.495),
        (ASPECT, 1_000, None, None),
        (ASPECT, None, 1_000, None),
    ],
)
def test_declared_sides_are_judged_where_they_are_declared(
    rule: NodeRule, width: int | None, height: int | None, value: float | None
) -> None:
    refusal = rule(image(width=width, height=height))
    assert (refusal.value if refusal else None) == value


def test_an_aspect_without_a_height_does_not_pass() -> None:
    assert ASPECT(image(width=100, height=0)) is not None


def test_a_format_is_one_of_the_list() -> None:
    rule = FormatIn(formats=("jpeg", "png"), source="a test")
    assert rule("jpeg") is None
    assert rule("gif") == Refusal(reason=Reason.IMAGE_FORMAT)
    assert rule("") is not None


@pytest.mark.parametrize(
    ("language", "score", "refusal"),
    [
        ("en", 0.8, None),
        ("en", 1.0, None),
        ("en", math.nextafter(0.8, 0), (math.nextafter(0.8, 0), 0.8)),
        ("en", math.nan, (None, 0.8)),
        ("de", 0.99, (None, 0.8)),
        ("", 0.0, (None, 0.8)),
    ],
)
def test_the_language_is_told_with_at_least_the_score(
    language: str, score: float, refusal: tuple[float | None, float] | None
) -> None:
    rule = LanguageAtLeast(score=0.8, source="a test")
    found = rule(wanted="en", language=language, score=score)
    assert (found and (found.value, found.limit)) == refusal


def test_a_language_score_is_a_probability() -> None:
    with pytest.raises(ValueError, match=r"language_score is 80: choose 0 to 1"):
        LanguageAtLeast(score=80, source="a test")
