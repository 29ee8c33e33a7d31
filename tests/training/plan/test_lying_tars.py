"""A tar, its JSON, its index or its counts that lie are one line, at once."""

from __future__ import annotations

import io
import resource
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.forked import Forked, trainer
from tests.training.lies import (
    DOCUMENTS,
    INDEX,
    SIZE,
    TAR,
    Rows,
    change_header,
    change_index,
    change_json,
    refused,
    rewrite,
    write_tar,
)
from tests.training.shards import picture, small_tokenizer, write_run
from tests.training.stream.feeds import feed, take
from training.data.counts import count_sources
from training.data.sources import open_source

MEMORY = 4 << 30  # bytes of address space: torch alone has 2


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INTERLOOM_CACHE", str(tmp_path / "cache"))
    write_run(tmp_path / "run", DOCUMENTS)
    return tmp_path / "run"


@pytest.fixture
def bare(run: Path) -> Path:
    """The same without an index."""
    (run / INDEX).unlink()
    return run


def base_256(size: int) -> bytes:
    return bytes([0o200 if size >= 0 else 0o377]) + (size % 2**88).to_bytes(11, "big")


SIZES = [
    (base_256(-512), "negative"),
    (base_256(-(2**40)), "negative"),
    (b"-0000001000\0", "negative"),
    (b"0o000001000\0", "negative"),
    (b"00000abcdef\0", "negative"),
    (base_256(2**60), "1,152,921,504,606,846,976 bytes, but the tar ends at"),
    (base_256(2**87), "bytes, but the tar ends at"),
    (b"77777777777\0", "8,589,934,591 bytes, but the tar ends at"),
]


@pytest.mark.parametrize(("size", "reason"), SIZES)
@pytest.mark.parametrize("number", [0, 2, 3, 9])
def test_a_size_in_a_header_that_cannot_be_is_one_line(
    bare: Path, size: bytes, reason: str, number: int
) -> None:
    change_header(bare / TAR, number, SIZE, size)
    refused(bare, rf"train-00000\.tar of .* is no whole tar \(.*{reason}.*\): copy it again")


@pytest.mark.parametrize("size", [SIZES[0][0], SIZES[2][0]])
def test_plan_ends_at_once_on_such_a_size(bare: Path, size: bytes) -> None:
    """Python's tarfile would go back, read the same header again, and never end."""
    change_header(bare / TAR, 3, SIZE, size)
    ended = Forked(_in_little_memory, ["plan", "--shards", str(bare)])
    ended.wait(code=2, seconds=120)
    assert ended.stderr.count("\n") == 1
    assert "train-00000.tar" in ended.stderr


def _in_little_memory(arguments: list[str]) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    trainer(arguments)


@pytest.mark.parametrize("keys", [("size",), ("GNU.sparse.major", "GNU.sparse.minor")])
@pytest.mark.parametrize("value", ["-512", "99999999999999999999", "1e3", "", str(2**62)])
def test_a_size_in_pax_records_that_cannot_be_is_one_line(
    bare: Path, keys: tuple[str, ...], value: str
) -> None:
    with tarfile.open(bare / TAR) as opened:
        held = []
        for info in opened:
            stream = opened.extractfile(info)
            assert stream is not None
            held.append((info, stream.read()))
    held[3][0].pax_headers = dict.fromkeys(keys, value)
    with tarfile.open(bare / TAR, "w", format=tarfile.PAX_FORMAT) as opened:
        for info, body in held:
            opened.addfile(info, io.BytesIO(body))
    refused(bare, r"train-00000\.tar of .* is no whole tar .*copy it again")


def node(kind: str, /, **values: object) -> Callable[[dict[str, Any]], object]:
    def change(sample: dict[str, Any]) -> None:
        for one in sample["nodes"]:
            if one["kind"] == kind:
                one.update(values)

    return change


