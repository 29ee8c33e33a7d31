"""Whatever our own code raises at a record is that record's drop, and leaves no other trace."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.extract import outcome as extract
from pipeline.extract.document import Tools
from pipeline.extract.page import read_page
from pipeline.extract.part import KINDS, extract_part
from pipeline.job import Crawl, Job, Settings
from pipeline.options.launch import choose_settings
from pipeline.options.run_options import RunOptions
from pipeline.problem import Fault
from pipeline.read import records as reading
from pipeline.read.codec import Attempt, ByteWindow, Plain
from pipeline.read.compressed import GzipMembers
from pipeline.read.members import members
from pipeline.read.parts import cut, whole
from pipeline.read.plain_records import PlainRecords
from pipeline.stages import EXTRACT, make_job
from pipeline.store import parquet
from schemas.document import document_to_row
from schemas.manifest import Ledger
from schemas.verdict import Reason
from tests.pipeline.bad_crawls import good, image_record, url_of
from tests.read.crawls import gzipped, http, read, starts, warc

UNREADABLE = f"records.dropped.{Reason.UNREADABLE_RECORD}"


class PanicException(BaseException):
    """As pyo3 calls what a library in Rust raises."""


ERRORS = [
    KeyError("foreign words"),
    RecursionError(),
    OSError("Maximum header length exceeded."),
    UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
    PanicException("called `Option::unwrap()` on a `None` value"),
]
OF_THE_MACHINE = [
    MemoryError(),
    OSError(errno.ENOSPC, "No space left on device"),
    ConnectionResetError(errno.ECONNRESET, "reset"),
    ModuleNotFoundError("No module named 'trafilatura'"),
    KeyboardInterrupt(),
    SystemExit(1),
]
NOAI = warc(
    http(b"<p>gone", "X-Robots-Tag: noai", status="404 Not Found"), url="http://a.test/noai"
)
RECORDS = [
    *good(1),
    NOAI,
    warc(http(b"<p>sorry", status="500 Sorry"), url="http://a.test/sorry"),
    warc(http(b"", "X-Robots-Tag: noai"), url="http://a.test/same", kind="revisit"),
    image_record("http://a.test/half.jpg", b"\xff\xd8\xff half"),
    *good(2),
    warc(b"x", kind="request"),
    *good(3),
]


def job_in(output: str, settings: Settings) -> Job:
    return make_job(output, Crawl(inputs=("crawl",)), settings).doing(EXTRACT.name)


@pytest.fixture(scope="module")
def tools() -> Tools:
    settings = choose_settings(RunOptions(fetch=False), None)
    return Tools(job=job_in("nowhere", settings))


class Extracted:
    """What extract made of a crawl of one part."""

    def __init__(self, crawl: bytes, output: Path, tools: Tools) -> None:
        output.mkdir()
        (output / "crawl").write_bytes(crawl)
        job = job_in(str(output), tools.job.settings)
        mine = Tools(job=job)
        mine.lexicon, mine.identify = tools.lexicon, tools.identify
        part = whole(str(output / "crawl"), 0)
        self.counts = Ledger(extract_part(part, mine).counts)
        paths = {kind: job.part(kind, part.name) for kind in KINDS}
        self.rows = {kind: pq.read_table(path).to_pylist() for kind, path in paths.items()}
        self.faults = parquet.read_faults(paths["verdicts/extract"])
        self.packs = {path.name: path.read_bytes() for path in (output / "packs").glob("*")}

    def check(self) -> None:
        """The sums balance, and they are those of the rows."""
        counts, rows = self.counts, {kind: len(found) for kind, found in self.rows.items()}
        assert counts.imbalances() == []
        assert rows["documents"] == counts["documents.kept"] == counts["documents.seen"]
        assert rows["images"] == counts["files.seen"]
        assert rows["objections"] == counts["objections"]
        assert rows["verdicts/extract"] == sum(counts.dropped("records").values())
        nodes = Counter(node["kind"] for row in self.rows["documents"] for node in row["nodes"])
        assert (nodes["text"], nodes["image"]) == (counts["texts.seen"], counts["images.seen"])
        types = {n: v for n, v in counts.items() if n.startswith("records.type.")}
        assert sum(types.values()) == len(RECORDS)
        reasons = Counter(row["reason"] for row in self.rows["verdicts/extract"])
        assert reasons == counts.dropped("records")
        assert len(self.faults) == counts[UNREADABLE]
        kept = [row for row in self.rows["images"] if row["status"] == "ok"]
        packed = sum(row["bytes"] for row in kept)
        assert packed == counts["bytes.files"]
        for row in kept:
            pack = self.packs[row["pack"]]
            assert pack[row["pack_offset"] :].startswith(b"\xff\xd8\xff")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, tools: Tools) -> Extracted:
    found = Extracted(gzipped(RECORDS), tmp_path_factory.mktemp("undisturbed") / "run", tools)
    found.check()
    assert (found.faults, found.counts["documents.kept"], found.counts["files.kept"]) == ([], 3, 3)
    assert len(found.rows["objections"]) == 2
    return found


# every step from a record's bytes to its rows, where each may raise
STEPS = [
    (reading, "split_header"),
    (reading, "parse_headers"),
    (reading, "warc_date"),
    (reading, "parse_http"),
    (reading, "urlsplit"),
    (reading, "decode"),
    (extract, "sniff"),
    (extract, "is_page"),
    (extract, "read_page"),
    (extract, "document_of"),
    (extract, "document_to_row"),
    (extract, "normal_url"),
    (extract, "header_signals"),
    (extract, "head_signals"),
]


def raising(step: Callable[..., object], error: BaseException, *, at: int) -> Callable[..., object]:
    """The step, but that it raises when it is called for the time `at`, counted from 0."""
    calls = iter(range(10_000))

    def disturbed(*arguments: object, **named: object) -> object:
        if next(calls) == at:
            raise error
        return step(*arguments, **named)

    return disturbed


@pytest.mark.parametrize(
    ("place", "name", "error", "at"),
    [(*step, error, at) for step in STEPS for error in (ERRORS[0], ERRORS[-1]) for at in (0, 1)]
    + [(extract, "document_of", error, 2) for error in ERRORS],
)
def test_whichever_step_raises_one_record_is_dropped_whole_and_all_sums_balance(
    place: ModuleType | type,
    name: str,
    error: BaseException,
    at: int,
    undisturbed: Extracted,
    tools: Tools,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(place, name, raising(getattr(place, name), error, at=at))
    found = Extracted(gzipped(RECORDS), tmp_path / "run", tools)
    found.check()
    assert found.counts[UNREADABLE] == 1
    (fault,) = found.faults
    kind, _, line = fault.partition(" in ")
    assert kind.endswith(type(error).__name__)
    assert line.startswith(("pipeline/read/records.py:", "pipeline/extract/outcome.py:"))
    assert "foreign" not in fault
    (dropped,) = [row for row in found.rows["verdicts/extract"] if row["reason"] in UNREADABLE]
    for kind, rows in undisturbed.rows.items():
        others = [comparable(row) for row in rows if place_of(row) != dropped["row"]]
        mine = [comparable(row) for row in found.rows[kind] if place_of(row) != dropped["row"]]
        assert mine == others, kind


def place_of(row: dict[str, Any]) -> int:
    return int(row["offset"] if "offset" in row else row["row"])


def comparable(row: dict[str, Any]) -> dict[str, Any]:
    """Where the bytes lie in a pack depends on what lies before them; each run has its folder."""
    return {name: value for name, value in row.items() if name not in {"pack_offset", "input"}}


@pytest.mark.parametrize("name", ["parse_http", "read_page", "normal_url", "document_to_row"])
@pytest.mark.parametrize(
    "error", OF_THE_MACHINE, ids=[type(one).__name__ for one in OF_THE_MACHINE]
)
def test_what_is_about_the_machine_ends_the_part(
    name: str, error: BaseException, tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = reading if name == "parse_http" else extract
    monkeypatch.setattr(place, name, raising(getattr(place, name), error, at=1))
    with pytest.raises(type(error)):
        Extracted(gzipped(RECORDS), tmp_path / "run", tools)


def test_a_row_that_its_table_cannot_hold_is_its_records_drop(
    undisturbed: Extracted, tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would raise hundreds of records later, when the row group is written."""
    make = document_to_row
    bad: dict[str, dict[str, Any]] = {
        url_of(1): {"title": "\ud800"},
        url_of(2): {"offset": 1 << 70},
        url_of(3): {},
    }
    monkeypatch.setattr(extract, "document_to_row", lambda one: {**make(one), **bad[one.url]})
    found = Extracted(gzipped(RECORDS), tmp_path / "run", tools)
    found.check()
    assert found.counts[UNREADABLE] == 2
    last = undisturbed.rows["documents"][2:]
    assert list(map(comparable, found.rows["documents"])) == list(map(comparable, last))
    assert {one.partition(" in ")[0] for one in found.faults} == {
        "pipeline.store.parquet.UnfitRowError"
    }
    others = undisturbed.rows["images"]
    assert list(map(comparable, found.rows["images"])) == list(map(comparable, others))


