"""Headers of tars: honest ones as Python's tarfile reads them, lying ones refused at their byte."""

from __future__ import annotations

import gzip
import io
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import BinaryIO, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.tar import BLOCK, LONGEST, BrokenTarError, TarMember, members
from tests.training.lies import SIZE, change_header, summed

FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def read(body: bytes) -> list[TarMember]:
    return list(members(io.BytesIO(body), size=len(body)))


def theirs(body: bytes) -> list[tuple[str, int, int]]:
    with tarfile.open(fileobj=io.BytesIO(body)) as opened:
        return [(one.name, one.offset_data, one.size) for one in opened if one.isfile()]


def ours(body: bytes) -> list[tuple[str, int, int]]:
    return [(one.name, one.offset, one.size) for one in read(body) if one.is_file]


def written(names: list[tuple[str, int, bytes]], form: int) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w", format=form) as opened:
        for name, size, kind in names:
            info = tarfile.TarInfo(name)
            info.size, info.type = (size if kind in (b"0", b"7") else 0), kind
            info.linkname = "a" if kind in (b"1", b"2") else ""
            opened.addfile(info, io.BytesIO(bytes([size % 256]) * info.size))
    return held.getvalue()


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)
PATHS = st.one_of(NAMES, st.builds("{0}/{1}.{1}".format, NAMES, NAMES), NAMES.map(lambda n: n * 90))
MEMBERS = st.tuples(
    PATHS, st.integers(0, 1_500), st.sampled_from([*b"0712356"]).map(lambda n: bytes([n]))
)


@given(st.lists(MEMBERS, max_size=6), st.sampled_from(FORMATS[1:]))
def test_members_are_those_of_tarfile(names: list[tuple[str, int, bytes]], form: int) -> None:
    body = written(names, form)
    assert ours(body) == theirs(body)


def test_names_that_a_ustar_header_cuts_in_two_are_put_together() -> None:
    body = written([("a" * 90 + "/" + "b" * 90, 3, b"0")], tarfile.USTAR_FORMAT)
    assert ours(body) == theirs(body) == [("a" * 90 + "/" + "b" * 90, BLOCK, 3)]


def test_pax_records_of_all_members_and_a_size_in_them_are_read() -> None:
    held = io.BytesIO()
    records = {"comment": "as git archive writes it"}
    with tarfile.open(
        fileobj=held, mode="w", format=tarfile.PAX_FORMAT, pax_headers=records
    ) as tar:
        info = tarfile.TarInfo("a")
        info.size, info.pax_headers = 9, {"size": "9", "note": "two\nlines=of text"}
        tar.addfile(info, io.BytesIO(bytes(9)))
    assert ours(held.getvalue()) == theirs(held.getvalue())
    assert [name for name, _, _ in ours(held.getvalue())] == ["a"]


@pytest.mark.skipif(shutil.which("tar") is None, reason="there is no tar here")
@pytest.mark.parametrize(
    "options", [[], ["--format=posix"], ["--format=gnu"], ["--format=v7"], ["-b", "2000"]]
)
def test_what_gnu_tar_writes_is_read(tmp_path: Path, options: list[str]) -> None:
    folder = tmp_path / "in" / "folder"
    folder.mkdir(parents=True)
    for number in range(3):
        (folder / f"{number}{'x' * 40 * number}.json").write_bytes(b"x" * 700 * number)
    (folder / "link").symlink_to("0.json")
    tar = tmp_path / "a.tar"
    subprocess.run(["tar", "-C", tmp_path / "in", *options, "-cf", tar, "folder"], check=True)
    assert len(ours(tar.read_bytes())) == 3
    assert ours(tar.read_bytes()) == theirs(tar.read_bytes())


def test_a_size_of_more_than_8_gib_is_read_from_bytes_and_from_records() -> None:
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        info = tarfile.TarInfo("a")
        info.size = 9 << 30
        head = info.tobuf(form)
        with pytest.raises(BrokenTarError, match="has 9,663,676,416 bytes, but the tar ends at"):
            read(head)
        (found,) = list(members(_Endless(head), size=10 << 30))
        assert found.size == 9 << 30


