"""The process that reads parts: a page may end it, and costs only itself, in each run the same."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import pytest

from pipeline.extract import reader
from pipeline.store.store import ENDED
from tests.pipeline import in_reader
from tests.pipeline.bad_crawls import (
    Fates,
    command,
    good,
    html_of,
    page_record,
    pages_of,
    run_here,
    write,
)
from tests.pipeline.runs import counts, rows, tree
from tests.read.crawls import gzipped

ONE_PART = "--part-size=1"


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Deadly pages; a line for each process that was started to read."""
    path = tmp_path / "log"
    serve = partial(in_reader.with_deadly_pages, str(path))
    monkeypatch.setattr(reader, "_serve", serve)
    return path


def deadly(number: int, word: str) -> bytes:
    html = html_of(number).replace(b"</body>", f"<p>DEADLY-{word}</p></body>".encode())
    return page_record(number, html=html)


def processes(log: Path) -> int:
    return len(log.read_text().split())


@pytest.mark.parametrize("word", ["BURN", "FAULT"])
def test_a_page_that_ends_the_reader_is_dropped_and_the_rest_goes_on(
    log: Path, tmp_path: Path, word: str
) -> None:
    crawl = write(tmp_path / "a.warc.gz", gzipped([*good(1), deadly(90, word), *good(2, 3)]))
    output = tmp_path / "run"
    run_here(output, crawl, ONE_PART)
    assert Fates(output).kept == pages_of([1, 2, 3])
    assert [row["reason"] for row in rows(output, "verdicts/extract")] == ["reader_died"]
    assert counts(output, "extract")["records.dropped.reader_died"] == 1
    assert processes(log) == 2


def test_what_ended_a_reader_once_is_left_out_by_every_later_run(log: Path, tmp_path: Path) -> None:
    records = [*good(1), deadly(90, "FAULT"), *good(2), deadly(91, "BURN")]
    crawl = write(tmp_path / "a.warc.gz", gzipped(records))
    output, again = tmp_path / "run", tmp_path / "again"
    run_here(output, crawl, ONE_PART)
    assert processes(log) == 3
    shutil.copytree(output / ENDED, again / ENDED)
    shutil.copy(output / "run.json", again / "run.json")
    run_here(again, crawl, ONE_PART)
    assert processes(log) == 4
    assert tree(again) == tree(output)


def test_a_note_of_ended_records_that_is_damaged_is_told_with_the_remedy(
    log: Path, tmp_path: Path
) -> None:
    crawl = write(tmp_path / "a.warc.gz", gzipped([*good(1), deadly(90, "FAULT")]))
    output = tmp_path / "run"
    run_here(output, crawl, ONE_PART)
    (note,) = (output / ENDED).iterdir()
    (record,) = json.loads(note.read_text())
    assert record["reason"] == "reader_died"
    note.write_text("[{")
    (output / "extract.manifest.json").unlink()
    (output / "documents" / f"{note.stem}.parquet").unlink()
    ended = command("run", "-o", output, "--no-fetch", "--workers=1")
    assert ended.code == 1
    assert f"{note} is damaged: remove it" in ended.err
    note.unlink()
    run_here(output)


def test_a_reader_that_is_killed_from_outside_ends_the_stage(log: Path, tmp_path: Path) -> None:
    crawl = write(tmp_path / "a.warc.gz", gzipped([*good(1), deadly(90, "KILL")]))
    ended = command("run", crawl, "-o", tmp_path / "run", "--no-fetch", "--workers=1")
    assert ended.code == 1
    assert ended.err.count("\n") == 1
    assert f"the process that reads {crawl} was ended by SIGKILL" in ended.err
    assert not (tmp_path / "run" / ENDED).exists()
