"""Broken images: each is a look or a reason, in little time and memory, and no decoder dies."""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from random import Random
from typing import NamedTuple

from pipeline.media.decode import DECODERS, look_at, reencode
from pipeline.media.pixels import Encoding
from pipeline.problem import Problem
from tests.algorithms.test_decode import encoded
from tests.fuzz.rounds import SLOWEST, mutated, peak, rounds

MEMORY = 1_300_000_000  # bytes: the limit of a picture, and the process itself
AT_ONCE = 16
LARGEST = 4 << 20  # bytes of a file that is mutated


class Seen(NamedTuple):
    outcome: str
    seconds: float
    peak: int


def look(data: bytes) -> Seen:
    """In a process of its own, which a decoder may kill."""
    started = time.process_time()
    seen = look_at(data)
    if not isinstance(seen, Problem):
        reencode(data, seen, Encoding(format="jpeg", longest_side=64))
    spent = time.process_time() - started
    return Seen(seen.reason if isinstance(seen, Problem) else "ok", spent, peak())


def originals(shared_data: Callable[[str], Path]) -> list[bytes]:
    folders = [shared_data("bad/pillow"), shared_data("images")]
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    found = [path.read_bytes() for path in files if path.stat().st_size <= LARGEST]
    return [*found, *(encoded(name) for name in DECODERS)]


def broken(files: list[bytes]) -> Iterator[tuple[int, bytes]]:
    for number, rng in rounds("images"):
        yield number, mutation(files, rng)


def mutation(files: list[bytes], rng: Random) -> bytes:
    return mutated(rng.choice(files), rng, other=rng.choice(files))


def test_no_broken_image_kills_its_decoder_or_takes_long_or_much_memory(
    shared_data: Callable[[str], Path], say: Callable[[str], None]
) -> None:
    outcomes: Counter[str] = Counter()
    slowest = most = 0.0
    found = broken(originals(shared_data))
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        while batch := list(islice(found, AT_ONCE)):
            answers = [(number, pool.submit(look, data)) for number, data in batch]
            for number, answer in answers:
                seen = answer.result()  # BrokenProcessPool: one of this batch kills a decoder
                assert seen.seconds < SLOWEST, f"round {number} takes {seen.seconds:.1f} s"
                assert seen.peak < MEMORY, f"round {number} takes {seen.peak / 1e6:,.0f} MB"
                outcomes[seen.outcome] += 1
                slowest, most = max(slowest, seen.seconds), max(most, seen.peak)
    say(f"images: {outcomes.total():,} broken, {outcomes['ok']:,} of them shown; the slowest took "
        f"{slowest:.1f} s, the process {most / 1e6:,.0f} MB at most")  # fmt: skip
