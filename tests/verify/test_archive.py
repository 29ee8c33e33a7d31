"""Tars of a run that lie about their sizes end the look at them; what is wrong is told."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from pipeline.verify import archive
from tests.training.lies import SIZE, change_header, write_tar

HELD = [("a.json", b"x" * 700), ("a.jpg", b"y" * 600), ("b.json", b"z")]


@pytest.mark.parametrize("size", [b"\xff" * 10 + b"\xfe\0", b"-0000001000\0", b"77777777777\0"])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_size_that_cannot_be_is_told_and_not_followed(
    tmp_path: Path, size: bytes, number: int
) -> None:
    tar, odd = tmp_path / "train-00000.tar", list[str]()
    write_tar(tar, HELD)
    assert [info.name for info, _ in archive.members(str(tar), odd)] == [
        "a.json",
        "a.jpg",
        "b.json",
    ]
    assert not odd
    change_header(tar, number, SIZE, size)
    if number == 0:
        with pytest.raises(tarfile.ReadError):
            list(archive.members(str(tar), odd))
        return
    assert [data for _, data in archive.members(str(tar), odd)] == [
        body for _, body in HELD[:number]
    ]
    assert any("negative" in one or "but the tar ends at" in one for one in odd)
