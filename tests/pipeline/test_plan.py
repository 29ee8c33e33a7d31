"""The plan of the shards: every sample once, no shard over its size, consecutive parts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from filters.recipe import OBELICS
from pipeline.job import MIB, Settings
from pipeline.shard.plan import (
    GROUP,
    Cut,
    Group,
    Weight,
    cut_sizes,
    group_parts,
    name_shards,
    split_of,
)

SIZES = st.lists(st.integers(1, 500), max_size=60)
ONE = Group(0, "train", ("a",))


def settings(**changes: object) -> Settings:
    return Settings(
        recipe=OBELICS, recipe_source="obelics", language="en", lid_model_sha256="", word_lists=(),
        **changes,  # type: ignore[arg-type]
    )  # fmt: skip


@given(SIZES, st.integers(1, 400))
def test_every_sample_is_in_exactly_one_shard_in_order(sizes: list[int], limit: int) -> None:
    cuts = list(cut_sizes(ONE, sizes, limit))
    assert [place for one in cuts for place in range(one.start, one.stop)] == list(
        range(len(sizes))
    )


@given(SIZES, st.integers(1, 400))
def test_a_shard_passes_its_size_only_by_a_single_sample(sizes: list[int], limit: int) -> None:
    for one in cut_sizes(ONE, sizes, limit):
        assert one.stop - one.start == 1 or sum(sizes[one.start : one.stop]) <= limit


@given(SIZES, st.integers(1, 400))
def test_a_shard_ends_only_where_the_next_sample_would_pass_the_size(
    sizes: list[int], limit: int
) -> None:
    cuts = list(cut_sizes(ONE, sizes, limit))
    for one in cuts[:-1]:
        assert sum(sizes[one.start : one.stop + 1]) > limit


WEIGHTS = st.lists(
    st.builds(Weight, st.text("abc", min_size=1), st.integers(0, 99), st.integers(0, 9999)),
    unique_by=lambda weight: weight.part,
)


@given(WEIGHTS, st.integers(1, 300))
def test_groups_hold_every_part_that_has_something_of_their_split_in_order(
    weights: list[Weight], shard_bytes: int
) -> None:
    groups = list(group_parts(weights, shard_bytes))
    for split in ("heldout", "train"):
        parts = [part for one in groups if one.split == split for part in one.parts]
        assert parts == sorted(w.part for w in weights if getattr(w, split))
    assert [one.number for one in groups] == list(range(len(groups)))


@given(WEIGHTS, st.integers(1, 300))
def test_a_group_is_full_but_for_the_last_of_its_split(
    weights: list[Weight], shard_bytes: int
) -> None:
    size = {weight.part: weight for weight in weights}
    for split in ("heldout", "train"):
        mine = [one for one in group_parts(weights, shard_bytes) if one.split == split]
        for one in mine[:-1]:
            held = [getattr(size[part], split) for part in one.parts]
            assert sum(held) >= GROUP * shard_bytes > sum(held[:-1])


def test_shards_are_numbered_by_split_in_the_order_of_their_groups() -> None:
    held, first, second = (Group(n, s, ("p",)) for n, s in enumerate(("heldout", "train", "train")))
    cuts = [[Cut(second, 0, 2)], [Cut(first, 0, 1), Cut(first, 1, 5)], [Cut(held, 0, 1)]]
    assert dict(name_shards(cuts)) == {
        "heldout-00000": Cut(held, 0, 1),
        "train-00000": Cut(first, 0, 1),
        "train-00001": Cut(first, 1, 5),
        "train-00002": Cut(second, 0, 2),
    }


def test_about_the_share_that_is_asked_for_is_held_out() -> None:
    ids = [f"{number:032x}" for number in range(10_000)]
    held = sum(split_of(one, "a.org", settings(heldout=0.1)) == "heldout" for one in ids)
    assert 900 < held < 1_100
    assert all(split_of(one, "a.org", settings(heldout=0)) == "train" for one in ids)


def test_held_out_by_domain_a_domain_is_on_one_side_only() -> None:
    by_domain = settings(heldout=0.5, heldout_by="domain")
    sides = {
        domain: {split_of(f"{number:032x}", domain, by_domain) for number in range(50)}
        for domain in ("a.org", "b.org", "c.org", "d.org", "e.org", "f.org")
    }
    assert all(len(side) == 1 for side in sides.values())
    assert len({next(iter(side)) for side in sides.values()}) == 2


def test_shards_smaller_than_a_sixteenth_of_a_mib_are_refused() -> None:
    settings(shard_bytes=MIB // 16)
