from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pipeline.account.manifest import read_manifest
from pipeline.shard.report.part_tables import EXCERPT, ByRow, excerpt, write_tables
from pipeline.store import parquet
from schemas.tables import KEPT, TABLE_DOCUMENTS, TABLE_DROPS, TABLE_IMAGES
from schemas.verdict import Reason
from tests.report.fabricated import Fabricate, Fabricator, Pages

PART = "000000-00000000000000"


def read(run: Fabricator, table: str, part: str = PART) -> list[dict[str, Any]]:
    return list(parquet.read_rows(run.job.part(f"tables/{table}", part)))


@pytest.fixture
def run(fabricate: Fabricate, every_outcome: Pages) -> Fabricator:
    made = fabricate(every_outcome)
    for part in every_outcome:
        write_tables(part, made.job)
    return made


def test_there_is_a_row_a_document_with_its_outcome(run: Fabricator) -> None:
    rows = read(run, "documents")
    assert [row["outcome"] for row in rows] == ["kept"] * 2 + ["dropped"] * 2 + ["kept"] * 4
    assert [(row["stage"], row["reason"]) for row in rows[2:4]] == [
        ("filter_text", "language"),
        ("filter_images", "no_image"),
    ]
    assert [row["row"] for row in rows] == list(range(8))
    assert all(row["split"] in {"train", "heldout"} for row in rows if row["outcome"] == "kept")


def test_words_and_nodes_are_those_that_were_kept(run: Fabricator) -> None:
    whole, pruned = read(run, "documents")[1], read(run, "documents")[5]
    assert (whole["texts"], whole["kept_texts"], whole["images"], whole["kept_images"]) == (
        4,
        4,
        2,
        2,
    )
    assert whole["words"] == 2 + 2 * 8 + 3
    assert (pruned["kept_texts"], pruned["kept_images"], pruned["words"]) == (3, 1, 2 + 8 + 3)
    assert read(run, "documents")[2]["words"] == 0


def test_there_is_a_row_an_image_node_and_those_of_a_dropped_document_are_parent(
    run: Fabricator,
) -> None:
    rows = read(run, "images")
    assert len(rows) == 2 * (1 + 2 + 3 + 4)
    by_row = Counter((row["row"], row["outcome"], row["reason"]) for row in rows)
    assert by_row[2, "dropped", "parent"] == 3
    assert by_row[3, "dropped", "image_url_word"] == 1
    assert by_row[3, "dropped", "parent"] == 3
    assert by_row[5, "dropped", "image_side_short"] == 1
    assert by_row[5, "kept", None] == 1
    assert all(len(row["sha256"]) == 64 for row in rows if row["outcome"] == "kept")


def test_there_is_a_row_a_drop_beside_what_it_dropped(run: Fabricator) -> None:
    found = [
        (row["stage"], row["kind"], row["reason"], row["row"], row["node"])
        for row in read(run, "drops")
    ]
    assert found == [
        ("extract", "record", "http_status", 77, None),
        ("extract", "file", "undecodable", 5, None),
        ("filter_text", "document", "language", 2, None),
        ("filter_text", "image", "image_url_word", 3, 2),
        ("filter_images", "document", "no_image", 3, None),
        ("filter_text", "text", "too_few_words", 5, 1),
        ("filter_images", "image", "image_side_short", 5, 2),
    ]
    text = next(row for row in read(run, "drops") if row["kind"] == "text")
    assert text["excerpt"] == "Paragraph 0 of page 5, of seven words."
    assert text["words"] == 8


def test_every_drop_of_the_manifests_has_a_row_but_parents(run: Fabricator) -> None:
    for stage in ("extract", "filter_text", "filter_images"):
        ledger = read_manifest(run.job, stage).ledger
        counted = Counter[str]()
        for kind in ("records", "files", "documents", "texts", "images"):
            counted.update(ledger.dropped(kind))
        del counted[Reason.PARENT]
        rows = [row for part in run.pages for row in read(run, "drops", part)]
        assert Counter(row["reason"] for row in rows if row["stage"] == stage) == counted


def test_a_part_without_a_document_has_its_tables_too(run: Fabricator) -> None:
    assert read(run, "documents", "000001-00000000000000") == []
    assert read(run, "images", "000001-00000000000000") == []


def test_a_part_that_is_whole_is_not_written_again(run: Fabricator) -> None:
    path = Path(run.job.part("tables/images", PART))
    before = path.stat().st_mtime_ns
    again = write_tables(PART, run.job)
    assert path.stat().st_mtime_ns == before
    assert again.part == ""
    assert again.counts == {"rows.documents": 8, "rows.images": 20, "rows.drops": 7}
    assert {file.path.split("/")[1] for file in again.files} == {"documents", "images", "drops"}


def test_a_part_of_which_a_file_is_gone_is_written_again(run: Fabricator) -> None:
    path = Path(run.job.part("tables/images", PART))
    before = path.read_bytes()
    path.unlink()
    write_tables(PART, run.job)
    assert path.read_bytes() == before


def test_a_kept_row_of_no_document_fails(run: Fabricator) -> None:
    job = run.job
    kept = list(parquet.read_rows(job.part("kept", PART)))
    parquet.write_rows(
        job.part("kept", PART), KEPT, [*kept, kept[-1] | {"row": 99}], fingerprint="another"
    )
    Path(job.part("tables/drops", PART)).unlink()
    with pytest.raises(ValueError, match="row 99"):
        write_tables(PART, job)


def test_a_document_that_is_neither_kept_nor_dropped_fails(run: Fabricator) -> None:
    job = run.job
    kept = list(parquet.read_rows(job.part("kept", PART)))
    parquet.write_rows(job.part("kept", PART), KEPT, kept[1:], fingerprint="another")
    Path(job.part("tables/drops", PART)).unlink()
    with pytest.raises(ValueError, match="row 0 is kept False and dropped False"):
        write_tables(PART, job)


def test_rows_out_of_order_are_refused() -> None:
    rows = ByRow([{"row": 3, "part": "p"}, {"row": 1, "part": "p"}])
    assert [len(rows.take(number)) for number in range(5)] == [0, 0, 0, 1, 0]
    with pytest.raises(ValueError, match="row 1 of part p"):
        rows.check_read()


@pytest.mark.parametrize(("length", "end"), [(EXCERPT, ""), (EXCERPT + 1, "…")])
def test_an_excerpt_is_one_line_of_limited_length(length: int, end: str) -> None:
    shown = excerpt("a" * (length - 2) + "\n b")
    assert "\n" not in shown
    assert len(shown) <= EXCERPT
    assert shown[-1:] == (end or "b")


def test_each_table_names_its_document_by_part_and_row() -> None:
    for schema in (TABLE_DOCUMENTS, TABLE_IMAGES, TABLE_DROPS):
        assert schema.names[:3] == ["part", "row", "id"]
