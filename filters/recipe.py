"""Recipe: the ordered rules of a run, each with its limit and where the limit comes from.

In:   nothing; a recipe is data. A user's own comes from recipe_file.py.
Out:  the rules that text.py and images.py apply in turn (the first refusal is the reason), the
      parameters of deduplication for the pipeline, and `as_settings`, all of it for a manifest.

A new rule is a line here, and a `Reason` in schemas/verdict.py.

obelics   the filters of the OBELICS paper, with perceptual and near-duplicate removal besides
off       every rule of content, consent and deduplication is absent. What stays is what a sample
          cannot be made without: one text and one image with a URL that can be fetched, in a
          format that a shard holds. A text alone is of no use to an interleaved data set.

Rules of the paper that are not here: KenLM perplexity (off in the paper's own configuration for
paragraphs), the NSFW classifier and opt-out lists, which need a model or a list of the user's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from enum import Enum
from typing import Any, Final

from filters.image_rules import (
    DeclaredAspect,
    DeclaredSides,
    FormatIn,
    NodeRule,
    NoWordInPath,
    SchemeIn,
)
from filters.rules import (
    AtLeast,
    AtLeastFrom,
    AtMost,
    Below,
    ConsentRule,
    LanguageAtLeast,
    NoDirective,
    NoReservation,
    Threshold,
)
from filters.signals import IMAGE_SIGNALS, TEXT_SIGNALS, Signal, signals_settings
from schemas.sample import EXTENSIONS
from schemas.verdict import Reason


@dataclass(frozen=True, kw_only=True, slots=True)
class MinHashParameters:
    """How near-duplicate texts are searched: documents that share a band of hashes are copies."""

    shingle: int = 5  # words
    bands: int = 14
    rows: int = 8  # hashes a band: half of the pairs at Jaccard 0.69 share a band
    seed: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """What is refused, in the order in which rules are applied. None, or (): no such rule."""

    name: str
    language: str = "en"  # of the word lists, and of `spoken`
    consent: tuple[ConsentRule, ...] = ()
    spoken: LanguageAtLeast | None = None
    paragraph: tuple[Threshold, ...] = ()
    image_node: tuple[NodeRule, ...] = ()  # before any pixel
    document: tuple[Threshold, ...] = ()  # over the paragraphs that are left
    formats: FormatIn
    image: tuple[Threshold, ...] = ()
    document_images: tuple[Threshold, ...] = ()  # over the images that are left
    # a text that stands so often in a domain goes everywhere in it; before that, a copy of a text
    # of its own page goes
    paragraph_repeats: int | None = None
    image_url_documents: int | None = None  # in more documents than this, an image URL goes
    image_documents: int | None = None  # in more than this within phash_distance, an image goes
    minhash: MinHashParameters | None = None
    phash_distance: int | None = None  # of 64 bits: two images so near are the same picture
    phash_bands: int = 5  # of the exact search: they change its cost, never its result
    image_set_minimum: int | None = None  # equal sets of so many images: the latest document stays

    def __post_init__(self) -> None:
        for name, allowed in (
            ("paragraph", TEXT_SIGNALS),
            ("document", TEXT_SIGNALS),
            ("image", IMAGE_SIGNALS),
            ("document_images", frozenset({Signal.IMAGES})),
        ):
            for rule in getattr(self, name):
                if rule.signal not in allowed:
                    raise ValueError(
                        f"recipe {self.name}: {name} has a rule for {rule.signal}, which is not "
                        f"measured there: choose one of {', '.join(sorted(allowed))}"
                    )
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"recipe {self.name}: {name} is {value}: choose {least} or more")
        if self.image_documents is not None and self.phash_distance is None:
            raise ValueError(
                f"recipe {self.name}: image_documents is {self.image_documents}, but without "
                f"phash_distance images are not compared: give one, or drop image_documents"
            )


_LEAST: Final = {
    "paragraph_repeats": 2,
    "image_url_documents": 1,
    "image_documents": 1,
    "phash_distance": 0,
    "phash_bands": 1,
    "image_set_minimum": 1,
}


def as_settings(recipe: Recipe) -> dict[str, Any]:
    """All of a recipe, and the signals that it judges by, as JSON takes it: for a manifest."""
    return {
        **{field.name: _plain(getattr(recipe, field.name)) for field in fields(recipe)},
        "signals": signals_settings(),
    }


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        kind = {"rule": type(value).__name__} if hasattr(value, "source") else {}
        return kind | {name: _plain(inner) for name, inner in asdict(value).items()}
    if isinstance(value, tuple):
        return [_plain(inner) for inner in value]
    return value.value if isinstance(value, Enum) else value


PAPER: Final = "OBELICS (arXiv 2306.16527), appendix A"
LAW: Final = "consent is kept in every recipe but off"
OURS: Final = "interloom: a sample needs it"

CONSENT: Final[tuple[ConsentRule, ...]] = (
    NoReservation(reason=Reason.TDM_RESERVED, source=f"TDMRep (W3C community report); {LAW}"),
    NoDirective(directive="noai", reason=Reason.NOAI, source=LAW),
    NoDirective(directive="noimageai", reason=Reason.NOIMAGEAI, source=LAW),
)


def _at_most(signal: Signal, limit: float, reason: Reason) -> AtMost:
    return AtMost(signal=signal, limit=limit, reason=reason, source=PAPER)


def _at_least(signal: Signal, limit: float, reason: Reason) -> AtLeast:
    return AtLeast(signal=signal, limit=limit, reason=reason, source=PAPER)


PARAGRAPH: Final[tuple[Threshold, ...]] = (
    _at_least(Signal.WORDS, 4, Reason.TOO_FEW_WORDS),
    _at_most(Signal.WORDS, 1_000, Reason.TOO_MANY_WORDS),
    _at_most(Signal.CHARACTER_REPETITION, 0.1, Reason.CHARACTER_REPETITION),
    _at_most(Signal.WORD_REPETITION, 0.1, Reason.WORD_REPETITION),
    _at_most(Signal.SPECIAL_CHARACTERS, 0.3, Reason.SPECIAL_CHARACTERS),
    _at_least(Signal.STOP_WORDS, 0.3, Reason.FEW_STOP_WORDS),
    _at_most(Signal.FLAGGED_WORDS, 0.01, Reason.FLAGGED_WORDS),
    AtLeastFrom(
        signal=Signal.PUNCTUATION,
        limit=0.001,
        given=Signal.TOKENS,
        given_from=12,
        reason=Reason.LITTLE_PUNCTUATION,
        source=PAPER,
    ),
    _at_least(Signal.COMMON_WORDS, 0.8, Reason.FEW_COMMON_WORDS),
    Below(signal=Signal.SPAM_WORDS, limit=0.12, reason=Reason.SPAM_WORDS, source=PAPER),
)

DOCUMENT: Final[tuple[Threshold, ...]] = (
    _at_least(Signal.WORDS, 10, Reason.TOO_FEW_WORDS),
    _at_most(Signal.WORDS, 2_000, Reason.TOO_MANY_WORDS),
    _at_most(Signal.CHARACTER_REPETITION, 0.1, Reason.CHARACTER_REPETITION),
    _at_most(Signal.WORD_REPETITION, 0.2, Reason.WORD_REPETITION),
    _at_most(Signal.SPECIAL_CHARACTERS, 0.275, Reason.SPECIAL_CHARACTERS),
    _at_least(Signal.STOP_WORDS, 0.35, Reason.FEW_STOP_WORDS),
    _at_most(Signal.FLAGGED_WORDS, 0.01, Reason.FLAGGED_WORDS),
    _at_least(Signal.PUNCTUATION, 0.03, Reason.LITTLE_PUNCTUATION),
    _at_least(Signal.COMMON_WORDS, 0.9, Reason.FEW_COMMON_WORDS),
)

SCHEME: Final = SchemeIn(schemes=("http", "https"), source=OURS)

IMAGE_NODE: Final[tuple[NodeRule, ...]] = (
    SCHEME,
    NoWordInPath(
        # the paper's eight, and the usual words that its search for parts of words also matches
        words=("logo", "logos", "button", "buttons", "icon", "icons", "favicon", "favicons",
               "plugin", "plugins", "widget", "widgets", "porn", "xxx", "sex"),
        source=PAPER,
    ),
    DeclaredSides(at_least=150, at_most=20_000, source=PAPER),
    DeclaredAspect(at_least=0.5, at_most=2, source=PAPER),
)  # fmt: skip

IMAGE: Final[tuple[Threshold, ...]] = (
    _at_least(Signal.SHORT_SIDE, 150, Reason.IMAGE_SIDE_SHORT),
    _at_most(Signal.LONG_SIDE, 20_000, Reason.IMAGE_SIDE_LONG),
    _at_least(Signal.ASPECT, 0.5, Reason.IMAGE_ASPECT),
    _at_most(Signal.ASPECT, 2, Reason.IMAGE_ASPECT),
)

SOME_IMAGE: Final = AtLeast(signal=Signal.IMAGES, limit=1, reason=Reason.NO_IMAGE, source=OURS)

OBELICS: Final = Recipe(
    name="obelics",
    consent=CONSENT,
    spoken=LanguageAtLeast(score=0.8, source=PAPER),
    paragraph=PARAGRAPH,
    image_node=IMAGE_NODE,
    document=DOCUMENT,
    formats=FormatIn(formats=("jpeg", "png", "webp"), source=PAPER),
    image=IMAGE,
    document_images=(SOME_IMAGE, _at_most(Signal.IMAGES, 30, Reason.TOO_MANY_IMAGES)),
    paragraph_repeats=3,  # paper, step 12
    image_url_documents=10,  # paper, step 9
    image_documents=10,  # the same count, of what is seen in place of the URL
    minhash=MinHashParameters(),  # FineWeb (arXiv 2406.17557): 5-grams, 14 bands of 8
    phash_distance=4,  # mmc4 (arXiv 2304.06939) has 5, and distances of this hash are even
    image_set_minimum=2,  # one shared picture is no copy of a page
)

OFF: Final = Recipe(
    name="off",
    image_node=(SCHEME,),
    formats=FormatIn(formats=tuple(sorted(EXTENSIONS)), source=OURS),
    document_images=(SOME_IMAGE,),
)

RECIPES: Final[Mapping[str, Recipe]] = {recipe.name: recipe for recipe in (OBELICS, OFF)}
