"""The trainer's folders may be foreign, too: one line with what to do, and nothing but text."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig
from typer.testing import CliRunner

from schemas.terminal import printable
from tests.training.fit.runs import (
    TINY,
    command,
    torch_as_before,
    write_documents,
)
from tests.training.model.starts import SIZES, saved
from tests.training.shards import picture, prose, small_tokenizer, write_run
from training.cli import app
from training.data import tokenizer
from training.fit.checkpoint import read_state
from training.recipe import read_run

CODES: Final = "\x1b]0;owned\x07\x1b]52;c;ZXZpbA==\x07\x1b[31m\x9b2J\x7f\x08\x08\r\u202e\u2066"
HOSTILE: Final = f"{CODES}[bold red]x[|]:bug:"
OBEYED: Final = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
DEEP: Final = b"[" * 100_000
BODIES: Final = (b"", b"{", b"[]", b"null", b'"x"', DEEP, b'{"format": ' + DEEP, b"\xff\xfe",
                 b"9" * 5_000, b"{}", b'{"format": 2}', b'{"format": "\\u001b[31m"}',
                 b'{"format": 1}', b'{"format": 1, "config": [], "shards": {}}')  # fmt: skip
COMMANDS: Final = ("evaluate", "generate", "export", "data")


def told_by(*arguments: str | Path, code: int) -> str:
    """What a command prints, which a terminal does not obey; an error of it is one line."""
    result = CliRunner(env={"COLUMNS": "1000"}).invoke(app, list(map(str, arguments)))
    assert result.exit_code == code, (result.output, result.exception)
    shown = result.output if code else result.stdout  # transformers draws bars of its own
    assert OBEYED.findall(shown) == []
    if code:
        assert result.stderr.startswith("interloom-train: ")
        assert result.stderr.count("\n") == 1, result.stderr
        assert len(result.stderr) < 2_000
    return shown


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents, under a name, that are hostile."""
    folder = tmp_path_factory.mktemp("shards") / HOSTILE
    documents: list[list[str | bytes]] = [
        [picture(90, 90, colour=n), f"{CODES} {prose(30, seed=n)} {HOSTILE}"] for n in range(12)
    ]
    write_run(folder, documents[:8], heldout=documents[8:], manifest=True)
    return folder


