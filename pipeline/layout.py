"""Layout: the form of every name that a run writes. What is called otherwise no run touches.

In:      a run folder.
Out:     its files, by stage and table; what lies in its folders and is nobody's of a run.
Refused: a folder of a run that is a link out of it: what lies behind the link is not the run's.
A table is one level deep, and a link is no file of a run: neither is followed, read or removed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from pipeline import store
from schemas.manifest import STAGES

PART: Final = "[0-9]{6,}-[0-9]{14,}"  # place of the input, byte at which the part starts
SHARD: Final = "(?:train|heldout)-[0-9]{5,}"
SETTLED: Final = "fetch-[0-9]{5,}-[0-9]+"  # partition, round
_COMMIT: Final = f"{SETTLED}-[0-9a-f]{{8}}-[0-9]+"
Form = Callable[[str], re.Match[str] | None]  # of a whole name
_PARQUET: Final[Form] = re.compile(rf"({PART})\.parquet").fullmatch
# stage -> its tables -> the form of the names that it gives to its files there; group 1 is the part
TABLES: Final[Mapping[str, Mapping[str, Form]]] = {
    "extract": {
        **dict.fromkeys(("documents", "images", "objections", "verdicts/extract"), _PARQUET),
        "packs": re.compile(rf"({PART})-[0-9]+\.tar").fullmatch,
    },
    "filter_text": {
        "verdicts/filter_text": _PARQUET,
        "wanted": re.compile(r"([0-9]{5,})\.parquet").fullmatch,
    },
    "fetch": {
        "images": re.compile(rf"({SETTLED}|{_COMMIT})\.parquet").fullmatch,
        "packs": re.compile(rf"({_COMMIT})-[0-9]+\.tar").fullmatch,
        "leases": re.compile(r"([0-9]{5,})\.host\.json").fullmatch,
    },
    "filter_images": dict.fromkeys(("verdicts/filter_images", "kept"), _PARQUET),
    "shard": {
        "index": re.compile(rf"({SHARD})\.parquet").fullmatch,
        "shards": re.compile(rf"({SHARD})\.tar").fullmatch,
        **dict.fromkeys(("tables/documents", "tables/images", "tables/drops"), _PARQUET),
    },
}
# notes of records that ended a process (extract/ended.py): no stage sweeps them
ENDED: Final = "ended"
OPT_OUT: Final = "opt-out-"  # and the digest of the list
OPT_OUT_LIST: Final = re.compile(rf"{OPT_OUT}[0-9a-f]{{16}}\.txt")
_TOP: Final = re.compile(
    rf"run\.json|{OPT_OUT_LIST.pattern}|report\.html|README\.md|(?:{'|'.join(STAGES)})"
    r"\.(?:manifest\.json|parts\.parquet|host\.json|failure\.host\.json)"
)
_FORMS: Final[Mapping[str, Sequence[Form]]] = {
    "": [_TOP.fullmatch],
    ENDED: [re.compile(rf"({PART})\.json").fullmatch],
} | {
    folder: [forms[folder] for forms in TABLES.values() if folder in forms]
    for folder in sorted({folder for forms in TABLES.values() for folder in forms})
}
# every folder of a run, those above others first
FOLDERS: Final = ("verdicts", "tables", *filter(None, _FORMS))
_ASIDE: Final = re.compile(rf"{re.escape(store.ASIDE)}[0-9a-f]{{32}}\Z")
_OF_OTHERS: Final = "counts"  # made from shards and index by the trainer


def is_own(name: str) -> bool:
    """Whether a run gives a file this name below its folder, or writes one of it aside."""
    folder, _, file = name.rpartition("/")
    whole = _ASIDE.sub("", file)
    return any(form(whole) for form in _FORMS.get(folder, ()))


def is_first(name: str) -> bool:
    """Whether a first start writes this, whole or aside, before or as it writes run.json."""
    return name.startswith(("run.json", OPT_OUT)) and is_own(name)


def is_of_others(name: str) -> bool:
    return name.startswith(f"{_OF_OTHERS}/")


def files(output: str, stage: str, table: str, start: str = "") -> Iterator[tuple[str, str]]:
    """(path, part) of a stage's whole files in a table, sorted; of those whose names begin so."""
    form = TABLES[stage][table]
    for path in store.beginning(store.join(output, table, start)):
        if named := form(path.rsplit("/", 1)[-1]):
            yield path, named[1]


def asides(output: str) -> list[str]:
    """What was being written when a run was killed; an object is never half there."""
    return [path for path in own(output) if _ASIDE.search(path)] if store.is_local(output) else []


def opt_out_lists(output: str) -> list[str]:
    found = store.beginning(store.join(output, OPT_OUT))
    return [path for path in found if OPT_OUT_LIST.fullmatch(path.rsplit("/", 1)[-1])]


def own(output: str) -> Iterator[str]:
    """Every file of a run, whole or aside."""
    for folder in _FORMS:
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
        return [name for folder in ("", *FOLDERS) for name in _foreign_in(output, folder)]
    names = (path.removeprefix(store.join(output, "")) for path in store.walk(output))
    return sorted(name for name in names
                  if not (name.endswith("/") or is_own(name) or is_of_others(name)))  # fmt: skip


def _foreign_in(output: str, folder: str) -> Iterator[str]:
    path = Path(_below(output, folder))
    if not path.is_dir():
        return
    with os.scandir(path) as found:
        names = {_name(folder, one.name): one.is_file(follow_symlinks=False) for one in found}
    for name in sorted(names.keys() - {*FOLDERS, _OF_OTHERS}):
        if not (names[name] and is_own(name)):
            yield name


def check(output: str) -> None:
    """Raises ValueError for what a run would write through, or could not write."""
    if not store.is_local(output):
        return
    found = os.listdir(output) if Path(output).is_dir() else []  # noqa: PTH208
    for name in (*FOLDERS, *filter(is_own, sorted(found))):
        path = Path(output, name)
        if path.is_symlink() and (where := _where(path, output, folder=name in FOLDERS)):
            raise ValueError(
                f"{path} is a link to {os.path.realpath(path)}, {where}: a run writes and removes "
                "files in its own folder alone; remove the link (to have a run on another disk, "
                "make the run folder itself a link)"
            )
        if name in FOLDERS and os.path.lexists(path) and not path.is_dir():
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
