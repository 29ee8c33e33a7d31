"""The commands over a trained run: each does its work, and tells what the user got wrong."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from transformers import AutoProcessor, Idefics2ForConditionalGeneration
from typer.testing import CliRunner

from tests.training.fit.runs import TINY, command, start, steps, write_documents
from tests.training.shards import picture, write_run
from training.cli import CONSOLE, app
from training.fit.loop import train
from training.recipe import options_of

STEPS = 3


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_documents(tmp_path_factory.mktemp("crawl"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, shards: Path) -> Path:
    output = tmp_path_factory.mktemp("model")
    told = start(command(shards, output, f"optimizer.steps={STEPS}", "data.workers=0")).wait()
    assert "held-out loss" in told
    return output


def told_by(*arguments: str, code: int = 0) -> str:
    """What a command prints on a wide terminal; with its errors where it ends with one."""
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, list(arguments))
    assert result.exit_code == code, (result.output, result.exception)
    return result.output if code else result.stdout


def test_a_run_leaves_metrics_evaluations_samples_a_board_and_a_checkpoint(trained: Path) -> None:
    assert [step["step"] for step in steps(trained)] == [1, 2, 3]
    (evaluated,) = [
        json.loads(line) for line in (trained / "evaluations.jsonl").read_text().splitlines()
    ]
    assert evaluated["step"] == STEPS
    page = (trained / "samples.html").read_text()
    assert page.count("data:image/png;base64,") >= 1
    assert "<script" not in page
    assert list((trained / "tensorboard").iterdir())
    assert [path.name for path in (trained / "checkpoints").iterdir()] == ["step-000003"]


def test_evaluate_prints_what_the_run_ended_with(trained: Path) -> None:
    before = (trained / "evaluations.jsonl").read_bytes()
    told = told_by("evaluate", str(trained))
    assert (trained / "evaluations.jsonl").read_bytes() == before
    for loss in re.findall(r'"loss": (\d+\.\d{3})', before.decode()):
        assert loss in told


def test_generate_goes_on_with_the_prompt_and_greedy_is_the_same_twice(
    trained: Path, tmp_path: Path
) -> None:
    image = tmp_path / "one.png"
    image.write_bytes(picture(90, 120))
    asked = ("generate", str(trained), "--image", str(image), "--prompt", "the sea is")
    first = told_by(*asked, "--length", "8")
    assert first.startswith("the sea is")
    assert len(first) > len("the sea is\n")
    assert told_by(*asked, "--length", "8") == first
    drawn = {told_by(*asked, "--temperature", "3", "--seed", str(seed)) for seed in range(3)}
    assert len(drawn) == 3


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "the prompt has 0 parts"),
        (("--image", "gone.png"), "--image gone.png: No such file"),
        (("--image", __file__), "picture 1 of the prompt: image of"),
    ],
)
def test_a_prompt_that_cannot_be_is_refused(
    trained: Path, arguments: tuple[str, ...], told: str
) -> None:
    assert told in told_by("generate", str(trained), *arguments, code=2)


def test_export_is_read_by_transformers(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "for transformers"
    assert f"step {STEPS} of" in told_by("export", str(trained), "-o", str(folder))
    model = Idefics2ForConditionalGeneration.from_pretrained(folder)
    processor = AutoProcessor.from_pretrained(folder)  # type: ignore[no-untyped-call]
    assert model.lm_head.out_features >= len(processor.tokenizer)


def test_export_removes_nothing_of_another_model(trained: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "model-00001-of-00002.safetensors"
    theirs.write_bytes(b"theirs")
    for output in (tmp_path, theirs):
        told = told_by("export", str(trained), "-o", str(output), code=2)
        assert f"--output is {output}, which is no empty folder" in told
        assert "choose a new folder" in told
    assert list(tmp_path.iterdir()) == [theirs]


def test_data_renders_the_documents_that_the_metrics_count(trained: Path, tmp_path: Path) -> None:
    page = tmp_path / "step.html"
    for step in steps(trained):
        told_by("data", str(trained), "--step", str(step["step"]), "-o", str(page))
        text = page.read_text()
        assert text.count("data:image/png;base64,") == step["images"]
        assert f"{step['tokens']:,} tokens" in text


def test_plan_tells_the_numbers_of_the_index_and_writes_nothing(shards: Path) -> None:
    before = sorted(shards.rglob("*"))
    settings = [flag for one in TINY for flag in ("--set", one)]
    told = told_by("plan", "--shards", str(shards), *settings, "--gpus", "16", "--gpu", "A100")
    assert re.search(r"documents +│ +40 ", told)
    assert "16 A100 at an MFU of 40%" in told
    assert [path for path in sorted(shards.rglob("*")) if path.suffix != ".parquet"] == [
        path for path in before if path.suffix != ".parquet"
    ]
    assert "choose one of" in told_by("plan", "--shards", str(shards), "--gpu", "Q1", code=2)


def test_index_counts_once(shards: Path, trained: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(shards, copy)
    shutil.rmtree(copy / "counts")
    asked = ("index", "--shards", str(copy), "--tokenizer", str(trained / "tokenizer"))
    first, second = told_by(*asked), told_by(*asked)
    assert "40 samples in 2 shards" in first
    assert "counting tokens: 40 of 40" in first
    assert "counting" not in second


@pytest.mark.parametrize("name", ["evaluate", "generate", "data"])
def test_a_folder_without_a_run_is_told(tmp_path: Path, name: str) -> None:
    told = told_by(name, str(tmp_path), *(["--prompt", "a"] * (name == "generate")), code=2)
    assert str(tmp_path) in told
    assert "fit" in told


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (("--set", "optimizer.learning_rat=1"), "learning_rate"),
        (("--set", "data.rows=0"), "data.rows"),
        (("--set", "data.sequence_length=17"), "17"),
        (("--config", "tinny"), "tiny"),
        (("--vision-model", "somewhere"), "--language-model"),
    ],
)
def test_a_wrong_option_ends_at_once_and_leaves_nothing(
    shards: Path, tmp_path: Path, wrong: tuple[str, str], told: str
) -> None:
    output = tmp_path / "model"
    assert told in told_by("fit", "--shards", str(shards), "-o", str(output), *wrong, code=2)
    assert not (output / "run.json").exists()


def test_shards_that_hold_nothing_are_told(tmp_path: Path) -> None:
    assert str(tmp_path) in told_by(
        "fit", "--shards", str(tmp_path), "-o", str(tmp_path / "model"), code=2
    )
    write_run(tmp_path, [["A text."]])
    told = told_by("fit", "--shards", f"{tmp_path}=often", "-o", str(tmp_path / "model"), code=2)
    assert "'often' is no weight" in told


def test_a_held_out_shard_that_is_damaged_ends_it_at_the_start(
    shards: Path, tmp_path: Path
) -> None:
    """It is no folder without one: a run would else end without an evaluation."""
    copy = Path(shutil.copytree(shards, tmp_path / "copy"))
    tar = copy / "shards" / "heldout-00000.tar"
    tar.write_bytes(tar.read_bytes()[:1500])
    told = told_by("fit", "--shards", str(copy), "-o", str(tmp_path / "model"), code=2)
    assert "heldout-00000.tar ends at byte 1,500" in told


def test_steps_that_cannot_be_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    """The shards are not there either: that would be told next."""
    options = options_of(
        [str(tmp_path / "none")], "tiny", ["optimizer.steps=3", "optimizer.warmup=9"]
    )
    with pytest.raises(ValueError, match=r"optimizer\.warmup is 9 steps of optimizer\.steps = 3"):
        train(tmp_path / "out", options, console=CONSOLE, evaluate=print, end=print)
    assert not (tmp_path / "out").exists()
    named = tmp_path / "date=2024"  # a folder, and no weight
    write_run(named, [["A text."]])
    assert options_of([str(named)], "tiny", []).shards == ((str(named), 1.0),)
