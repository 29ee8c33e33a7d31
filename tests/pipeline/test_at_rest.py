"""Files at rest: whole or absent, with their mark inside; packs that hold bytes once."""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path

import pytest

from pipeline.store import parquet, store
from pipeline.store.packs import PackReader, PackWriter
from schemas.manifest import PartResult
from schemas.tables import WANTED

ROW = {"url": "https://a.org/1.jpg", "sha256": "0" * 64, "date": "2024-01-01T00:00:00Z"}


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    with store.create(str(path)) as handle:
        handle.write(b"half")
        assert not path.exists()
    assert path.read_bytes() == b"half"
    assert store.listing(str(tmp_path)) == [str(path)]


def test_of_a_file_whose_writing_failed_nothing_is_left(tmp_path: Path) -> None:
    path = tmp_path / "b"
    path.write_bytes(b"before")
    with pytest.raises(ZeroDivisionError), store.create(str(path)) as handle:
        handle.write(bytes(1 // 0))
    assert path.read_bytes() == b"before"
    assert store.listing(str(tmp_path)) == [str(path)]


def test_a_part_carries_its_fingerprint_and_counts(tmp_path: Path) -> None:
    path = str(tmp_path / "wanted.parquet")
    assert parquet.read_mark(path, part="p") is None
    parquet.write_rows(path, WANTED, [ROW] * 1_200, fingerprint="f" * 32, counts={"n": 3})
    mark = parquet.read_mark(path, part="p")
    assert mark is not None
    assert (mark.part, mark.fingerprint, mark.counts) == ("p", "f" * 32, {"n": 3})
    assert list(parquet.read_rows(path)) == [ROW] * 1_200


def test_a_part_is_whole_with_its_fingerprint_and_all_its_files(tmp_path: Path) -> None:
    files, path = store.PartFiles(str(tmp_path)), str(tmp_path / "wanted" / "p.parquet")
    pack = tmp_path / "packs" / "p-0.tar"
    store.write_bytes(str(pack), b"bytes", files)
    parquet.write_rows(path, WANTED, [ROW], fingerprint="f", counts={"n": 3}, files=files)

    def whole(fingerprint: str) -> PartResult | None:
        return parquet.read_whole(path, part="p", fingerprint=fingerprint, output=str(tmp_path))

    part = whole("f")
    assert part is not None
    assert part.counts == {"n": 3}
    assert part.files == files.stored
    assert [file.path for file in files.stored] == ["packs/p-0.tar", "wanted/p.parquet"]
    for file in files.stored:
        data = (tmp_path / file.path).read_bytes()
        assert (file.bytes, file.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert whole("another") is None
    for damaged in (b"byte", b"BYTES"):
        pack.write_bytes(damaged)
        assert whole("f") is None
    pack.unlink()
    assert whole("f") is None


def test_rows_that_are_told_to_be_large_are_written_and_read_in_smaller_groups(
    tmp_path: Path,
) -> None:
    path = str(tmp_path / "wanted.parquet")
    with parquet.Writer(path, WANTED, fingerprint="f") as writer:
        for _ in range(10):
            writer.add(ROW, size=parquet.GROUP_BYTES // 4)
    with parquet.open_file(path) as file:
        assert file.num_row_groups == 2
    assert list(parquet.read_rows(path)) == [ROW] * 10


def test_a_part_that_failed_half_way_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "wanted.parquet"
    writing = parquet.Writer(str(path), WANTED, fingerprint="f")
    with pytest.raises(ZeroDivisionError), writing as writer:
        writer.add(ROW | {"url": 1 // 0})
    assert list(tmp_path.iterdir()) == []


def test_a_column_that_was_never_measured_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="null"):
        parquet.write_rows(str(tmp_path / "x"), WANTED, [ROW | {"sha256": None}], fingerprint="f")
    assert list(tmp_path.iterdir()) == []


def test_equal_bytes_lie_in_a_pack_once_and_any_tar_reader_finds_them(tmp_path: Path) -> None:
    images = [bytes([number]) * (700 * number + 1) for number in range(5)]
    with PackWriter(str(tmp_path), "part", limit=3_000) as packs:
        places = [
            packs.add(data, sha256=hashlib.sha256(data).hexdigest(), extension="jpg")
            for data in [*images, images[0]]
        ]
    assert places[0] == places[-1]
    assert len({pack for pack, _ in places}) == packs.count == len(list(tmp_path.iterdir())) > 1
    reader = PackReader(str(tmp_path))
    for data, (pack, offset) in zip(images, places, strict=False):
        assert reader.read(pack, offset, len(data)) == data
    reader.close()
    found = []
    for path in sorted(tmp_path.iterdir()):
        with tarfile.open(path) as tar:
            found += [tar.extractfile(one).read() for one in tar.getmembers()]  # type: ignore[union-attr]
    assert found == images


def test_a_pack_that_ends_too_early_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "p.tar").write_bytes(b"x" * 600)
    reader = PackReader(str(tmp_path))
    with pytest.raises(ValueError, match=r"p\.tar ends before 700"):
        reader.read("p.tar", 512, 188)
    reader.close()


def test_one_run_at_a_time_works_in_a_folder(tmp_path: Path) -> None:
    second = store.held(str(tmp_path))
    with store.held(str(tmp_path)), pytest.raises(ValueError, match="another run is at work"):
        second.__enter__()
    with store.held(str(tmp_path)):
        assert list(tmp_path.iterdir()) == []
