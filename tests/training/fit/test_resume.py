"""A run that was killed goes on as if it had not been: same documents, same losses to the bit."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.forked import ROOT, Forked
from tests.training.fit.runs import command, start, start_ranks, steps, write_documents
from tests.training.shards import Document, picture, prose, write_run

STEPS = 30
KILLS = 7


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_documents(tmp_path_factory.mktemp("crawl"))


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, shards: Path) -> Path:
    """Thirty steps without a stop."""
    output = tmp_path_factory.mktemp("straight")
    start(command(shards, output, f"optimizer.steps={STEPS}")).wait()
    return output


def _until(process: Forked, output: Path, step: int) -> None:
    deadline = time.monotonic() + 300
    while not (done := steps(output)) or done[-1]["step"] < step:
        process.check_alive()
        assert time.monotonic() < deadline, f"step {step} did not come: {done[-1:]}"
        time.sleep(0.01)


def test_30_steps_killed_at_7_steps_are_the_30_steps_straight_to_the_bit(
    straight: Path, shards: Path, tmp_path: Path
) -> None:
    arguments = command(shards, tmp_path, f"optimizer.steps={STEPS}")
    kills = sorted(random.Random(11).sample(range(1, STEPS), KILLS))
    for step in kills:
        process = start(arguments)
        _until(process, tmp_path, step)
        process.kill_group(signal.SIGKILL)
        process.wait(code=None)
    told = start(arguments).wait()
    assert "the weights are those of step" in told
    assert len(steps(straight)) == STEPS
    assert steps(tmp_path) == steps(straight)
    evaluated = (straight / "evaluations.jsonl").read_bytes()
    assert (tmp_path / "evaluations.jsonl").read_bytes() == evaluated


def test_a_kill_while_the_weights_were_written_leaves_nothing_in_the_way(
    straight: Path, shards: Path, tmp_path: Path
) -> None:
    """safetensors writes under a name of its own first."""
    aside = tmp_path / "checkpoints" / "step-000003.aside"
    aside.mkdir(parents=True)
    shutil.copy(straight / "run.json", tmp_path)
    for name in ("rng-0.pt", ".tmpk5qZ0Y"):
        (aside / name).write_bytes(b"half a fi")
    start(command(shards, tmp_path, f"optimizer.steps={STEPS}")).wait()
    assert not aside.exists()
    assert steps(tmp_path) == steps(straight)


def test_the_loss_falls_and_every_step_tells_what_it_was_made_of(straight: Path) -> None:
    told = steps(straight)
    assert told[-1]["loss"] < told[0]["loss"] - 1
    for step in told:
        assert step["targets"] <= step["tokens"]
        assert 0.5 < step["fill"] <= 1
        assert step["documents"] >= 4
    assert len({step["checksum"] for step in told}) == STEPS


def test_two_ranks_train_the_same_batches_to_the_same_losses(
    straight: Path, shards: Path, tmp_path: Path
) -> None:
    arguments = command(shards, tmp_path, f"optimizer.steps={STEPS}")
    for process in start_ranks(arguments, 2):
        process.wait()
    both, alone = steps(tmp_path), steps(straight)
    for name in ("step", "checksum", "documents", "tokens", "images", "targets", "fill"):
        assert [step[name] for step in both] == [step[name] for step in alone], name
    worst = max(abs(a["loss"] - b["loss"]) for a, b in zip(both, alone, strict=True))
    assert worst < 1e-5


def test_two_ranks_of_which_one_or_both_may_have_no_image_and_fewer_rows(tmp_path: Path) -> None:
    """Three rows a step: two micro-batches on one rank, one on the other; one document in six has
    an image."""
    documents: list[Document] = [
        [
            prose(20 + number, seed=number),
            *[picture(90, 80, colour=number)] * (number % 6 == 0),
            ".",
        ]
        for number in range(24)
    ]
    write_run(tmp_path / "run", documents)
    told = {}
    for ranks in (1, 2):
        output = tmp_path / f"{ranks} ranks"
        arguments = command(
            tmp_path / "run", output, "optimizer.steps=8", "data.rows=3", "data.micro_rows=1",
            "data.workers=0",
        )  # fmt: skip
        for process in start_ranks(arguments, ranks):
            process.wait()
        told[ranks] = steps(output)
    assert {step["images"] > 0 for step in told[1]} == {True, False}
    for alone, both in zip(told[1], told[2], strict=True):
        assert both["checksum"] == alone["checksum"]
        assert both["loss"] == pytest.approx(alone["loss"], abs=1e-5)
        assert both["gradient_norm"] == pytest.approx(alone["gradient_norm"], rel=1e-3)


def test_sigterm_saves_a_checkpoint_and_ends_with_0_and_the_rest_follows(
    straight: Path, shards: Path, tmp_path: Path
) -> None:
    arguments = command(shards, tmp_path, f"optimizer.steps={STEPS}", "run.checkpoint_every=1000")
    process = start(arguments)
    _until(process, tmp_path, 4)
    os.kill(process.pid, signal.SIGTERM)
    assert "the same command goes on" in process.wait()
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1
    assert 4 <= len(steps(tmp_path)) < STEPS
    start(arguments).wait()
    assert steps(tmp_path) == steps(straight)


def test_ctrl_c_saves_a_checkpoint_and_ends_with_130(shards: Path, tmp_path: Path) -> None:
    process = start(command(shards, tmp_path, "optimizer.steps=1000"))
    _until(process, tmp_path, 2)
    process.kill_group(signal.SIGINT)  # as a terminal does: to workers too
    told = process.wait(code=130)
    assert "Traceback" not in told
    assert len(list((tmp_path / "checkpoints").iterdir())) >= 1


def test_a_checkpoint_of_another_run_is_refused(straight: Path, shards: Path) -> None:
    other = command(shards, straight, f"optimizer.steps={STEPS}", "data.rows=8")
    told = start(other).wait(code=2)
    assert "its rows is 4, now 8" in told
    assert "Traceback" not in told


def test_more_ranks_than_rows_are_refused(shards: Path, tmp_path: Path) -> None:
    """By torchrun itself, which starts interpreters of its own."""
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    ended = subprocess.run(
        [sys.executable, *launch, "-m", "training.cli", *command(shards, tmp_path, "data.rows=1")],
        cwd=ROOT, capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    assert "2 ranks, but a global batch has 1 rows" in ended.stderr
