"""Checkpoints: whole or absent, the last N kept, and another run's refused."""

from __future__ import annotations

import errno
import os
import resource
import shutil
from pathlib import Path

import pytest
import torch

from tests.forked import Forked, trainer
from tests.training.fit.runs import command, start, steps, write_documents
from tests.training.model.reference import MINI
from training.config import Optimizer
from training.fit import checkpoint
from training.fit.checkpoint import State
from training.fit.parallel import ALONE
from training.fit.step import adamw
from training.model.idefics2 import PackedIdefics2, build

IDENTITY = {"rows": 4, "shape": {"text": [1, 2]}}


def made(seed: int) -> tuple[PackedIdefics2, torch.optim.Optimizer]:
    """A model, and an optimizer with moments."""
    model = build(MINI, vocabulary=64, bos=1, eos=2, pad=0, image_token=60, seed=seed)
    optimizer = adamw(model, Optimizer())
    for weight in model.parameters():
        weight.grad = torch.full_like(weight, 0.01 * seed)
    optimizer.step()
    return model, optimizer


def written(output: Path, step: int, *, keep: int = 2, seed: int = 1) -> Path:
    state = State(step=step, data={"step": step}, identity=IDENTITY)
    return checkpoint.save(output, *made(seed), state, keep=keep, world=ALONE)


def names(output: Path) -> list[str]:
    return sorted(path.name for path in (output / "checkpoints").iterdir())


def test_weights_moments_state_and_generator_come_back(tmp_path: Path) -> None:
    model, optimizer = made(1)
    torch.manual_seed(5)
    folder = checkpoint.save(
        tmp_path, model, optimizer, State(step=7, data={"a": [1]}, identity=IDENTITY),
        keep=1, world=ALONE,
    )  # fmt: skip
    drawn = torch.rand(3)
    other, moments = made(2)
    state = checkpoint.load(folder, other, moments, identity=IDENTITY, world=ALONE)
    assert state == State(step=7, data={"a": [1]}, identity=IDENTITY)
    assert torch.equal(torch.rand(3), drawn)
    assert all(
        torch.equal(one, two)
        for one, two in zip(model.parameters(), other.parameters(), strict=True)
    )
    for weight, copy in zip(model.parameters(), other.parameters(), strict=True):
        assert optimizer.state[weight].keys() == moments.state[copy].keys() != set()
        for name, value in optimizer.state[weight].items():
            assert torch.equal(value, moments.state[copy][name]), name


def test_the_last_are_kept_by_their_step_and_not_by_their_name(tmp_path: Path) -> None:
    for step in (999_998, 999_999, 1_000_000, 1_000_001):
        written(tmp_path, step)
    assert names(tmp_path) == ["step-1000000", "step-1000001"]


def test_what_a_killed_write_left_is_no_checkpoint_and_is_swept_by_the_next(tmp_path: Path) -> None:
    first = written(tmp_path, 3)
    (first.parent / "step-000006.aside").mkdir()
    (first.parent / "step-000006.aside" / "state.json").write_text("{")
    assert checkpoint.whole_checkpoints(tmp_path) == [first]
    written(tmp_path, 6)
    assert names(tmp_path) == ["step-000003", "step-000006"]


def test_what_is_not_of_a_run_stays_in_its_folder_of_checkpoints(tmp_path: Path) -> None:
    first = written(tmp_path, 3, keep=1)
    (first / "why.txt").write_text("my notes")
    mine = first.parent / "mine.aside"
    mine.mkdir()
    (mine / "state.json").write_text("mine")
    for name in ("step-notes.aside", "step-000001"):
        (first.parent / name).write_text("mine")
    moved = written(tmp_path / "other", 2)
    (first.parent / "step-000002").symlink_to(moved)
    (first.parent / "step-000002.aside").symlink_to(moved)
    killed = first.parent / "step-000004.aside"
    shutil.copytree(moved, killed)
    kept = {path: path.read_bytes() for path in moved.iterdir()}
    for step in (6, 9):
        written(tmp_path, step, keep=1)
    assert {path: path.read_bytes() for path in kept} == kept
    assert not killed.exists()
    assert names(tmp_path) == ["mine.aside", "step-000001", "step-000002", "step-000002.aside",
                               "step-000003.aside", "step-000009", "step-notes.aside"]  # fmt: skip
    (swept,) = (first.parent / "step-000003.aside").iterdir()
    assert swept.read_text() == "my notes"
    assert (mine / "state.json").read_text() == "mine"


@pytest.mark.parametrize("name", [".DS_Store", ".nfs0001"])
def test_a_foreign_file_in_what_a_kill_left_stays_and_is_in_no_ones_way(
    tmp_path: Path, name: str
) -> None:
    aside = tmp_path / "checkpoints" / "step-000003.aside"
    aside.mkdir(parents=True)
    (aside / "optimizer.pt").write_bytes(b"half")
    (aside / name).write_bytes(b"theirs")
    os.mkfifo(aside / "pipe")
    first = written(tmp_path, 3, keep=1)
    checkpoint.load(first, *made(3), identity=IDENTITY, world=ALONE)
    assert (first / name).read_bytes() == b"theirs"
    (aside / "more").mkdir(parents=True)  # its name is taken when the checkpoint is swept
    last = written(tmp_path, 6, keep=1)
    assert sorted(path.name for path in first.iterdir()) == [name, "pipe"]
    assert (aside / "more").is_dir()
    assert checkpoint.whole_checkpoints(tmp_path)[-1] == last


