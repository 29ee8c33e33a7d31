"""Layout: which folder a run may have, and what in it is the run's own. It touches nothing else.

In:      the name of a folder; the forms of the names that the stages give to their files.
Out:     run.json, written first; the run's files, and the files there that no run has written.
Refused: a name that cannot be written to, a folder that holds another run or is not empty, a folder
         of a run that is a link out of it: what lies behind the link is not the run's.
A table is one level deep, and a link is no file of a run: neither is followed, read or removed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, Final

from pipeline import stages
from pipeline.job import Crawl, Job, Settings, read_run, run_text
from pipeline.stage import Stage
from pipeline.store import store
from pipeline.store.raw import CLOUD
from pipeline.store.store import ENDED, NOTE_NAMES, OPT_OUT, OPT_OUT_NAMES, NameForm

_TRAINER_FOLDER: Final = "counts"  # made from shards and index by the trainer
GLOB_CHARACTERS: Final = "*?["  # what a name in a bucket may not hold, since Beam cannot quote it
_ASIDE: Final = re.compile(rf"{re.escape(store.ASIDE)}[0-9a-f]{{32}}\Z")
_OWN: Final = ("run.json", "report.html", "README.md")
_OF_A_STAGE: Final = ("manifest.json", "parts.parquet", "host.json", "failure.host.json")


def forms() -> Mapping[str, Sequence[NameForm]]:
    """By folder, the forms of the names that a run writes there."""
    return _forms(stages.STAGES)


@cache  # it is asked for every file of a run
def _forms(of: Sequence[Stage]) -> Mapping[str, Sequence[NameForm]]:
    by_folder: dict[str, list[NameForm]] = {ENDED: [NOTE_NAMES]}
    for stage in of:
        for folder, form in stage.tables.items():
            by_folder.setdefault(folder, []).append(form)
    return by_folder


def folders() -> Sequence[str]:
    """Every folder of a run, those above others first."""
    return ("verdicts", "tables", *sorted(forms()))


def is_own(name: str) -> bool:
    """Whether a run gives a file this name below its folder, or writes one of it aside."""
    folder, _, file = _ASIDE.sub("", name).rpartition("/")
    if folder:
        return any(form(file) for form in forms().get(folder, ()))
    of_stages = (f"{stage.name}.{end}" for stage in stages.STAGES for end in _OF_A_STAGE)
    return file in {*_OWN, *of_stages} or OPT_OUT_NAMES.fullmatch(file) is not None


def is_start_file(name: str) -> bool:
    """Whether a first start writes this, whole or aside, before or as it writes run.json."""
    return name.startswith(("run.json", OPT_OUT)) and is_own(name)


def is_trainer_file(name: str) -> bool:
    return name.startswith(f"{_TRAINER_FOLDER}/")


def asides(output: str) -> list[str]:
    """What was being written when a run was killed; an object is never half there."""
    return [path for path in own(output) if _ASIDE.search(path)] if store.is_local(output) else []


def opt_out_lists(output: str) -> list[str]:
    paths = store.beginning(store.join(output, OPT_OUT))
    return [path for path in paths if OPT_OUT_NAMES.fullmatch(path.rsplit("/", 1)[-1])]


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
    """Names of files in the run folder and its tables that no run has written."""
    if store.is_local(output):
        return [name for folder in ("", *folders()) for name in _foreign_in(output, folder)]
    names = (store.name_below(output, path) for path in store.walk(output))
    return sorted(name for name in names
                  if not (name.endswith("/") or is_own(name) or is_trainer_file(name)))  # fmt: skip


def _foreign_in(output: str, folder: str) -> Iterator[str]:
    path = Path(_below(output, folder))
    if not path.is_dir():
        return
    with os.scandir(path) as entries:
        is_file = {_name(folder, entry.name): entry.is_file(follow_symlinks=False)
                   for entry in entries}  # fmt: skip
    for name in sorted(is_file.keys() - {*folders(), _TRAINER_FOLDER}):
        if not (is_file[name] and is_own(name)):
            yield name


def check(output: str) -> None:
    """Raises ValueError for a link that a run would follow, and for a file in place of a folder."""
    if not store.is_local(output):
        return
    names = os.listdir(output) if Path(output).is_dir() else []  # noqa: PTH208
    for name in (*folders(), *filter(is_own, sorted(names))):
        path, is_folder = Path(output, name), name in folders()
        if path.is_symlink() and (where := _forbidden_target(path, output, folder=is_folder)):
            raise ValueError(
                f"{path} is a link to {os.path.realpath(path)}, {where}: a run writes and removes "
                "files in its own folder alone; remove the link (to have a run on another disk, "
                "make the run folder itself a link)"
            )
        if is_folder and os.path.lexists(path) and not path.is_dir():
            raise ValueError(f"{path} is no folder, and a run keeps its own under that name: move "
                             "it elsewhere, or choose another output")  # fmt: skip


def _forbidden_target(link: Path, output: str, *, folder: bool) -> str:
    """Where a link leads, if a run may not follow it; "" for one to a folder within the run."""
    root, target = Path(os.path.realpath(output)), Path(os.path.realpath(link))
    if not target.is_relative_to(root):
        return "out of the run folder"
    inner = [path for path in (target, *target.parents) if root in path.parents]
    if any((path / "run.json").exists() for path in inner):
        return "into another run"
    return "" if folder else "and a run writes a file there"


def check_output(output: str) -> None:
    """Raises ValueError for a name that cannot be written to, before anything is asked."""
    if not output:
        raise ValueError("output is '': name a folder")
    if not _is_utf8(output):
        raise ValueError(f"output is {output!a}, which is not UTF-8: choose another name")
    if not store.is_local(output):
        _check_bucket(output)
        return
    try:
        above = next(path for path in (Path(output), *Path(output).parents) if path.exists())
    except OSError as error:
        raise _cannot_create(output, error) from error
    if not above.is_dir():
        raise ValueError(f"output is {output}, but {above} is a file: choose another folder")
    if not os.access(above, os.W_OK | os.X_OK):
        raise ValueError(f"output is {output}, but {above} may not be written to: choose another "
                         "folder, or change its permissions")  # fmt: skip


def _is_utf8(name: str) -> bool:
    """Whether a name from the command line is text, and no bytes that Python smuggles through."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _cannot_create(output: str, error: OSError) -> ValueError:
    return ValueError(
        f"output is {output}, which cannot be made ({error.strerror}): choose another folder"
    )


