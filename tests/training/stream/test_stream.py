"""The stream: the planned batches, whatever the workers, ranks and stores; what breaks is told."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from schemas.sample import decode
from schemas.tables import INDEX
from tests.training.shards import small_tokenizer, write_run
from tests.training.stream.feeds import (
    RULE,
    Document,
    all_told,
    by_document,
    documents,
    feed,
    members_of,
    overwrite,
    take,
    told,
)
from tests.training.stream.stores import Store, s3_bucket, web_store
from training.data.images import ImageRule, patches_of
from training.data.plan import OnePass, RankPlan, one_epoch
from training.data.stream import stream
from training.data.tokens import IGNORED

STEPS = 3


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two shards; nobody may change it."""
    folder = tmp_path_factory.mktemp("run")
    write_run(folder, documents(40), shards=2, manifest=True)
    return folder


@pytest.fixture
def own_run(tmp_path: Path) -> Path:
    """The same run, to be changed."""
    write_run(tmp_path / "run", documents(40), shards=2, manifest=True)
    return tmp_path / "run"


def test_an_epoch_shows_every_picture_once_as_its_patches_and_trains_every_text(run: Path) -> None:
    plan, reader = feed(str(run))
    order, loaded = plan.order, small_tokenizer()
    once = OnePass(one_epoch(reader.sources, loaded.digest, order), rows=6, rank=0, world=1)
    steps = list(stream(once, reader, micro_rows=4, workers=0))
    seen: Counter[bytes] = Counter()
    for batch in (batch for step in steps for batch in step.batches):
        images = batch.images_N1.tolist()
        for start, end in pairwise(images):
            seen[batch.patches_KC[start:end].numpy().tobytes()] += 1
    expected = Counter(
        patches_of(node, longest=RULE.longest, shortest=RULE.shortest, table=RULE.table)[
            0
        ].tobytes()
        for document in documents(40)
        for node in document
        if isinstance(node, bytes)
    )
    assert seen == expected
    held = by_document(steps)
    texts = "".join(
        str(loaded.tokenizer.decode([one for one in piece["labels"] if one != IGNORED]))
        for piece in held.values()
    )
    written = [text for document in documents(40) for text in runs(document)]
    assert Counter(texts.replace(loaded.tokenizer.eos_token, "")) == Counter("".join(written))
    assert texts.count(loaded.tokenizer.eos_token) == 40


def runs(document: Document) -> Iterator[str]:
    for pictures, nodes in groupby(document, lambda node: isinstance(node, bytes)):
        if not pictures:
            yield "\n\n".join(str(node) for node in nodes)


@pytest.fixture(scope="module")
def straight(run: Path) -> list[object]:
    """The first steps, without a worker."""
    return all_told(take(*feed(str(run)), STEPS))


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_are_the_same_for_any_number_of_workers(
    run: Path, straight: list[object], workers: int
) -> None:
    assert all_told(take(*feed(str(run)), STEPS, workers=workers)) == straight


def test_a_reader_that_was_used_here_works_in_workers(run: Path, straight: list[object]) -> None:
    plan, reader = feed(str(run))
    take(plan, reader, 1)
    assert len(pickle.dumps(reader)) == len(pickle.dumps(feed(str(run))[1]))
    again, _ = feed(str(run))
    assert all_told(take(again, reader, STEPS, workers=1)) == straight


def test_all_tensors_of_a_micro_batch_are_pinned_and_nothing_else_changes(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (step,) = take(*feed(str(run)), 1)
    pinned: list[torch.Tensor] = []

    def pin(tensor: torch.Tensor) -> torch.Tensor:
        pinned.append(tensor.clone())
        return pinned[-1]

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)  # there may be no GPU
    (made, *_) = step.batches
    moved = made.pin_memory()
    tensors = [one for name in told(made) if isinstance(
        one := getattr(moved, name), torch.Tensor)]  # fmt: skip
    assert [id(one) for one in tensors] == [id(one) for one in pinned]
    assert len(tensors) == 7
    assert told(moved) == told(made)


def test_ranks_divide_the_same_global_batches(run: Path) -> None:
    alone = [step.batches for step in take(*feed(str(run)), STEPS)]
    ranks = [take(*feed(str(run)), STEPS, rank=rank, world=3) for rank in range(3)]
    for number in range(STEPS):
        together = [batch for rank in ranks for batch in rank[number].batches]
        for name in ("tokens_T", "labels_T", "patches_KC", "patch_places_K"):
            ours = torch.cat([getattr(batch, name) for batch in alone[number]])
            assert torch.equal(ours, torch.cat([getattr(batch, name) for batch in together]))
        assert ranks[0][number].state == ranks[2][number].state


