"""A run folder may be foreign or damaged: every command says so in one line, and quotes nothing."""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import stages
from pipeline.account.manifest import part_names
from pipeline.options.launch import job_of, launch
from pipeline.options.run_options import RunOptions
from pipeline.store.parquet import DamagedFileError
from tests.crawl import write_crawl
from tests.pipeline.bad_crawls import Ended, command, good
from tests.read.crawls import gzipped

SECRET: Final = "a secret of the user's"
DEEP: Final = b"[" * 100_000
COMMANDS: Final = ("run", "stats", "verify", "explain", "refetch", "import-images")
BODIES: Final = {
    "empty": b"",
    "text": SECRET.encode(),
    "a list": b"[]",
    "null": b"null",
    "deep": DEEP,
    "deep inside": b'{"format_version": 2, "crawl": ' + DEEP,
    "not UTF-8": b'{"format_version": "\xff\xfe"}',
    "many digits": b'{"format_version": ' + b"9" * 5_000 + b"}",
    "other version": b'{"format_version": 1}',
    "a version of text": json.dumps({"format_version": SECRET}).encode(),
    "nothing but a version": b'{"format_version": 2}',
    "no settings": b'{"format_version": 2, "crawl": {"inputs": ["a.warc"]}}',
    "a list for a table": b'{"format_version": 2, "crawl": [1], "settings": [2]}',
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small whole run, of which nobody was asked for images."""
    folder = tmp_path_factory.mktemp("whole")
    crawl = write_crawl(folder / "crawl", pages=4, warcs=1)
    options = ("--no-fetch", "--workers=1", "--partitions=2")
    assert command("run", *crawl, "-o", folder / "run", *options).code == 0
    (folder / "page.html").write_text("<html><p>A page.</p></html>")
    (folder / "images.tar").write_bytes(bytes(1024))
    return folder / "run"


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(whole, tmp_path / "run"))


def ended(name: str, run: Path, whole: Path) -> Ended:
    options: dict[str, tuple[str | Path, ...]] = {
        "run": ("run", "-o", run, "--workers=1"),
        "explain": ("explain", whole.parent / "page.html", "--url=https://e.org/", "--run", run),
        "refetch": ("refetch", run, "--contact=me@example.org"),
        "import-images": ("import-images", run, whole.parent / "images.tar"),
    }
    return command(*options.get(name, (name, run)))


def refused(done: Ended, *told: str, codes: tuple[int, ...] = (2,)) -> None:
    assert done.code in codes, done.err
    assert done.err.startswith("interloom: ")
    assert done.err.count("\n") == 1, done.err
    assert len(done.err) < 1_000
    assert SECRET not in done.out + done.err
    for part in told:
        assert part in done.err


@pytest.mark.parametrize("name", COMMANDS)
def test_a_run_json_that_is_none_is_one_line_with_what_to_do(
    name: str, run: Path, whole: Path
) -> None:
    path = run / "run.json"
    for body in BODIES.values():
        path.write_bytes(body)
        refused(ended(name, run, whole), str(path), "choose another output")
    path.unlink()
    for put in (_folder, _pipe, _endless, _huge, _link_to_secret):
        put(path)
        refused(ended(name, run, whole), str(path), "choose another output")
        path.rmdir() if path.is_dir() else path.unlink()


def _folder(path: Path) -> None:
    path.mkdir()


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 30)


def _link_to_secret(path: Path) -> None:
    secret = path.with_name("secret")
    secret.write_text(SECRET)
    path.symlink_to(secret)


OTHERS: Final[tuple[object, ...]] = (None, [], {}, "x", True, -1, 10**30, 1e400)
Place = tuple[str | int, ...]


def mutations(told: object) -> Iterator[tuple[Place, object]]:
    """Of each value of a JSON object: its absence, others in its place, a key that is unknown."""
    for at in _places(told):
        for value in OTHERS:
            yield at, _with(told, at, partial(_put, value))
        yield at, _with(told, at, lambda table, key: table.__delitem__(key))
        if isinstance(_inside(told, at), dict):
            yield at, _with(told, at, lambda table, key: table[key].__setitem__("unknown", 1))


def _places(value: object, *at: str | int) -> Iterator[Place]:
    inner: Iterable[tuple[str | int, object]] = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    for key, one in inner:
        yield (*at, key)
        if (*at, key) != ("settings", "recipe"):  # made anew of its source, and never read
            yield from _places(one, *at, key)


def _inside(value: object, at: Place) -> object:
    for key in at:
        value = value[key]  # type: ignore[index]
    return value


def _put(value: object, table: Any, key: Any) -> None:  # noqa: ANN401  # of a dict or a list
    table[key] = value


def _with(told: object, at: Place, change: Callable[[Any, Any], object]) -> object:
    new = copy.deepcopy(told)
    change(_inside(new, at[:-1]), at[-1])
    return new


def test_whatever_stands_in_run_json_is_used_or_refused_in_one_line(run: Path) -> None:
    path = run / "run.json"
    told = json.loads(path.read_text())
    usable: dict[Place, object] = {}
    refusals = 0
    for at, one in mutations(told):
        path.write_text(json.dumps(one))
        if (why := refusal(lambda: job_of(str(run)))) is None:
            usable[at] = one
        else:
            refusals += 1
            assert str(path) in why
    assert refusals > 500
    of_tables = {at: one for at, one in usable.items() if len(at) == 2}
    assert len(of_tables) > 10
    for at, one in of_tables.items():  # what goes on from it ends as well
        path.write_text(json.dumps(one))
        assert command("stats", run).code == 0, at
        refusal(lambda: launch([], str(run), RunOptions(workers=1)))


def refusal(take: Callable[[], object]) -> str | None:
    """What a user is told; None where it can be done."""
    try:
        take()
    except ValueError as error:
        return str(error)
    return None


@pytest.mark.parametrize("stage", stages.NAMES)
def test_a_damaged_manifest_is_one_line_with_what_to_do(stage: str, run: Path, whole: Path) -> None:
    path = run / f"{stage}.manifest.json"
    told = json.loads(path.read_text())
    bodies = list(BODIES.values())
    some = ("parts", "counts", "versions", "settings", "fingerprint")
    bodies += [json.dumps(told | {name: value}).encode() for name in some for value in (None, [1])]
    bodies.append(json.dumps(told | {"counts": {"documents.kept": "7"}}).encode())
    for body in bodies:
        path.write_bytes(body)
        refused(ended("stats", run, whole), str(path), f"remove it, and {stage} is done again")
    path.unlink()
    os.mkfifo(path)
    for name in ("run", "stats", *(("refetch", "import-images") if stage == "fetch" else ())):
        refused(ended(name, run, whole), str(path), f"remove it, and {stage} is done again")
    assert ended("verify", run, whole).code == 1  # told as a difference
    assert ended("explain", run, whole).code == 0  # looks at none


def test_a_damaged_host_file_is_one_line_with_what_to_do(run: Path, whole: Path) -> None:
    path = run / "extract.host.json"
    for body in (b"", b"[]", DEEP, b"{}", b'{"seconds": "1"}'):
        path.write_bytes(body)
        refused(ended("run", run, whole), str(path), "remove it")
        assert ended("stats", run, whole).code == 0
        assert ended("verify", run, whole).code == 1


NAMES: Final = (["../../x"], [None], ["a/b"])


def test_a_damaged_table_of_parts_is_one_line_with_what_to_do(run: Path, whole: Path) -> None:
    path = run / "fetch.parts.parquet"
    tables = [pa.table({"part": pa.array(names, pa.string())}) for names in NAMES]
    tables += [pa.table({"other": [1]}), pa.table({"part": [1]})]
    for table in tables:
        pq.write_table(table, path)
        with pytest.raises(DamagedFileError, match="remove it and the manifest"):
            part_names(str(path))
        refused(ended("stats", run, whole), str(path), "remove it and the manifest")
    for body in (b"", SECRET.encode()):
        path.write_bytes(body)
        refused(ended("stats", run, whole), str(path))
        assert ended("verify", run, whole).code == 1


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret.csv"
    path.write_text(f"{SECRET}\nfilename,{SECRET}\n")
    return path


def changed(run: Path, table: str, **values: object) -> None:
    path = run / "run.json"
    told = json.loads(path.read_text())
    told[table] |= values
    path.write_text(json.dumps(told))


@pytest.mark.parametrize("name", COMMANDS)
def test_no_line_of_a_file_that_run_json_names_is_shown(
    name: str, run: Path, whole: Path, secret: Path
) -> None:
    before = (run / "run.json").read_bytes()
    for outside in (
        str(secret),
        f"../{secret.name}",
        "opt-out-0123456789abcdef.txt/../../secret.csv",
    ):
        changed(run, "settings", opt_out=outside)
        refused(ended(name, run, whole), "settings.opt_out is no name of a list in a run folder")
    for settings in ({"word_files": {"stop_words": str(secret)}}, {"lid_model": str(secret)},
                     {"recipe_source": str(secret)}):  # fmt: skip
        (run / "run.json").write_bytes(before)
        changed(run, "settings", **settings)
        done = ended(name, run, whole)
        assert SECRET not in done.out + done.err
        if name == "run" or "recipe_source" in settings:
            refused(done, codes=(1, 2))


def test_no_line_of_another_list_is_shown(run: Path, whole: Path, secret: Path) -> None:
    """Nor is another list than the one that was given taken for it; a link is no list of a run."""
    listed = run / "opt-out-0123456789abcdef.txt"
    listed.symlink_to(secret)
    refused(ended("run", run, whole), f"{listed} is a link to {secret}")
    listed.unlink()
    listed.write_bytes(secret.read_bytes())
    changed(run, "settings", opt_out=listed.name)
    done = ended("run", run, whole)
    refused(done, f"{listed} is not the list that was given: give it again", codes=(1,))
    assert ended("verify", run, whole).code == 1


def test_no_line_of_an_index_is_shown(tmp_path: Path, secret: Path) -> None:
    crawl = tmp_path / "a.warc.gz"
    crawl.write_bytes(gzipped(good(1)))
    output = tmp_path / "run"
    assert (
        command("run", crawl, "-o", output, "--no-fetch", "--workers=1", "--stage=extract").code
        == 0
    )
    changed(output, "crawl", indexes=[str(secret)])
    (output / "extract.manifest.json").unlink()
    done = command("run", "-o", output, "--workers=1")
    refused(done, f"{secret}: no column filename", codes=(1,))


@pytest.mark.parametrize("name", ["run", "refetch", "explain", "verify"])
def test_a_pipe_and_a_device_that_run_json_names_are_not_read(
    name: str, run: Path, whole: Path, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    before = (run / "run.json").read_bytes()
    for odd in (str(pipe), "/dev/zero"):
        for kind in ("stop_words", "spam_words"):
            changed(run, "settings", word_files={kind: odd})
            if name != "verify":  # which looks at no list
                refused(ended(name, run, whole), f"word list {odd} cannot be read", "no regular")
        (run / "run.json").write_bytes(before)
        changed(run, "crawl", inputs=[odd], sizes=[0])
        done = ended(name, run, whole)
        if name == "verify":  # told as a difference
            assert (done.code, "it is no regular file" in done.out) == (1, True)
        elif name == "refetch":  # to which it is another run, whose fetch is not whole
            refused(done, "has no whole fetch")
        elif name == "run":
            refused(done, f"{odd} cannot be read any more (it is no regular file)")
        (run / "run.json").write_bytes(before)


@pytest.mark.parametrize(
    "option", ["--recipe", "--stop-words", "--lid-model", "--opt-out", "--rates", "--host-map"]
)
def test_a_pipe_that_an_option_names_is_not_read(option: str, tmp_path: Path) -> None:
    pipe, crawl = tmp_path / "pipe.toml", tmp_path / "a.warc.gz"
    os.mkfifo(pipe)
    crawl.write_bytes(gzipped(good(1)))
    asked = ("run", crawl, "-o", tmp_path / "run", "--contact=me@example.org", f"{option}={pipe}")
    refused(command(*asked), str(pipe))
