"""An index, counts or a table of parts that lie are one line, at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.training.lies import DOCUMENTS, INDEX, Rows, change_index, refused
from tests.training.shards import picture, prose, small_tokenizer, write_run
from tests.training.stream.feeds import feed
from training.data.counts import find_counts
from training.data.plan import one_epoch
from training.data.sources import open_source
from training.look.estimate import row_patches


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INTERLOOM_CACHE", str(tmp_path / "cache"))
    write_run(tmp_path / "run", DOCUMENTS)
    return tmp_path / "run"


def member(name: str, value: object, *, sample: int = 2, number: int = 0) -> Callable[[Rows], None]:
    def change(rows: Rows) -> None:
        rows[sample]["members"][number][name] = value

    return change


INDEXES: list[Callable[[Rows], object]] = [
    member("length", 2**40),
    member("length", 2**63 - 1),
    member("length", -1),
    member("length", 2**40, number=1),
    member("length", 2**40, sample=4, number=1),
    member("offset", -1),
    member("offset", 0),
    member("offset", 511, sample=0),
    member("offset", 10**9),
    member("offset", -(2**63)),
    member("offset", 2**63 - 1, sample=0),
    member("offset", 512, number=1),
    member("name", "txt"),
    member("name", "json", number=1),
    lambda rows: rows[2].update(members=[]),
    lambda rows: rows[0].update(members=[]),
    lambda rows: rows[4]["members"].reverse(),
    lambda rows: rows[2].update(members=rows[1]["members"]),
    lambda rows: rows.append(rows[0]),
]


@pytest.mark.parametrize("change", INDEXES)
def test_an_index_that_tells_of_places_that_cannot_be_is_one_line(
    run: Path, change: Callable[[Rows], object]
) -> None:
    change_index(run / INDEX, change)
    refused(run, r"train-00000\.tar.*: copy the tar again, or remove its index")


TABLES = [
    {"key": [1, 2], "members": ["a", "b"], "nodes": [1.5, 2]},
    {"key": [None], "members": [None], "nodes": [None]},
    {"key": ["a"], "members": [[1]], "nodes": [[1]]},
    {"key": ["a"], "members": [[{"name": "json", "offset": "x", "length": 1.5}]], "nodes": [[]]},
    {"key": ["a"], "members": [[{"name": None, "offset": 512, "length": 1}]], "nodes": [[]]},
    {"key": ["a"], "members": [[{"name": "json", "offset": 512}]], "nodes": [[]]},
    {"key": [b"\xff"], "members": [[{"name": b"json", "offset": 512, "length": 1}]], "nodes": [[]]},
]


@pytest.mark.parametrize("table", TABLES)
def test_an_index_of_other_types_is_one_line(run: Path, table: dict[str, Any]) -> None:
    pq.write_table(pa.table(table), run / INDEX)
    refused(run, "train-00000")


def test_an_index_of_more_values_than_its_tar_has_bytes_is_not_read(run: Path) -> None:
    """A column of one value is a few bytes of Parquet, however often it stands there."""
    some = pq.read_table(run / INDEX).slice(0, 1)
    pq.write_table(pa.concat_tables([some] * 30_000), run / INDEX)
    assert (run / INDEX).stat().st_size < 2**20
    refused(run, "tells of 60,000 values, but its tar has 20,480 bytes")


def plan_all(folder: Path) -> None:
    plan, reader = feed(str(folder))
    for window in one_epoch(plan.sources, reader.digest, plan.order):
        row_patches(plan.sources[0], window.rows, lambda _wide, _high: (1, 1))
        reader.read(window.rows)


@pytest.mark.parametrize("side", [-4, 0, None])
def test_sides_in_an_index_that_no_image_has_are_one_line(run: Path, side: int | None) -> None:
    change_index(run / INDEX, lambda rows: rows[2]["nodes"][1].update(width=side))
    with pytest.raises(ValueError, match=r"train-00000\.parquet has an image without a width"):
        plan_all(run)


def test_an_index_with_fewer_images_than_counts_is_one_line(run: Path) -> None:
    change_index(run / INDEX, lambda rows: rows[2].update(nodes=[]))
    with pytest.raises(ValueError, match=r"train-00000\.parquet has fewer images than its counts"):
        plan_all(run)


RUN = {"images": 1, "tokens": 9, "paragraphs": [], "sentences": []}
COUNTS: list[Callable[[Rows], object]] = [
    lambda rows: rows[1].update(tokens=2**31 - 1),
    lambda rows: rows[1].update(tokens=-1),
    lambda rows: rows[1].update(images=0),
    lambda rows: rows[1].update(groups=7),
    lambda rows: rows[1].update(runs=[]),
    lambda rows: rows.pop(),
    lambda rows: rows[1]["runs"][0].update(tokens=2**31 - 1),
    lambda rows: rows[1].update(
        tokens=2**31 - 1, runs=[rows[1]["runs"][0] | {"tokens": 2**31 - 1}]
    ),
    lambda rows: rows[1]["runs"][0].update(sentences=[5, 3]),
    lambda rows: rows[1]["runs"][0].update(sentences=[10**6]),
    lambda rows: rows[1]["runs"][0].update(paragraphs=[-1]),
]


def counts_of(run: Path) -> Path:
    (shard,) = open_source(str(run)).shards
    place = find_counts(shard, small_tokenizer().digest)
    assert place is not None
    return Path(place)


@pytest.mark.parametrize("change", COUNTS)
def test_counts_that_contradict_themselves_are_one_line(
    run: Path, change: Callable[[Rows], object]
) -> None:
    feed(str(run))
    change_index(counts_of(run), change)
    with pytest.raises(ValueError, match=r"does not fit .*train-00000\.tar .*: remove it, and it"):
        plan_all(run)


def test_counts_that_have_the_images_elsewhere_are_one_line(tmp_path: Path) -> None:
    """Their sums are right, but a piece would show the picture of another."""
    write_run(tmp_path, [[prose(100), picture(20, 16), prose(20, seed=1)]])
    feed(str(tmp_path))

    def change(rows: Rows) -> None:
        first, second = rows[0]["runs"]
        first["images"], second["images"] = second["images"], first["images"]

    change_index(counts_of(tmp_path), change)
    with pytest.raises(ValueError, match=r"train-00000\.tar, sample .* have its images elsewhere"):
        plan_all(tmp_path)


def test_columns_of_counts_of_another_type_are_one_line(run: Path) -> None:
    feed(str(run))
    path = counts_of(run)
    table = pq.read_table(path)
    for other in (
        table.drop_columns(["runs"]),
        table.set_column(0, "tokens", pa.array(["x"] * len(table))),
    ):
        pq.write_table(other.replace_schema_metadata(table.schema.metadata), path)
        with pytest.raises(ValueError, match=r"does not fit .*train-00000\.tar"):
            plan_all(run)


def test_a_table_of_parts_that_is_none_is_one_line(tmp_path: Path) -> None:
    run = tmp_path
    write_run(run, DOCUMENTS, manifest=True)
    for body in (b"no Parquet", b"PAR1PAR1"):
        (run / "shard.parts.parquet").write_bytes(body)
        with pytest.raises(ValueError, match=r"shard\.parts\.parquet is damaged"):
            open_source(str(run))
    pq.write_table(pa.table({"part": ["train-00000"], "counts": [7]}), run / "shard.parts.parquet")
    with pytest.raises(ValueError, match=r"shard\.parts\.parquet is damaged"):
        open_source(str(run))