class _Endless(io.BytesIO):
    """A stream that says it can go anywhere; nothing is there."""

    def seek(self, at: int, whence: int = 0, /) -> int:
        super().seek(at, whence)
        return at


def test_a_compressed_stream_is_read_once_and_its_end_is_seen() -> None:
    body = written([("a", 10, b"0"), ("b", 2_000, b"0")], tarfile.GNU_FORMAT)
    with gzip.open(io.BytesIO(gzip.compress(body))) as stream:
        assert [one.name for one in members(cast("BinaryIO", stream))] == ["a", "b"]
    cut = pytest.raises(BrokenTarError, match="it ends before byte 3,584")
    with gzip.open(io.BytesIO(gzip.compress(body[:2_100]))) as stream, cut:
        list(members(cast("BinaryIO", stream)))


def test_a_tar_without_the_blocks_that_close_it_is_read_to_its_end() -> None:
    body = written([("a", 10, b"0")], tarfile.GNU_FORMAT)[: 2 * BLOCK]
    assert [one.name for one in read(body)] == ["a"]
    assert read(b"") == []


def refused(body: bytes, match: str) -> None:
    with pytest.raises(BrokenTarError, match=match):
        read(body)


@pytest.mark.parametrize("at", [0, BLOCK])
def test_a_block_that_is_no_header_is_told_by_its_byte(at: int) -> None:
    body = bytearray(written([("a", 0, b"0"), ("b", 0, b"0")], tarfile.GNU_FORMAT))
    body[at] ^= 1
    refused(bytes(body), f"at byte {at} there is no header")
    refused(bytes(body[: at + 100]), f"at byte {at} there is no header")


def test_a_sparse_file_is_refused_with_what_to_do() -> None:
    head = tarfile.TarInfo("a").tobuf(tarfile.GNU_FORMAT)
    refused(summed(head[:156] + b"S" + head[157:]), "is stored sparse: write the tar without")


def test_long_names_and_records_without_end_are_not_read() -> None:
    for kind in (b"L", b"K", b"x", b"g", b"X"):
        info = tarfile.TarInfo("a")
        info.size, info.type = LONGEST + 1, kind
        refused(info.tobuf(tarfile.GNU_FORMAT), "1,048,577 bytes of names and attributes, over the")
        info.size = 600
        refused(info.tobuf(tarfile.GNU_FORMAT) + b"9 a=b\n", "it ends at byte 518, within names")


RECORDS = [
    b"no records", b"0 a=b\n", b"5 a=b\n", b"99 a=b\n", b"-6 a=b\n", b"6 a=bb\n", b"3 a=b\n",
    b"9999999999 a=b\n", b"7 abcd\n",
]  # fmt: skip


@pytest.mark.parametrize("records", RECORDS)
def test_records_that_are_none_are_refused(records: bytes) -> None:
    info = tarfile.TarInfo("a")
    info.size, info.type = len(records), b"x"
    refused(info.tobuf(tarfile.GNU_FORMAT) + records.ljust(BLOCK, b"\0"), "its records at byte 512")


def test_many_headers_without_a_member_take_no_stack() -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type = b"L"
    assert read(info.tobuf(tarfile.GNU_FORMAT) * 20_000) == []


def test_a_header_with_another_size_is_followed_to_where_it_leads(tmp_path: Path) -> None:
    """What is there is no header, and so it is told, not skipped."""
    (tmp_path / "a.tar").write_bytes(
        written([("a", 600, b"0"), ("b", 9, b"0")], tarfile.GNU_FORMAT)
    )
    change_header(tmp_path / "a.tar", 0, SIZE, b"00000000001\0")
    refused((tmp_path / "a.tar").read_bytes(), "at byte 1,024 there is no header")
