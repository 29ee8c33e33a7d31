"""Tars of img2dataset as they may come: compressed, cut short, or lying about what they hold."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.fetch import imported
from pipeline.fetch.imported import members
from tests.training.lies import SIZE, change_header, write_tar

URL = "https://example.org/{}.jpg"
IMAGES = [(URL.format(number), bytes([number + 1]) * 700) for number in range(3)]


@pytest.fixture
def tar(tmp_path: Path) -> Path:
    held = []
    for number, (url, body) in enumerate(IMAGES):
        held += [
            (f"{number:09d}.jpg", body),
            (f"{number:09d}.json", json.dumps({"url": url}).encode()),
            (f"{number:09d}.txt", b"a caption"),
        ]
    write_tar(tmp_path / "00000.tar", held)
    return tmp_path / "00000.tar"


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_images_come_with_their_urls_from_plain_and_compressed_tars(
    tar: Path, pack: Callable[[bytes], bytes]
) -> None:
    tar.write_bytes(pack(tar.read_bytes()))
    assert list(members(str(tar))) == IMAGES


def test_links_and_folders_among_the_members_are_passed_over(tar: Path) -> None:
    with tarfile.open(tar) as opened:
        streams = [(one, opened.extractfile(one)) for one in opened]
        held = [(one, io.BytesIO(stream.read())) for one, stream in streams if stream is not None]
    with tarfile.open(tar, "w") as opened:
        for kind in (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE):
            info = tarfile.TarInfo("000000000.jpg" if kind != tarfile.DIRTYPE else "images")
            info.type, info.linkname = kind, "000000001.jpg"
            opened.addfile(info)
        for info, stream in held:
            opened.addfile(info, stream)
    assert list(members(str(tar))) == IMAGES


def refused(tar: Path, match: str) -> None:
    with pytest.raises(ValueError, match=match) as told:
        list(members(str(tar)))
    assert str(tar) in str(told.value)
    assert "\n" not in str(told.value)


SIZES = [b"\xff" * 10 + b"\xfe\0", b"-0000001000\0", b"\x80" + b"\xff" * 11, b"77777777777\0"]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("number", [0, 1, 4])
def test_a_size_that_cannot_be_is_one_line(
    tar: Path, pack: Callable[[bytes], bytes], size: bytes, number: int
) -> None:
    change_header(tar, number, SIZE, size)
    tar.write_bytes(pack(tar.read_bytes()))
    refused(tar, "cannot be read as a tar of img2dataset .*: copy it again, or leave it out")


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("cut", [0.2, 0.35, 0.5])
def test_a_tar_that_is_cut_short_is_one_line_before_and_after_it_was_packed(
    tar: Path, pack: Callable[[bytes], bytes], cut: float
) -> None:
    whole = tar.read_bytes()[: 12 * 512]
    tar.write_bytes(pack(whole[: int(len(whole) * cut)]))
    refused(tar, "cannot be read as a tar")
    packed = pack(whole)
    tar.write_bytes(packed[: int(len(packed) * cut)])
    refused(tar, "cannot be read as a tar")


@pytest.mark.parametrize("body", [b"no tar at all", b"\x1f\x8b\x08no gzip", b"\0" * 100, b"BZh9x"])
def test_what_is_no_tar_is_one_line(tar: Path, body: bytes) -> None:
    tar.write_bytes(body.ljust(700, b"x"))
    refused(tar, "cannot be read as a tar")


TOLD = [
    b"[" * 200_000, b'{"url":' * 200_000, b'{"url": "https://a.example/\\ud800"}', b"", b"{}",
    b'{"url": ""}', b'{"url": NaN}', b'{"url": [1]}', b"\xff", b'{"url": %s}' % (b"9" * 5_000),
]  # fmt: skip


@pytest.mark.parametrize("told", TOLD, ids=range(len(TOLD)))
def test_json_that_tells_no_url_leaves_its_image_without_one(tar: Path, told: bytes) -> None:
    write_tar(tar, [("0.json", told), ("0.jpg", b"image"), ("1.jpg", b"another")])
    assert list(members(str(tar))) == [("", b"image"), ("", b"another")]


def test_of_members_that_are_too_large_no_more_is_read_than_is_needed_to_refuse_them(
    tar: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imported, "IMAGE_BYTES", 600)
    assert list(members(str(tar))) == [(url, body[:600]) for url, body in IMAGES]
    monkeypatch.setattr(imported, "JSON_BYTES", 10)
    assert list(members(str(tar))) == [("", body[:600]) for _, body in IMAGES]


def test_an_empty_tar_has_no_images(tar: Path) -> None:
    held = io.BytesIO()
    tarfile.open(fileobj=held, mode="w").close()
    tar.write_bytes(held.getvalue())
    assert list(members(str(tar))) == []
