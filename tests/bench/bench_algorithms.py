"""The pure algorithms against what could be used in their place: same data, same run, one table.

    python tests/bench/bench_algorithms.py [phash | hamming | minhash] [--hashes 100000]

phash:   decoding and hashing as extract does it, against bare imagehash and JPEG draft mode.
hamming: keys and comparisons for several numbers of bands, against all pairs.
minhash: keys of texts of 700 words, against datasketch as it comes, and rensa where installed.

Data: ../shared/data. Times are of this machine in this minute: only ratios mean something.
"""

from __future__ import annotations

import argparse
import io
import random
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from importlib import import_module
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import datasketch
import imagehash
import numpy as np
from PIL import Image

ROOT: Final = Path(__file__).resolve().parents[2]
SHARED: Final = ROOT.parent / "shared" / "data"
sys.path.insert(0, str(ROOT))

from pipeline.filter_images.hamming import Bands  # noqa: E402
from pipeline.filter_text.minhash import WORD, MinHash  # noqa: E402
from pipeline.media.decode import look_at  # noqa: E402
from pipeline.media.pixels import phash  # noqa: E402

Row = tuple[str, ...]


def show(title: str, rows: Sequence[Row]) -> None:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    print(f"\n{title}")
    for row in rows:
        cells = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        print("  ".join((row[0].ljust(widths[0]), *cells)), flush=True)


def rate(work: Callable[[Any], object], items: Iterable[object], *, rounds: int = 5) -> float:
    """Items a second: the best of some rounds."""
    every, best = list(items), 0.0
    for _ in range(rounds):
        start = time.perf_counter()
        for item in every:
            work(item)
        best = max(best, len(every) / (time.perf_counter() - start))
    return best


