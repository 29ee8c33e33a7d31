"""Global batches: every target once an epoch, the same for any ranks, from any state."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.training.shards import Document, Node, picture, prose, small_tokenizer, write_run
from training.data.counts import Counts, count_sources, read_counts, samples_of
from training.data.pieces import PiecePlan
from training.data.plan import (
    OnePass,
    Order,
    Plan,
    RankPlan,
    RowPlan,
    check_ranks,
    one_epoch,
    plan_window,
    random_words,
    share,
    window_count,
)
from training.data.sources import Shard, Source, open_source
from training.data.tokens import IGNORED, TokenSequence, assemble, sequence_of
from training.look.estimate import row_patches

IMAGE_TOKENS = 3
DIGEST = "d" * 32
PICTURE = picture(8, 8)
Place = tuple[int, int, int, int]  # source, shard, row of the index, place in its sequence


def documents(number: int, *, seed: int = 0) -> list[Document]:
    """Short and long ones, with up to six images."""
    return [_document(n, seed=seed) for n in range(number)]


def _document(n: int, *, seed: int) -> Document:
    nodes: list[Node] = []
    for part in range(1 + (n + seed) % 3):
        nodes.append(prose(3 + (n * 37 + part * 11 + seed) % 60, seed=n))
        nodes += [PICTURE] * ((n + part) % 3)
    return nodes


def source_of(
    folder: Path, written: Sequence[Document], *, shards: int = 1, weight: float = 1
) -> Source:
    write_run(folder, written, shards=shards)
    return open_source(str(folder), weight=weight)


def plan_of(sources: list[Source], **changes: int) -> Plan:
    count_sources(sources, small_tokenizer().encoder, DIGEST)
    values = {"sequence_length": 40, "image_tokens": IMAGE_TOKENS, "rows": 4, "window": 5}
    return Plan(sources, DIGEST, Order(**{**values, **changes}))


def sequences(sources: Sequence[Source]) -> dict[tuple[int, int, int], TokenSequence]:
    """Of every sample, from its tar."""
    return {
        (number, shard, row): sequence_of(sample, small_tokenizer().encoder, IMAGE_TOKENS)
        for number, source in enumerate(sources)
        for shard, one in enumerate(source.shards)
        for row, sample in enumerate(samples_of(one))
    }


def trained(piece: PiecePlan, sequence: TokenSequence) -> list[Place]:
    """The places of the sequence that a piece's labels train, read off its own tokens."""
    made = assemble(sequence, piece.start, piece.end)
    first = piece.start - (piece.start > 0)
    places = first + 1 + np.flatnonzero(made.labels != IGNORED)
    assert sequence.tokens[places].tolist() == [one for one in made.labels if one != IGNORED]
    return [(*piece[:3], int(place)) for place in places]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[Source]:
    """Three shards of 17 documents, and one of 6 with a third of the weight."""
    folder = tmp_path_factory.mktemp("two")
    return [
        source_of(folder / "a", documents(17), shards=3, weight=3),
        source_of(folder / "b", documents(6, seed=1), weight=1),
    ]


LENGTHS = st.lists(
    st.lists(st.one_of(st.integers(0, 60).map(prose), st.just(PICTURE)), max_size=9),
    min_size=1,
    max_size=9,
)


@given(
    LENGTHS,
    st.integers(IMAGE_TOKENS + 4, 60),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 12),
    st.integers(0, 2**40),
)
@example([[], [PICTURE], []], 7, 1, 3, 2, 0)  # two epochs of another number of rows
@settings(max_examples=40, deadline=None)
def test_every_text_token_and_eos_is_trained_once_an_epoch_on_any_number_of_ranks(
    written: list[Document], length: int, world: int, shards: int, window: int, seed: int
) -> None:
    with TemporaryDirectory() as folder:
        sources = [source_of(Path(folder), written, shards=min(shards, len(written)))]
        plan = plan_of(sources, sequence_length=length, rows=3, window=window, seed=seed)
        made = sequences(sources)
        epochs = 2
        rows = sum(_rows_of_epoch(sources[0], plan.order, epoch) for epoch in range(epochs))
        seen: list[RowPlan] = []
        ranks = [RankPlan(_again(plan), rank=rank, world=world) for rank in range(world)]
        while len(seen) < rows:
            seen += [row for rank in ranks for row in rank.next_batch()]
        counted: Counter[Place] = Counter()
        for row in seen[:rows]:
            assert sum(piece.size for piece in row) <= length
            for piece in row:
                counted.update(trained(piece, made[piece[:3]]))
        expected = {
            (*name, int(place)) for name, one in made.items() for place in one.trained.nonzero()[0]
        }
        assert counted == dict.fromkeys(expected, epochs)