@pytest.mark.parametrize("linked", ["step-000006.aside", "step-000006.aside/optimizer.pt"])
def test_no_checkpoint_is_written_through_a_link(tmp_path: Path, linked: str) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    link = tmp_path / "checkpoints" / linked
    link.parent.mkdir(parents=True)
    link.symlink_to(theirs if link.suffix == ".aside" else theirs / "optimizer.pt")
    with pytest.raises(OSError, match=r"step-000006.aside is a link, or holds one: move it"):
        written(tmp_path, 6)
    assert list(theirs.iterdir()) == []
    assert link.is_symlink()


@pytest.mark.parametrize("fails", [1, 2, 3, 4, 5, 6])
def test_a_disk_that_fails_at_any_flush_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: int
) -> None:
    """Files, their folder and the folder above are flushed one by one; the n-th fails."""
    first = written(tmp_path, 3)
    flush, calls = os.fsync, []

    def failing(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == fails:
            raise OSError(errno.EIO, "Input/output error")
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(
        OSError, match=r"step-000006 could not be written.*Input/output.*goes on from"
    ):
        written(tmp_path, 6, seed=2)
    monkeypatch.undo()
    found = checkpoint.whole_checkpoints(tmp_path)
    assert found[0] == first
    for folder in found:  # at the last flush the new one has its name already, and is whole
        checkpoint.load(folder, *made(3), identity=IDENTITY, world=ALONE)
    assert len(found) == (2 if fails == 6 else 1)


def test_a_checkpoint_of_another_run_names_what_differs(tmp_path: Path) -> None:
    folder = written(tmp_path, 3)
    for other, told in (
        ({**IDENTITY, "rows": 8}, "its rows is 4, now 8"),
        ({"rows": 4}, r"its shape is \{'text': \[1, 2\]\}, now None"),
    ):
        with pytest.raises(ValueError, match=told):
            checkpoint.load(folder, *made(1), identity=other, world=ALONE)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 99}', '{"format": 1}'])
def test_a_damaged_state_is_told_with_what_to_do(tmp_path: Path, text: str) -> None:
    folder = written(tmp_path, 3)
    (folder / "state.json").write_text(text)
    with pytest.raises(ValueError, match=r"is no checkpoint.*remove it to go on"):
        checkpoint.load(folder, *made(1), identity=IDENTITY, world=ALONE)


@pytest.mark.parametrize("name", ["trained.safetensors", "optimizer.pt"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_damaged_weights_and_moments_are_told_with_what_to_do(
    tmp_path: Path, name: str, damage: str
) -> None:
    path = written(tmp_path, 3) / name
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:1000])
    else:
        path.unlink()
    with pytest.raises(ValueError, match=rf"is no checkpoint.*{name}.*remove it to go on"):
        checkpoint.load(path.parent, *made(1), identity=IDENTITY, world=ALONE)


class _Leaves:
    """Pickled, it writes a file where it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path, str]]:
        return Path.write_text, (self.path, "ran")


@pytest.mark.parametrize("name", ["optimizer.pt", "rng-0.pt"])
def test_a_checkpoint_that_would_run_something_is_told_and_runs_nothing(
    tmp_path: Path, name: str
) -> None:
    path = written(tmp_path, 3) / name
    torch.save({"cpu": _Leaves(tmp_path / "ran")}, path)
    with pytest.raises(ValueError, match=rf"is no checkpoint.*{name}"):
        checkpoint.load(path.parent, *made(1), identity=IDENTITY, world=ALONE)
    assert not (tmp_path / "ran").exists()


def _on_a_full_disk(arguments: list[str]) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    trainer(arguments)


def test_a_disk_that_is_full_ends_the_run_and_a_rerun_goes_on(tmp_path: Path) -> None:
    """Files may grow to 1 MB, as on a disk that is full: a checkpoint is larger."""
    shards = write_documents(tmp_path / "run", documents=12, heldout=2)
    output = tmp_path / "model"
    arguments = command(shards, output, "optimizer.steps=4", "data.workers=0")
    told = Forked(_on_a_full_disk, arguments).wait(code=1)
    assert "Traceback" not in told
    assert f"{output}/checkpoints/step-000003" in told
    assert checkpoint.whole_checkpoints(output) == []
    start(arguments).wait()
    assert [step["step"] for step in steps(output)] == [1, 2, 3, 4]


def test_a_kill_while_an_old_one_is_swept_leaves_no_half_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = written(tmp_path, 3), written(tmp_path, 6)
    removed: list[Path] = []
    unlink = Path.unlink

    def killed(path: Path) -> None:
        if removed:
            raise KeyboardInterrupt
        removed.append(path)
        unlink(path)

    monkeypatch.setattr(Path, "unlink", killed)
    with pytest.raises(KeyboardInterrupt):
        written(tmp_path, 9)
    monkeypatch.undo()
    assert removed
    found = checkpoint.whole_checkpoints(tmp_path)
    assert found == [second, first.with_name("step-000009")]
    for folder in found:
        checkpoint.load(folder, *made(3), identity=IDENTITY, world=ALONE)
    written(tmp_path, 12)
    assert names(tmp_path) == ["step-000009", "step-000012"]