def photos() -> list[bytes]:
    """JPEGs of 800 pixels, as the web has them."""
    out = []
    for file in sorted((SHARED / "images" / "kodak").rglob("*.png")):
        with Image.open(file) as image:
            buffer = io.BytesIO()
            image.resize((800, 800 * image.height // image.width)).save(buffer, "JPEG", quality=85)
            out.append(buffer.getvalue())
    return out


def bench_phash() -> None:
    def bare(data: bytes) -> int:
        return int(str(imagehash.phash(Image.open(io.BytesIO(data)))), 16)

    def decoded(data: bytes) -> None:
        Image.open(io.BytesIO(data)).load()

    def draft(data: bytes) -> int:
        image = Image.open(io.BytesIO(data))
        image.draft("L", (64, 64))
        return phash(image)

    files = photos()
    truth = [bare(data) for data in files]

    def equal(hashes: Iterable[int]) -> str:
        return f"{sum(a == b for a, b in zip(hashes, truth, strict=True))}/{len(files)}"

    looks = [getattr(look_at(data), "phash", -1) for data in files]
    show(
        f"phash: {len(files)} JPEGs 800 pixels wide",
        [
            ("", "images/s", "equal to imagehash"),
            ("look_at (limits, sha256, phash)", f"{rate(look_at, files):.0f}", equal(looks)),
            ("imagehash.phash alone", f"{rate(bare, files):.0f}", equal(truth)),
            ("decoding alone", f"{rate(decoded, files):.0f}", ""),
            ("JPEG draft mode", f"{rate(draft, files):.0f}", equal(map(draft, files))),
        ],
    )


def hashes_of_crops(count: int) -> list[int]:
    """Hashes of parts of real photos: uneven, and some of them near each other."""
    dice, whole = random.Random(0), []
    hashes: set[int] = set()
    for file in sorted((SHARED / "images").rglob("*.[jp][pn]g")):
        look = look_at(file.read_bytes())
        if getattr(look, "width", 0) >= 300:
            with Image.open(file) as image:
                grey = image.convert("L")
                grey.thumbnail((512, 512))
                whole.append(grey)
    while len(hashes) < count:
        photo = dice.choice(whole)
        wide, high = (int(side * dice.uniform(0.2, 0.8)) for side in photo.size)
        x, y = dice.randint(0, photo.width - wide), dice.randint(0, photo.height - high)
        hashes.add(phash(photo.resize((64, 64), box=(x, y, x + wide, y + high))))
    return sorted(hashes)


def all_pairs(hashes: Sequence[int], distance: int) -> int:
    values, found = np.array(hashes, dtype=np.uint64), 0
    for at in range(len(values) - 1):
        found += int((np.bitwise_count(values[at + 1 :] ^ values[at]) <= distance).sum())
    return found


def by_bands(bands: Bands, hashes: Sequence[int]) -> tuple[float, float, int, int, int]:
    start = time.perf_counter()
    buckets: dict[bytes, list[int]] = defaultdict(list)
    for value in hashes:
        for key in bands.keys(value):
            buckets[key].append(value)
    filled = time.perf_counter()
    compared = 0

    def pairs() -> Iterator[tuple[int, int]]:
        nonlocal compared
        for key, bucket in buckets.items():
            compared += yield from bands.pairs_in_bucket(key, bucket)

    found = sum(1 for _ in pairs())
    largest = max(map(len, buckets.values()))
    return filled - start, time.perf_counter() - filled, compared, found, largest


def bench_hamming(count: int) -> None:
    every = hashes_of_crops(count)
    for size in sorted({min(10_000, count), count}):
        hashes = sorted(random.Random(1).sample(every, size))
        total = size * (size - 1) // 2
        head = (
            "",
            "keys a hash",
            "keys s",
            "pairs s",
            "compared",
            "share",
            "largest bucket",
            "found",
        )
        rows: list[Row] = [head]
        for number in (5, 6, 7, 8):
            bands = Bands(distance=4, bands=number)
            keyed, paired, compared, found, largest = by_bands(bands, hashes)
            cells = f"{keyed:.2f}", f"{paired:.2f}", f"{compared:,}", f"{compared / total:.6f}"
            rows.append(
                (f"{number} bands", str(bands.keys_per_hash), *cells, str(largest), str(found))
            )
        start = time.perf_counter()
        found = all_pairs(hashes, 4)
        spent = f"{time.perf_counter() - start:.2f}"
        rows.append(("all pairs", "", "", spent, f"{total:,}", "1", str(size), str(found)))
        show(f"hamming: {size:,} hashes of crops of photos, distance 4", rows)


def texts(words: int = 700) -> list[str]:
    file = SHARED / "text" / "tinyshakespeare" / "data" / "tinyshakespeare" / "input.txt"
    every = file.read_text(encoding="utf-8").split()
    return [" ".join(every[at : at + words]) for at in range(0, len(every) - words, words)]


def bench_minhash() -> None:
    minhash, documents = MinHash(), texts()

    def shingles(text: str) -> list[str]:
        words = WORD.findall(text.lower())
        return [" ".join(words[at : at + 5]) for at in range(len(words) - 4)]

    def as_it_comes(text: str, scheme: str) -> object:
        sketch = datasketch.MinHash(num_perm=112, scheme=scheme)
        sketch.update_batch([shingle.encode() for shingle in shingles(text)])
        return sketch.hashvalues

    rows = [
        ("", "texts/s"),
        ("band_keys", f"{rate(minhash.band_keys, documents):.0f}"),
        ("signature", f"{rate(minhash.signature, documents):.0f}"),
        ("datasketch, SHA-1", f"{rate(partial(as_it_comes, scheme='affine32'), documents):.0f}"),
        ("datasketch, legacy", f"{rate(partial(as_it_comes, scheme='legacy'), documents):.0f}"),
    ]
    try:
        rensa = import_module("rensa")
    except ImportError:
        rows.append(("rensa", "not installed"))
    else:

        def in_rust(text: str) -> object:
            sketch = rensa.RMinHash(num_perm=112, seed=1)
            sketch.update(shingles(text))
            return sketch.digest()

        rows.append(("rensa", f"{rate(in_rust, documents):.0f}"))
    show(f"minhash: {len(documents)} texts of 700 words, 112 hashes", rows)
    keys = [set(minhash.band_keys(text)) for text in documents]
    shared = sum(bool(a & b) for a, b in combinations(keys, 2))
    print(
        f"different texts that share a key: {shared} of {len(keys) * (len(keys) - 1) // 2:,} pairs"
    )


def main() -> None:
    choices = ("phash", "hamming", "minhash", "all")
    ask = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    ask.add_argument("what", nargs="?", choices=choices, default="all")
    ask.add_argument("--hashes", type=int, default=100_000, help="for hamming")
    say = ask.parse_args()
    if not SHARED.is_dir():
        raise SystemExit(f"{SHARED} is not there: the benchmark needs its photos and texts")
    if say.what in {"phash", "all"}:
        bench_phash()
    if say.what in {"hamming", "all"}:
        bench_hamming(say.hashes)
    if say.what in {"minhash", "all"}:
        bench_minhash()


if __name__ == "__main__":
    main()
