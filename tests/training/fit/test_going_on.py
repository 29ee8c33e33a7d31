"""What lies between two steps changes nothing of them: evaluations, stops, what was refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig
from typer.testing import CliRunner

from tests.training.fit.runs import (
    TINY,
    command,
    start_ranks,
    steps,
    torch_as_before,
    write_documents,
)
from tests.training.model.starts import SIZES, saved
from tests.training.shards import Document, picture, prose, small_tokenizer, write_run
from training.cli import app
from training.fit.checkpoint import folder_of, whole_checkpoints
from training.fit.parallel import ALONE
from training.fit.prepare import prepare
from training.recipe import options_of


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_documents(tmp_path_factory.mktemp("crawl"))


def fit(shards: Path, output: Path, *settings: str, code: int = 0) -> str:
    """In this process; the last of equal settings counts."""
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, command(shards, output, *settings))
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, shards: Path) -> Path:
    output = tmp_path_factory.mktemp("straight")
    with torch_as_before():
        fit(shards, output, "optimizer.steps=9", "data.workers=0")
    return output


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluations_on_the_way_change_no_document_and_no_loss(
    straight: Path, shards: Path, tmp_path: Path, workers: int
) -> None:
    fit(shards, tmp_path, "optimizer.steps=9", "run.evaluate_every=2", f"data.workers={workers}")
    assert steps(tmp_path) == steps(straight)
    assert evaluated(tmp_path) == [2, 4, 6, 8, 9]


def test_an_evaluation_that_a_kill_cut_off_is_made_again(
    straight: Path, shards: Path, tmp_path: Path
) -> None:
    settings = ("optimizer.steps=9", "run.evaluate_every=3")
    fit(shards, tmp_path, *settings, "run.keep=9")
    whole = (tmp_path / "evaluations.jsonl").read_bytes()
    for later in (6, 9):
        shutil.rmtree(folder_of(tmp_path, later))
    (tmp_path / "evaluations.jsonl").write_bytes(b"")  # killed behind the checkpoint of step 3
    fit(shards, tmp_path, *settings)
    assert (tmp_path / "evaluations.jsonl").read_bytes() == whole
    assert steps(tmp_path) == steps(straight)


def evaluated(output: Path) -> list[int]:
    lines = (output / "evaluations.jsonl").read_text().splitlines()
    return [json.loads(line)["step"] for line in lines]


@pytest.fixture(scope="module")
def seldom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One document in five has an image, and a step is two rows."""
    folder = tmp_path_factory.mktemp("seldom")
    documents: list[Document] = [
        [prose(40 + n % 9, seed=n), *[picture(90, 80, colour=n)] * (n % 5 == 4), "."]
        for n in range(40)
    ]
    write_run(folder, documents)
    return folder


SELDOM = ("data.rows=1", "data.micro_rows=1", "data.workers=0", "run.checkpoint_every=1",
          "run.keep=99")  # fmt: skip


def test_a_run_goes_on_to_the_bit_before_steps_without_an_image(
    seldom: Path, tmp_path: Path
) -> None:
    """AdamW moves a weight with a gradient of zeros, and leaves one without a gradient."""
    whole = tmp_path / "whole"
    fit(seldom, whole, "optimizer.steps=12", *SELDOM)
    images = [step["images"] for step in steps(whole)]
    after = next(n for n in range(4, 11) if images[n] == 0 and any(images[:n]))
    again = tmp_path / "again"
    shutil.copytree(whole, again)
    for later in range(after + 1, 13):
        shutil.rmtree(folder_of(again, later))
    fit(seldom, again, "optimizer.steps=12", *SELDOM)
    assert steps(again) == steps(whole)
    one, two = (folder_of(run, 12) / "trained.safetensors" for run in (whole, again))
    assert one.read_bytes() == two.read_bytes()


def test_two_ranks_are_one_where_the_first_steps_have_no_image_and_some_are_evaluated(
    tmp_path: Path,
) -> None:
    documents: list[Document] = [[prose(40 + n, seed=n)] for n in range(30)]
    for number in (3, 11, 28):
        documents[number] = [picture(80, 90, colour=number), *documents[number]]
    write_run(tmp_path / "run", documents, heldout=[[prose(30), picture(80, 80)]])
    settings = ("optimizer.steps=8", "data.rows=2", "data.micro_rows=1", "data.seed=1")
    fit(tmp_path / "run", tmp_path / "1", *settings, "data.workers=0")
    asked = command(tmp_path / "run", tmp_path / "2", *settings, "run.evaluate_every=3")
    for process in start_ranks(asked, 2):
        process.wait()
    alone, both = steps(tmp_path / "1"), steps(tmp_path / "2")
    assert evaluated(tmp_path / "2") == [3, 6, 8]
    assert alone[0]["images"] == 0
    assert any(step["images"] for step in alone)
    for one, other in zip(alone, both, strict=True):
        assert one["checksum"] == other["checksum"]
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-5)


