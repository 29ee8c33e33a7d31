"""Records: whatever a crawl's bytes are, no record ends a part, and none is at the cost of others.

A round takes a few records of a real crawl, does something to one of them or to the stored bytes,
and extracts the file in this process, cut into small parts. See it: make soak
"""

from __future__ import annotations

import gzip
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import zstandard

from pipeline.extract.document import Tools
from pipeline.extract.part import extract_part
from pipeline.job import Crawl, Job
from pipeline.options.launch import choose_settings
from pipeline.options.run_options import RunOptions
from pipeline.read.members import members
from pipeline.read.parts import Part, cut, whole
from pipeline.read.records import Limits, Record, read_part
from pipeline.stages import EXTRACT, make_job
from pipeline.store import parquet
from schemas.manifest import Ledger, total
from schemas.verdict import Reason
from tests.conftest import SHARED
from tests.crawl import write_crawl
from tests.fuzz.rounds import SLOWEST, mutated, rounds

UNREADABLE = f"records.dropped.{Reason.UNREADABLE_RECORD}"

LONGEST = 1 << 18  # bytes of a record that is taken: what is wrong needs no more
FORMS = ("plain", "gzip", "zstd", "one member")


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """A file of a round. `safe` are its records that what was done to it does not reach."""

    data: bytes
    safe: tuple[bytes, ...] = ()


@pytest.fixture(scope="module")
def crawls(tmp_path_factory: pytest.TempPathFactory) -> list[list[bytes]]:
    """The plain records of each crawl, as they lie in it."""
    if SHARED.is_dir():
        found = sorted(
            path
            for path in (SHARED / "warc").rglob("*")
            if path.name.endswith((".warc", ".arc", ".warc.gz", ".arc.gz"))
        )
    else:
        found = write_crawl(tmp_path_factory.mktemp("crawl"), pages=12)
    crawls = [records for path in found if len(records := plain_records(path)) > 1]
    assert sum(map(len, crawls)) > 20
    return crawls


def plain_records(path: Path) -> list[bytes]:
    with path.open("rb") as stream:
        found = members(stream, keep=True, max_bytes=LONGEST)
        return [one.data for one in found if one.data and one.damage is None]


def store(records: Sequence[bytes], form: str) -> bytes:
    match form:
        case "gzip":
            return b"".join(gzip.compress(one, 1, mtime=0) for one in records)
        case "zstd":
            return b"".join(zstandard.compress(one, 1) for one in records)
        case "one member":
            return gzip.compress(b"".join(records), 1, mtime=0)
    return b"".join(records)


def broken(crawls: list[list[bytes]], rng: random.Random) -> Stored:
    """Some records of a crawl as a file, one of them or the file itself with faults."""
    records = rng.choice(crawls)
    start = rng.randrange(len(records))
    taken = list(records[start : start + rng.randint(1, 5)])
    other, form = rng.choice(rng.choice(crawls)), rng.choice(FORMS)
    if rng.random() < 0.3:
        return Stored(data=mutated(store(taken, form), rng, other=other))
    victim = rng.randrange(len(taken))
    taken[victim] = mutated(taken[victim], rng, other=other)
    # a member that opens no record goes on with the one before it
    apart = form in {"gzip", "zstd"} and taken[victim].startswith(b"WARC/")
    safe = taken[:victim] + taken[victim + 1 :] if apart else ()
    return Stored(data=store(taken, form), safe=tuple(safe))


def read(parts: Sequence[Part]) -> list[Record]:
    return [
        replace(record, body=b"") for part in parts for record in read_part(part, limits=Limits())
    ]


def said(record: Record) -> tuple[object, ...]:
    """What a record says wherever it lies."""
    return (record.type, record.url, record.date, record.payload_sha256, record.problem)


@pytest.fixture(scope="module")
def settings_of_runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Job]:
    settings = choose_settings(RunOptions(fetch=False), None)
    crawl = Crawl(inputs=("crawl",))
    return lambda output: make_job(str(output), crawl, settings).doing(EXTRACT.name)


def extracted(parts: Sequence[Part], job: Job, tools: Tools) -> Ledger:
    """What the parts counted; their rows are as many."""
    results = [extract_part(part, tools) for part in parts]
    counts = total(result.counts for result in results)
    rows = {
        kind: sum(1 for part in parts for _ in parquet.read_rows(job.part(kind, part.name)))
        for kind in ("documents", "images", "verdicts/extract", "objections")
    }
    assert counts.imbalances() == []
    assert rows["documents"] == counts["documents.kept"]
    assert rows["images"] == counts["files.seen"]
    assert rows["objections"] == counts["objections"]
    assert rows["verdicts/extract"] == sum(counts.dropped("records").values())
    return counts


def test_no_record_ends_a_part_whatever_its_bytes(
    crawls: list[list[bytes]],
    settings_of_runs: Callable[[Path], Job],
    tmp_path: Path,
    say: Callable[[str], None],
) -> None:
    path, output = tmp_path / "crawl", tmp_path / "run"
    job = settings_of_runs(output)
    tools = Tools(job=job)
    done, slowest, reasons = 0, 0.0, Ledger()
    for number, rng in rounds("records"):
        stored = broken(crawls, rng)
        path.write_bytes(stored.data)
        started = time.process_time()  # of what a run does: a walk, and each part read once
        parts = list(cut(str(path), 0, part_size=rng.choice((1, 2_000, 1 << 20))))
        counts = extracted(parts, job, tools)
        spent = time.process_time() - started
        found = read([whole(str(path), 0)])
        assert read(parts) == found, number
        files = [job.part("verdicts/extract", part.name) for part in parts]
        assert not counts[UNREADABLE], (number, *map(parquet.read_faults, files))
        assert spent < SLOWEST, (number, spent)
        path.write_bytes(store(stored.safe, "gzip"))
        safe = Counter(map(said, read([whole(str(path), 0)])))
        assert safe <= Counter(map(said, found)), number
        shutil.rmtree(output)
        done, slowest = done + 1, max(slowest, spent)
        reasons.update(counts.dropped("records"))
    assert len(reasons) > 2, "the faults reach little of what reads records"
    drops = ", ".join(f"{reason} {n:,}" for reason, n in reasons.most_common())
    say(f"records: {done:,} rounds, the slowest {slowest:.1f} s; drops: {drops}")
