"""No byte of a run is changed unseen, but for what a report and a host file say in words."""

from __future__ import annotations

import io
import json
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.stages import NAMES
from pipeline.store import parquet
from pipeline.verify import Verification, verify
from pipeline.verify.files import stage_of
from schemas.tables import COUNTS_KEY
from tests.verify.damage import edit_manifest, first_tar, parts

Damage = Callable[[bytes, int], bytes]


def verified(run: Path) -> Verification:
    return verify(str(run), inputs=False)


@pytest.fixture(scope="module")
def scratch(whole_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("bytes") / "run"
    shutil.copytree(whole_run, copy)
    return copy


def named(found: Verification, path: Path) -> Iterator[str]:
    """Stages that failed with this file among what they name."""
    for check in found.failed:
        if path.stem in f"{check.counted_in} {check.held_against} {check.note}":
            yield check.stage


DAMAGES: dict[str, Damage] = {
    "a flipped bit": lambda data, at: data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :],
    "a flipped high bit": lambda data, at: data[:at] + bytes([data[at] ^ 128]) + data[at + 1 :],
    "a byte less": lambda data, at: data[:at] + data[at + 1 :],
    "a byte more": lambda data, at: data[:at] + b"\0" + data[at:],
    "an early end": lambda data, at: data[:at],
    "zeros at the end": lambda data, _at: data + bytes(512),
}


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_damage_to_a_table_tar_or_manifest_is_called_balanced(
    scratch: Path, data: st.DataObject
) -> None:
    kinds = ("*.parquet", "*.tar", "*.manifest.json")
    files = sorted(path for kind in kinds for path in scratch.rglob(kind))
    assert len(files) > 50
    path = data.draw(st.sampled_from(files))
    kept = path.read_bytes()
    at = data.draw(st.integers(0, len(kept) - 1))
    path.write_bytes(data.draw(st.sampled_from(sorted(DAMAGES.items())))[1](kept, at))
    try:
        found = verified(scratch)
        assert stage_of(str(path.relative_to(scratch))) in {*named(found, path)}, found.failed
    finally:
        path.write_bytes(kept)


def last_bytes_of_columns(path: Path) -> list[int]:
    """Where the pages of each column end, by the places that the footer tells."""
    group = pq.ParquetFile(path).metadata.row_group(0)
    return [
        (column.dictionary_page_offset or column.data_page_offset)
        + column.total_compressed_size
        - 1
        for column in map(group.column, range(group.num_columns))
    ]


def test_each_column_of_a_table_carries_a_checksum(run: Path) -> None:
    path = next(parts(run, "documents"))
    kept, places = path.read_bytes(), last_bytes_of_columns(path)
    assert len(places) > 30
    for place in places[::4]:
        path.write_bytes(DAMAGES["a flipped bit"](kept, place))
        found = verified(run)
        assert found.stages == ("extract",)
        assert any("checksum" in c.note and path.stem in c.note for c in found.failed)


def test_a_reader_names_the_damaged_file_and_what_to_do(run: Path) -> None:
    path = next(parts(run, "documents"))
    place = last_bytes_of_columns(path)[0]
    path.write_bytes(DAMAGES["a flipped bit"](path.read_bytes(), place))
    with pytest.raises(parquet.DamagedFileError, match=f"{path} is damaged .*CRC.*: remove it"):
        list(parquet.read_rows(str(path)))


def test_the_error_of_a_damaged_file_comes_back_from_a_worker() -> None:
    error = pickle.loads(pickle.dumps(parquet.DamagedFileError("a/b.parquet", "no end")))
    assert str(error).startswith("a/b.parquet is damaged (no end): remove it")


def test_files_of_another_pyarrow_are_not_counted_rather_than_found_wrong(run: Path) -> None:
    edit_manifest(run, "shard", lambda told: told["versions"].update(pyarrow="1.0"))
    found = verified(run)
    (check,) = [c for c in found.not_counted if c.kind == "files as their rows are packed"]
    assert "pyarrow 1.0 wrote them" in check.note


@pytest.mark.parametrize(
    ("folder", "stage"),
    [
        ("documents", "extract"),
        ("wanted", "filter_text"),
        ("verdicts/filter_text", "filter_text"),
        ("kept", "filter_images"),
        ("tables/documents", "shard"),
        ("tables/drops", "shard"),
    ],
)
def test_another_name_or_number_in_a_mark_is_found(run: Path, folder: str, stage: str) -> None:
    path = next(parts(run, folder))
    kept = path.read_bytes()
    mark = parquet.read_mark(str(path), part="")
    assert mark is not None
    counts = dict(mark.counts)
    assert 0 not in counts.values()  # their names could not be held against anything
    wrong = [counts | {"x": 0}, counts | {"x": 1}]
    if counts:
        (name, n), *others = counts.items()
        wrong += [{f"{name[:-1]}~": n, **dict(others)}, counts | {name: n + 1}, counts | {name: 0}]
    for told in wrong:
        _write_mark(path, kept, told)
        assert verified(run).stages == (stage,), told
    path.write_bytes(kept)
    assert verified(run).ok


