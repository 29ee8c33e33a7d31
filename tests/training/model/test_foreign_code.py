"""No Python of a model's folder runs, whoever says yes; weights are tensors and no more."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.forked import Forked, trainer
from tests.training.model.starts import CONFIGS, saved
from tests.training.shards import word_tokenizer, write_run
from training.data import tokenizer
from training.data.hub import CODE
from training.model.pretrained import limit_of, load_language, load_vision

# each class of the folder would leave a file behind, and so would the import of its module
CUSTOM = """
from pathlib import Path
from transformers import {base}

(Path(__file__).parent / "ran").write_text("imported")
Path({ran!r}).write_text("imported")


class Custom({base}):
    model_type = "llama"
"""
MAPS = {
    "AutoConfig": "custom.Custom",
    "AutoModelForCausalLM": "custom.Custom",
    "AutoTokenizer": ["custom.Custom", "custom.Custom"],
}
OPEN: dict[str, Callable[[str], object]] = {
    "language": load_language,
    "limit": limit_of,
    "vision": partial(load_vision, table=6),
    "tokenizer": tokenizer.load,
}
SETTINGS = [
    "config.json",
    "tokenizer_config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "video_preprocessor_config.json",
    "config.4.50.0.json",
]


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    """A file that is there once something of the folder has run."""
    return tmp_path / "ran"


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A language model with its tokenizer."""
    folder = tmp_path / "model"
    saved(CONFIGS[0], folder)
    word_tokenizer("</s>", eos_token="</s>").save_pretrained(folder)
    return folder


@pytest.fixture
def folder(plain: Path, ran: Path) -> Path:
    (plain / "custom.py").write_text(CUSTOM.format(base="PreTrainedConfig", ran=str(ran)))
    return plain


def put(path: Path, **settings: object) -> None:
    before = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(before | settings))


def read(kind: str, folder: str) -> None:
    try:
        OPEN[kind](folder)
    except ValueError as error:
        print(error)


def open_in_process(kind: str, folder: Path, stdin: str) -> Forked:
    """Read a folder in a process of its own, whose standard input says something."""
    ended = Forked(read, kind, str(folder), stdin=stdin)
    ended.wait(seconds=120)
    return ended


@pytest.fixture
def yes(tmp_path: Path) -> str:
    """A file that says yes to whatever is asked."""
    path = tmp_path / "yes"
    path.write_text("y\n" * 9)
    return str(path)


@pytest.mark.parametrize(
    ("kind", "model_type"), [*((kind, "somebody's") for kind in OPEN), ("language", "llama")]
)
def test_a_folder_that_brings_code_is_refused_though_standard_input_says_yes(
    folder: Path, ran: Path, yes: str, kind: str, model_type: str
) -> None:
    put(folder / "config.json", auto_map=MAPS, model_type=model_type)
    put(folder / "tokenizer_config.json", auto_map=MAPS)
    ended = open_in_process(kind, folder, yes)
    assert "names code of its own (auto_map)" in ended.stdout
    assert "trust_remote_code=False" in ended.stdout
    assert ended.stdout.count("\n") == 1
    assert not ran.exists()
    assert not (folder / "ran").exists()


@pytest.mark.parametrize("kind", ["limit", "tokenizer"])
def test_a_terminal_that_says_yes_is_not_asked(folder: Path, ran: Path, kind: str) -> None:
    put(folder / "config.json", auto_map=MAPS, model_type="somebody's")
    ours, theirs = os.openpty()
    try:
        os.write(ours, b"y\n" * 9)
        ended = open_in_process(kind, folder, os.ttyname(theirs))
    finally:
        os.close(ours)
        os.close(theirs)
    assert "names code of its own (auto_map)" in ended.stdout
    assert "[y/N]" not in ended.stdout + ended.stderr
    assert not ran.exists()


def refused(source: str, match: str) -> None:
    for read in (load_language, limit_of, tokenizer.load, lambda at: load_vision(at, 6)):
        with pytest.raises(ValueError, match=match):
            read(source)


