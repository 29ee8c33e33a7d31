"""Fuzzing: how long it goes on, from which seed, and what is done to the bytes of a good input.

    INTERLOOM_FUZZ_SECONDS   of each kind of input (records, pages, images, tars); `make soak`: 900
    INTERLOOM_FUZZ_SEED      of the first round; a finding names its round

A round is a function of (seed, kind, number) alone: the same number gives the same bytes anywhere.
"""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

SECONDS: Final = float(os.environ.get("INTERLOOM_FUZZ_SECONDS", "6"))
SEED: Final = int(os.environ.get("INTERLOOM_FUZZ_SEED", "1"))
SLOWEST: Final = 10.0  # seconds of processor time that one input may take
LEAST: Final = 20  # rounds, however slow the machine is
LONG: Final = (1, 7, 64, 1_000, 40_000, 300_000)  # how often a mutation repeats a piece
NUMBERS: Final = (
    b"-1",
    b"0",
    b"1",
    b"2147483648",
    b"99999999999999999999",
    b"1e999",
    b"NaN",
    b"0x10",
)


def peak() -> int:
    """Bytes that this process has held at most. What getrusage tells is also what the process that
    started it held then.
    """
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def peak_from_here() -> int:
    """The same, but what was held before and is given back is forgotten."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


def rounds(kind: str, *, seconds: float = SECONDS) -> Iterator[tuple[int, random.Random]]:
    """Numbered generators of chance until the time is over, at least LEAST of them."""
    end, number = time.monotonic() + seconds, 0
    while number < LEAST or time.monotonic() < end:
        yield number, chance(kind, number)
        number += 1


def chance(kind: str, number: int) -> random.Random:
    digest = hashlib.sha256(f"{SEED} {kind} {number}".encode()).digest()
    return random.Random(digest)


def mutated(data: bytes, rng: random.Random, *, other: bytes = b"", times: int = 3) -> bytes:
    """A good input with up to so many faults: bits, cuts, repeats, splices, absurd numbers."""
    for _ in range(rng.randint(1, times)):
        data = rng.choice(FAULTS)(data, rng, other)
    return data


def _flip(data: bytes, rng: random.Random, _other: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        if changed:
            changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _cut(data: bytes, rng: random.Random, _other: bytes) -> bytes:
    start, end = _span(data, rng)
    return data[:start] + data[end:]


def _truncate(data: bytes, rng: random.Random, _other: bytes) -> bytes:
    return data[: rng.randint(0, len(data))]


def _repeat(data: bytes, rng: random.Random, _other: bytes) -> bytes:
    """A short piece many times over: what quadratic code is slow at."""
    start, _ = _span(data, rng)
    piece = data[start : start + rng.randint(1, 40)]
    return data[:start] + piece * rng.choice(LONG) + data[start:]


def _splice(data: bytes, rng: random.Random, other: bytes) -> bytes:
    start, end = _span(data, rng)
    first, last = _span(other, rng)
    return data[:start] + other[first:last] + data[end:]


def _number(data: bytes, rng: random.Random, _other: bytes) -> bytes:
    """One of its numbers becomes an absurd one."""
    digits = (
        [at for at in range(len(data)) if data[at : at + 1].isdigit()]
        if len(data) < 1 << 16
        else []
    )
    if not digits:
        return _flip(data, rng, _other)
    start = rng.choice(digits)
    end = start
    while end < len(data) and data[end : end + 1].isdigit():
        end += 1
    return data[:start] + rng.choice(NUMBERS) + data[end:]


def _span(data: bytes, rng: random.Random) -> tuple[int, int]:
    start = rng.randint(0, len(data))
    return start, min(len(data), start + rng.choice((1, 16, 256, 4_096)))


FAULTS: Final = (_flip, _cut, _truncate, _repeat, _splice, _number)
