"""Any byte of any file of a run that is changed, cut, added or removed names the file's stage."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.job import crawl_of, read_run, run_text, settings_of
from pipeline.stages import NAMES
from pipeline.verify import Verification, verify
from pipeline.verify.at_rest import read_at_rest
from pipeline.verify.checks import FILES, Check, Outcome
from pipeline.verify.files import check_files, stage_of
from pipeline.verify.show import remedy
from tests.verify.damage import Rows, edit_manifest, rewrite

Damage = Callable[[bytes, int], bytes]
DAMAGES: dict[str, Damage] = {
    "a flipped bit": lambda data, at: data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :],
    "a flipped high bit": lambda data, at: data[:at] + bytes([data[at] ^ 128]) + data[at + 1 :],
    "a byte less": lambda data, at: data[:at] + data[at + 1 :],
    "a byte more": lambda data, at: data[:at] + b"\0" + data[at:],
    "an early end": lambda data, at: data[:at],
    "zeros at the end": lambda data, _at: data + bytes(512),
}
WRITTEN_BY = {
    "documents": "extract", "images": "extract", "objections": "extract", "packs": "extract",
    "verdicts/extract": "extract", "verdicts/filter_text": "filter_text", "wanted": "filter_text",
    "verdicts/filter_images": "filter_images", "kept": "filter_images", "index": "shard",
    "shards": "shard", "tables/documents": "shard", "tables/images": "shard",
    "tables/drops": "shard",
}  # fmt: skip


def failed_files(run: Path) -> list[Check]:
    """Of files alone: what is counted on them takes a second a run."""
    checks = check_files(read_at_rest(str(run)))
    return [check for check in checks if check.outcome is Outcome.FAILED]


def held(run: Path) -> list[Path]:
    """The files of a run that verify speaks of."""
    paths = sorted(path for path in run.rglob("*") if path.is_file())
    return [path for path in paths if not path.name.endswith(".host.json")]


@pytest.fixture(scope="module")
def scratch(whole_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("bytes") / "run"
    shutil.copytree(whole_run, copy)
    return copy


def stages_or_refusal(run: Path) -> str:
    """The stages that failed, or the message where no run can be read at all."""
    try:
        return ", ".join(check.stage for check in failed_files(run))
    except ValueError as error:
        return str(error)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_damage_to_a_file_is_unseen(scratch: Path, data: st.DataObject) -> None:
    paths = held(scratch)
    assert len(paths) > 50
    path = data.draw(st.sampled_from(paths))
    kept = path.read_bytes()
    at = data.draw(st.integers(0, len(kept) - 1))
    path.write_bytes(data.draw(st.sampled_from(sorted(DAMAGES.items())))[1](kept, at))
    try:
        if path.name == "run.json":
            assert "run" in stages_or_refusal(scratch)
        else:
            name = str(path.relative_to(scratch))
            (check,) = failed_files(scratch)
            assert check.stage == stage_of(name)
            assert path.name in check.note or check.kind == "manifest"
    finally:
        path.write_bytes(kept)


def test_a_removed_file_names_its_stage(run: Path, tmp_path: Path) -> None:
    for path in held(run):
        if path.name == "run.json":
            continue
        path.rename(tmp_path / "aside")
        found = failed_files(run)
        assert {check.stage for check in found} == {stage_of(str(path.relative_to(run)))}, path
        (tmp_path / "aside").rename(path)
    assert not failed_files(run)


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("documents/000009-00000000000000.parquet", "extract"),
        ("packs/000000-00000000000000-7.tar", "extract"),
        ("ended/000000-00000000000000.json", "extract"),
        ("images/fetch-00000-2.parquet", "fetch"),
        ("wanted/00009.parquet", "filter_text"),
        ("shards/train-00009.tar", "shard"),
        ("kept/x.parquet", "run"),
        ("notes.txt", "run"),
    ],
)
def test_a_file_that_no_stage_wrote_is_named(run: Path, name: str, stage: str) -> None:
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).write_bytes(b"stray")
    (check,) = failed_files(run)
    assert (check.stage, check.kind) == (stage, "strays")
    assert name in check.note


@pytest.mark.parametrize("folder", WRITTEN_BY)
def test_what_stands_behind_a_damaged_stage_is_not_counted_on(run: Path, folder: str) -> None:
    stage = WRITTEN_BY[folder]
    path = sorted((run / folder).iterdir())[0]
    path.write_bytes(b"PAR1 and nothing of the kind PAR1")
    found = verify(str(run), inputs=False)
    assert found.stages == (stage,)
    left = [check.stage for check in found.not_counted if "which is not as it was" in check.note]
    assert left == [*NAMES[NAMES.index(stage) :]]


@pytest.mark.parametrize("stage", NAMES)
@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff\xfe"])
def test_a_damaged_manifest_names_itself(run: Path, stage: str, data: bytes) -> None:
    path = run / f"{stage}.manifest.json"
    path.write_bytes(data)
    (check,) = failed_files(run)
    assert check.stage == stage
    assert str(path) in check.note


@pytest.mark.parametrize("stage", NAMES)
def test_a_changed_number_or_setting_of_a_manifest_is_named(run: Path, stage: str) -> None:
    def count_one_more(manifest: dict[str, Any]) -> None:
        name = next(name for name in sorted(manifest["counts"]) if ".seen" in name)
        manifest["counts"][name] += 1

    kept = (run / f"{stage}.manifest.json").read_bytes()
    for change in (
        count_one_more,
        lambda manifest: manifest.update(fingerprint="0" * 32),
        lambda manifest: manifest["settings"].update(more=1),
        lambda manifest: manifest["versions"].update(interloom="9"),
        lambda manifest: manifest.update(format_version=99),
        lambda manifest: manifest.update(parts=99),
    ):
        edit_manifest(run, stage, change)
        assert {check.stage for check in failed_files(run)} == {stage}
        (run / f"{stage}.manifest.json").write_bytes(kept)


def test_a_table_that_names_a_file_outside_of_the_run_is_refused(run: Path) -> None:
    def lead_out(rows: Rows) -> None:
        rows[1]["files"][0]["path"] = "../secret.parquet"

    rewrite(run / "filter_images.parts.parquet", lead_out)
    (check,) = failed_files(run)
    assert check.stage == "filter_images"
    assert "'../secret.parquet', which no run writes" in check.note


def test_settings_that_were_changed_since_are_named(run: Path) -> None:
    """A run that was started with another recipe, and ended before its stages were done again."""
    read = read_run(str(run))
    text = run_text(crawl_of(read), replace(settings_of(read), heldout=0.3))
    (run / "run.json").write_text(text)
    (check,) = failed_files(run)
    assert check.stage == "shard"
    assert "give the command of the run again" in check.note


def test_a_run_that_was_killed_is_unfinished_and_nothing_is_to_be_removed(run: Path) -> None:
    (run / "shard.manifest.json").unlink()
    (run / "shard.parts.parquet").unlink()
    found = verify(str(run), inputs=False)
    assert found.stages == ("shard",)
    (check,) = found.failed
    assert "shard is unfinished" in check.note
    assert "remove" not in remedy(found)


@pytest.mark.parametrize(
    ("folder", "stage"),
    [("verdicts/extract", "extract"), ("packs", "extract"), ("kept", "filter_images"),
     ("tables/drops", "shard"), ("index", "shard"), ("wanted", "filter_text")],
)  # fmt: skip
def test_what_it_says_to_remove_brings_all_back(
    run: Path, whole_run: Path, folder: str, stage: str, rerun: Callable[[Path], object]
) -> None:
    path = sorted((run / folder).iterdir())[0]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    names = _to_remove(verify(str(run), inputs=False))
    assert {f"{folder}/{path.name}", f"{stage}.manifest.json"} <= {*names}
    for name in names:
        (run / name).unlink()
    rerun(run)
    assert verify(str(run), inputs=False).ok
    for path in held(whole_run):
        assert (run / path.relative_to(whole_run)).read_bytes() == path.read_bytes(), path


@pytest.mark.parametrize("stage", ["extract", "shard"])
def test_a_lost_parts_table_is_named_and_made_again(
    run: Path, whole_run: Path, stage: str, rerun: Callable[[Path], object]
) -> None:
    (run / f"{stage}.parts.parquet").unlink()
    (check,) = [check for check in failed_files(run) if check.stage == stage]
    assert f"{stage}.parts.parquet is missing: remove {stage}.manifest.json" in check.note
    rerun(run)
    for path in held(whole_run):
        assert (run / path.relative_to(whole_run)).read_bytes() == path.read_bytes(), path


def test_what_a_killed_run_was_writing_is_no_stray(run: Path) -> None:
    path = next((run / "documents").iterdir())
    path.with_name(f"{path.name}.aside-{'0' * 32}").write_bytes(b"half")
    assert not failed_files(run)


def _to_remove(found: Verification) -> list[str]:
    assert any(check.kind == FILES for check in found.failed)
    text = remedy(found).partition("remove ")[2].partition(", give the command")[0]
    return text.split(", ")
