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

The signatures are datasketch's, its scheme named so that a later default cannot change them, with
CRC-32 in place of its SHA-1: twice as fast, and the scheme mixes what it is given.
See it: python tests/bench/bench_algorithms.py minhash

Left out: our own table of hashes in numpy, a fifth faster for three times the code; rensa (Rust),
twice as fast, whose signatures hold for one of its young versions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from itertools import islice
from typing import TYPE_CHECKING, Final
from zlib import crc32

import numpy as np
import numpy.typing as npt

from filters.recipe import MinHashParameters

if TYPE_CHECKING:
    import datasketch

Signature = npt.NDArray[np.uint32]

WORD: Final = re.compile(r"\w+")
BATCH: Final = 8192  # shingles hashed at once: a kilobyte each while they are


@dataclass(frozen=True, kw_only=True, slots=True)
class MinHash(MinHashParameters):
    """A recipe's parameters, at work. Only signatures and keys of equal parameters compare."""

    def __post_init__(self) -> None:
        for name in ("shingle", "bands", "rows"):
            if getattr(self, name) < 1:
                raise ValueError(f"minhash.{name} is {getattr(self, name)}: choose 1 or more")
        if not 0 <= self.seed < 1 << 32:
            raise ValueError(f"minhash.seed is {self.seed}: choose 0 to {(1 << 32) - 1}")

    def hit_probability(self, similarity: float) -> float:
        """That two texts of this Jaccard similarity share a key."""
        return float(1 - (1 - similarity**self.rows) ** self.bands)

    def signature(self, text: str) -> Signature | None:
        """The smallest hash of a shingle under each hash function; None without a word.

        The share of equal places in two signatures estimates their Jaccard similarity.
        """
        words = _words(text)
        if not words:
            return None
        shingles = self._shingles(words)
        sketch = _empty(self.bands * self.rows, self.seed).copy()
        while batch := list(islice(shingles, BATCH)):
            sketch.update_batch(batch)
        values: Signature = sketch.hashvalues
        return values

    def band_keys(self, text: str) -> tuple[int, ...]:
        """A signed 64-bit key a band (what Beam and Arrow hold); none for a text without words."""
        signature = self.signature(text)
        if signature is None:
            return ()
        rows = signature.astype("<u4").reshape(self.bands, self.rows)
        return tuple(_key(band, row.tobytes()) for band, row in enumerate(rows))

    def _shingles(self, words: Sequence[bytes]) -> Iterator[bytes]:
        length = min(self.shingle, len(words))
        runs = (islice(words, at, None) for at in range(length))
        return map(b" ".join, zip(*runs))  # noqa: B905  # ends with the last whole run


def _words(text: str) -> list[bytes]:
    joined = " ".join(WORD.findall(text.lower()))
    return joined.encode("utf-8", "surrogatepass").split()


@cache
def _empty(hashes: int, seed: int) -> datasketch.MinHash:
    import datasketch  # noqa: PLC0415  # brings scipy: a second of every process of every stage

    return datasketch.MinHash(num_perm=hashes, seed=seed, hashfunc=crc32, scheme="affine32")


def _key(band: int, rows: bytes) -> int:
    """Bands are told apart, or equal rows in two bands would meet."""
    digest = blake2b(rows, digest_size=8, salt=band.to_bytes(4, "big")).digest()
    return int.from_bytes(digest, "big", signed=True)