def test_going_on_from_a_step_s_state_gives_the_rest(run: Path, straight: list[object]) -> None:
    first = take(*feed(str(run)), 1, workers=1)  # workers run ahead of the state that is told
    plan, reader = feed(str(run))
    plan.load_state_dict(json.loads(json.dumps(first[0].state)))
    assert all_told(take(plan, reader, STEPS - 1)) == straight[1:]


def test_no_random_number_of_torch_is_used_up(run: Path) -> None:
    before = torch.get_rng_state()
    take(*feed(str(run)), 1)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_last_micro_batch_holds_the_rows_that_are_left(run: Path) -> None:
    for step in take(*feed(str(run)), STEPS):
        assert len(step.batches) == 2  # 6 rows: 4 and 2
        assert step.stall >= 0


def json_of(row: dict[str, Any], folder: Path, shard: str = "train-00000") -> bytes:
    first = row["members"][0]
    with (folder / "shards" / f"{shard}.tar").open("rb") as tar:
        tar.seek(first["offset"])
        return tar.read(first["length"])


def garbage(length: int) -> bytes:
    return b"no picture"[:length].ljust(length, b"\0")


BREAKS: dict[str, Callable[[bytes], bytes]] = {
    "no picture at all": lambda data: garbage(len(data)),
    "a picture cut in its middle": lambda data: data[: len(data) // 2].ljust(len(data), b"\0"),
    "a header that claims 65,500 pixels a side": lambda data: data.replace(
        b"IHDR" + data[16:24], b"IHDR" + (65_500).to_bytes(4, "big") * 2
    ),
}


@pytest.mark.parametrize("how", BREAKS)
def test_a_broken_image_changes_nothing_but_its_own_document(
    run: Path, own_run: Path, how: str
) -> None:
    row = next(row for row in members_of(own_run) if len(row["members"]) == 4)
    member = next(one for one in row["members"][1:] if one["name"].endswith("png"))
    whole = (own_run / "shards/train-00000.tar").read_bytes()
    data = whole[member["offset"] : member["offset"] + member["length"]]
    overwrite(own_run, member["offset"], BREAKS[how](data))
    compare_broken(run, own_run, row["key"], member["name"])


def test_a_missing_member_is_a_broken_image(run: Path, own_run: Path) -> None:
    rows = members_of(own_run)
    row = next(row for row in rows if len(row["members"]) == 4)
    gone = row["members"].pop(2)
    pq.write_table(pa.Table.from_pylist(rows, INDEX), own_run / "index/train-00000.parquet")
    compare_broken(run, own_run, row["key"], gone["name"])


def compare_broken(run: Path, own_run: Path, key: str, member: str) -> None:
    steps = 6
    good, bad = (by_document(take(*feed(str(folder)), steps)) for folder in (run, own_run))
    named = [one for step in take(*feed(str(own_run)), steps) for one in step.broken]
    assert named
    assert {(one.shard, one.key, one.member) for one in named} == {("train-00000", key, member)}
    assert list(good) == list(bad)
    special, shorter = small_tokenizer().special, 0
    for place, piece in good.items():
        if place[2] != key:
            assert bad[place] == piece
            continue
        left = bad[place]
        shorter += len(piece["tokens"]) - len(left["tokens"])
        trained = [one for one in piece["labels"] if one != IGNORED]
        assert [one for one in left["labels"] if one != IGNORED] == trained
        images = [one["tokens"].count(special.image) for one in (piece, left)]
        assert images[0] - images[1] in (0, RULE.image_tokens)
    assert shorter >= RULE.image_tokens


def test_the_pieces_of_a_batch_tell_their_broken_images(own_run: Path) -> None:
    row = next(row for row in members_of(own_run) if len(row["members"]) == 4)
    member = row["members"][1]
    overwrite(own_run, member["offset"], garbage(member["length"]))
    steps = take(*feed(str(own_run)), 6)
    counted = sum(piece.broken for step in steps for one in step.batches for piece in one.pieces)
    assert counted == sum(len(step.broken) for step in steps) > 0


def files_of(run: Path) -> dict[str, bytes]:
    return {
        path.relative_to(run).as_posix(): path.read_bytes()
        for path in run.rglob("*")
        if path.is_file() and "counts" not in path.parts
    }


@pytest.mark.parametrize(("opened", "workers"), [(web_store, 0), (web_store, 1), (s3_bucket, 1)])
def test_a_web_server_and_a_bucket_give_the_batches_of_the_disk(
    run: Path,
    straight: list[object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    opened: Callable[[dict[str, bytes]], AbstractContextManager[Store]],
    workers: int,
) -> None:
    monkeypatch.setenv("INTERLOOM_CACHE", str(tmp_path))
    with opened(files_of(run)) as store:
        plan, reader = feed(store.root.rstrip("/"))
        assert all_told(take(plan, reader, STEPS, workers=workers)) == straight


@pytest.mark.parametrize("workers", [0, 1])
def test_a_tar_that_is_cut_while_it_is_trained_on_is_told(own_run: Path, workers: int) -> None:
    plan, reader = feed(str(own_run))
    tar = own_run / "shards/train-00001.tar"
    tar.write_bytes(tar.read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"train-00001\.tar at .* the tar ends at 2,000") as raised:
        take(plan, reader, 20, workers=workers)
    assert "Traceback" not in str(raised.value)
    assert "read" in raised.value.__notes__[0]


def test_a_tar_that_goes_away_is_an_error_with_its_name(own_run: Path) -> None:
    plan, reader = feed(str(own_run))
    (own_run / "shards/train-00000.tar").unlink()
    with pytest.raises(OSError, match=r"train-00000\.tar at "):
        take(plan, reader, 20)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'"format_version":1', b'"format_version":9', "format version 9"),
        (b'"format_version":1', b'"format_version"!1', "train-00000.tar"),
        (b'"id":"', b'"id":"x', "has id x"),
        (b'"text":"the sea', b'"text":"qzj Xvk', "tokens, but its counts say"),
    ],
)
def test_a_sample_that_is_not_what_was_counted_is_told(
    own_run: Path, old: bytes, new: bytes, message: str
) -> None:
    plan, reader = feed(str(own_run))
    row = next(row for row in members_of(own_run) if old in json_of(row, own_run))
    body = json_of(row, own_run)
    changed = body.replace(old, new, 1)
    if len(changed) > len(body):  # an id keeps its length
        changed = changed.replace(row["key"][-1:].encode() + b'",', b'",', 1)
    assert len(changed) == len(body)
    overwrite(own_run, row["members"][0]["offset"], changed)
    with pytest.raises(ValueError, match=message) as raised:
        take(plan, reader, 20)
    assert "train-00000.tar" in str(raised.value)
    assert decode(body).key == row["key"]


