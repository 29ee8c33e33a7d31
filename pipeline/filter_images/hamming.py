"""Near neighbours among 64-bit hashes: exact, and without comparing every pair.

In:   distinct hashes, and the largest distance d at which two count as alike.
Out:  every pair within d, once; and from what is known of each hash, which image stands for it
      and whether too many documents hold one like it.
How:  a hash is cut into B bands. Two hashes within d bits differ in at most d bands, so they agree
      in B - d of them: each choice of B - d bands is a key, and pairs are sought only where a key
      is shared. Recall is 1 by construction. A pair that shares several keys counts at the first.
Cost: keys to shuffle against comparisons in the buckets. For d = 4, of 10^5 crops of photos and of
      1,871 pictures of a manual, as a share of all pairs:

      bands   keys a hash   compared (photos)   compared (manual)
          5             5              .0012               .0028
          6            15             .00004               .0015
          7            35             .00001               .0018

      At 10 us to shuffle a key and 1 ns to compare, 5 bands cost least up to 10^8 distinct
      hashes, 6 beyond. imagehash sets half of the bits, so distances are even: 5 is 4.
See it: python tests/bench/bench_algorithms.py hamming
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, pairwise
from math import comb
from typing import Final

import numpy as np

BITS: Final = 64
FEW: Final = 24  # hashes: below, plain integers are faster than numpy
BLOCK: Final = 512  # hashes a side of what is compared at once: 2 MiB of differences


@dataclass(frozen=True, kw_only=True, slots=True)
class Bands:
    """How hashes are cut so that no pair within `distance` bits is missed."""

    distance: int = 4
    bands: int = 5

    def __post_init__(self) -> None:
        if not 1 <= self.bands <= BITS:
            raise ValueError(f"dedup.bands is {self.bands}: choose 1 to {BITS}, the bits of a hash")
        reach = self.bands - 1  # pigeonhole: with more differing bits every band may differ
        if not 0 <= self.distance <= reach:
            raise ValueError(
                f"dedup.distance is {self.distance} bits, but {self.bands} bands find every pair "
                f"only up to {reach}: choose 0 to {reach}, or more dedup.bands than bits"
            )
        if self.keys_per_hash > 256:  # the number of the choice is one byte of the key
            raise ValueError(
                f"dedup.bands is {self.bands} and dedup.distance {self.distance}: that is "
                f"{self.keys_per_hash} keys a hash, at most 256 are shuffled: choose fewer bands"
            )

    @property
    def keys_per_hash(self) -> int:
        return comb(self.bands, self.distance)

    def keys(self, value: int) -> Iterator[bytes]:
        """What a hash is found under: the number of each choice of bands, and the bits in them."""
        for number, mask in enumerate(_masks(self.bands, self.distance)):
            yield bytes((number,)) + (value & mask).to_bytes(8, "big")

    def pairs_in_bucket(
        self, key: bytes, hashes: Sequence[int]
    ) -> Generator[tuple[int, int], None, int]:
        """Pairs within the distance that share `key` and no earlier one, the smaller hash first.

        `hashes` are all that have this key, in any order; one met twice counts once. The value of
        the generator (`compared = yield from ...`) is the number of comparisons made.
        """
        ordered = sorted(set(hashes))
        if len(ordered) < 2:  # most buckets
            return 0
        *earlier, mask = _masks(self.bands, self.distance)[: key[0] + 1]
        assert all(value & mask == int.from_bytes(key[1:], "big") for value in ordered)
        search = _few if len(ordered) <= FEW else _many
        yield from search(ordered, self.distance, earlier)
        return len(ordered) * (len(ordered) - 1) // 2


def _few(ordered: list[int], distance: int, earlier: list[int]) -> Iterator[tuple[int, int]]:
    for smaller, larger in combinations(ordered, 2):
        difference = smaller ^ larger
        if difference.bit_count() <= distance and all(difference & mask for mask in earlier):
            yield smaller, larger


def _many(ordered: list[int], distance: int, earlier: list[int]) -> Iterator[tuple[int, int]]:
    """The same for a large bucket, a block of the triangle at a time."""
    values, masks = np.array(ordered, dtype=np.uint64), np.array(earlier, dtype=np.uint64)
    for top in range(0, len(values), BLOCK):
        for left in range(top, len(values), BLOCK):
            rows, columns = values[top : top + BLOCK], values[left : left + BLOCK]
            differences = rows[:, None] ^ columns[None, :]
            near = np.bitwise_count(differences) <= distance
            if top == left:
                near = np.triu(near, k=1)  # neither itself nor a pair from its other side
            row, column = np.nonzero(near)
            first = (differences[row, column][:, None] & masks).all(axis=1)
            yield from zip(rows[row[first]].tolist(), columns[column[first]].tolist(), strict=True)


@cache
def _masks(bands: int, distance: int) -> tuple[int, ...]:
    """The bits of each choice of bands, in a fixed order; bands differ by at most one bit."""
    edges = [BITS * band // bands for band in range(bands + 1)]
    single = [(1 << high) - (1 << low) for low, high in pairwise(edges)]
    return tuple(sum(chosen) for chosen in combinations(single, bands - distance))


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """One image URL in the total order in which the first of a cluster stands for it."""

    pixels: int  # width times height, as displayed
    url: str

    @property
    def rank(self) -> tuple[int, str]:
        """Smallest first: the larger picture, then the URL."""
        return -self.pixels, self.url


@dataclass(frozen=True, kw_only=True, slots=True)
class HashFacts:
    """What is known of the images of one hash, or of one hash and its neighbours, merged."""

    best: Picture  # merged over all within d, this is the cluster
    documents: tuple[str, ...]  # the smallest ids that hold one, sorted, at most `most` + 1

    def held_by_more_than(self, most: int) -> bool:
        return len(self.documents) > most


def merge(facts: Iterable[HashFacts], *, most: int) -> HashFacts:
    """Facts of several holders or hashes as one; at least one. The order and grouping is free.

    Over all images of a hash it gives the facts of the hash; over a hash and all its neighbours,
    its cluster and whether more than `most` documents hold an image like it.

    Only the `most` + 1 smallest ids are carried, and both answers stay exact. The k smallest of a
    union lie among the k smallest of its members, so cutting early changes nothing; and a union
    has more than `most` ids if and only if its `most` + 1 smallest are that many.
    """
    merged = list(facts)
    if not merged:
        raise ValueError("facts of 0 hashes cannot be merged: give at least those of the hash")
    documents = sorted({document for fact in merged for document in fact.documents})
    best = min((fact.best for fact in merged), key=lambda picture: picture.rank)
    return HashFacts(best=best, documents=tuple(documents[: most + 1]))
