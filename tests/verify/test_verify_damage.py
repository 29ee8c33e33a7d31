"""Whatever is changed or lost behind a stage's back makes verify fail and name that stage alone."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.stages import NAMES
from pipeline.store import parquet
from pipeline.verify import Verification, verify
from tests.verify.damage import (
    delete_row,
    edit_manifest,
    first_member,
    first_tar,
    flip_byte,
    parts,
    rewrite,
    rewrite_tar,
)  # fmt: skip
from tests.verify.small_crawl import write_crawl

WRITTEN_BY = {
    "documents": "extract",
    "images": "extract",
    "objections": "extract",
    "verdicts/extract": "extract",
    "verdicts/filter_text": "filter_text",
    "verdicts/filter_images": "filter_images",
    "kept": "filter_images",
    "index": "shard",
    "tables/documents": "shard",
    "tables/images": "shard",
    "tables/drops": "shard",
}


def verified(run: Path) -> Verification:
    return verify(str(run), inputs=False)


@pytest.mark.parametrize(("folder", "stage"), WRITTEN_BY.items())
def test_a_deleted_row_names_the_stage_that_wrote_it(run: Path, folder: str, stage: str) -> None:
    delete_row(next(parts(run, folder)), folder)
    assert verified(run).stages == (stage,)


@pytest.mark.parametrize("folder", ["verdicts/filter_text", "verdicts/filter_images"])
def test_each_single_verdict_is_missed(run: Path, tmp_path: Path, folder: str) -> None:
    rows = [(path, row) for path in parts(run, folder) for row in _numbers(path)]
    assert len(rows) > 5
    for path, row in rows:
        kept = path.read_bytes()
        delete_row(path, folder, which=row)
        assert verified(run).stages == (WRITTEN_BY[folder],)
        path.write_bytes(kept)


def _numbers(path: Path) -> range:
    return range(sum(1 for _ in parquet.read_rows(str(path))))


def test_a_row_twice_names_the_stage_that_wrote_it(run: Path) -> None:
    folder = "verdicts/filter_images"
    rewrite(next(parts(run, folder)), folder, lambda rows: rows.append(rows[-1]))
    assert verified(run).stages == ("filter_images",)


def test_two_errors_that_cancel_in_the_sum_are_found_in_their_parts(run: Path) -> None:
    folder = "verdicts/filter_text"
    first, second, *_ = parts(run, folder)
    moved = list(parquet.read_rows(str(first)))[-1]
    rewrite(first, folder, lambda rows: rows.pop())
    rewrite(second, folder, lambda rows: rows.append(moved))
    found = verified(run)
    assert found.stages == ("filter_text",)
    assert any(first.stem in check.note for check in found.failed)


def test_another_reason_names_the_stage(run: Path) -> None:
    def lie(rows: list[dict[str, Any]]) -> None:
        rows[0]["reason"] = "language"

    rewrite(next(parts(run, "verdicts/filter_text")), "verdicts/filter_text", lie)
    assert verified(run).stages == ("filter_text",)


def test_a_verdict_about_a_row_that_is_not_there_is_found(run: Path) -> None:
    def lie(rows: list[dict[str, Any]]) -> None:
        rows[0]["row"] = 9_999

    rewrite(next(parts(run, "verdicts/filter_text")), "verdicts/filter_text", lie)
    found = verified(run)
    assert found.stages == ("filter_text",)
    assert any("names row 9999" in check.note for check in found.failed)


def test_a_document_that_is_kept_and_dropped_is_found_although_all_sums_hold(run: Path) -> None:
    """A row of kept/ names a document that was dropped: every count stays as it was."""
    dropped = {
        path.stem: row["row"]
        for folder in ("verdicts/filter_text", "verdicts/filter_images")
        for path in parts(run, folder)
        for row in parquet.read_rows(str(path))
        if row["node"] is None
    }
    path = next(path for path in parts(run, "kept") if path.stem in dropped)

    def lie(rows: list[dict[str, Any]]) -> None:
        rows[0]["row"] = dropped[path.stem]

    rewrite(path, "kept", lie)
    kinds = {check.kind for check in verified(run).failed}
    assert "documents and nodes with other than one fate" in kinds


def test_a_deleted_tar_member_names_shard(run: Path) -> None:
    tar = first_tar(run)
    gone = first_member(tar, ".jpg")
    rewrite_tar(tar, lambda name, data: None if name == gone else data)
    assert verified(run).stages == ("shard",)


def test_a_deleted_json_names_shard(run: Path) -> None:
    tar = first_tar(run)
    gone = first_member(tar, ".json")
    rewrite_tar(tar, lambda name, data: None if name == gone else data)
    assert verified(run).stages == ("shard",)


def test_a_changed_byte_in_an_image_names_its_sample(run: Path) -> None:
    tar = first_tar(run)
    member = first_member(tar, ".jpg")
    flip_byte(tar, member, at=500)
    found = verified(run)
    assert found.stages == ("shard",)
    assert any(member in check.note for check in found.failed)


def test_a_changed_word_in_a_tar_is_found_by_what_was_kept(run: Path) -> None:
    tar = first_tar(run)
    member = first_member(tar, ".json")
    rewrite_tar(
        tar,
        lambda name, data: data.replace(b" the ", b" teh ", 1) if name == member else data,
    )
    found = verified(run)
    assert {check.kind for check in found.failed} == {"documents other than what was kept"}


def test_a_changed_byte_in_a_pack_names_extract(run: Path) -> None:
    pack = sorted((run / "packs").glob("*.tar"))[0]
    flip_byte(pack, first_member(pack, ".jpg"), at=700)
    assert verified(run).stages == ("extract",)


def test_a_sample_in_both_splits_is_found(run: Path) -> None:
    """The whole shard is there twice: once as train, once in place of a held-out one."""
    train, heldout = first_tar(run), sorted((run / "shards").glob("heldout-*.tar"))[0]
    heldout.write_bytes(train.read_bytes())
    shutil.copyfile(run / f"index/{train.stem}.parquet", run / f"index/{heldout.stem}.parquet")
    kinds = {check.kind for check in verified(run).failed}
    assert {"documents in two places", "documents not in any shard"} <= kinds


def test_an_index_that_points_elsewhere_names_shard(run: Path) -> None:
    def lie(rows: list[dict[str, Any]]) -> None:
        rows[0]["members"][1]["offset"] += 512

    rewrite(next(parts(run, "index")), "index", lie)
    found = verified(run)
    assert {c.kind for c in found.failed} == {"samples that lie elsewhere than the index says"}


def test_a_removed_file_names_the_stage_that_wrote_it(run: Path, tmp_path: Path) -> None:
    paths = [path for path in sorted(run.rglob("*")) if path.is_file()]
    free = {"run.json", *(f"{stage}.host.json" for stage in NAMES)}
    paths = [path for path in paths if path.name not in free]
    assert len(paths) > 40
    for path in paths:
        path.rename(tmp_path / "aside")
        assert verified(run).stages == (_stage_of(path.relative_to(run)),), path
        (tmp_path / "aside").rename(path)


def _stage_of(path: Path) -> str:
    name = str(path)
    if name.startswith("images/fetch-"):
        return "fetch"
    if name.startswith("wanted/"):
        return "filter_text"
    if name.startswith("packs/"):
        return "extract"
    by_folder = WRITTEN_BY.get(str(path.parent), "shard")
    return next((stage for stage in NAMES if name.startswith(f"{stage}.")), by_folder)


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("documents/000009-00000000000000.parquet", "extract"),
        ("packs/000000-00000000000000-7.tar", "extract"),
        ("images/fetch-00000-2.parquet", "fetch"),
        ("wanted/00009.parquet", "filter_text"),
        ("kept/x.parquet.aside-0123", "filter_images"),
        ("shards/train-00009.tar", "shard"),
        ("tables/drops/z.parquet", "shard"),
        ("notes.txt", "run"),
    ],
)
def test_a_stray_file_is_named_under_its_stage(run: Path, name: str, stage: str) -> None:
    (run / name).write_bytes(b"stray")
    found = verified(run)
    assert found.stages == (stage,)
    assert any(name in check.note for check in found.failed)


@pytest.mark.parametrize("stage", NAMES)
def test_a_wrong_count_in_a_manifest_names_its_stage(run: Path, stage: str) -> None:
    def lie(manifest: dict[str, Any]) -> None:
        name = next(name for name in sorted(manifest["counts"]) if ".seen" in name)
        manifest["counts"][name] += 1

    edit_manifest(run, stage, lie)
    assert verified(run).stages == (stage,)


@pytest.mark.parametrize("stage", NAMES)
def test_a_broken_chain_of_fingerprints_is_found(run: Path, stage: str) -> None:
    edit_manifest(run, stage, lambda manifest: manifest.update(fingerprint="0" * 32))
    found = verified(run)
    assert stage in found.stages
    assert "fingerprint" in {check.kind for check in found.failed}


def test_other_settings_in_run_json_than_the_stages_had_are_named(run: Path) -> None:
    path = run / "run.json"
    path.write_text(path.read_text().replace('"heldout": 0.4', '"heldout": 0.3'))
    found = verified(run)
    assert found.stages == ("shard",)
    assert any("run.json has other heldout" in check.note for check in found.failed)


def test_a_manifest_of_another_format_names_its_stage(run: Path) -> None:
    edit_manifest(run, "filter_images", lambda manifest: manifest.update(format_version=99))
    found = verified(run)
    assert found.stages == ("filter_images",)
    assert any("format version 99" in check.note for check in found.failed)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: data[: len(data) // 2], id="cut in half"),
        pytest.param(lambda _data: b"", id="empty"),
        pytest.param(lambda _data: b"PAR1 and nothing of the kind PAR1", id="something else"),
    ],
)
@pytest.mark.parametrize("folder", [*WRITTEN_BY, "shards", "packs", "wanted"])
def test_a_file_that_cannot_be_read_is_named_and_nothing_is_raised(
    run: Path, folder: str, damage: Callable[[bytes], bytes]
) -> None:
    path = sorted((run / folder).iterdir())[0]
    path.write_bytes(damage(path.read_bytes()))
    stage = {**WRITTEN_BY, "shards": "shard", "packs": "extract", "wanted": "filter_text"}[folder]
    assert verified(run).stages == (stage,)


@pytest.fixture(scope="module")
def scratch(whole_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("scratch") / "run"
    shutil.copytree(whole_run, copy)
    return copy


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_flipped_bit_of_a_member_of_a_tar_or_pack_is_called_balanced(
    scratch: Path, data: st.DataObject
) -> None:
    path = data.draw(st.sampled_from(sorted([*scratch.glob("shards/*"), *scratch.glob("packs/*")])))
    kept = path.read_bytes()
    with tarfile.open(path) as tar:
        member = data.draw(st.sampled_from(tar.getmembers()))
    at = member.offset_data + data.draw(st.integers(0, member.size - 1))
    changed = bytearray(kept)
    changed[at] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(changed)
    try:
        assert not verified(scratch).ok
    finally:
        path.write_bytes(kept)


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
    kinds = {check.kind: (check.here, check.there) for check in found.failed}
    assert kinds["records.type.response"] == (42, 21)
    assert kinds["records with a payload"] == (42, 21)


def test_an_input_that_is_gone_is_not_counted_and_never_passes(run: Path, whole_run: Path) -> None:
    crawl = whole_run.parent / "small.warc.gz"
    aside = crawl.rename(crawl.with_suffix(".aside"))
    try:
        found = verify(str(run))
    finally:
        aside.rename(crawl)
    assert found.ok
    assert any("cannot be opened" in check.note for check in found.not_counted)
    assert not [c for c in found.checks if c.kind.startswith("records.type.")]
