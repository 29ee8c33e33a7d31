"""Rows hold each piece once, never too much, and hardly any room stays."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data.pieces import CountedRun, PiecePlan, pack, pieces_of

SEQUENCE = 2048
IMAGE_TOKENS = 64
WINDOW = 4096


@given(st.lists(st.integers(1, 50), max_size=80), st.integers(50, 70))
def test_each_piece_stands_in_one_row_and_no_row_is_too_long(sizes: list[int], length: int) -> None:
    rows = pack(sizes, sequence_length=length)
    assert sorted(piece for row in rows for piece in row) == list(range(len(sizes)))
    assert all(sum(sizes[piece] for piece in row) <= length for row in rows)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=60), st.integers(50, 70))
def test_rows_are_those_of_best_fit_decreasing_done_slowly(sizes: list[int], length: int) -> None:
    rooms: list[int] = []
    for size in sorted(sizes, reverse=True):
        fitting = [room for room in rooms if room >= size]
        room = min(fitting, default=length)
        if fitting:
            rooms.remove(room)
        rooms.append(room - size)
    rows = pack(sizes, sequence_length=length)
    assert sorted(length - sum(sizes[one] for one in row) for row in rows) == sorted(rooms)


def test_pieces_of_one_size_stay_in_their_order() -> None:
    assert pack([5] * 200, sequence_length=10) == [[n, n + 1] for n in range(0, 200, 2)]


@pytest.mark.parametrize("size", [0, 11])
def test_a_piece_that_no_row_holds_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="does not fit a row of 10"):
        pack([5, size], sequence_length=10)


def obelics_like(seed: int) -> list[PiecePlan]:
    """Pieces of 4,096 documents: median 677 tokens (mean 815) and 1 image, up to 30."""
    generator = np.random.default_rng(seed)
    tokens = np.exp(generator.normal(np.log(677), 0.61, WINDOW)).astype(int)
    images = np.exp(generator.normal(np.log(1.3), 0.95, WINDOW)).astype(int).clip(1, 30)
    assert abs(np.median(tokens) - 677) < 30
    assert np.median(images) == 1
    found: list[PiecePlan] = []
    for text, shown in zip(tokens.tolist(), images.tolist(), strict=True):
        share = max(1, text // shown)
        runs = [
            CountedRun(images=1, tokens=share, sentences=list(range(20, share, 20)))
            for _ in range(shown)
        ]
        found += pieces_of(runs, image_tokens=IMAGE_TOKENS, sequence_length=SEQUENCE)
    return [piece for piece in found if piece.targets]


def test_rows_of_obelics_spread_are_99_percent_full(say: Callable[[str], None]) -> None:
    fills = []
    for seed in range(3):
        sizes = [piece.size for piece in obelics_like(seed)]
        rows = pack(sizes, sequence_length=SEQUENCE)
        fills.append(sum(sizes) / (len(rows) * SEQUENCE))
    say(f"fill of rows of {SEQUENCE} over windows of {WINDOW:,} documents: "
        + ", ".join(f"{fill:.4f}" for fill in fills))  # fmt: skip
    assert min(fills) >= 0.99
