"""Where a document longer than a row is cut, against a slow reading of the rule."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.pieces import CountedRun, PiecePlan, check_length, pieces_of

IMAGE_TOKENS = 4
LEAST = IMAGE_TOKENS + 4  # context, fake, image, fake, target


@st.composite
def runs(draw: st.DrawFn, most: int = 40) -> list[CountedRun]:
    """A document: runs with places to cut; images may end it."""
    found: list[CountedRun] = []
    for _ in range(draw(st.integers(0, 5))):
        tokens = draw(st.integers(1, most))
        inside = st.lists(st.integers(1, tokens - 1), unique=True).map(sorted)
        places = [draw(inside) if tokens > 1 else [] for _ in range(2)]
        images = draw(st.integers(1 if found else 0, 6))
        found.append(
            CountedRun(images=images, tokens=tokens, paragraphs=places[0], sentences=places[1])
        )
    if draw(st.booleans()):
        found.append(CountedRun(images=draw(st.integers(1, 6)), tokens=0))
    return found


class Plain:
    """The sequence of a document letter by letter: B, F, I, t, E; and the places to cut."""

    def __init__(self, document: Sequence[CountedRun]) -> None:
        letters = "B"
        self.groups: list[int] = []
        self.paragraphs: list[int] = []
        self.sentences: list[int] = []
        self.images: list[int] = []
        for run in document:
            if run.images:
                self.groups.append(len(letters))
                letters += "F"
                for _ in range(run.images):
                    self.images.append(len(letters))
                    letters += "I" * IMAGE_TOKENS + "F"
            self.paragraphs += [len(letters) + place for place in run.paragraphs]
            self.sentences += [len(letters) + place for place in run.sentences]
            letters += "t" * run.tokens
        self.letters = letters + "E"

    def targets(self, start: int, end: int) -> int:
        return sum(letter in "tE" for letter in self.letters[start:end])

    def expected_end(self, start: int, length: int) -> int:
        most = start + length - (start > 0)
        if most >= len(self.letters):
            return len(self.letters)
        if not self.targets(start, most):
            return [place for place in self.images if place >= start][1]
        for places in (self.groups, self.paragraphs, self.sentences):
            fitting = [
                place for place in places if start < place <= most and self.targets(start, place)
            ]
            if fitting:
                return max(fitting)
        return most


def pieces(document: Sequence[CountedRun], length: int) -> list[PiecePlan]:
    return pieces_of(document, image_tokens=IMAGE_TOKENS, sequence_length=length)


@given(runs(), st.integers(LEAST, 60))
@settings(max_examples=300)
def test_pieces_follow_the_rule_and_each_other(document: list[CountedRun], length: int) -> None:
    plain, start = Plain(document), 0
    for piece in pieces(document, length):
        assert piece.start == start
        assert piece.end == plain.expected_end(start, length)
        assert piece.size <= length
        assert piece.targets == plain.targets(piece.start, piece.end)
        assert piece.images == sum(piece.start <= at < piece.end for at in plain.images)
        start = piece.end
    assert start == len(plain.letters)


@given(runs(), st.integers(LEAST, 60))
@settings(max_examples=300)
def test_no_piece_ends_inside_an_image_or_begins_right_behind_one(
    document: list[CountedRun], length: int
) -> None:
    plain = Plain(document)
    for piece in pieces(document, length)[1:]:
        before, letter = plain.letters[piece.start - 1], plain.letters[piece.start]
        assert (before, letter) in {
            ("t", "t"), ("t", "F"), ("F", "I"), ("t", "E"),
        }  # fmt: skip
        assert letter != "I" or piece.start in plain.images


@given(runs(), st.integers(LEAST, 60))
@settings(max_examples=300)
def test_an_image_without_a_target_is_one_of_neighbours_that_fill_a_row(
    document: list[CountedRun], length: int
) -> None:
    plain = Plain(document)
    for piece in pieces(document, length):
        if not piece.targets:
            assert piece.images == 1
            assert not plain.targets(piece.start, piece.start + length - 1)


def test_a_document_that_just_fits_is_one_piece_and_one_token_more_makes_two() -> None:
    assert len(pieces([CountedRun(images=0, tokens=18)], 20)) == 1
    assert [piece.size for piece in pieces([CountedRun(images=0, tokens=19)], 20)] == [20, 2]


def test_a_cut_before_an_image_is_taken_over_a_later_paragraph() -> None:
    document = [
        CountedRun(images=0, tokens=5),
        CountedRun(images=1, tokens=30, paragraphs=[4], sentences=[6]),
    ]
    behind = 6 + 6  # BOS and five tokens, an image between its fakes
    ends = [piece.end for piece in pieces(document, 20)]
    assert ends == [
        6,  # before the image, although paragraph and sentence come later
        behind + 4,  # at the paragraph, although the sentence comes later
        behind + 6,  # at the sentence, although 20 tokens go further
        behind + 6 + 19,  # anywhere: 20 with the context
        behind + 30 + 1,
    ]


def test_a_row_must_hold_context_an_image_and_a_target() -> None:
    check_length(LEAST, IMAGE_TOKENS)
    with pytest.raises(
        ValueError, match=f"sequence_length is {LEAST - 1} tokens.*at least {LEAST}"
    ):
        check_length(LEAST - 1, IMAGE_TOKENS)