@pytest.mark.parametrize("name", SETTINGS)
def test_code_that_any_settings_name_is_refused(folder: Path, name: str) -> None:
    put(folder / name, auto_map={"AutoModel": "custom.Custom"})
    refused(str(folder), rf"but its {name} names code of its own")


def test_code_is_found_at_any_depth_and_however_it_is_spelled(folder: Path) -> None:
    config = (folder / "config.json").read_text()
    put(folder / "config.json", text_config={"a": [{CODE: "other/repository--custom.Custom"}]})
    refused(str(folder), "names code of its own")
    (folder / "config.json").write_text(
        config.replace("{", '{"auto_m\\u0061p": ["custom.Custom"],', 1)
    )
    refused(str(folder), "names code of its own")


def test_code_beside_a_gguf_or_a_file_that_is_named_is_refused(folder: Path) -> None:
    put(folder / "tokenizer_config.json", auto_map=MAPS)
    (folder / "model.gguf").write_bytes(b"GGUF")
    for source in (folder / "model.gguf", folder / "config.json"):
        for read in (load_language, limit_of, tokenizer.load):
            with pytest.raises(ValueError, match="names code of its own"):
                read(str(source))


def test_a_folder_whose_map_of_code_is_empty_is_read(folder: Path) -> None:
    put(folder / "config.json", auto_map={})
    put(folder / "tokenizer_config.json", auto_map={})
    assert load_language(str(folder)).config.model_type == "llama"
    assert tokenizer.load(str(folder)).vocabulary > 0


def test_settings_that_are_no_json_are_one_line(folder: Path) -> None:
    for body in ("[" * 200_000, "{", "7", '{"model_type": 7}', '{"auto_map": 7}'):
        (folder / "config.json").write_text(body)
        (folder / "tokenizer_config.json").write_text(body)
        refused(str(folder), "tokenizer|--language-model|--vision-model")


def test_the_commands_refuse_it_before_anything_is_read(
    folder: Path, yes: str, tmp_path: Path
) -> None:
    write_run(tmp_path / "run", [["A text."]])
    put(folder / "config.json", auto_map=MAPS)
    for arguments in (
        ["fit", "--language-model", str(folder), "-o", str(tmp_path / "out")],
        ["index", "--tokenizer", str(folder)],
    ):
        ended = Forked(trainer, [*arguments, "--shards", str(tmp_path / "run")], stdin=yes)
        ended.wait(code=2, seconds=120)
        assert "names code of its own (auto_map)" in ended.stderr
        assert ended.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_adapter_is_refused_with_what_to_do(plain: Path, tmp_path: Path) -> None:
    """peft imports modules that its settings name."""
    put(
        plain / "adapter_config.json",
        peft_type="LORA",
        target_modules=["q_proj"],
        megatron_config={"a": 1},
        megatron_core="custom",
    )
    for read in (load_language, limit_of):
        with pytest.raises(ValueError, match=r"has an adapter .*merge it into its model first"):
            read(str(plain))
    assert tokenizer.load(str(plain)).vocabulary > 0


class _Leaves:
    """Pickled, it writes a file where it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path, str]]:
        return Path.write_text, (self.path, "ran")


def test_pickled_weights_run_nothing_and_plain_ones_are_read(plain: Path, ran: Path) -> None:
    weights = load_file(plain / "model.safetensors")
    (plain / "model.safetensors").unlink()
    torch.save(weights, plain / "pytorch_model.bin")
    assert torch.equal(load_language(str(plain)).state_dict()["model.norm.weight"],
                       weights["model.norm.weight"])  # fmt: skip
    torch.save({"model.norm.weight": _Leaves(ran)}, plain / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"--language-model .* cannot be read"):
        load_language(str(plain))
    (plain / "pytorch_model.bin").write_bytes(pickle.dumps(_Leaves(ran)))
    with pytest.raises(ValueError, match=r"--language-model .* cannot be read"):
        load_language(str(plain))
    assert not ran.exists()
    pickle.loads(pickle.dumps(_Leaves(ran)))
    assert ran.exists(), "the pickle is of the kind that writes"
