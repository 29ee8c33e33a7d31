"""What fit finds in its output and is not its own stays as it is, and it says so at once."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.training.fit.runs import command, steps, torch_as_before, write_documents
from training.cli import app
from training.data import tokenizer
from training.fit import loop
from training.fit.checkpoint import whole_checkpoints


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_documents(tmp_path_factory.mktemp("crawl"), documents=12, heldout=2)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory, shards: Path) -> Path:
    output = tmp_path_factory.mktemp("fitted")
    with torch_as_before():
        fit(shards, output, 4)
    return output


@pytest.fixture
def run(fitted: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(fitted, tmp_path / "run"))


def told_by(*arguments: str, code: int) -> str:
    result = CliRunner(env={"COLUMNS": "1000"}).invoke(app, list(arguments))
    assert result.exit_code == code, (result.output, result.exception)
    if code:
        assert result.stderr.count("\n") == 1, result.stderr
    return result.output


def fit(shards: Path, output: Path, last: int, *, code: int = 0) -> str:
    asked = command(shards, output, f"optimizer.steps={last}", "data.workers=0")
    return told_by(*asked, code=code)


def content(folder: Path) -> dict[Path, bytes | Path | None]:
    """Of all below a folder: bytes, where a link leads, nothing of a folder."""
    return {
        path: path.readlink()
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else None
        for path in folder.rglob("*")
    }


NAMES = (
    "run.json", "run.json.aside", "metrics.jsonl", "metrics.jsonl.aside", "metrics.host.jsonl",
    "evaluations.jsonl", "samples.html", "step-000003.html",
)  # fmt: skip
FOLDERS = ("checkpoints", "tokenizer", "tensorboard")


def refused(shards: Path, output: Path, *told: str, last: int = 4) -> None:
    """In one line that says all of `told`, and everything stays as it was."""
    before = content(output.parent)
    line = fit(shards, output, last, code=2)
    for one in told:
        assert one in line
    assert content(output.parent) == before


def test_a_run_of_a_crawl_is_no_output(shards: Path, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"format_version": 1, "crawl": {}}))
    refused(shards, tmp_path, f"{tmp_path} has run.json", "is no training run", "another output")


@pytest.mark.parametrize("name", [one for one in (*NAMES, *FOLDERS) if one != "run.json.aside"])
def test_a_name_of_a_run_in_a_folder_that_is_none_is_told(
    name: str, shards: Path, tmp_path: Path
) -> None:
    if name in FOLDERS:
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_text("mine")
    refused(shards, tmp_path, f"{tmp_path} has {name}", "choose another output")


@pytest.mark.parametrize("name", [*NAMES, *FOLDERS, "tokenizer/tokenizer.json"])
def test_a_link_under_a_name_of_a_run_is_told(name: str, shards: Path, run: Path) -> None:
    theirs = run.with_name("theirs")
    if (run / name).exists():
        (run / name).rename(theirs)
    else:
        theirs.write_text("theirs")
    (run / name).symlink_to(theirs)
    refused(shards, run, f"{run / name} is a link", f"make {run} itself a link", last=6)
    if name == "step-000003.html":
        assert "is a link" in told_by("data", str(run), "--step=3", code=2)
        assert theirs.read_text() == "theirs"


@pytest.mark.parametrize("name", ["metrics.jsonl", "samples.html", "tensorboard"])
def test_another_kind_of_file_is_told(name: str, shards: Path, run: Path) -> None:
    shutil.rmtree(run / name) if (run / name).is_dir() else (run / name).unlink()
    os.mkfifo(run / name)
    line = fit(shards, run, 6, code=2)
    assert f"{run / name} is no " in line
    assert "move it elsewhere" in line


def test_an_output_may_be_a_link_and_hold_what_is_of_others(
    shards: Path, fitted: Path, tmp_path: Path
) -> None:
    folder, output = tmp_path / "big disk", tmp_path / "model"
    folder.mkdir()
    for name in ("notes.txt", "run.json.aside"):  # the second is what a kill may leave
        (folder / name).write_text("mine")
    output.symlink_to(folder)
    fit(shards, output, 4)
    assert steps(output) == steps(fitted)
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_run_that_was_killed_before_its_first_step_goes_on(
    shards: Path, fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for owner, name in ((tokenizer, "train_bpe"), (loop, "Trainer")):
        monkeypatch.setattr(owner, name, killed)
        fit(shards, tmp_path / "model", 4, code=130)
        monkeypatch.undo()
    fit(shards, tmp_path / "model", 4)
    assert steps(tmp_path / "model") == steps(fitted)


@pytest.mark.parametrize("name", ["metrics.jsonl", "metrics.host.jsonl", "evaluations.jsonl"])
@pytest.mark.parametrize("line", [b"not json", b'{"epoch": 5}', b'{"step": "1"}', b"[]", b"\xff"])
def test_a_line_that_is_none_of_a_run_is_told_before_it_goes_on(
    name: str, line: bytes, shards: Path, run: Path
) -> None:
    path = run / name
    number = path.read_bytes().count(b"\n") + 1
    with path.open("ab") as file:
        file.write(line + b"\n")
    refused(shards, run, f"{path}, line {number} is no step of a run", "take the line out", last=6)


@pytest.mark.parametrize(
    "damage",
    [{"step": -1}, {"step": 3}, {"step": 10**30}, {"sources": [[-1, 0, 0]]},
     {"sources": [[0, 10**6, 0]]}, {"sources": [[10**30, 0, 0]]}, {"sources": [[0, 0, 1e400]]}],
)  # fmt: skip
def test_a_state_of_the_data_that_none_can_be_names_its_checkpoint(
    damage: dict[str, object], shards: Path, run: Path
) -> None:
    (folder,) = whole_checkpoints(run)[-1:]
    state = json.loads((folder / "state.json").read_text())
    state["data"] |= damage
    (folder / "state.json").write_text(json.dumps(state))
    refused(shards, run, f"{folder} is no checkpoint (state of the data", "remove it", last=6)
