"""Layout: what in a folder is a run's own. What is called otherwise no run touches.

In:      a run folder, and the forms of the names that its stages give.
Out:     its files; what lies in its folders and is nobody's of a run.
Refused: a folder of a run that is a link out of it: what lies behind the link is not the run's.
A table is one level deep, and a link is no file of a run: neither is followed, read or removed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final

from pipeline import stages
from pipeline.stage import Stage
from pipeline.store import store
from pipeline.store.forms import ENDED, NOTES, OPT_OUT, OPT_OUT_LIST, Form

_OF_OTHERS: Final = "counts"  # made from shards and index by the trainer
_ASIDE: Final = re.compile(rf"{re.escape(store.ASIDE)}[0-9a-f]{{32}}\Z")
_OWN: Final = ("run.json", "report.html", "README.md")
_OF_A_STAGE: Final = ("manifest.json", "parts.parquet", "host.json", "failure.host.json")


def forms() -> Mapping[str, Sequence[Form]]:
    """By folder, the forms of the names that a run writes there."""
    return _forms(stages.STAGES)


@cache  # it is asked for every file of a run
def _forms(of: Sequence[Stage]) -> Mapping[str, Sequence[Form]]:
    found: dict[str, list[Form]] = {ENDED: [NOTES]}
    for stage in of:
        for folder, form in stage.tables.items():
            found.setdefault(folder, []).append(form)
    return found


def folders() -> Sequence[str]:
    """Every folder of a run, those above others first."""
    return ("verdicts", "tables", *sorted(forms()))


def is_own(name: str) -> bool:
    """Whether a run gives a file this name below its folder, or writes one of it aside."""
    folder, _, file = _ASIDE.sub("", name).rpartition("/")
    if folder:
        return any(form(file) for form in forms().get(folder, ()))
    of_stages = (f"{stage.name}.{end}" for stage in stages.STAGES for end in _OF_A_STAGE)
    return file in {*_OWN, *of_stages} or OPT_OUT_LIST.fullmatch(file) is not None


def is_first(name: str) -> bool:
    """Whether a first start writes this, whole or aside, before or as it writes run.json."""
    return name.startswith(("run.json", OPT_OUT)) and is_own(name)


def is_of_others(name: str) -> bool:
    return name.startswith(f"{_OF_OTHERS}/")


def asides(output: str) -> list[str]:
    """What was being written when a run was killed; an object is never half there."""
    return [path for path in own(output) if _ASIDE.search(path)] if store.is_local(output) else []


def opt_out_lists(output: str) -> list[str]:
    found = store.beginning(store.join(output, OPT_OUT))
    return [path for path in found if OPT_OUT_LIST.fullmatch(path.rsplit("/", 1)[-1])]


def own(output: str) -> Iterator[str]:
    """Every file of a run, whole or aside."""
    for folder in ("", *sorted(forms())):
        above = _below(output, folder)
        for path in store.beginning(store.join(above, "")):
            if is_own(_name(folder, path.rsplit("/", 1)[-1])):
                yield path


def _name(folder: str, file: str) -> str:
    return f"{folder}/{file}" if folder else file


def _below(output: str, folder: str) -> str:
    return store.join(output, folder) if folder else output


def foreign(output: str) -> list[str]:
    """Names of what lies in the run folder and its tables and no run has written."""
    if store.is_local(output):
        return [name for folder in ("", *folders()) for name in _foreign_in(output, folder)]
    names = (path.removeprefix(store.join(output, "")) for path in store.walk(output))
    return sorted(name for name in names
                  if not (name.endswith("/") or is_own(name) or is_of_others(name)))  # fmt: skip


def _foreign_in(output: str, folder: str) -> Iterator[str]:
    path = Path(_below(output, folder))
    if not path.is_dir():
        return
    with os.scandir(path) as found:
        names = {_name(folder, one.name): one.is_file(follow_symlinks=False) for one in found}
    for name in sorted(names.keys() - {*folders(), _OF_OTHERS}):
        if not (names[name] and is_own(name)):
            yield name


def check(output: str) -> None:
    """Raises ValueError for what a run would write through, or could not write."""
    if not store.is_local(output):
        return
    found = os.listdir(output) if Path(output).is_dir() else []  # noqa: PTH208
    for name in (*folders(), *filter(is_own, sorted(found))):
        path = Path(output, name)
        if path.is_symlink() and (where := _where(path, output, folder=name in folders())):
            raise ValueError(
                f"{path} is a link to {os.path.realpath(path)}, {where}: a run writes and removes "
                "files in its own folder alone; remove the link (to have a run on another disk, "
                "make the run folder itself a link)"
            )
        if name in folders() and os.path.lexists(path) and not path.is_dir():
            raise ValueError(f"{path} is no folder, and a run keeps its own under that name: move "
                             "it elsewhere, or choose another output")  # fmt: skip


def _where(link: Path, output: str, *, folder: bool) -> str:
    """Where a link leads that a run may not follow; "" for one to a folder within its own."""
    root, there = Path(os.path.realpath(output)), Path(os.path.realpath(link))
    if not there.is_relative_to(root):
        return "out of the run folder"
    inner = [one for one in (there, *there.parents) if root in one.parents]
    if any((one / "run.json").exists() for one in inner):
        return "into another run"
    return "" if folder else "and a run writes a file there"