NUMBERS = [2**70, 10**4000, -1, 0, 2**31, float("nan"), float("inf"), 1.5, "40", [1], None, True]
CHANGES = [
    *(node("image", width=number) for number in NUMBERS),
    node("image", height=2**70),
    node("image", member=3),
    node("image", sha256=None),
    node("image", kind="video"),
    node("text", text=5),
    node("text", text=None),
    node("text", text="half \ud800 a character"),
    node("text", caption_of="0"),
    node("text", kind=["text"]),
    lambda sample: sample.update(id=[1]),
    lambda sample: sample.update(id="another"),
    lambda sample: sample.pop("id"),
    lambda sample: sample.update(title={"a": 1}),
    lambda sample: sample.update(source=None),
    lambda sample: sample["source"].update(offset="x"),
    lambda sample: sample.update(nodes=7),
    lambda sample: sample.update(nodes=[None]),
    lambda sample: sample.update(nodes={"a": 1}),
    lambda sample: sample["nodes"][0].pop("text"),
    lambda sample: sample.update(format_version=[1]),
]
RAW = [
    b"[" * 200_000,
    b'{"a":' * 200_000,
    b'{"format_version":1,"id":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    b'{"format_version":' + b"9" * 5000 + b"}",
    b'{"format_version":1e999}',
    b"\xff\xfe",
    b"",
    b"[]," * (1 << 22),
]


@pytest.mark.parametrize("change", CHANGES)
def test_json_of_other_types_or_numbers_is_one_line(
    bare: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    change_json(bare / TAR, change)
    refused(bare, r"train-00000\.tar")


@pytest.mark.parametrize("body", RAW, ids=range(len(RAW)))
def test_json_that_is_deep_or_none_is_one_line(bare: Path, body: bytes) -> None:
    rewrite(bare / TAR, lambda name, _: (name, body), 2)
    refused(bare, r"train-00000\.tar, sample .*: ")


@pytest.mark.parametrize("change", CHANGES)
def test_json_that_lies_behind_an_index_is_one_line_when_it_is_counted(
    run: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    change_json(run / TAR, change)
    with tarfile.open(run / TAR) as opened:
        places = {one.name: (one.offset_data, one.size) for one in opened}

    def move(rows: Rows) -> None:
        for row in rows:
            for one in row["members"]:
                one["offset"], one["length"] = places[f"{row['key']}.{one['name']}"]

    change_index(run / INDEX, move)
    with pytest.raises(ValueError, match=r"train-00000\.tar"):
        feed(str(run))


def test_null_where_the_format_has_words_of_an_image_is_read(bare: Path) -> None:
    change_json(bare / TAR, node("image", alt=None, url=None))
    assert open_source(str(bare)).samples == len(DOCUMENTS)


def test_a_member_twice_is_one_line(bare: Path) -> None:
    with tarfile.open(bare / TAR) as opened:
        held = [(one.name, opened.extractfile(one).read()) for one in opened]  # type: ignore[union-attr]
    for number in (2, 3):
        write_tar(bare / TAR, [*held[:4], held[number], *held[4:]])
        refused(bare, rf"has 2 members {held[number][0]}, and at most 1 can be")


def test_a_member_without_a_name_or_with_one_that_is_no_text_is_one_line(bare: Path) -> None:
    whole = (bare / TAR).read_bytes()
    rewrite(bare / TAR, lambda _, body: ("", body), 3)
    refused(bare, r"sample  has 0 members \.json")
    (bare / TAR).write_bytes(whole)
    rewrite(bare / TAR, lambda name, body: (name[:32] + ".\udcff.png", body), 3)
    refused(bare, "has a member whose name is no UTF-8")


def test_an_image_member_that_is_too_large_is_a_broken_image(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = [len(picture(20, 16, colour=n)) for n in range(len(DOCUMENTS))]
    size = max(sizes)
    monkeypatch.setattr("training.data.rows.IMAGE_BYTES", size - 1)
    plan, reader = feed(str(run))
    broken = [one for step in take(plan, reader, 3) for one in step.broken]
    assert len({one.key for one in broken}) == sizes.count(size) > 0
    assert {one.reason for one in broken} == {
        f"its member has {size:,} bytes, over the limit of {size - 1:,}"
    }


def test_texts_are_counted_in_few_bytes_at_a_time(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = small_tokenizer()
    source = open_source(str(run))
    monkeypatch.setattr("training.data.counts.TOGETHER_BYTES", 1)
    told: list[int] = []
    done = count_sources(
        [source], loaded.encoder, loaded.digest, progress=lambda done, _: told.append(done)
    )
    assert done == len(DOCUMENTS)
    assert told == [1, 2, 3, 4, 5]
