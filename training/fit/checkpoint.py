"""Checkpoints: all that a run needs to go on as if it had never stopped; whole or absent.

    OUT/checkpoints/step-000100/
        trained.safetensors   every weight that is trained, by its name
        optimizer.pt          AdamW's moments, by the number of the weight
        state.json            step, state of the data, configuration, what it was trained on
        rng-RANK.pt           generators of each rank

Out:     a folder that is written aside, flushed and moved to its name; the last N are kept.
Refused: a checkpoint of another model, other shards or another configuration: ValueError.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError

from schemas.from_json import built, json_object
from schemas.manifest import version_shown
from training.fit.parallel import World
from training.model.idefics2 import PackedIdefics2
from training.model.lora import FILE, load_trained, save_trained

FORMAT: Final = 1
_NAME: Final = re.compile(r"step-(\d{6,})")
_FILE: Final = re.compile(
    rf"{re.escape(FILE)}|optimizer\.pt|state\.json|rng-\d+\.pt"
    r"|\.tmp[A-Za-z0-9]+"  # what safetensors writes before the file has its name
)
_ASIDE: Final = ".aside"


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """Beside weights and moments: what a resumed run must find."""

    step: int  # steps done
    data: dict[str, Any]  # state of the plan (plan.py): a few integers
    identity: dict[str, Any]  # what may not differ: shape, tokenizer, shards, sequence length, ...


def folder_of(output: Path, step: int) -> Path:
    return output / "checkpoints" / f"step-{step:06d}"


def whole_checkpoints(output: Path) -> list[Path]:
    """Checkpoints from the oldest to the newest."""
    folder = output / "checkpoints"
    paths = folder.iterdir() if folder.is_dir() else ()
    whole = [path for path in paths if _NAME.fullmatch(path.name)]
    return sorted(whole, key=lambda path: int(path.name.split("-")[1]))


def save(
    output: Path,
    model: PackedIdefics2,
    optimizer: torch.optim.Optimizer,
    state: State,
    *,
    keep: int,
    world: World,
) -> Path:
    """Write a checkpoint, and remove what is older than the last `keep`. Every rank calls it."""
    final = folder_of(output, state.step)
    if final.exists():  # whole already: a run that was resumed here and stops at once
        return final
    aside = final.with_name(final.name + _ASIDE)
    if world.first:
        for unfinished in final.parent.glob(f"step-*{_ASIDE}"):  # of a run that was killed
            _remove(unfinished)
        with _write_errors(final):
            aside.mkdir(parents=True, exist_ok=True)  # exists where it holds what is not ours
            if aside.is_symlink() or any(map(_is_ours, aside.iterdir())):
                raise OSError(f"{aside} is a link, or holds one: move it elsewhere")
    world.wait()
    with _write_errors(final):
        states = {"cpu": torch.get_rng_state()}
        if world.device.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(world.device)
        torch.save(states, aside / f"rng-{world.rank}.pt")
    world.wait()
    if world.first:
        with _write_errors(final):
            save_trained(model, aside)
            torch.save(optimizer.state_dict()["state"], aside / "optimizer.pt")
            facts = {
                "format": FORMAT, "step": state.step, "data": state.data,
                "identity": state.identity,
            }  # fmt: skip
            (aside / "state.json").write_text(json.dumps(facts, indent=1))
            _flush(*filter(_is_ours, aside.iterdir()), aside)
            aside.rename(final)
            _flush(final.parent)
        for old in whole_checkpoints(output)[:-keep]:
            _remove(old)
    world.wait()
    return final


def _remove(folder: Path) -> None:
    """Remove a checkpoint's own files, and its folder if nothing else is in it; follow no link."""
    name = folder.name.removesuffix(_ASIDE)
    if folder.is_symlink() or not folder.is_dir() or not _NAME.fullmatch(name):
        return
    gone = folder.with_name(name + _ASIDE)
    if not os.path.lexists(gone):
        folder = folder.rename(gone)  # under its own name it is whole or absent
    for path in filter(_is_ours, list(folder.iterdir())):
        if path.is_file() and not path.is_symlink():
            path.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()


def _is_ours(path: Path) -> bool:
    return _FILE.fullmatch(path.name) is not None


def load(
    folder: Path,
    model: PackedIdefics2,
    optimizer: torch.optim.Optimizer,
    *,
    identity: Mapping[str, Any],
    world: World,
) -> State:
    """Put a checkpoint into a model and optimizer that were made for the same run."""
    state = read_state(folder)
    _check_same(folder, state.identity, identity)
    with _read_errors(folder / FILE):
        load_trained(model, folder)
    with _read_errors(folder / "optimizer.pt") as path:
        moments = torch.load(path, map_location=world.device, weights_only=True)
        settings = optimizer.state_dict()["param_groups"]  # of today: decay and betas may change
        optimizer.load_state_dict({"state": moments, "param_groups": settings})
    own = folder / f"rng-{world.rank}.pt"
    if own.exists():  # none where there are more ranks than before
        with _read_errors(own):
            generators = torch.load(own, weights_only=True)
            torch.set_rng_state(generators["cpu"])
            if world.device.type == "cuda" and "cuda" in generators:
                torch.cuda.set_rng_state(generators["cuda"], world.device)
    return state


def load_weights(folder: Path, model: PackedIdefics2, *, identity: Mapping[str, Any]) -> State:
    """Put a checkpoint's weights into a model whose `identity` is that of the run."""
    state = read_state_of(folder, identity)
    with _read_errors(folder / FILE):
        load_trained(model, folder)
    return state


def read_state_of(folder: Path, identity: Mapping[str, Any]) -> State:
    """The state of a checkpoint in which all that `identity` names is the same."""
    state = read_state(folder)
    _check_same(folder, {name: state.identity.get(name) for name in identity}, identity)
    return state


def read_state(folder: Path) -> State:
    with _read_errors(folder / "state.json") as path:
        values = json_object(path.read_bytes())
        if (version := values.pop("format", None)) != FORMAT:
            raise ValueError(
                f"it is of format {version_shown(version)}, this interloom reads {FORMAT}"
            )
        return built(State, values)


@contextmanager
def _write_errors(final: Path) -> Iterator[None]:
    """torch and safetensors have errors of their own for a disk that is full."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        raise OSError(
            f"{final} could not be written ({error}): make room there; the same command goes on "
            "from the checkpoint before"
        ) from error


@contextmanager
def _read_errors(path: Path) -> Iterator[Path]:
    """A file that cannot be read is the user's to mend; readers raise all kinds of errors."""
    try:
        yield path
    except Exception as error:
        raise ValueError(
            f"{path.parent} is no checkpoint ({path.name}: {error}): remove it to go on from the "
            "one before"
        ) from error


def _check_same(folder: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Raises ValueError, which names the first thing in which the run is another one."""
    new = json.loads(json.dumps(new))
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            raise ValueError(
                f"{folder} is of another run: its {name} is {old.get(name)}, now {new.get(name)}; "
                "give the same again, or another output"
            )


def _flush(*paths: Path) -> None:
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
