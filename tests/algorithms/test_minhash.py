"""Near-duplicate texts share a key, others do not, and every process agrees on the keys."""

from __future__ import annotations

import random
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pipeline.filter_text.minhash
from pipeline.filter_text.minhash import WORD, MinHash

ROOT = Path(pipeline.filter_text.minhash.__file__).parents[2]


def documents(path: Path, words: int = 700) -> list[str]:
    every = path.read_text(encoding="utf-8").split()
    return [" ".join(every[at : at + words]) for at in range(0, len(every) - words, words)]


def changed(text: str, share: float, dice: random.Random) -> str:
    """The text with about this share of its words replaced by words that are not in it."""
    return " ".join(
        f"changed{dice.randrange(10**6)}" if dice.random() < share else word
        for word in text.split()
    )


def shingles(text: str, words: int = 5) -> set[tuple[str, ...]]:
    every = WORD.findall(text.lower())
    return {tuple(every[at : at + words]) for at in range(len(every) - words + 1)}


def jaccard(one: str, other: str) -> float:
    a, b = shingles(one), shingles(other)
    return len(a & b) / len(a | b)


@pytest.fixture(scope="module")
def plays(shared_data: Callable[[str], Path]) -> list[str]:
    texts = documents(shared_data("text/tinyshakespeare/data/tinyshakespeare/input.txt"))
    assert len(texts) > 250
    return texts


def test_a_text_with_a_hundredth_of_its_words_changed_is_found(plays: list[str]) -> None:
    minhash, dice = MinHash(), random.Random(1)
    pairs = [(text, changed(text, 0.01, dice)) for text in plays]
    found = sum(bool(set(minhash.band_keys(a)) & set(minhash.band_keys(b))) for a, b in pairs)
    assert 0.85 < np.mean([jaccard(a, b) for a, b in pairs]) < 0.95
    assert found >= len(pairs) * 0.99


def test_a_text_of_very_many_words_takes_no_gigabytes() -> None:
    words = 400_000
    tracemalloc.start()
    try:
        MinHash().signature("a'" * words)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100 * words


def test_a_text_with_words_in_capitals_has_the_same_keys(plays: list[str]) -> None:
    shouted = [" ".join(word.upper() if at % 7 else word for at, word in enumerate(text.split()))
               for text in plays[:20]]  # fmt: skip
    assert [MinHash().band_keys(text) for text in shouted] == [
        MinHash().band_keys(text) for text in plays[:20]
    ]


def test_different_texts_of_one_author_share_no_key(plays: list[str]) -> None:
    keys = [key for text in plays for key in MinHash().band_keys(text)]
    assert len(keys) == 14 * len(plays)
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("share", [0.01, 0.03, 0.06])
def test_the_estimate_and_the_hits_follow_the_true_similarity(
    plays: list[str], share: float, seed: int
) -> None:
    """Within four standard errors of the theory: 112 hashes an estimate, a coin a pair."""
    minhash, dice = MinHash(seed=seed), random.Random(seed)
    errors, expected, hits, spread = [], 0.0, 0, 0.0
    for text in plays[:150]:
        other = changed(text, share, dice)
        true, one, two = jaccard(text, other), minhash.signature(text), minhash.signature(other)
        assert one is not None
        assert two is not None
        errors.append(float((one == two).mean()) - true)
        chance = minhash.hit_probability(true)
        expected, spread = expected + chance, spread + chance * (1 - chance)
        hits += bool(set(minhash.band_keys(text)) & set(minhash.band_keys(other)))
    assert abs(np.mean(errors)) < 4 * 0.5 / np.sqrt(112 * 150)
    assert np.std(errors) < 0.06
    assert abs(hits - expected) <= 4 * np.sqrt(spread) + 1


def test_the_curve_of_the_docstring_is_that_of_the_defaults() -> None:
    curve = [
        MinHash().hit_probability(s) for s in (0.5, 0.6, 0.7, 0.72, 0.75, 0.8, 0.85, 0.9, 0.95)
    ]
    printed = "   probability  " + "  ".join(
        f"{chance:.2f}" if chance > 0.999 else f"{chance:.3f}".removeprefix("0") for chance in curve
    )
    assert pipeline.filter_text.minhash.__doc__ is not None
    assert printed in pipeline.filter_text.minhash.__doc__


def test_every_process_and_version_gives_these_keys() -> None:
    """Pinned: other keys mean that stored ones no longer compare."""
    program = (
        "from pipeline.filter_text.minhash import MinHash;"
        "text = 'In the beginning was the Word, and the Word was with God';"
        "print(*MinHash().band_keys(text)[:3])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    pinned = (7_400_876_212_246_889_639, -7_293_749_213_899_293_477, 3_259_870_299_206_733_357)
    assert outputs == {" ".join(map(str, pinned)) + "\n"}


def test_the_seed_and_the_cut_change_every_key() -> None:
    text = "one two three four five six seven eight nine ten"
    keys = [
        set(each.band_keys(text))
        for each in (MinHash(), MinHash(seed=2), MinHash(shingle=4), MinHash(rows=7))
    ]
    assert len(set.union(*keys)) == sum(map(len, keys)) == 4 * 14


def test_equal_rows_in_two_bands_give_two_keys() -> None:
    assert len(set(MinHash(bands=1_000, rows=1).band_keys("word"))) == 1_000


@pytest.mark.parametrize("text", ["", " \n\t", "... -- !?", "\N{BULLET}"])
def test_a_text_without_words_has_no_key(text: str) -> None:
    assert MinHash().band_keys(text) == ()
    assert MinHash().signature(text) is None


@pytest.mark.parametrize("count", [1, 4, 5])
def test_a_text_up_to_a_shingle_long_is_one_shingle(count: int) -> None:
    words = ["alpha", "beta", "gamma", "delta", "epsilon"][:count]
    keys = MinHash().band_keys(" ".join(words))
    assert len(keys) == 14
    assert MinHash().band_keys(", ".join(words).upper() + "!") == keys
    assert not set(MinHash().band_keys(" ".join([*words, "zeta"]))) & set(keys)


@given(st.text(st.characters(), max_size=200))
def test_any_text_has_no_key_or_a_signed_64_bit_key_a_band(text: str) -> None:
    keys = MinHash().band_keys(text)
    assert len(keys) == (14 if WORD.search(text.lower()) else 0)
    assert all(-(1 << 63) <= key < 1 << 63 for key in keys)
    assert MinHash().band_keys(text) == keys


@pytest.mark.parametrize("name", ["shingle", "bands", "rows"])
def test_a_cut_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"minhash.{name} is 0: choose 1 or more"):
        MinHash(**{name: 0})


@pytest.mark.parametrize("seed", [-1, 1 << 32])
def test_a_seed_has_32_bits(seed: int) -> None:
    assert MinHash(seed=(1 << 32) - 1).band_keys("word")
    with pytest.raises(ValueError, match=f"minhash.seed is {seed}: choose 0 to 4294967295"):
        MinHash(seed=seed)
