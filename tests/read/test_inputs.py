"""Inputs: every way to name a crawl, each file once, and what cannot work refused at once."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.read.inputs import expand
from pipeline.store.raw import open_raw
from tests.read.web_server import Web, serving


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "crawl" / "deep").mkdir(parents=True)
    for name in ("b.warc.gz", "a.warc", "c.arc.gz", "d.warc.wet.gz", "notes.txt", "deep/e.warc.gz"):
        (tmp_path / "crawl" / name).write_bytes(b"x")
    return tmp_path


def test_a_folder_names_its_crawl_files_in_the_order_of_their_bytes(folder: Path) -> None:
    names = ("a.warc", "b.warc.gz", "c.arc.gz", "d.warc.wet.gz")

    assert expand(["crawl"]) == tuple(f"crawl/{name}" for name in names)
    assert expand([str(folder / "crawl")]) == tuple(f"{folder}/crawl/{name}" for name in names)


def test_a_file_is_named_as_given_whatever_it_is_called(folder: Path) -> None:
    assert expand(["crawl/notes.txt", "./crawl/a.warc"]) == ("./crawl/a.warc", "crawl/notes.txt")
    assert expand([f"file://{folder}/crawl/a.warc"]) == (f"file://{folder}/crawl/a.warc",)


def test_a_glob_may_go_deep(folder: Path) -> None:
    assert expand(["crawl/*.gz"]) == ("crawl/b.warc.gz", "crawl/c.arc.gz", "crawl/d.warc.wet.gz")
    assert "crawl/deep/e.warc.gz" in expand(["crawl/**/*.warc.gz"])


def test_a_file_with_marks_of_a_glob_in_its_name_is_a_file(folder: Path) -> None:
    (folder / "odd[1].warc").write_bytes(b"x")

    assert expand(["odd[1].warc"]) == ("odd[1].warc",)


def test_an_input_named_twice_is_one_and_the_order_of_arguments_is_none(folder: Path) -> None:
    forth = expand(["crawl/a.warc", "crawl", "crawl/*.warc", "crawl/notes.txt"])
    back = expand(["crawl/notes.txt", "crawl/*.warc", "crawl", "crawl/a.warc"])

    assert forth == back
    assert len(forth) == len(set(forth)) == 5


def test_names_are_ordered_by_their_bytes() -> None:
    with serving(Web(files=dict.fromkeys(("/b", "/A", "/é", "/~"), b"x"))) as web:
        asked = [web.url + name for name in ("b", "A", "~")]
        assert expand(asked) == (web.url + "A", web.url + "b", web.url + "~")


@pytest.mark.parametrize("name", ["crawl.paths", "warc.paths.gz"])
def test_a_list_names_a_path_a_line_below_the_base(folder: Path, name: str) -> None:
    lines = (
        "# a crawl\ncrawl-data/2.warc.gz\r\n\ncrawl-data/1.warc.gz\ns3://b/3.warc.gz\n/abs.warc\n"
    )
    text = lines.encode()
    (folder / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)

    assert expand([name], base="https://data.commoncrawl.org/") == (
        "/abs.warc",
        "https://data.commoncrawl.org/crawl-data/1.warc.gz",
        "https://data.commoncrawl.org/crawl-data/2.warc.gz",
        "s3://b/3.warc.gz",
    )


def test_a_list_of_90_000_paths_is_checked_by_its_names_only(folder: Path) -> None:
    lines = "\n".join(f"crawl/{number:05d}.warc.gz" for number in range(90_000))
    (folder / "warc.paths").write_text(lines)
    (folder / "crawl" / "00000.warc.gz").write_bytes(b"x")  # all but the first are missing

    assert len(expand(["warc.paths"])) == 90_000


def test_a_list_may_lie_on_a_server() -> None:
    with serving(Web(files={"/warc.paths.gz": gzip.compress(b"x/1.warc.gz\n")})) as web:
        assert expand([web.url + "warc.paths.gz"], base=web.url) == (web.url + "x/1.warc.gz",)


def test_an_address_on_a_server_is_an_input() -> None:
    with serving(Web(files={"/1.warc.gz": b"x"})) as web:
        assert expand([web.url + "1.warc.gz"]) == (web.url + "1.warc.gz",)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("gone.warc.gz", "gone.warc.gz: does not exist; check the spelling"),
        ("gone/*.warc.gz", r"gone/\*.warc.gz: the glob matches no file"),
        ("hollow", "hollow: no file whose name has .warc or .arc in it"),
        ("gone.paths", "gone.paths: does not exist"),
        ("empty.paths", "empty.paths: the list names nothing"),
        ("relative.paths", "first line, cc/1.warc.gz, does not exist here.*--base"),
        ("broken.paths.gz", "broken.paths.gz: not a list of paths .*; get it again"),
        ("broken.parquet", "broken.parquet: not a readable index .*; get it again"),
        ("foreign.paths", "ftp://a/1.warc.gz: ftp:// is not read"),
        ("packed.paths", "b.warc.lz4: .lz4 is not read; compress each record"),
        ("ftp://a.test/1.warc.gz", "ftp:// is not read; use a local path, s3://"),
        ("crawl.warc.lz4", "crawl.warc.lz4: .lz4 is not read; compress each record"),
        ("crawl.warc.bz2", r"crawl.warc.bz2: .bz2 is not read"),
        ("gone.parquet", "gone.parquet: does not exist"),
        ("", "'': no file and no address is called so; leave it out"),
        ("pipe", "pipe: is no regular file, and cannot be read twice; save what it gives"),
        ("a" * 300, "aaa: cannot be read .File name too long"),
        ("crawl/a.warc/x", "crawl/a.warc/x: does not exist; check the spelling"),
        ("null.paths", r"'crawl/a\\x00.warc': no file and no address is called so"),
        ("https.paths", "https:///x.warc: it names no host; write it as"),
        (
            "latin.paths",
            r"latin.paths: line 2 is not UTF-8 \(b'caf\\xe9.warc'\); name such a file by",
        ),
        ("ftp.csv", "ftp://a/1.warc.gz: ftp:// is not read"),
        ("lz4.csv", "crawl/a.warc.lz4: .lz4 is not read; compress each record"),
    ],
)
def test_what_cannot_work_is_refused_with_value_and_remedy(
    folder: Path, argument: str, message: str
) -> None:
    (folder / "hollow").mkdir()
    (folder / "crawl.warc.lz4").write_bytes(b"x")
    (folder / "crawl.warc.bz2").write_bytes(b"x")
    (folder / "broken.paths.gz").write_bytes(gzip.compress(b"crawl/a.warc")[:-9])
    (folder / "broken.parquet").write_bytes(b"PAR1 no")
    (folder / "empty.paths").write_text("# nothing\n\n")
    (folder / "relative.paths").write_text("cc/1.warc.gz\n")
    (folder / "foreign.paths").write_text("ftp://a/1.warc.gz\n")
    (folder / "packed.paths").write_text("crawl/a.warc\nb.warc.lz4\n")
    (folder / "null.paths").write_text("crawl/a.warc\ncrawl/a\0.warc\n")
    (folder / "https.paths").write_text("crawl/a.warc\nhttps:///x.warc\n")
    (folder / "latin.paths").write_bytes(b"crawl/a.warc\ncaf\xe9.warc\n")
    (folder / "ftp.csv").write_text("filename,offset,length\nftp://a/1.warc.gz,0,1\n")
    (folder / "lz4.csv").write_text("filename,offset,length\ncrawl/a.warc.lz4,0,1\n")
    os.mkfifo(folder / "pipe")

    with pytest.raises(ValueError, match=message):
        expand([argument])


@pytest.mark.parametrize("argument", ["caf\udce9.warc", "odd", "odd/*", "."])
def test_a_file_whose_name_is_not_utf_8_is_refused_with_the_address_that_works(
    folder: Path, argument: str
) -> None:
    (folder / "odd").mkdir()
    for name in ("caf\udce9.warc", "odd/caf\udce9.warc"):
        (folder / name).write_bytes(b"x")

    with pytest.raises(
        ValueError, match=r"^b'(odd/)?caf\\xe9\.warc': .* must be UTF-8; re"
    ) as refused:
        expand([argument])

    address = str(refused.value).rsplit(" ", 1)[1]
    assert address.startswith(f"file://{folder}/")
    assert address.endswith("caf%E9.warc")
    assert expand([address]) == (address,)
    with open_raw(address) as stream:
        assert stream.read() == b"x"


def test_a_list_may_begin_with_a_byte_order_mark(folder: Path) -> None:
    (folder / "warc.paths").write_text("crawl/a.warc\n", encoding="utf-8-sig")

    assert expand(["warc.paths"]) == ("crawl/a.warc",)


def test_no_argument_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="no input: name a WARC"):
        expand([])


@pytest.fixture
def web() -> Iterator[Web]:
    with serving(Web()) as server:
        yield server


def test_an_address_that_is_not_there_is_refused_at_once(web: Web) -> None:
    with pytest.raises(ValueError, match=r"cannot be read: .*status 404"):
        expand([web.url + "1.warc.gz"])
    with pytest.raises(ValueError, match="status 404"):
        expand([web.url + "warc.paths.gz"])