def _write_mark(path: Path, whole: bytes, counts: dict[str, int]) -> None:
    """The file with another mark, written past the writer, which would leave zeros out."""
    with pq.ParquetFile(io.BytesIO(whole)) as file, path.open("wb") as out:
        mark = {**file.metadata.metadata, COUNTS_KEY: json.dumps(counts).encode()}
        del mark[b"ARROW:schema"]
        with parquet.open_writer(out, file.schema_arrow.remove_metadata()) as writer:
            for group in range(file.num_row_groups):
                writer.write_table(file.read_row_group(group))
            writer.add_key_value_metadata(mark)


@pytest.mark.parametrize("more", [b"x", b"\0", b"x" * 10_240, bytes(10_240)])
@pytest.mark.parametrize("folder", ["shards", "packs"])
def test_bytes_behind_the_end_of_a_tar_are_found(run: Path, folder: str, more: bytes) -> None:
    path = sorted((run / folder).glob("*.tar"))[0]
    path.write_bytes(path.read_bytes() + more)
    found = verified(run)
    assert found.stages == ({"shards": "shard", "packs": "extract"}[folder],)
    assert any("behind the last member" in c.note and path.stem in c.note for c in found.failed)


def test_padding_that_is_not_zero_is_found(run: Path) -> None:
    path = first_tar(run)
    data = bytearray(path.read_bytes())
    size = int(data[124:135], 8)  # of the first member, in its header
    data[512 + size] ^= 1
    path.write_bytes(data)
    assert any("padding behind" in check.note for check in verified(run).failed)


@pytest.mark.parametrize("name", ["report.html", "README.md"])
@pytest.mark.parametrize("keep", [0, 1, -2])
def test_a_report_or_card_that_is_cut_off_names_shard(run: Path, name: str, keep: int) -> None:
    path = run / name
    path.write_bytes(path.read_bytes()[:keep])
    found = verified(run)
    assert found.stages == ("shard",)
    assert any(name in check.counted_in for check in found.failed)


@pytest.mark.parametrize(
    ("name", "told", "other"),
    [
        ("report.html", "4 <small>of 9 pages", "5 <small>of 9 pages"),
        ("report.html", '<td class="number">9</td>', '<td class="number">8</td>'),
        ("report.html", '<th scope="row">special characters</th>', '<th scope="row">noai</th>'),
        ("report.html", "data:image/jpeg;base64,/9j/", "data:image/jpeg;base64,/9k/"),
        ("README.md", "| train | ", "| train | 1"),
        ("README.md", "documents     9", "documents     8"),
        ("README.md", "dtype: int64", "dtype: int32"),
        ("README.md", "path: shards/train-*.tar", "path: shard/train-*.tar"),
        ("README.md", "name: 001.png", "name: 002.png"),
    ],
)
def test_a_page_that_tells_other_numbers_or_columns_names_shard(
    run: Path, name: str, told: str, other: str
) -> None:
    text = (run / name).read_text()
    assert told in text
    (run / name).write_text(text.replace(told, other, 1))
    found = verified(run)
    assert found.stages == ("shard",)
    assert any(name in check.note for check in found.failed)


NOT_JSON = [b"", b"{", b"[]", b"null", b'"run"', b"\xff\xfe"]


@pytest.mark.parametrize("data", NOT_JSON)
def test_a_damaged_run_json_is_named_with_what_to_do(run: Path, data: bytes) -> None:
    (run / "run.json").write_bytes(data)
    with pytest.raises(ValueError, match=rf"{run}/run.json is (damaged|of format)"):
        verified(run)


@pytest.mark.parametrize("name", ["crawl", "settings"])
def test_a_run_json_without_its_parts_is_named(run: Path, name: str) -> None:
    path = run / "run.json"
    told = json.loads(path.read_text())
    for wrong in (None, [1], "x"):
        path.write_text(json.dumps(told | {name: wrong}))
        with pytest.raises(ValueError, match=f"{path} is damaged"):
            verified(run)


def test_another_byte_in_run_json_is_found(run: Path) -> None:
    path = run / "run.json"
    path.write_bytes(path.read_bytes() + b" ")
    found = verified(run)
    assert found.stages == ("run",)
    assert any("run.json" in check.counted_in for check in found.failed)


@pytest.mark.parametrize("stage", NAMES)
@pytest.mark.parametrize("data", NOT_JSON)
def test_a_damaged_manifest_names_itself_and_its_stage(run: Path, stage: str, data: bytes) -> None:
    path = run / f"{stage}.manifest.json"
    path.write_bytes(data)
    found = verified(run)
    assert found.stages == (stage,)
    assert any(str(path) in check.note for check in found.failed)


@pytest.mark.parametrize("stage", NAMES)
def test_a_damaged_parts_table_names_itself_and_its_stage(run: Path, stage: str) -> None:
    path = run / f"{stage}.parts.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    found = verified(run)
    assert found.stages == (stage,)
    assert any(str(path) in check.note for check in found.failed)


def test_a_host_file_that_cannot_be_read_is_named(run: Path) -> None:
    (run / "fetch.host.json").write_text("{")
    found = verified(run)
    assert found.stages == ("fetch",)
    assert any("fetch.host.json" in check.counted_in for check in found.failed)
