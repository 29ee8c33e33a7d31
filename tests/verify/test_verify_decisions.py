"""What lies at rest is counted, followed and decided again: it must say the same everywhere.

Each test forges a file together with its digest, since a changed byte alone is found before.
"""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.store import parquet
from pipeline.verify import Verification, verify
from tests.verify.damage import Rows, forge, forge_rows, parts
from tests.verify.small_crawl import write_crawl


def verified(run: Path) -> Verification:
    return verify(str(run), inputs=False)


def kinds(found: Verification, stage: str) -> set[str]:
    """Kinds of the checks that failed, all of one stage."""
    assert found.stages[0] == stage, found.failed
    return {check.kind for check in found.failed}


@pytest.mark.parametrize(
    ("folder", "stage", "kind"),
    [
        ("documents", "extract", "documents.kept"),
        ("images", "extract", "files.seen"),
        ("objections", "extract", "objections"),
        ("verdicts/extract", "extract", "records.seen"),
        ("verdicts/filter_text", "filter_text", "files made again"),
        ("wanted", "filter_text", "urls.wanted"),
        ("verdicts/filter_images", "filter_images", "files made again"),
        ("kept", "filter_images", "documents.kept"),
        ("index", "shard", "samples that lie elsewhere than the index says"),
        ("tables/documents", "shard", "rows.documents"),
        ("tables/images", "shard", "rows.images"),
        ("tables/drops", "shard", "rows.drops"),
    ],
)
def test_a_row_less_names_the_stage_that_wrote_it(
    run: Path, folder: str, stage: str, kind: str
) -> None:
    forge_rows(run, folder, lambda rows: rows.pop(0))
    assert kind in kinds(verified(run), stage)


def test_two_errors_that_cancel_in_the_sum_are_found_in_their_parts(run: Path) -> None:
    first, second, *_ = parts(run, "verdicts/filter_text")
    moved = list(parquet.read_rows(str(first)))[-1]
    forge_rows(run, "verdicts/filter_text", lambda rows: rows.pop(), having=first.stem)
    forge_rows(run, "verdicts/filter_text", lambda rows: rows.append(moved), having=second.stem)
    found = verified(run)
    assert found.stages[0] == "filter_text"
    assert any(first.stem in check.note for check in found.failed)


def first_with(rows: Rows, **wanted: object) -> dict[str, Any]:
    return next(row for row in rows if all(row[name] == value for name, value in wanted.items()))


@pytest.mark.parametrize(
    ("stage", "reason", "change"),
    [
        ("filter_text", "special_characters", {"reason": "language"}),
        ("filter_text", "special_characters", {"value": 0.31}),
        ("filter_text", "special_characters", {"limit": 0.5}),
        ("filter_text", "image_url_word", {"value": 0.0}),
        ("filter_images", "image_side_short", {"value": 79.0}),
        ("filter_images", "no_image", {"id": "0" * 32}),
    ],
)
def test_another_decision_is_found_by_deciding_again(
    run: Path, stage: str, reason: str, change: dict[str, Any]
) -> None:
    folder = f"verdicts/{stage}"
    part = forge_rows(run, folder, lambda rows: first_with(rows, reason=reason).update(change),
                      having=f"'{reason}'")  # fmt: skip
    found = verified(run)
    assert "files made again" in kinds(found, stage)
    assert any(f"{folder}/{part}.parquet" in check.note for check in found.failed)


@pytest.mark.parametrize("row", [9_999, -1])
def test_a_verdict_about_what_is_not_there_is_found(run: Path, row: int) -> None:
    forge_rows(run, "verdicts/filter_text", lambda rows: rows[0].update(row=row))
    found = verified(run)
    assert found.stages[0] == "filter_text"
    assert any("names row" in check.note for check in found.failed)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sha256", "0" * 64),
        ("offset", 512_000),
        ("length", 3),
        ("width", 999),
        ("url", "https://x"),
    ],
)
def test_a_kept_image_other_than_its_file_names_filter_images(
    run: Path, name: str, value: object
) -> None:
    forge_rows(run, "kept", lambda rows: rows[0]["images"][0].update({name: value}))
    assert "files made again" in kinds(verified(run), "filter_images")


@pytest.mark.parametrize(
    ("name", "value"), [("sha256", "0" * 64), ("pack_offset", 512_000), ("bytes", 3)]
)
def test_an_image_row_that_points_elsewhere_names_extract(
    run: Path, name: str, value: object
) -> None:
    forge_rows(run, "images", lambda rows: first_with(rows, status="ok").update({name: value}))
    assert "images that lie elsewhere than images/ says" in kinds(verified(run), "extract")