@pytest.mark.parametrize(
    ("name", "value", "least"), [("micro_rows", 0, 1), ("workers", -1, 0), ("prefetch", 0, 1)]
)
def test_limits_of_nothing_are_refused_at_once(
    run: Path, name: str, value: int, least: int
) -> None:
    plan, reader = feed(str(run))
    options = {"micro_rows": 1, "workers": 0, "prefetch": 1} | {name: value}
    with pytest.raises(ValueError, match=f"{name} is {value}: choose {least} or more"):
        stream(RankPlan(plan), reader, **options)


@pytest.mark.parametrize(("longest", "shortest"), [(70, 13), (41, 42), (84, 42)])
def test_images_that_the_model_has_no_places_for_are_refused(longest: int, shortest: int) -> None:
    ImageRule(longest=83, shortest=14, table=5, image_tokens=4)
    with pytest.raises(ValueError, match="choose from 14, one patch, to 83"):
        ImageRule(longest=longest, shortest=shortest, table=5, image_tokens=4)


def test_an_image_that_is_not_the_one_that_was_sharded_is_a_broken_image(own_run: Path) -> None:
    """An index of two swapped members would else train documents on each other's pictures."""
    rows = members_of(own_run)
    one, two = [row["members"][1] for row in rows if len(row["members"]) > 1][:2]
    for name in ("offset", "length"):
        one[name], two[name] = two[name], one[name]
    pq.write_table(pa.Table.from_pylist(rows, INDEX), own_run / "index/train-00000.parquet")
    broken = [image for step in take(*feed(str(own_run)), 6) for image in step.broken]
    keys = [row["key"] for row in rows if len(row["members"]) > 1][:2]
    assert {(image.key, image.member) for image in broken} == set(
        zip(keys, (one["name"], two["name"]), strict=True)
    )
    assert {image.reason for image in broken} == {
        "its member holds other bytes than were sharded (sha256)"
    }


def test_a_hole_in_a_tar_is_told_with_what_to_do(own_run: Path) -> None:
    plan, reader = feed(str(own_run))
    place = members_of(own_run)[3]["members"][0]
    overwrite(own_run, place["offset"], bytes(place["length"]))
    with pytest.raises(ValueError, match=r"train-00000\.tar.*is none.*copy the tar again"):
        take(plan, reader, 20)