def test_a_page_that_cannot_be_read_is_still_heard(
    tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = b"<html><head><meta name=robots content=noai></head><p>hello"
    monkeypatch.setattr(extract, "read_page", raising(read_page, KeyError(), at=0))
    asking = warc(http(page), url="http://a.test/asks")
    found = Extracted(gzipped([asking, *RECORDS[1:]]), tmp_path / "run", tools)
    found.check()
    assert (found.rows["objections"][0]["url"], found.counts[UNREADABLE]) == (
        "http://a.test/asks",
        1,
    )


@pytest.mark.parametrize("codec", [GzipMembers, PlainRecords])
@pytest.mark.parametrize("victim", [0, 2, 4])
def test_where_reading_a_member_raises_the_others_are_read_and_cuts_change_nothing(
    codec: type[GzipMembers | PlainRecords],
    victim: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    records = [warc(http(b"<p>%d" % number), url=url_of(number)) for number in range(5)]
    crawl = gzipped(records) if codec is GzipMembers else b"".join(records)
    places = starts(crawl) if codec is GzipMembers else [len(records[0]) * n for n in range(5)]
    sound = codec.read

    def disturbed(
        self: GzipMembers | PlainRecords, window: ByteWindow, offset: int, plain: Plain
    ) -> Attempt:
        if offset == places[victim] and window.size() == len(crawl):
            raise ZeroDivisionError
        return sound(self, window, offset, plain)  # type: ignore[arg-type]

    monkeypatch.setattr(codec, "read", disturbed)
    path = tmp_path / "crawl"
    path.write_bytes(crawl)
    found = read(path)
    assert [one.url for one in found if one.problem is None] == [
        url_of(number) for number in range(5) if number != victim
    ]
    (lost,) = [one for one in found if one.problem is not None]
    assert isinstance(lost.problem, Fault)
    assert (lost.offset, lost.type, lost.problem.reason) == (
        places[victim],
        "damaged",
        Reason.UNREADABLE_RECORD,
    )
    assert lost.problem.raised.startswith("ZeroDivisionError in pipeline/read/members.py:")
    for size in (1, 300):
        assert read(path, cut(str(path), 0, part_size=size)) == found


class Failing(BytesIO):
    """As a server that is gone: its error has no number."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() > 1 << 20:
            raise OSError("http://crawl/: no answer: check the address")
        return super().read(size)


def test_a_stream_that_fails_is_no_record(tmp_path: Path) -> None:
    crawl = gzipped([warc(http(bytes(1 << 20)))]) + gzipped([warc(http(b"x"))]) * 20_000
    with pytest.raises(OSError, match="check the address"):
        list(members(Failing(crawl), keep=True, max_bytes=1 << 22))