def test_adapters_on_a_language_model_go_on_to_the_bit_also_before_the_first_checkpoint(
    shards: Path, tmp_path: Path
) -> None:
    language = tmp_path / "language"
    small_tokenizer().tokenizer.save_pretrained(language)
    saved(LlamaConfig(**SIZES | {"vocab_size": 600}), language)
    runs = []
    for name, stops in (("straight", (6,)), ("again", (2, 4, 6))):
        output = tmp_path / name
        for step in stops:
            CliRunner().invoke(
                app,
                [*command(shards, output, "optimizer.steps=6", "lora.rank=2", "run.keep=9",
                          "run.checkpoint_every=2"), "--language-model", str(language)],
            )  # fmt: skip
            for later in range(step + 2, 8, 2):
                shutil.rmtree(folder_of(output, later), ignore_errors=True)
        runs.append(steps(output))
    assert runs[0] == runs[1]
    assert len(runs[0]) == 6
    weights = load_file(language / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"] *= 1.5
    save_file(weights, language / "model.safetensors", {"format": "pt"})
    for asked in (
        ["generate", str(output), "--prompt", "the sea"],
        [*command(shards, output, "optimizer.steps=8", "lora.rank=2"),
         "--language-model", str(language)],
    ):  # fmt: skip
        result = CliRunner(env={"COLUMNS": "200"}).invoke(app, asked)
        assert result.exit_code == 2
        assert "is of another run: its base weights is" in result.output


@pytest.fixture
def copied(straight: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(straight, tmp_path / "copied"))


def test_a_refused_run_leaves_what_is_there_as_it_was(shards: Path, copied: Path) -> None:
    before = files(copied)
    for setting in ("data.seed=5", "data.vocabulary=600", "optimizer.steps=8"):
        assert "another output" in fit(shards, copied, "optimizer.steps=9", setting, code=2)
        assert files(copied) == before


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_decay_and_betas_of_today_are_those_of_the_steps_to_come(
    shards: Path, copied: Path, tmp_path: Path
) -> None:
    """From one checkpoint, two decays: the weights behind them differ, and the moments' betas."""
    ended = []
    for number, today in enumerate(
        (("optimizer.weight_decay=0",), ("optimizer.weight_decay=50",), ("optimizer.betas=0,0",))
    ):
        output = Path(shutil.copytree(copied, tmp_path / str(number)))
        fit(shards, output, "optimizer.steps=11", *today)
        ended.append(whole_checkpoints(output)[-1])
    weights = [folder / "trained.safetensors" for folder in ended]
    assert len({path.read_bytes() for path in weights}) == 3
    first, _, memoryless = (
        torch.load(folder / "optimizer.pt", weights_only=True)[0] for folder in ended
    )
    assert not torch.equal(first["exp_avg"], memoryless["exp_avg"])


def test_a_tokenizer_is_as_old_as_the_first_checkpoint(
    straight: Path, shards: Path, tmp_path: Path
) -> None:
    """What a run on other texts left behind before there was one is not taken up."""
    write_run(tmp_path / "other", [["Quite other words, " + "quartz " * 9]] * 4)
    output = tmp_path / "model"
    options = options_of([str(tmp_path / "other")], "tiny", TINY)
    prepare(output, options, world=ALONE, say=lambda _: None)  # and then it was killed
    left = (output / "tokenizer" / "tokenizer.json").read_bytes()
    fit(shards, output, "optimizer.steps=3")
    here, there = (run / "tokenizer" / "tokenizer.json" for run in (output, straight))
    assert here.read_bytes() == there.read_bytes() != left


def test_a_trained_folder_is_enough_without_its_shards_and_is_only_read(
    shards: Path, tmp_path: Path
) -> None:
    own = Path(shutil.copytree(shards, tmp_path / "own"))
    output = tmp_path / "model"
    fit(own, output, "optimizer.steps=3")
    before = files(output)
    own.rename(tmp_path / "moved")
    run = CliRunner(env={"COLUMNS": "200"})

    def told(*arguments: str, code: int = 0) -> str:
        result = run.invoke(app, list(arguments))
        assert result.exit_code == code, (arguments, result.output)
        return result.output

    assert told("generate", str(output), "--prompt", "the sea", "--length", "3")
    told("export", str(output), "-o", str(tmp_path / "exported"))
    assert (tmp_path / "exported" / "model.safetensors").exists()
    for name in ("evaluate", "data"):
        assert f"{own} holds 0 tars" in told(name, str(output), code=2)
    moved = ("--shards", str(tmp_path / "moved"))
    assert "held-out loss" in told("evaluate", str(output), *moved)
    page = tmp_path / "step.html"
    told("data", str(output), *moved, "--step", "2", "-o", str(page))
    assert page.exists()
    assert files(output) == before


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--step", "10"), "--step is 10, but"),
        (("--shards", "SELDOM"), "is of another run: its shards is"),
    ],
)
def test_a_step_that_never_was_is_not_shown(
    straight: Path, seldom: Path, arguments: Sequence[str], told: str
) -> None:
    named = [str(seldom) if one == "SELDOM" else one for one in arguments]
    result = CliRunner().invoke(app, ["data", str(straight), *named])
    assert result.exit_code == 2
    assert told in result.output