def _rows_of_epoch(source: Source, order: Order, epoch: int) -> int:
    """Epochs differ: another order of the shards puts other samples into one window."""
    return sum(
        len(plan_window(source, order, (0, epoch, window), _counts).rows)
        for window in range(window_count(source, order))
    )


def _counts(shard: Shard) -> Counts:
    return read_counts(shard, DIGEST)


def _again(plan: Plan) -> Plan:
    """The same plan in another process."""
    copy = Plan(plan.sources, DIGEST, plan.order)
    copy.load_state_dict(json.loads(json.dumps(plan.state_dict())))
    return copy


@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_global_batches_are_the_same_on_any_number_of_ranks(two: list[Source], world: int) -> None:
    whole = plan_of(two)
    ranks = [RankPlan(_again(whole), rank=rank, world=world) for rank in range(world)]
    for _ in range(12):
        shares = [rank.next_batch() for rank in ranks]
        assert [row for rows in shares for row in rows] == whole.next_batch()
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
        assert all(rank.state_dict() == whole.state_dict() for rank in ranks)


def test_from_any_state_the_rest_is_that_of_going_straight(two: list[Source]) -> None:
    straight = plan_of(two)
    states, batches = [], []
    for _ in range(40):
        states.append(json.dumps(straight.state_dict()))
        batches.append(straight.next_batch())
    assert json.loads(states[-1])["sources"][1][0] > 1, "more than an epoch must be seen"
    for step, state in enumerate(states):
        resumed = Plan(two, DIGEST, straight.order)
        resumed.load_state_dict(json.loads(state))
        assert [resumed.next_batch() for _ in range(3)][: len(batches) - step] == batches[
            step : step + 3
        ]


def test_a_state_is_a_step_and_three_integers_a_source(two: list[Source]) -> None:
    plan = plan_of(two)
    plan.next_batch()
    state = json.loads(json.dumps(plan.state_dict()))
    assert state["step"] == 1
    assert [len(place) for place in state["sources"]] == [3, 3]
    assert sum(place[2] for place in state["sources"]) == plan.order.rows


def test_another_epoch_and_another_seed_have_another_order(two: list[Source]) -> None:
    """Of one shard in one window, where only the rows are shuffled."""

    def first_epochs(seed: int) -> list[list[RowPlan]]:
        plan = plan_of(two[1:], seed=seed, window=100, rows=1)
        (window,) = one_epoch(two[1:], DIGEST, plan.order)
        size = len(window.rows)
        return [[plan.next_batch()[0] for _ in range(size)] for _ in range(2)]

    (one, two_), (other, _) = first_epochs(0), first_epochs(1)
    assert one != two_
    assert one != other
    assert sorted(one) == sorted(two_) == sorted(other)
    assert first_epochs(0) == [one, two_]


def test_another_epoch_has_its_shards_in_another_order(two: list[Source]) -> None:
    """In windows of one shard each."""
    order = plan_of(two[:1], window=6).order
    assert {shard.samples for shard in two[0].shards} == {5, 6}
    firsts = {
        plan_window(two[0], order, (0, epoch, 0), _counts).rows[0][0].shard for epoch in range(20)
    }
    assert firsts == {0, 1, 2}


def test_rows_are_shuffled_after_packing(two: list[Source]) -> None:
    """Best fit alone puts the largest pieces into the first rows."""
    plan_of(two)
    order = Order(sequence_length=40, image_tokens=IMAGE_TOKENS, rows=1, window=100)
    (window,) = one_epoch(two[:1], DIGEST, order)
    largest = [row[0].size for row in window.rows]
    assert largest != sorted(largest, reverse=True)


@given(st.integers(0, 2**33), st.integers(0, 40), st.integers(1, 40))
def test_what_a_row_draws_depends_on_its_number_alone(start: int, before: int, count: int) -> None:
    key = (7, 2, 0, 0, 0)
    whole = random_words(before + count, key, first=start)
    assert np.array_equal(random_words(count, key, first=start + before), whole[before:])


def test_sources_are_drawn_by_weight(two: list[Source]) -> None:
    drawn = plan_of(two).draw(0, 20_000)
    assert abs(np.mean(drawn) - 0.25) < 0.01
    assert set(drawn) == {0, 1}


def test_a_window_may_span_shards_and_every_sample_is_in_one(two: list[Source]) -> None:
    plan_of(two)
    order = Order(sequence_length=400, image_tokens=IMAGE_TOKENS, rows=1, window=5)
    windows = list(one_epoch(two, DIGEST, order))
    assert [one.totals.samples for one in windows] == [5, 5, 5, 2, 5, 1]
    samples = [piece[:3] for window in windows for row in window.rows for piece in row]
    assert sorted(samples) == sorted(sequences(two))
    assert any(len({piece.shard for row in one.rows for piece in row}) > 1 for one in windows)