@pytest.mark.parametrize("folder", ["tables/documents", "tables/images"])
def test_another_fate_in_a_table_names_shard(run: Path, folder: str) -> None:
    forge_rows(run, folder, lambda rows: rows[0].update(outcome="lost"))
    assert "files made again" in kinds(verified(run), "shard")


def rewrite_tar(run: Path, change: Callable[[str, bytes], bytes | None]) -> None:
    """Write a shard anew, each member as `change` gives it, those without bytes left out."""
    path = sorted((run / "shards").glob("train-*.tar"))[0]
    stored = io.BytesIO()
    with tarfile.open(path) as old, tarfile.open(fileobj=stored, mode="w") as new:
        for member in old.getmembers():
            handle = old.extractfile(member)
            assert handle is not None
            data = change(member.name, handle.read())
            if data is not None:
                member.size = len(data)
                new.addfile(member, io.BytesIO(data))
    path.write_bytes(stored.getvalue())
    forge(run, path)


class Once:
    """A change of the first member whose name ends so."""

    def __init__(self, ending: str, change: Callable[[bytes], bytes | None]) -> None:
        self._ending, self._change, self._name = ending, change, ""

    def __call__(self, name: str, data: bytes) -> bytes | None:
        if name.endswith(self._ending) and self._name in {"", name}:
            self._name = name
            return self._change(data)
        return data


@pytest.mark.parametrize(
    ("ending", "change"),
    [
        pytest.param(".jpg", lambda _: None, id="an image less"),
        pytest.param(".json", lambda _: None, id="a JSON less"),
        pytest.param(".json", lambda data: data.replace(b" the ", b" teh ", 1), id="a word"),
        pytest.param(".json", lambda data: data + b" ", id="a space behind the JSON"),
        pytest.param(".jpg", lambda data: data[:-1] + b"x", id="a byte of an image"),
    ],
)
def test_a_sample_other_than_what_was_kept_names_shard(
    run: Path, ending: str, change: Callable[[bytes], bytes | None]
) -> None:
    rewrite_tar(run, Once(ending, change))
    assert "samples other than what was kept" in kinds(verified(run), "shard")


def test_a_sample_in_both_splits_is_found(run: Path) -> None:
    train = sorted((run / "shards").glob("train-*.tar"))[0]
    heldout = sorted((run / "shards").glob("heldout-*.tar"))[0]
    for folder, ending in (("shards", "tar"), ("index", "parquet")):
        shutil.copyfile(
            run / folder / f"{train.stem}.{ending}", run / folder / f"{heldout.stem}.{ending}"
        )
        forge(run, run / folder / f"{heldout.stem}.{ending}")
    failed = kinds(verified(run), "shard")
    assert {"samples that are in two places", "kept documents that no shard holds"} <= failed


def test_an_index_that_points_elsewhere_names_shard(run: Path) -> None:
    def shift(rows: Rows) -> None:
        rows[0]["members"][1]["offset"] += 512

    forge_rows(run, "index", shift)
    assert kinds(verified(run), "shard") == {"samples that lie elsewhere than the index says"}


def test_decisions_of_other_versions_are_not_made_again(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline import stage  # noqa: PLC0415

    known = stage.version_of
    older = {"datasketch": "0"}
    monkeypatch.setattr(stage, "version_of", lambda name: older.get(name) or known(name))
    found = verified(run)
    assert found.ok
    (check,) = [check for check in found.not_counted if check.kind == "files made again"]
    assert check.stage == "filter_text"
    assert "datasketch 0 in place of" in check.note


def test_a_record_that_extract_did_not_see_is_found_by_warcio(
    run: Path, whole_run: Path, tmp_path: Path
) -> None:
    crawl = whole_run.parent / "small.warc.gz"
    kept = crawl.read_bytes()
    write_crawl(tmp_path / "more.warc.gz")
    more = (tmp_path / "more.warc.gz").read_bytes()
    try:
        crawl.write_bytes(kept + more)  # whole members behind whole members
        found = verify(str(run))
    finally:
        crawl.write_bytes(kept)
    assert found.stages == ("extract",)
    sides = {check.kind: (check.here, check.there) for check in found.failed}
    assert sides["records.type.response"] == (42, 21)
    assert sides["records with a payload"] == (42, 21)


def test_an_input_that_is_gone_is_not_counted_and_never_passes(run: Path, whole_run: Path) -> None:
    crawl = whole_run.parent / "small.warc.gz"
    aside = crawl.rename(crawl.with_suffix(".aside"))
    try:
        found = verify(str(run))
    finally:
        aside.rename(crawl)
    assert found.ok
    assert any("cannot be opened" in check.note for check in found.not_counted)
    assert not [check for check in found.checks if check.kind.startswith("records.type.")]