@pytest.fixture(scope="module")
def fitted(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    output = tmp_path_factory.mktemp("model") / HOSTILE
    settings = [f"--set={one}" for one in (*TINY, "optimizer.steps=3", "data.workers=0")]
    with torch_as_before():
        told = told_by("fit", "--shards", shards, "-o", output, *settings, code=0)
    return output, told


@pytest.fixture
def run(fitted: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(fitted[0], tmp_path / "run"))


def test_whatever_is_trained_on_is_told_as_text(
    fitted: tuple[Path, str], shards: Path, tmp_path: Path
) -> None:
    run, told = fitted
    assert "a held-out document" in told
    assert "[bold red]x[|]:bug:/samples.html" in told
    own = run / "tokenizer"
    told_by("evaluate", run, code=0)
    told_by("generate", run, "--prompt", f"{HOSTILE} the sea", "--length=3", code=0)
    told_by("data", run, code=0)
    told_by("export", run, "-o", tmp_path / HOSTILE, code=0)
    assert "[bold red]x[|]:bug:" in told_by("index", "--shards", shards, "--tokenizer", own, code=0)
    told_by("plan", "--shards", shards, "--set=data.rows=4", code=0)
    for page in (run / "samples.html", run / "step-000001.html"):
        assert "<script" not in page.read_text()


@pytest.mark.parametrize(
    "arguments",
    [
        ("index", "--shards", "{shards}", "--tokenizer", HOSTILE),
        ("index", "--shards", HOSTILE, "--tokenizer", "{tokenizer}"),
        ("index", f"--shards={{shards}}={HOSTILE}", "--tokenizer", "{tokenizer}"),
        ("plan", "--shards", "{shards}", "--config", HOSTILE),
        ("plan", "--shards", "{shards}", "--set", HOSTILE),
        ("plan", "--shards", "{shards}", "--set", f"shape={HOSTILE}"),
        ("plan", "--shards", "{shards}", "--gpu", HOSTILE),
        ("generate", "{run}", "--image", HOSTILE),
        ("data", HOSTILE),
    ],
)
def test_what_is_wrong_is_told_as_text(
    arguments: tuple[str, ...], fitted: tuple[Path, str], shards: Path
) -> None:
    places = {"{shards}": shards, "{run}": fitted[0], "{tokenizer}": fitted[0] / "tokenizer"}
    named = list(arguments)
    for place, path in places.items():
        named = [one.replace(place, str(path)) for one in named]
    told_by(*named, code=2)


def test_a_tar_tells_its_names_as_text(shards: Path, fitted: tuple[Path, str]) -> None:
    run = shards.with_name("other")
    write_run(run, [[prose(20)]], index=False)
    tar = run / "shards" / "train-00000.tar"
    tar = tar.rename(tar.with_name(f"train-{HOSTILE}.tar"))
    tar.write_bytes(tar.read_bytes().replace(b".json", b".\x1b[2J"))
    told = told_by("index", "--shards", run, "--tokenizer", fitted[0] / "tokenizer", code=2)
    assert "\\x1b[31m" in told


@pytest.mark.parametrize(
    ("settings", "code"),
    [({"rope_scaling": {"type": HOSTILE, "factor": 2.0}}, 2),
     ({"quantization_config": {"quant_method": HOSTILE}}, 0)],
)  # fmt: skip
def test_what_transformers_tells_of_a_model_is_text(
    settings: dict[str, Any], code: int, tmp_path: Path
) -> None:
    """Of its settings, and of a weight that it does not know.

    In an interpreter of its own: transformers keeps the standard error that it was imported with.
    """
    shards, model = write_documents(tmp_path / "shards", documents=8, heldout=1), tmp_path / "model"
    small_tokenizer().tokenizer.save_pretrained(model)
    saved(LlamaConfig(**SIZES | {"vocab_size": 600}), model)
    config, weights = model / "config.json", model / "model.safetensors"
    config.write_text(json.dumps(json.loads(config.read_text()) | settings))
    save_file(load_file(weights) | {f"a{HOSTILE}": torch.zeros(2)}, weights, {"format": "pt"})
    asked = command(shards, tmp_path / "out", "optimizer.steps=1", "optimizer.warmup=0")
    ran = subprocess.run(
        [sys.executable, "-P", "-m", "training.cli", *asked, "--language-model", str(model)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ran.returncode == code, ran.stderr
    assert OBEYED.findall(ran.stdout + ran.stderr) == []
    assert (ran.stdout + ran.stderr).count(printable(CODES)) >= 2


@pytest.mark.parametrize("name", COMMANDS)
def test_a_run_json_that_is_none_is_one_line_with_what_to_do(name: str, run: Path) -> None:
    path = run / "run.json"
    more = {"generate": ("--prompt", "a"), "export": ("-o", run / "out")}.get(name, ())
    for body in BODIES:
        path.write_bytes(body)
        told = told_by(name, run, *more, code=2)
        assert f"{run} holds no training run" in told
        assert "give the folder of interloom-train fit" in told
    path.unlink()
    for kind in ("folder", "pipe", "endless"):
        if kind == "folder":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to("/dev/zero")
        assert "give the folder of" in told_by(name, run, *more, code=2)
        path.rmdir() if path.is_dir() else path.unlink()


OTHERS: Final[tuple[object, ...]] = (None, [], {}, "x", True, -1, 10**30, 1e400, "\ud800")


def mutated(told: object, *at: str | int) -> Iterator[object]:
    """Copies of a JSON object with another value, or none, in each place."""
    inner: Any = told
    for key in at:
        inner = inner[key]
    keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
    for key in keys:
        for value in OTHERS:
            yield _copied(told, at, key, value)
        yield _copied(told, at, key)
        if isinstance(inner[key], dict | list):
            yield from mutated(told, *at, key)


def _copied(told: object, at: tuple[str | int, ...], key: object, *value: object) -> object:
    new: Any = copy.deepcopy(told)
    inner = new
    for one in at:
        inner = inner[one]
    if value:
        inner[key] = value[0]
    else:
        del inner[key]
    return new


def test_whatever_stands_in_run_json_is_used_or_refused_in_one_line(run: Path) -> None:
    path = run / "run.json"
    told = json.loads(path.read_text())
    used = refused = 0
    for one in mutated(told):
        path.write_text(json.dumps(one))
        try:
            read_run(run)
        except ValueError as error:
            refused += 1
            assert len(str(error)) < 900  # noqa: PT017
        else:
            used += 1
    assert used > 20
    assert refused > 150


def test_whatever_stands_in_a_checkpoint_is_used_or_refused(run: Path) -> None:
    (folder,) = (run / "checkpoints").iterdir()
    path = folder / "state.json"
    told = json.loads(path.read_text())
    bodies = [*BODIES, *(json.dumps(one).encode() for one in mutated({**told, "identity": {}}))]
    for body in bodies:
        path.write_bytes(body)
        try:
            state = read_state(folder)
        except ValueError as error:
            assert "remove it to go on from the one before" in str(error)  # noqa: PT017
        else:
            assert isinstance(state.step, int)
    for data in ({}, {"step": 0}, {"step": 0, "sources": [1]}, {"step": 0, "sources": [[1]]}):
        path.write_text(json.dumps({**told, "step": 0, "data": data}))
        told_by("data", run, code=2)


def test_a_damaged_manifest_of_shards_is_one_line_with_what_to_do(
    shards: Path, fitted: tuple[Path, str], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(shards, tmp_path / "shards"))
    asked = ("index", "--shards", folder, "--tokenizer", fitted[0] / "tokenizer")
    path = folder / "shard.manifest.json"
    good = path.read_bytes()
    told = json.loads(good)
    wrong = [told | {name: value} for name in ("counts", "parts") for value in (None, [1], "x")]
    for body in (*BODIES, *(json.dumps(one).encode() for one in wrong)):
        path.write_bytes(body)
        assert str(path) in told_by(*asked, code=2)
    path.write_bytes(good)
    parts = folder / "shard.parts.parquet"
    for table in (pa.table({"part": ["train-00000"]}), pa.table({"part": [1], "counts": [2]})):
        pq.write_table(table, parts)
        assert f"{parts} is damaged" in told_by(*asked, code=2)
    parts.write_bytes(b"none")
    assert f"{parts} is damaged" in told_by(*asked, code=2)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_a_damaged_tokenizer_is_one_line_with_what_to_do(name: str, tmp_path: Path) -> None:
    small_tokenizer().tokenizer.save_pretrained(tmp_path)
    for body in BODIES:
        (tmp_path / name).write_bytes(body)
        with pytest.raises(ValueError, match=re.escape(str(tmp_path))):
            tokenizer.load(str(tmp_path))