def test_one_pass_gives_each_sample_once_over_all_ranks_and_then_ends(two: list[Source]) -> None:
    order = plan_of(two, sequence_length=400).order
    seen: list[tuple[int, int, int]] = []
    for rank in range(3):
        given_ = OnePass(one_epoch(two, DIGEST, order), rows=2, rank=rank, world=3)
        while rows := given_.next_batch():
            assert len(rows) <= 2
            seen += [piece[:3] for row in rows for piece in row]
        assert list(given_.next_batch()) == []
    assert sorted(seen) == sorted(sequences(two))


def test_only_the_first_samples_are_taken_where_that_is_asked_for(two: list[Source]) -> None:
    order = plan_of(two, sequence_length=400).order
    windows = list(one_epoch(two, DIGEST, order, most=7))
    assert [one.totals.samples for one in windows] == [5, 2, 5, 1]


def test_images_that_no_text_follows_within_a_row_are_dropped_and_counted(tmp_path: Path) -> None:
    """Ten images side by side before one word, where a row holds three of them and the word."""
    sources = [source_of(tmp_path, [[*[PICTURE] * 10, "sea"]])]
    length = 1 + 3 * (IMAGE_TOKENS + 1) + 1
    plan = plan_of(sources, sequence_length=length)
    (window,) = one_epoch(sources, DIGEST, plan.order)
    totals = window.totals
    (first, *_) = sorted(window.rows)
    assert (first[0].image, first[0].images) == (7, 3)
    assert (totals.images, totals.dropped_images, totals.dropped_pieces) == (3, 7, 7)
    assert totals.targets == len(small_tokenizer().encoder.ids(["sea"])[0]) + 1


def test_totals_are_those_of_the_rows(two: list[Source]) -> None:
    order = plan_of(two).order
    for window in one_epoch(two, DIGEST, order):
        pieces = [piece for row in window.rows for piece in row]
        assert window.totals.pieces == len(pieces)
        assert window.totals.images == sum(piece.images for piece in pieces)
        assert window.totals.tokens == sum(piece.size for piece in pieces)
        assert window.totals.fill(40) == window.totals.tokens / (40 * len(window.rows))


def test_patches_of_rows_are_those_of_the_sides_in_the_index(tmp_path: Path) -> None:
    written: list[Document] = [
        ["One.", picture(28, 14), "Two.", picture(42, 56)],
        ["Three.", picture(14, 14)],
    ]
    sources = [source_of(tmp_path, written)]
    order = plan_of(sources, sequence_length=60).order
    (window,) = one_epoch(sources, DIGEST, order)
    patches = row_patches(
        sources[0], window.rows, lambda width, height: (height // 14, width // 14)
    )
    assert sum(patches) == 2 * 1 + 3 * 4 + 1
    assert len(patches) == len(window.rows)


def test_more_ranks_than_rows_are_refused(two: list[Source]) -> None:
    plan = plan_of(two, rows=2)
    check_ranks(2, 2)
    with pytest.raises(ValueError, match=r"3 ranks, but a global batch has 2 rows.*data\.rows"):
        RankPlan(plan, rank=0, world=3)
    with pytest.raises(ValueError, match="3 ranks"):
        share(plan.next_batch(), rank=0, world=3)


def test_the_state_of_other_sources_is_refused(two: list[Source]) -> None:
    state = plan_of(two).state_dict()
    with pytest.raises(ValueError, match="the state is of 2 sources, but there are 1"):
        plan_of(two[:1]).load_state_dict(state)


def test_no_source_is_refused() -> None:
    with pytest.raises(ValueError, match="0 sources"):
        plan_of([])


@pytest.mark.parametrize(
    ("name", "value"),
    [("sequence_length", IMAGE_TOKENS + 3), ("rows", 0), ("window", 0), ("seed", -1)],
)
def test_an_order_that_trains_nothing_is_refused(two: list[Source], name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value}.*choose"):
        plan_of(two, **{name: value})


def test_a_plan_knows_what_may_not_differ_and_no_folder_is_part_of_it(
    two: list[Source], tmp_path: Path
) -> None:
    plan = plan_of(two)
    moved = [
        source_of(tmp_path / "x", documents(17), shards=3, weight=3),
        source_of(tmp_path / "y", documents(6, seed=1), weight=1),
    ]
    assert plan_of(moved).identity() == plan.identity()
    for changed in (plan_of(two, seed=1), plan_of(two, rows=5), plan_of(two[:1])):
        assert changed.identity() != plan.identity()
    json.dumps(plan.identity())
