"""A run that nothing happened to balances, and what nobody counted is never called balanced."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from pipeline import verify as verifying
from pipeline.stages import NAMES
from pipeline.verify import Outcome, Verification, verify


@pytest.fixture(scope="module")
def verification(whole_run: Path) -> Verification:
    return verify(str(whole_run))


def test_a_run_that_nothing_happened_to_balances(verification: Verification) -> None:
    assert verification.ok
    assert not verification.failed
    assert {one.stage for one in verification.checks} == {"run", *NAMES}


@pytest.mark.parametrize(
    ("stage", "kind", "count"),
    [
        ("extract", "records.type.response", 21),
        ("extract", "records.type.request", 21),
        ("extract", "records with a payload", 21),
        ("extract", "files.dropped.truncated_image", 1),
        ("filter_text", "documents.seen", 9),
        ("filter_text", "texts.dropped.special_characters", 4),
        ("filter_text", "images.dropped.image_url_word", 4),
        ("fetch", "wanted.dropped.not_fetched", 1),
        ("filter_images", "images.dropped.image_side_short", 4),
        ("filter_images", "documents of filter_text", 6),
        ("shard", "images.kept", 8),
        ("shard", "documents of filter_images", 4),
    ],
)
def test_both_sides_are_counted(
    verification: Verification, stage: str, kind: str, count: int
) -> None:
    (check,) = [c for c in verification.checks if (c.stage, c.kind) == (stage, kind)]
    assert (check.here, check.there, check.outcome) == (count, count, Outcome.OK)


def test_every_count_of_a_manifest_is_checked_or_named_as_not_counted(
    verification: Verification, whole_run: Path
) -> None:
    for stage in NAMES:
        kinds = {check.kind for check in verification.checks if check.stage == stage}
        again = {
            "comparisons",
            "documents.kept",
            "texts.kept",
            "images.kept",
        }  # replayed, handed on
        spoken = {word for kind in kinds for word in kind.split(", ")} | again
        told = json.loads((whole_run / f"{stage}.manifest.json").read_text())["counts"]
        assert told
        assert not [name for name in told if not {name, name.partition(".")[0]} & spoken]


def test_without_the_crawl_records_are_not_counted_and_the_rest_is(whole_run: Path) -> None:
    verification = verify(str(whole_run), inputs=False)
    assert verification.ok
    assert "records" in {check.kind for check in verification.not_counted}
    assert not [c for c in verification.checks if c.kind.startswith("records.type.")]


def test_what_was_not_counted_is_neither_ok_nor_failed(verification: Verification) -> None:
    assert verification.not_counted
    for check in verification.not_counted:
        assert (check.here, check.there) == (None, None)
        assert check.note


def test_the_table_names_every_check_and_says_how_it_ended(verification: Verification) -> None:
    console = Console(record=True, width=60, file=io.StringIO())
    verifying.show(verification, console)
    text = console.export_text()
    assert all(check.kind in text for check in verification.checks)
    assert "everything that could be counted balances; 1 not counted" in text
    first = dataclasses.replace(verification.checks[0], outcome=Outcome.FAILED, note="a stray")
    verifying.show(dataclasses.replace(verification, checks=(first,)), console)
    assert "1 FAILED, in run" in console.export_text()


def test_a_run_in_which_nothing_was_left_balances(empty_run: Path) -> None:
    verification = verify(str(empty_run))
    assert verification.ok
    assert {one.stage for one in verification.checks} == {"run", *NAMES}
    (kept,) = [c for c in verification.checks if c.kind == "documents of filter_images"]
    assert (kept.here, kept.there) == (0, 0)


def test_a_folder_without_a_run_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"{tmp_path} holds no run"):
        verify(str(tmp_path))


def test_a_run_of_another_format_is_refused_with_both_versions(run: Path) -> None:
    path = run / "run.json"
    path.write_text(path.read_text().replace('"format_version": 2', '"format_version": 99'))
    with pytest.raises(ValueError, match="format version 99, but this interloom reads 2"):
        verify(str(run))


def test_a_verification_of_nothing_is_not_ok() -> None:
    assert not Verification(output="", checks=()).ok
