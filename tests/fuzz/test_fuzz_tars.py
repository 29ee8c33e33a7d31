"""Broken tars, JSON, images, indexes, counts: read, counted, or one ValueError naming the tar."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from pipeline.fetch.imported import members
from tests.fuzz.rounds import SLOWEST, mutated, peak, peak_from_here, rounds
from tests.training.lies import INDEX, TAR, change_index, summed, write_tar
from tests.training.shards import write_run
from tests.training.stream.feeds import documents, feed
from training.data.images import patch_grid
from training.data.plan import one_epoch
from training.look.estimate import row_patches

MEMORY = 1_000_000_000  # bytes beyond what the process has at its start
LARGEST = 4 << 20  # bytes of JSON: a text of 8 MiB takes a tokenizer 8 s
NUMBERS = [-(2**63), -(2**40), -512, -1, 0, 1, 511, 512, 2**31 - 1, 2**31, 2**40, 2**63 - 1]
Held = list[tuple[str, bytes]]


def held_in(tar: Path) -> Held:
    with tarfile.open(tar) as opened:
        streams = [(info.name, opened.extractfile(info)) for info in opened]
        return [(name, stream.read()) for name, stream in streams if stream is not None]


def break_bytes(run: Path, rng: Random) -> None:
    tar = run / TAR
    tar.write_bytes(mutated(tar.read_bytes(), rng, other=(run / INDEX).read_bytes()))


def break_headers(run: Path, rng: Random) -> None:
    """Of members, with the checksums that belong to them; or of what stands before a member."""
    tar = run / TAR
    body = bytearray(tar.read_bytes())
    with tarfile.open(tar) as opened:
        offsets = [info.offset for info in opened]
    for at in rng.sample(offsets, rng.randint(1, 3)):
        block = bytearray(body[at : at + 512])
        field = rng.choice([(0, 100), (124, 136), (156, 157), (257, 265), (345, 500)])
        value = rng.choice(
            [
                rng.randbytes(field[1] - field[0]),
                b"\xff" * rng.randint(1, 12),
                b"\x80" + rng.randbytes(11),
                b"-%o\0" % rng.choice([0, 512, 1024, 2**30]),
                b"%011o\0" % rng.choice([0, 1, 512, 1024, 2**20, 2**32]),
                rng.choice([b"L", b"K", b"x", b"g", b"X", b"S", b"1", b"5", b"7", b"\0", b"?"]),
            ]
        )
        block[field[0] : field[1]] = value[: field[1] - field[0]].ljust(field[1] - field[0], b"\0")
        body[at : at + 512] = summed(bytes(block))
    tar.write_bytes(body)


def break_records(run: Path, rng: Random) -> None:
    """Pax records of a member, or of all."""
    held = held_in(run / TAR)
    chosen = rng.randrange(len(held))
    key = rng.choice(["size", "path", "GNU.sparse.size", "hdrcharset", "comment"])
    value = rng.choice(["-512", "512", "1e3", "9" * 30, "", "x" * 5_000, "../../a.json"])
    everywhere = rng.random() < 0.3
    with tarfile.open(
        run / TAR,
        "w",
        format=tarfile.PAX_FORMAT,
        pax_headers={key: value} if everywhere else {},
    ) as opened:
        for number, (name, body) in enumerate(held):
            info = tarfile.TarInfo(name)
            info.size = len(body)
            if number == chosen and not everywhere:
                info.pax_headers = {key: value}
            opened.addfile(info, io.BytesIO(body))


def break_json(run: Path, rng: Random) -> None:
    held = held_in(run / TAR)
    of_json = [number for number, (name, _) in enumerate(held) if name.endswith(".json")]
    for number in rng.sample(of_json, rng.randint(1, 3)):
        name, body = held[number]
        broken = mutated(body, rng, other=held[rng.choice(of_json)][1])
        held[number] = name, broken if len(broken) <= LARGEST else body[: rng.randint(0, len(body))]
    write_tar(run / TAR, held)


def break_values(run: Path, rng: Random) -> None:
    """JSON that is whole, with a value of another type in it."""
    held = held_in(run / TAR)
    of_json = [number for number, (name, _) in enumerate(held) if name.endswith(".json")]
    number = rng.choice(of_json)
    name, body = held[number]
    read = json.loads(body)
    place = rng.choice([read, read["source"], rng.choice(read["nodes"])])
    place[rng.choice(list(place))] = rng.choice(
        [*NUMBERS, 2**70, float("nan"), float("inf"), 1.5, None, True, "", "\ud800", [], {}, [[]]]
    )
    held[number] = name, json.dumps(read).encode()
    write_tar(run / TAR, held)


def break_images(run: Path, rng: Random) -> None:
    """With the hash of what they then are, so that they are decoded."""
    held = held_in(run / TAR)
    pictures = [number for number, (name, _) in enumerate(held) if not name.endswith(".json")]
    for number in rng.sample(pictures, min(len(pictures), rng.randint(1, 4))):
        name, body = held[number]
        broken = mutated(body, rng, other=held[rng.choice(pictures)][1])
        told = next(n for n, (other, _) in enumerate(held) if other == f"{name[:32]}.json")
        read = json.loads(held[told][1])
        for node in read["nodes"]:
            if node.get("member") == name[33:]:
                node["sha256"] = hashlib.sha256(broken).hexdigest()
        held[number], held[told] = (name, broken), (held[told][0], json.dumps(read).encode())
    write_tar(run / TAR, held)


def break_members(run: Path, rng: Random) -> None:
    """Members are missing, twice, elsewhere, or named otherwise."""
    held = held_in(run / TAR)
    for _ in range(rng.randint(1, 3)):
        number = rng.randrange(len(held))
        name, body = held[number]
        other = rng.choice(["", ".", ".json", name[:32], f"{name[:32]}.json", "a/b.json", name * 9])
        change = rng.randrange(4)
        if change == 0:
            del held[number]
        elif change == 1:
            held.insert(rng.randrange(len(held)), (name, body))
        elif change == 2:
            rng.shuffle(held)
        else:
            held[number] = other, body
    write_tar(run / TAR, held)


def break_index_bytes(run: Path, rng: Random) -> None:
    index = run / INDEX
    index.write_bytes(mutated(index.read_bytes(), rng, other=(run / TAR).read_bytes()))


def break_index_rows(run: Path, rng: Random) -> None:
    change_index(run / INDEX, partial(break_rows, rng=rng))


def break_rows(rows: list[dict[str, Any]], *, rng: Random) -> None:
    for _ in range(rng.randint(1, 3)):
        row: Any = rng.choice(rows)
        while True:  # down to a number, a name or a list that is emptied
            inner = [one for one in (row.values() if isinstance(row, dict) else row)
                     if isinstance(one, (dict, list)) and one]  # fmt: skip
            if not inner or (isinstance(row, dict) and "name" in row) or rng.random() < 0.1:
                break
            row = rng.choice(inner)
        place = rng.choice(list(row) if isinstance(row, dict) else range(len(row))) if row else None
        if place is None:
            continue
        if isinstance(row[place], int):
            row[place] = rng.choice([one for one in NUMBERS if abs(one) < 2**31 or place in
                                     ("offset", "length")])  # fmt: skip
        elif isinstance(row[place], list):
            row[place] = []
        elif isinstance(row[place], str):
            row[place] = rng.choice(["", "json", "000.png", "text"])


def break_counts(run: Path, rng: Random) -> None:
    feed(str(run))
    (counts,) = (run / "counts").rglob("*.parquet")
    if rng.random() < 0.5:
        change_index(counts, partial(break_rows, rng=rng))
    else:
        counts.write_bytes(mutated(counts.read_bytes(), rng, other=(run / INDEX).read_bytes()))


OF_TARS: list[Callable[[Path, Random], None]] = [
    break_bytes,
    break_headers,
    break_records,
    break_json,
    break_values,
    break_images,
    break_members,
]
OF_TABLES: list[Callable[[Path, Random], None]] = [
    break_index_bytes,
    break_index_rows,
    break_counts,
]


def broken_run(good: Path, run: Path, rng: Random) -> str:
    """A run in which one thing is broken; its tar may have an index of what was there before."""
    shutil.rmtree(run)
    shutil.copytree(good, run)
    chosen = rng.choice([*OF_TARS, *OF_TABLES])
    chosen(run, rng)
    if chosen in OF_TARS and rng.random() < 0.7:
        (run / INDEX).unlink()
    return chosen.__name__


def read_all(run: Path) -> str:
    """What becomes of a run when its samples are indexed, counted, planned and read."""
    plan, reader = feed(str(run))
    grid = partial(patch_grid, longest=reader.images.longest, shortest=reader.images.shortest)
    broken = 0
    for window in one_epoch(plan.sources, reader.digest, plan.order):
        row_patches(plan.sources[0], window.rows, grid)
        broken += len(reader.read(window.rows)[1])
    reader.members.close()
    return "with broken images" if broken else "whole"


def import_all(run: Path) -> str:
    return f"{'' if list(members(str(run / TAR))) else 'nothing '}imported"


def outcome(read: Callable[[Path], str], run: Path) -> str:
    try:
        return read(run)
    except ValueError as error:
        told = str(error)
    assert "train-00000" in told, f"{told} names no tar"
    return "not imported" if read is import_all else "refused"


def test_broken_tars_are_read_or_refused_in_little_time_and_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, say: Callable[[str], None]
) -> None:
    monkeypatch.setenv("INTERLOOM_CACHE", str(tmp_path / "cache"))
    good, run = tmp_path / "good", tmp_path / "run"
    write_run(good, documents(8))
    assert read_all(Path(shutil.copytree(good, run))) == "whole"
    outcomes: Counter[str] = Counter()
    slowest, start = 0.0, peak_from_here()
    for number, rng in rounds("tars"):
        name = broken_run(good, run, rng)
        started = time.process_time()
        try:
            found = [outcome(read, run) for read in (read_all, import_all)]
        except BaseException as error:
            error.add_note(f"in round {number}, {name}")
            raise
        spent = time.process_time() - started
        assert spent < SLOWEST, f"round {number}, {name}, takes {spent:.1f} s"
        assert peak() - start < MEMORY, f"round {number}, {name}, takes {peak():,} bytes"
        outcomes.update(found)
        slowest = max(slowest, spent)
    assert outcomes["refused"]
    assert outcomes["whole"]
    told = ", ".join(f"{count:,} {name}" for name, count in outcomes.most_common())
    say(f"tars: {told}; the slowest took {slowest:.1f} s, {(peak() - start) / 1e6:,.0f} MB at most")
