"""Folders of shards are checked before anything is trained on them, wherever they lie."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec  # type: ignore[import-untyped]
import pyarrow.parquet as pq
import pytest

from tests.training.shards import Document, picture, prose, small_tokenizer, write_run
from tests.training.stream.stores import web_store
from training.data import sources
from training.data.counts import count_sources, find_counts, samples_of
from training.data.sources import open_source

DOCUMENTS: list[Document] = [[prose(8, seed=n), picture(20, 16, colour=n)] for n in range(5)]
HELDOUT: list[Document] = [["Held out.", picture(9, 9)]]
REMEDY = "copy the tar again, or remove its index"


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("INTERLOOM_CACHE", str(folder))
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_run(tmp_path / "run", DOCUMENTS, shards=2, heldout=HELDOUT, manifest=True)
    return tmp_path / "run"


@pytest.fixture
def bare(run: Path, tmp_path: Path) -> Path:
    """The tars alone."""
    return Path(shutil.copytree(run / "shards", tmp_path / "bare"))


def test_shards_are_told_apart_by_their_names(run: Path) -> None:
    train, heldout = open_source(str(run)), open_source(str(run), split="heldout")
    assert [shard.name for shard in train.shards] == ["train-00000", "train-00001"]
    assert [shard.name for shard in heldout.shards] == ["heldout-00000"]
    assert (train.samples, heldout.samples) == (len(DOCUMENTS), 1)


@pytest.mark.parametrize("ending", ["", "/", "/shards", "/shards/"])
def test_a_run_is_found_by_its_folder_or_that_of_its_tars(run: Path, ending: str) -> None:
    source = open_source(f"{run}{ending}")
    assert [Path(shard.index).parent for shard in source.shards] == [run / "index"] * 2


def test_a_plain_folder_may_have_the_index_right_beside_each_tar(run: Path, bare: Path) -> None:
    for index in (run / "index").iterdir():
        shutil.copy(index, bare)
    source = open_source(str(bare))
    assert {Path(shard.index).parent for shard in source.shards} == {bare}
    assert not (bare / "index").exists()


def test_a_tar_without_an_index_gets_one_beside_it(run: Path, bare: Path) -> None:
    for shard in open_source(str(bare)).shards:
        assert Path(shard.index).parent == bare / "index"
        written = pq.read_table(run / "index" / f"{shard.name}.parquet")
        assert pq.read_table(shard.index).equals(written)


def test_where_nothing_can_be_written_beside_the_tars_the_index_goes_to_the_cache_folder(
    bare: Path, own_cache: Path
) -> None:
    (bare / "index").write_text("a file where the folder would be")
    for _ in range(2):
        source = open_source(str(bare))
        assert all(own_cache in Path(shard.index).parents for shard in source.shards)
        assert source.samples == len(DOCUMENTS)


def test_tars_of_webdataset_s_own_order_with_other_members_are_read(tmp_path: Path) -> None:
    """Its writer puts KEY.json behind the images, and others add members of their own."""
    write_run(tmp_path / "run", DOCUMENTS)
    with tarfile.open(tmp_path / "run" / "shards" / "train-00000.tar") as tar:
        members = [(info, tar.extractfile(info)) for info in tar]
        by_key: dict[str, list[tuple[tarfile.TarInfo, bytes]]] = {}
        for info, stream in members:
            assert stream is not None
            by_key.setdefault(info.name.partition(".")[0], []).append((info, stream.read()))
    (tmp_path / "other").mkdir()
    with tarfile.open(tmp_path / "other" / "part.tar", "w") as tar:
        for key, of_one in by_key.items():
            for info, data in of_one[::-1]:
                tar.addfile(info, io.BytesIO(data))
            more = tarfile.TarInfo(f"{key}.txt")
            more.size = 30_000
            tar.addfile(more, io.BytesIO(bytes(30_000)))
    source = open_source(str(tmp_path / "other"))
    assert [sample.key for sample in samples_of(source.shards[0])] == list(by_key)
    (row, *_) = pq.read_table(source.shards[0].index).to_pylist()
    assert [member["name"] for member in row["members"]] == ["json", "000.png", "txt"]


def test_an_image_member_that_is_missing_is_no_error_of_the_folder(
    run: Path, tmp_path: Path
) -> None:
    (tmp_path / "lacking").mkdir()
    with (
        tarfile.open(run / "shards" / "train-00000.tar") as whole,
        tarfile.open(tmp_path / "lacking" / "train-00000.tar", "w") as tar,
    ):
        for info in whole:
            if not info.name.endswith(".png"):
                tar.addfile(info, whole.extractfile(info))
    source = open_source(str(tmp_path / "lacking"))
    rows = pq.read_table(source.shards[0].index).to_pylist()
    assert [[one["name"] for one in row["members"]] for row in rows] == [["json"]] * len(rows)
    assert all(row["nodes"][1]["kind"] == "image" for row in rows)


def refused(folder: Path, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        open_source(str(folder))


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, "holds 0 tars, and at least 1 is needed")
    refused(tmp_path / "not" / "there", "holds 0 tars")


def test_a_folder_without_held_out_shards_is_refused_where_they_are_wanted(tmp_path: Path) -> None:
    write_run(tmp_path, DOCUMENTS)
    with pytest.raises(ValueError, match=r"1 tars, but 0 of them are heldout shards.*--heldout"):
        open_source(str(tmp_path), split="heldout")


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_a_weight_is_a_number_above_0(run: Path, weight: float) -> None:
    with pytest.raises(ValueError, match=f"is {weight}: choose a number above 0"):
        open_source(str(run), weight=weight)


def test_a_run_whose_shards_are_not_whole_is_refused(run: Path) -> None:
    (run / "shard.manifest.json").unlink()
    open_source(str(run))  # a copy of shards/ and index/ alone
    (run / "run.json").write_text("{}")
    refused(run, "0 whole shard stages.*interloom run")


def test_a_copy_that_lacks_a_shard_of_the_manifest_is_refused(run: Path) -> None:
    (run / "shards" / "train-00001.tar").unlink()
    refused(run, r"holds 2 tars, but its shard\.manifest\.json tells of 3")


def test_shards_of_another_format_version_are_refused(run: Path) -> None:
    manifest = run / "shard.manifest.json"
    other = manifest.read_text().replace('"format_version": 2', '"format_version": 3')
    manifest.write_text(other)
    refused(run, "format version 3, but this interloom reads 2: run the stage again")
    manifest.unlink()
    tar = run / "shards" / "train-00000.tar"
    tar.write_bytes(tar.read_bytes().replace(b'"format_version":1', b'"format_version":9'))
    refused(run, r"train-00000\.tar, sample .*format version 9, but this interloom reads 1")


def test_a_tar_cut_short_is_refused_with_its_index_and_without(run: Path, bare: Path) -> None:
    for folder in (run / "shards", bare):
        tar = folder / "train-00000.tar"
        tar.write_bytes(tar.read_bytes()[: end_of_members(tar) - 600])
    refused(run, rf"train-00000\.tar ends at byte .*, but its index .* goes to .*: {REMEDY}")
    refused(bare, r"train-00000\.tar (is cut short|of .* is no whole tar).*copy it again")


def end_of_members(tar: Path) -> int:
    with tarfile.open(tar) as opened:
        return max(info.offset_data + info.size for info in opened)


def test_a_tar_cut_between_two_members_is_refused_without_an_index(bare: Path) -> None:
    tar = bare / "train-00000.tar"
    with tarfile.open(tar) as opened:
        second = opened.getmembers()[2].offset
    tar.write_bytes(tar.read_bytes()[:second])
    refused(bare, r"train-00000\.tar is cut short: it ends at byte")


def test_an_index_of_another_tar_is_refused(run: Path) -> None:
    index = run / "index"
    shutil.copy(index / "train-00001.parquet", index / "train-00000.parquet")
    refused(run, rf"train-00000\.tar.*{REMEDY}")


def test_a_tar_that_goes_on_behind_its_index_is_refused(run: Path) -> None:
    """Behind its end, and in its place."""
    tar = run / "shards" / "train-00000.tar"
    body, end = tar.read_bytes(), end_of_members(tar)
    full = end + -end % 512
    for longer in (body + bytes(20_480) + b"x", body[:full] + body[:1024], body + bytes(2**23)):
        tar.write_bytes(longer)
        refused(run, rf"train-00000\.tar goes on to byte .* ends at .*: {REMEDY}")


def test_a_tar_of_large_records_is_read(run: Path, bare: Path) -> None:
    """`tar -b 2000` fills a tar up to a megabyte with zeros."""
    for folder in (run / "shards", bare):
        tar = folder / "train-00000.tar"
        tar.write_bytes(tar.read_bytes().ljust(1_024_000, b"\0"))
    assert open_source(str(run)).samples == open_source(str(bare)).samples > 0


def test_an_index_whose_offsets_are_another_s_is_refused(run: Path) -> None:
    path = run / "index" / "train-00000.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    rows[-1]["members"][-1]["offset"] -= 512
    pq.write_table(table.from_pylist(rows, table.schema), path)
    refused(run, rf"train-00000\.tar: its index .* does not fit it .*{REMEDY}")


def test_what_is_no_index_is_refused(run: Path) -> None:
    path = run / "index" / "train-00000.parquet"
    pq.write_table(pq.read_table(path, columns=["key"]), path)
    refused(run, "is no index: it lacks members; remove it")
    path.write_bytes(b"no Parquet")
    refused(run, "is no index .*: remove it")


def test_tars_of_other_things_than_samples_are_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "pairs.tar", "w") as tar:
        info = tarfile.TarInfo("a.jpg")
        tar.addfile(info)
    refused(tmp_path, r"pairs\.tar: sample a has 0 members a\.json")


@pytest.mark.parametrize("body", [b"[]", b"{}", b"not json", b'{"format_version":2}'])
def test_json_that_is_no_sample_is_refused(tmp_path: Path, body: bytes) -> None:
    with tarfile.open(tmp_path / "odd.tar", "w") as tar:
        info = tarfile.TarInfo("a.json")
        info.size = len(body)
        tar.addfile(info, io.BytesIO(body))
    refused(tmp_path, r"odd\.tar, sample a: ")


def test_a_tar_without_samples_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "empty.tar", "w"):
        pass
    refused(tmp_path, r"empty\.tar holds 0 samples, and at least 1 is needed")


@pytest.fixture
def memory(run: Path) -> Iterator[str]:
    """The run in an object store (fsspec's own, in memory)."""
    system = fsspec.filesystem("memory")
    system.put(str(run), "/bucket/run", recursive=True)
    yield "memory://bucket/run"
    system.rm("/bucket", recursive=True)


def test_shards_in_an_object_store_are_read_and_counted_there(
    memory: str, own_cache: Path, say: Callable[[str], None]
) -> None:
    source = open_source(memory)
    assert source.samples == len(DOCUMENTS)
    assert count_sources([source], small_tokenizer().encoder, "0" * 32) == len(DOCUMENTS)
    place = find_counts(source.shards[0], "0" * 32)
    assert place == f"memory://bucket/run/counts/{'0' * 32}/train-00000.parquet"
    assert not own_cache.exists()


def test_a_web_server_that_lists_no_folder_is_asked_for_what_the_run_wrote(
    run: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_listed", lambda _folder: {})
    files = {
        path.relative_to(run).as_posix(): path.read_bytes()
        for path in run.rglob("*")
        if path.is_file()
    }
    with web_store(files) as store:
        source = open_source(f"{store.root}")
        assert [shard.name for shard in source.shards] == ["train-00000", "train-00001"]
        assert [sample.key for sample in samples_of(source.shards[0])]
        count_sources([source], small_tokenizer().encoder, "0" * 32)
        place = find_counts(source.shards[0], "0" * 32)
        assert place is not None
        assert own_cache in Path(place).parents


def test_a_tar_that_ends_with_one_empty_block_is_refused_without_an_index(bare: Path) -> None:
    """As one that was cut between two samples in a file that was laid out beforehand."""
    tar = bare / "train-00000.tar"
    with tarfile.open(tar) as opened:
        second = opened.getmembers()[2].offset
    tar.write_bytes(tar.read_bytes()[:second] + bytes(512))
    refused(bare, r"train-00000\.tar is cut short: it ends at byte .* two empty blocks")


@pytest.mark.parametrize("at", [0, 1])
def test_an_index_that_tells_of_fewer_samples_than_were_written_is_refused(
    run: Path, at: int
) -> None:
    index = run / "index" / "train-00001.parquet"
    table = pq.read_table(index)
    assert open_source(str(run)).samples == len(DOCUMENTS)
    left = [row for row in range(table.num_rows) if row != at]
    pq.write_table(table.take(left), index)
    with pytest.raises(ValueError, match=rf"{table.num_rows - 1} samples, but the run wrote"):
        open_source(str(run))


def test_a_folder_called_like_a_tar_is_none(run: Path) -> None:
    (run / "shards" / "train-00009.tar").mkdir()
    assert len(open_source(str(run)).shards) == 2
