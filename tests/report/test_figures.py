from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.account.manifest import part_names
from pipeline.shard.report import figures
from pipeline.shard.report.figures import SAMPLES_A_REASON, Dropped, choose_parts, read_figures
from pipeline.shard.report.samples import NODES, PICTURES, read_samples
from tests.report.fabricated import Fabricate, Fabricator, Pages


@pytest.fixture
def run(fabricate: Fabricate, every_outcome: Pages) -> Fabricator:
    made = fabricate(every_outcome)
    made.shard()
    return made


def test_figures_are_those_of_the_tables(run: Fabricator) -> None:
    figures = read_figures(run.job)
    assert (figures.documents_read, figures.documents, figures.images) == (8, 6, 12)
    assert figures.images_each == {1: 3, 2: 1, 3: 1, 4: 1}
    assert figures.median_images == 1
    assert figures.distinct_images == 12
    assert figures.short_sides == {200: 12}
    assert figures.domains == {"example.org": 6}
    assert figures.languages_read == {"en": 8}
    assert figures.share == 1


def test_an_image_met_twice_is_one_distinct_image(
    fabricate: Fabricate, every_outcome: Pages
) -> None:
    page = every_outcome["000000-00000000000000"][1]
    run = fabricate({"000000-00000000000000": [page, page]})
    run.shard()
    figures = read_figures(run.job)
    assert (figures.images, figures.distinct_images) == (4, 2)


def test_a_sample_stops_at_the_part_that_fills_it(run: Fabricator) -> None:
    names = list(run.pages)
    assert sorted(choose_parts(names, run.job, sample=9)) == sorted(names)
    chosen = list(choose_parts(names, run.job, sample=1))
    assert chosen == list(choose_parts(names[::-1], run.job, sample=1))
    assert "000000-00000000000000" in chosen


def test_values_and_limits_are_spanned_for_each_reason() -> None:
    dropped = Dropped()
    for value, limit in ((3, 10), (7, 10), (None, None), (1, 12)):
        dropped.add(row_of(0, value=value, limit=limit))
    assert (dropped.count, dropped.lowest, dropped.highest) == (4, 1, 7)
    assert dropped.limits == (10, 12)


@given(st.permutations(range(20)))
def test_samples_of_a_reason_do_not_depend_on_the_order_of_rows(order: list[int]) -> None:
    def first(numbers: Iterable[int]) -> list[tuple[str, int]]:
        dropped = Dropped()
        for number in numbers:
            dropped.add(row_of(number, url=f"u{number % 7}"))
        return [(row["url"], row["row"]) for row in dropped.samples]

    assert first(order) == first(range(20))
    assert len({url for url, _ in first(order)}) == SAMPLES_A_REASON


@pytest.mark.parametrize(("urls", "shown"), [(1, 1), (3, 3), (4, 4), (5, 4)])
def test_no_image_is_shown_twice_for_a_reason(urls: int, shown: int) -> None:
    dropped = Dropped()
    for number in range(20):
        dropped.add(row_of(number, url=f"u{number % urls}"))
    assert len(dropped.samples) == shown
    assert dropped.count == 20


def row_of(
    number: int, *, url: str = "u", value: float | None = None, limit: float | None = None
) -> dict[str, Any]:
    place = {"part": "p", "row": number, "node": 1, "kind": "image", "url": url, "excerpt": ""}
    return place | {"value": value, "limit": limit}


def test_samples_show_no_more_than_a_reader_needs(
    fabricate: Fabricate, every_outcome: Pages
) -> None:
    page = every_outcome["000000-00000000000000"][1]
    page.nodes = page.nodes[1:3] * (PICTURES + 2) + page.nodes[:1] * NODES
    run = fabricate({"000000-00000000000000": [page]})
    run.shard()
    (sample,) = read_samples(run.job, part_names(run.job.parts_table("shard")))
    assert sum(node.role == "image" for node in sample.nodes) == PICTURES
    assert len(sample.nodes) + sample.left_out == len(page.nodes)


COUNTS = st.dictionaries(st.integers(0, 40_000), st.integers(1, 9)).map(Counter)


@given(COUNTS)
def test_every_value_is_in_just_one_bin(counted: Counter[int]) -> None:
    for edges in (figures.WORDS_EACH, figures.SHORT_SIDES):
        assert sum(one.total for one in figures.bins(counted, edges)) == counted.total()


@pytest.mark.parametrize(
    ("value", "label"),
    [(0, "0"), (10, "10"), (11, "11\u2013"), (15, "11\u2013"), (16, "16\u2013"), (31, "31+")],
)
def test_a_bin_starts_at_its_label(value: int, label: str) -> None:
    (one,) = figures.bins(Counter({value: 2}), figures.IMAGES_EACH)
    assert one == figures.Bin(label, 2)


def test_a_value_that_no_bin_would_show_is_refused() -> None:
    with pytest.raises(ValueError, match="-1 lies below the first bin, 0"):
        figures.bins(Counter({-1: 1}), figures.IMAGES_EACH)


def test_columns_stay_inside_the_chart() -> None:
    found = figures.chart("t", "u", "n", [figures.Bin(str(n), n) for n in range(12)])
    assert (
        max(column.height for column in found.columns)
        == figures.HEIGHT - figures.TOP - figures.BOTTOM
    )
    assert all(0 <= column.x <= figures.WIDTH - column.width for column in found.columns)
    assert all(column.y + column.height == pytest.approx(found.floor) for column in found.columns)


def test_lines_are_ordered_by_count_then_name() -> None:
    found = figures.lines(Counter({"b": 2, "a": 2, "c": 4, "d": 1}), most=3)
    assert [(line.name, line.share) for line in found] == [("c", 1), ("a", 0.5), ("b", 0.5)]
