"""Neighbours within a Hamming distance, exactly; and what is decided from them."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from itertools import combinations
from math import comb
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import pipeline.filter_images.hamming
from pipeline.filter_images.hamming import Bands, HashFacts, Picture, merge
from pipeline.media.pixels import phash

CHOICES = [
    (distance, bands)
    for distance in range(9)
    for bands in range(distance + 1, distance + 4)
    if comb(bands, distance) <= 256
]
# what imagehash gives: half of the bits, the low frequencies more often
WEIGHTS = [0.5 + 0.45 * ((bit * 37) % 64 - 32) / 32 for bit in range(64)]


def hash_like_a_photo(dice: random.Random) -> int:
    order = sorted(range(64), key=lambda bit: dice.random() ** (1 / (WEIGHTS[bit] + 0.02)))
    return sum(1 << bit for bit in order[32:])


def moved(value: int, swaps: int, dice: random.Random) -> int:
    """The hash with as many ones cleared as zeros set: 2 bits of distance a swap."""
    ones = [bit for bit in range(64) if value >> bit & 1]
    zeros = [bit for bit in range(64) if not value >> bit & 1]
    for bit in dice.sample(ones, swaps) + dice.sample(zeros, swaps):
        value ^= 1 << bit
    return value


def some_hashes(seed: int, count: int) -> list[int]:
    """Hashes with kin at every even distance up to 12, and a few of odd weight (flat pictures)."""
    dice = random.Random(seed)
    hashes = {0, 1, 1 << 63, (1 << 64) - 1}
    while len(hashes) < count:
        value = hash_like_a_photo(dice)
        hashes |= {value, *(moved(value, dice.randint(0, 6), dice) for _ in range(3))}
        hashes.add(value ^ (1 << dice.randrange(64)))
    return sorted(hashes)


def found(bands: Bands, hashes: Sequence[int]) -> tuple[list[tuple[int, int]], int]:
    buckets: dict[bytes, list[int]] = defaultdict(list)
    for value in hashes:
        for key in bands.keys(value):
            buckets[key].append(value)
    compared = 0

    def collect() -> Iterator[tuple[int, int]]:
        nonlocal compared
        for key, bucket in buckets.items():
            compared += yield from bands.pairs_in_bucket(key, bucket)

    pairs = list(collect())
    return pairs, compared


def by_brute_force(hashes: Sequence[int], distance: int) -> list[tuple[int, int]]:
    return [(a, b) for a, b in combinations(hashes, 2) if (a ^ b).bit_count() <= distance]


def test_synthetic_hashes_are_as_uneven_as_those_of_photos() -> None:
    dice = random.Random(0)
    hashes = [hash_like_a_photo(dice) for _ in range(500)]
    shares = [sum(value >> bit & 1 for value in hashes) / 500 for bit in range(64)]
    assert {value.bit_count() for value in hashes} == {32}
    assert min(shares) < 0.25
    assert max(shares) > 0.75


@pytest.mark.parametrize("few", [0, 1_000], ids=["numpy", "integers"])
@pytest.mark.parametrize(("distance", "bands"), CHOICES)
def test_every_pair_within_the_distance_is_found_once(
    monkeypatch: pytest.MonkeyPatch, distance: int, bands: int, few: int
) -> None:
    monkeypatch.setattr(pipeline.filter_images.hamming, "FEW", few)
    hashes = some_hashes(seed=distance * 100 + bands, count=300)
    expected = by_brute_force(hashes, distance)
    pairs, _ = found(Bands(distance=distance, bands=bands), hashes)
    assert sorted(pairs) == expected
    assert distance == 0 or expected


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(CHOICES), st.integers(0, 1 << 32), st.integers(2, 60))
def test_recall_and_precision_are_one_for_any_hashes(
    choice: tuple[int, int], seed: int, count: int
) -> None:
    hashes = some_hashes(seed, count)
    pairs, _ = found(Bands(distance=choice[0], bands=choice[1]), hashes)
    assert sorted(pairs) == by_brute_force(hashes, choice[0])


def test_all_real_photos_within_four_bits_are_found(shared_data: Callable[[str], Path]) -> None:
    files = [*shared_data("images").rglob("*.jpg"), *shared_data("images/kodak").rglob("*.png")]
    hashes = set()
    for file in files:
        try:
            with Image.open(file) as image:
                small = image.convert("RGB").resize((64, 64))
        except OSError:  # the broken ones are test_decode's
            continue
        hashes |= {
            phash(small),
            phash(small.crop((2, 2, 62, 62))),
            phash(small.crop((0, 1, 64, 64))),
        }
    ordered = sorted(hashes)
    expected = by_brute_force(ordered, 4)
    assert len(expected) > 10
    assert sorted(found(Bands(), ordered)[0]) == expected


@pytest.mark.parametrize("choice", [(0, 1), (8, 9)])
def test_a_large_bucket_is_compared_in_blocks(
    monkeypatch: pytest.MonkeyPatch, choice: tuple[int, int]
) -> None:
    hashes = some_hashes(seed=1, count=150)
    bands = Bands(distance=choice[0], bands=choice[1])
    whole, compared = found(bands, hashes)
    monkeypatch.setattr(pipeline.filter_images.hamming, "FEW", 0)
    monkeypatch.setattr(pipeline.filter_images.hamming, "BLOCK", 4)
    in_blocks, compared_in_blocks = found(bands, hashes)
    assert sorted(in_blocks) == sorted(whole) == by_brute_force(hashes, choice[0])
    assert compared_in_blocks == compared


def test_comparisons_are_counted_and_few() -> None:
    dice = random.Random(5)
    hashes = sorted({hash_like_a_photo(dice) for _ in range(3_000)})
    bands = Bands()
    sizes: dict[bytes, int] = defaultdict(int)
    for value in hashes:
        for key in bands.keys(value):
            sizes[key] += 1
    _, compared = found(bands, hashes)
    assert compared == sum(size * (size - 1) // 2 for size in sizes.values())
    assert 0 < compared < 3_000 * 2_999 / 2 * 0.05


def test_the_order_and_repetition_of_a_bucket_do_not_matter() -> None:
    dice = random.Random(2)
    value = hash_like_a_photo(dice)
    bucket = [value, *(value ^ (1 << bit) for bit in range(8))]  # all differ in band 0 only
    bands = Bands(distance=4, bands=5)
    key = list(bands.keys(value))[1]
    pairs = list(bands.pairs_in_bucket(key, bucket))
    assert pairs
    assert list(bands.pairs_in_bucket(key, dice.sample(bucket, 9) + bucket)) == pairs


def test_a_hash_in_the_wrong_bucket_is_an_error_of_ours() -> None:
    with pytest.raises(AssertionError):
        list(Bands().pairs_in_bucket(next(Bands().keys(1)), [0, 1]))


def test_five_bands_find_four_bits_and_not_five() -> None:
    assert Bands(distance=4, bands=5).keys_per_hash == 5
    with pytest.raises(ValueError, match=r"is 5 bits, but 5 bands .* only up to 4: choose 0 to 4"):
        Bands(distance=5, bands=5)
    with pytest.raises(ValueError, match=r"distance is -1 bits"):
        Bands(distance=-1, bands=5)


@pytest.mark.parametrize("bands", [0, 65])
def test_there_are_at_most_as_many_bands_as_bits(bands: int) -> None:
    with pytest.raises(ValueError, match=f"bands is {bands}: choose 1 to 64"):
        Bands(distance=0, bands=bands)


def test_at_most_256_keys_are_made_of_a_hash() -> None:
    assert Bands(distance=4, bands=10).keys_per_hash == 210
    with pytest.raises(ValueError, match="330 keys a hash, at most 256"):
        Bands(distance=4, bands=11)


IDS = st.integers(0, 12).map(lambda number: f"{number:032x}")
PICTURES = st.builds(
    Picture,
    pixels=st.integers(1, 3),
    url=st.sampled_from(["https://a.example/1", "https://b.example/1", "https://a.example/2"]),
)
MOST = 3
FACTS = st.builds(
    lambda best, ids: merge([HashFacts(best=best, documents=(one,)) for one in ids], most=MOST),
    PICTURES,
    st.lists(IDS, min_size=1, max_size=8),
)


@given(st.lists(FACTS, min_size=1, max_size=6), st.randoms(use_true_random=False), st.data())
def test_merging_is_free_in_order_and_grouping(
    facts: list[HashFacts], dice: random.Random, data: st.DataObject
) -> None:
    whole = merge(facts, most=MOST)
    cut = data.draw(st.integers(0, len(facts)))
    groups = [group for group in (facts[:cut], facts[cut:]) if group]
    shuffled = dice.sample(facts, len(facts))
    assert merge([merge(group, most=MOST) for group in groups], most=MOST) == whole
    assert merge(shuffled, most=MOST) == whole
    assert reduce(lambda a, b: merge([a, b], most=MOST), shuffled) == whole
    assert merge([whole, *facts], most=MOST) == whole


@given(st.lists(st.tuples(PICTURES, st.lists(IDS, min_size=1)), min_size=1, max_size=8))
def test_more_than_n_documents_is_exact_although_only_n_plus_1_are_carried(
    hashes: list[tuple[Picture, list[str]]],
) -> None:
    carried = [
        merge([HashFacts(best=best, documents=(one,)) for one in ids], most=MOST)
        for best, ids in hashes
    ]
    everything = {one for _, ids in hashes for one in ids}
    merged = merge(carried, most=MOST)
    assert all(len(one.documents) <= MOST + 1 for one in carried)
    assert merged.held_by_more_than(MOST) == (len(everything) > MOST)
    assert merged.documents == tuple(sorted(everything)[: MOST + 1])


@pytest.mark.parametrize(("holders", "frequent"), [(MOST, False), (MOST + 1, True)])
def test_an_image_is_frequent_above_the_limit_only(holders: int, frequent: bool) -> None:  # noqa: FBT001
    one = Picture(pixels=1, url="https://a.example/")
    each = [HashFacts(best=one, documents=(str(number),)) for number in range(holders)]
    assert merge(each, most=MOST).held_by_more_than(MOST) is frequent


def test_the_largest_picture_stands_for_a_cluster_then_the_first_url() -> None:
    small, second, first = (
        Picture(pixels=pixels, url=f"https://{host}.example/")
        for pixels, host in ((1, "a"), (2, "c"), (2, "b"))
    )
    facts = [HashFacts(best=one, documents=("d",)) for one in (small, second, first)]
    assert merge(facts, most=1).best == first
    assert merge(facts[:2], most=1).best == second


def test_facts_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="facts of 0 hashes"):
        merge([], most=1)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1 << 32))
def test_clusters_and_frequency_follow_the_definition(seed: int) -> None:
    """Against the definition over single images: the smallest within d, and all its holders."""
    dice = random.Random(seed)
    hashes = some_hashes(seed, 30)
    images = [
        (
            value,
            Picture(pixels=dice.randint(1, 3), url=f"https://x.example/{number}"),
            str(number % 9),
        )
        for number, value in enumerate(dice.choices(hashes, k=60))
    ]
    own = {
        value: merge(
            [HashFacts(best=p, documents=(d,)) for v, p, d in images if v == value], most=MOST
        )
        for value in {image[0] for image in images}
    }
    near: dict[int, list[HashFacts]] = {value: [facts] for value, facts in own.items()}
    for a, b in found(Bands(), sorted(own))[0]:
        near[a].append(own[b])
        near[b].append(own[a])
    for value, _, _ in images:
        alike = [(p, d) for v, p, d in images if (v ^ value).bit_count() <= 4]
        merged = merge(near[value], most=MOST)
        assert merged.best == min((p for p, _ in alike), key=lambda p: (-p.pixels, p.url))
        assert merged.held_by_more_than(MOST) == (len({d for _, d in alike}) > MOST)