def _check_bucket(output: str) -> None:
    scheme, _, rest = output.partition("://")
    if scheme not in CLOUD:
        raise ValueError(
            f"output is {output}, but {scheme}:// is not written to: choose a local folder, "
            f"{' or '.join(f'{name}://' for name in sorted(CLOUD))}"
        )
    if not rest.partition("/")[0]:
        raise ValueError(f"output is {output}, which names no bucket: add it, and a folder")
    if mark := next((character for character in rest if character in GLOB_CHARACTERS), ""):
        raise ValueError(
            f"output is {output}, but a listing of a bucket takes {mark} for a pattern, and would "
            f"find files of other folders: choose a name without {' '.join(GLOB_CHARACTERS)}"
        )


def prepare(output: str, crawl: Crawl, settings: Settings, opt_out: str | None = None) -> Job:
    """Write run.json, or check that the folder holds this very run; and the opt-out list.

    Raises:
        ValueError: where the folder holds another run, what is no run, or links out of it.
    """
    check(output)
    path = store.join(output, "run.json")
    if store.exists(path):
        check_same(output, read_run(output)["crawl"], crawl)
    elif stray := next(_strays(output), None):
        raise ValueError(
            f"{output} is not empty and holds no run (it has {stray}): choose an empty folder"
        )
    if store.is_local(output):
        try:
            Path(output).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _cannot_create(output, error) from error
    with store.held(output):  # no other run is at work in it
        if opt_out is not None and settings.opt_out:
            store.write_bytes(store.join(output, settings.opt_out), opt_out.encode())
        store.write_bytes(path, run_text(crawl, settings).encode())
        current = store.join(output, settings.opt_out)
        store.remove(path for path in opt_out_lists(output) if path != current)
    return stages.make_job(output, crawl, settings)


def _strays(output: str) -> Iterator[str]:
    """Files of a folder without run.json, but for those that a killed run has written before it.

    They are listed one by one: the folder may be the root of a disk.
    """
    base = store.join(output, "")
    return (path for path in store.walk(output) if not is_start_file(path.removeprefix(base)))


def check_same(output: str, old: Mapping[str, Any], crawl: Crawl) -> None:
    """Raises ValueError for the first thing in which a run's crawl differs now."""
    new = json.loads(json.dumps(asdict(crawl)))
    for name, value in new.items():
        if old.get(name, value) != value:  # an older run may lack a name
            match name:
                case "inputs" | "indexes":
                    why = _of_lists(name, old[name], value)
                case "ends":
                    pairs = zip(crawl.inputs, old[name], value, strict=True)
                    changed = next(name for name, was, now in pairs if was != now)
                    why = f"{changed} has other bytes now"
                case "sizes":
                    why = _of_sizes(crawl.inputs, old[name], value)
                case _:
                    why = f"its {name} is {old[name]}, now {value}"
            raise ValueError(
                f"{output} holds another run: {why}; give the same again, or choose another output"
            )


def _of_lists(name: str, old: list[str], new: list[str]) -> str:
    more, less = sorted(set(new) - set(old)), sorted(set(old) - set(new))
    return f"{more[0]} is not among its {name}" if more else f"{less[0]} is, and is not named now"


def _of_sizes(inputs: Sequence[str], old: list[int], new: list[int]) -> str:
    sizes = zip(inputs, old, new, strict=True)
    return next(f"{name} had {was:,} bytes, now {now:,}" for name, was, now in sizes if was != now)
