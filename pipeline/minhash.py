"""MinHash: a text in, a few 64-bit keys out; texts that share one are near-duplicates.

In:   a text, and how it is cut: shingles of 5 words, 14 bands of 8 hashes (as FineWeb has it).
Out:  a key a band, the same in every process; none for a text without words.
Words are runs of word characters (`\\w`, Unicode) in lower case, so case, punctuation and layout do
not count. A text of fewer words than a shingle is one shingle. Where a script has no spaces, what
stands between punctuation is a word: there, near means whole clauses alike.

Two texts share a key with probability 1 - (1 - s^8)^14 at Jaccard similarity s of their shingles:

    s            .5    .6    .7    .72   .75   .8    .85   .9    .95
    probability  .053  .211  .565  .650  .772  .924  .988  1.00  1.00

One word changed in a hundred changes 5 shingles of a hundred: s is about .9.

See it: python tests/bench/bench_algorithms.py minhash
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from typing import Final
from zlib import crc32

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]

WORD: Final = re.compile(r"\w+")
AT_ONCE: Final = 512  # shingles hashed at once: the table of 512 x 112 stays in the cache


@dataclass(frozen=True, kw_only=True, slots=True)
class MinHash:
    """How texts are cut and hashed. Only signatures and keys of equal parameters compare."""

    shingle: int = 5  # words
    bands: int = 14
    rows: int = 8  # hashes a band: all must agree
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("shingle", "bands", "rows"):
            if getattr(self, name) < 1:
                raise ValueError(f"minhash.{name} is {getattr(self, name)}: choose 1 or more")
        if not 0 <= self.seed < 1 << 32:
            raise ValueError(f"minhash.seed is {self.seed}: choose 0 to {(1 << 32) - 1}")

    @property
    def hashes(self) -> int:
        return self.bands * self.rows

    def hit_probability(self, similarity: float) -> float:
        """That two texts of this Jaccard similarity share a key."""
        return float(1 - (1 - similarity**self.rows) ** self.bands)

    def signature(self, text: str) -> Hashes | None:
        """The smallest hash of a shingle under each hash function; None without a word.

        The share of equal places in two signatures estimates their Jaccard similarity.
        """
        shingles = self._shingles(text)
        if not len(shingles):
            return None
        factors, shifts = _functions(self.seed, self.hashes)
        smallest = np.full(self.hashes, np.iinfo(np.uint64).max, dtype=np.uint64)
        for start in range(0, len(shingles), AT_ONCE):
            hashed = np.multiply.outer(factors, shingles[start : start + AT_ONCE])
            hashed += shifts
            np.minimum(smallest, hashed.min(axis=1), out=smallest)
        return smallest

    def band_keys(self, text: str) -> tuple[int, ...]:
        """A signed 64-bit key a band (what Beam and Arrow hold); none for a text without words."""
        signature = self.signature(text)
        if signature is None:
            return ()
        rows = signature.astype("<u8").reshape(self.bands, self.rows)
        return tuple(
            int.from_bytes(
                blake2b(row.tobytes(), digest_size=8, salt=band.to_bytes(4, "big")).digest(),
                "big",
                signed=True,
            )
            for band, row in enumerate(rows)
        )

    def _shingles(self, text: str) -> Hashes:
        """A well mixed 64-bit hash of each shingle; equal shingles are equal, others are not."""
        words = [
            crc32(word.encode("utf-8", "surrogatepass")) for word in WORD.findall(text.lower())
        ]
        length = min(self.shingle, len(words))
        if not length:
            return np.empty(0, dtype=np.uint64)
        mixed = _mix(np.array(words, dtype=np.uint64))
        factors, _ = _functions(0, length)
        count = len(words) - length + 1
        sums = np.zeros(count, dtype=np.uint64)
        for place in range(length):
            sums += mixed[place : place + count] * factors[place]
        return _mix(sums)


def _mix(values: Hashes) -> Hashes:
    """The finaliser of SplitMix64: a bijection; each bit of the input moves all others."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


@cache
def _functions(seed: int, count: int) -> tuple[Hashes, Hashes]:
    """Odd factors and shifts of the hash functions x -> factor * x + shift modulo 2^64.

    Taken from SplitMix64 rather than numpy's generators, whose streams may change by version.
    """
    stream = _mix(np.arange(2 * count, dtype=np.uint64) + np.uint64(seed << 32))
    return stream[:count] | np.uint64(1), stream[count:, None]
