"""A run deletes only what runs have written: all else in its folder stays, byte for byte.

Seeded: in the run folder and in each of its tables files, folders, links and a pipe, under names of
their own and under names near to those of a run (a letter of one changed, drawn by SEED).
"""

from __future__ import annotations

import io
import json
import os
import random
import re
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from pipeline.options.launch import job_of
from pipeline.run import layout
from pipeline.run.execute import execute
from pipeline.run.progress import count
from pipeline.stages import FETCH, STAGES
from pipeline.store.store import files_of
from tests.pipeline.bad_crawls import (
    SITE,
    command,
    good,
    image_of,
    page_record,
    pages_of,
    write,
)
from tests.pipeline.runs import rows, tree
from tests.pipeline.test_kill import kill_when, start
from tests.read.crawls import gzipped

SEED: Final = 17
PAGES: Final = range(1, 7)
TABLES: Final = (
    "documents", "images", "objections", "packs", "wanted", "leases", "kept", "index", "shards",
    "verdicts/extract", "verdicts/filter_text", "verdicts/filter_images",
    "tables/documents", "tables/images", "tables/drops",
)  # fmt: skip
SMALL: Final = ("--part-size=0.0625", "--shard-size=0.125", "--heldout=0.2", "--partitions=2",
                "--workers=1")  # fmt: skip
# names of a run's files, one of each form
OWN: Final = (
    "000000-00000000000000.parquet", "000000-00000000000000-0.tar", "fetch-00000-1.parquet",
    "fetch-00000-1-0123abcd-0.parquet", "fetch-00000-1-0123abcd-0-0.tar", "00000.parquet",
    "00000.host.json", "train-00000.tar", "heldout-00000.parquet", "run.json", "report.html",
    "README.md", "opt-out-0123456789abcdef.txt", "extract.manifest.json", "shard.parts.parquet",
    "fetch.host.json", "filter_text.failure.host.json",
)  # fmt: skip
HEX: Final = "0123456789abcdef" * 2
FOREIGN: Final = (
    "notes.txt", ".hidden", "MY NOTES (1).txt", "line\nbreak", os.fsdecode(b"\xff.txt"), "x" * 255,
    "fetch-foo.parquet", "fetch-", "opt-out-mine.txt", "train-00000.tar.bak", "train-mine.tar",
    "copy of train-00000.tar", "000000-00000000000000.parquet~", "000000-0000000000000.parquet",
    "000000-00000000000000.parquet.aside-xyz", f"000000-00000000000000.parquet.aside-{HEX}.bak",
    f"notes.txt.aside-{HEX}", f".aside-{HEX}", "00000.json", "mine.host.json", "run.json.old",
    "\u0661\u0662\u0663\u0664\u0665.parquet",
)  # fmt: skip


def near(dice: random.Random) -> Iterator[str]:
    """A letter changed, lost or added in names of a run; not where it is one of a run again."""
    for name in OWN:
        at = dice.randrange(len(name))
        new = dice.choice("x7-.A~")
        for changed in (name[:at] + new + name[at + 1 :], name[:at] + name[at + 1 :],
                        name[:at] + new + name[at:]):  # fmt: skip
            if not any(layout.is_own(f"{table}/{changed}".lstrip("/")) for table in ("", *TABLES)):
                yield changed


def seed(run: Path, disk: Path) -> dict[Path, object]:
    """Put something of everything everywhere; what is there now."""
    dice = random.Random(SEED)
    write(disk / "deep" / "000000-00000000000000.parquet", b"on another disk")
    names = [*FOREIGN, *near(dice)]
    assert len(names) > 60
    made = []
    for table in ("", *TABLES):
        folder = run / table
        made += [write(folder / name, f"{table} {name!a}".encode()) for name in names]
        # of a run's own form, but in a folder of somebody's
        made += [write(folder / "my.aside-folder" / name, name.encode()) for name in OWN]
        # folders and links under names of a run's form, which this run gives to no file
        write(folder / "999999-00000000000000.parquet" / "x.txt", b"in a folder")
        made += [folder / "my.aside-folder", folder / "999999-00000000000000.parquet"]
        for name, target in {
            "to-file": disk / "deep" / "000000-00000000000000.parquet", "to-folder": disk / "deep",
            "to-run": run, "dangling": disk / "gone", "loop": folder / "loop", "above": Path(".."),
            "999998-00000000000000.parquet": disk / "deep" / "000000-00000000000000.parquet",
            "999997-00000000000000-0.tar": disk / "gone", "fetch-00000-7.parquet": disk / "deep",
            f"000000-00000000000000.parquet.aside-{HEX}": disk / "deep",
        }.items():  # fmt: skip
            (folder / name).symlink_to(target)
            made.append(folder / name)
        os.mkfifo(folder / "pipe")
        made.append(folder / "pipe")
    made.append(write(run / "mine" / "run" / "run.json", b"{}"))
    made.append(write(run / "mine" / f"run.json.aside-{HEX}", b"{"))
    return {path: state(path) for path in (*made, *disk.rglob("*"))}


def state(path: Path) -> object:
    """What must not change: where a link leads, the names in a folder, the bytes of a file."""
    if path.is_symlink():
        return "link", str(path.readlink())
    if path.is_dir():
        return "folder", sorted(one.name for one in path.iterdir())
    return "file", path.read_bytes() if path.is_file() else path.lstat().st_mode


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good pages without the pictures that they show."""
    records = [page_record(number) for number in PAGES]
    return write(tmp_path_factory.mktemp("pages") / "a.warc.gz", gzipped(records))


@pytest.fixture(scope="module")
def tar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Their pictures, as img2dataset brings them."""
    path = tmp_path_factory.mktemp("tars") / "00000.tar"
    with tarfile.open(path, "w") as out:
        for number in PAGES:
            told = json.dumps({"url": f"{SITE.format(number)}/own.jpg"}).encode()
            for ending, data in (("jpg", image_of(number)), ("json", told)):
                member = tarfile.TarInfo(f"{number:09d}.{ending}")
                member.size = len(data)
                out.addfile(member, io.BytesIO(data))
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run with pictures from the crawl."""
    folder = tmp_path_factory.mktemp("whole")
    crawl = write(folder / "in" / "a.warc.gz", gzipped(good(*PAGES)))
    assert command("run", crawl, "-o", folder / "run", *SMALL, "--no-fetch").code == 0
    return folder / "run"


def done(*arguments: str | Path) -> str:
    ended = command(*arguments)
    assert (ended.code, ended.err) == (0, ""), ended.out[-2000:] + ended.err
    return ended.out


def own(run: Path) -> dict[str, str]:
    return {name: digest for name, digest in tree(run).items()
            if layout.is_own(name) and not (run / name).is_symlink()}  # fmt: skip


def test_what_is_not_of_a_run_survives_import_redo_refetch_kill_and_resume(
    pages: Path, tar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run, twin = "./run", tmp_path / "twin"  # a run in another spelling of its folder is the same
    first = ("run", pages, *SMALL, "--recipe=off", "--no-fetch")
    for output in (run, twin):
        done(*first, "--stage=extract", "-o", output)
    before = seed(Path("run"), tmp_path / "disk")

    def survives(*arguments: str | Path) -> str:
        said = done(*(run if one == "RUN" else one for one in arguments))
        assert {path: state(path) for path in before} == before
        return said

    def both(*arguments: str | Path) -> None:
        assert survives(*arguments).count("left as it is") == 1
        done(*(twin if one == "RUN" else one for one in arguments))
        assert own(Path("run")) == own(twin)

    both("run", "-o", "RUN", "--stage=filter_text", "--workers=1")
    assert f"{len(PAGES)}  ok" in survives("import-images", "RUN", tar)
    for name in own(Path("run")):  # names and rows of an import differ from those of another
        (twin / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(Path("run", name), twin / name)
    both("run", "-o", "RUN", "--workers=1")
    assert {row["decision"] for row in rows(twin, "images")} == {"imported"}
    kept = {row["url"] for row in rows(twin, "tables/documents") if row["outcome"] == "kept"}
    assert kept == pages_of(PAGES)
    both("run", "-o", "RUN", "--recipe=obelics", "--shard-size=0.0625", "--workers=1")
    both("refetch", "RUN", "--contact=us@example.org", "--workers=1")
    job = job_of(run)
    twins = job_of(str(twin))
    assert [count(job, one) for one in STAGES] == [count(twins, one) for one in STAGES]
    assert done("stats", run).replace(run, "") == done("stats", twin).replace(str(twin), "")
    found = command("verify", run)
    assert (found.code, found.err) == (1, "")
    (wrong,) = [line for line in found.out.splitlines() if " FAILED: " in line]
    assert re.search(rf" strays +{len(layout.foreign(run)):,} +0  FAILED: ", wrong)

    again = ("run", "-o", str(tmp_path / "run"), "--heldout=0.5", "--no-fetch", "--workers=1")
    seam = ["tests.pipeline.half_written", "train-00000.tar", str(tmp_path / "reached"), "--"]
    process = start([*seam, *again], tmp_path / "log")
    kill_when(process, (tmp_path / "reached").exists, tmp_path / "log")
    assert [path for path in layout.asides(run) if "train-00000.tar.aside-" in path]
    assert {path: state(path) for path in before} == before
    both("run", "-o", "RUN", "--heldout=0.5", "--no-fetch", "--workers=1")
    assert layout.asides(run) == []


def test_every_file_of_a_run_has_a_form_and_those_of_its_parts_name_them(whole: Path) -> None:
    names = [path.relative_to(whole).as_posix() for path in whole.rglob("*") if path.is_file()]
    assert len(names) > 20
    assert [name for name in names if not layout.is_own(name)] == []
    assert layout.foreign(str(whole)) == []
    assert {name.rpartition("/")[0] for name in names} - {""} < set(TABLES)
    for stage in {*STAGES} - {FETCH}:
        for table, form in stage.tables.items():
            here = {path.name for path in (whole / table).glob("[!f]*")}
            listed = dict(files_of(str(whole), table, form))
            assert {Path(path).name for path in listed} == here
            assert all(Path(path).name.startswith(part) for path, part in listed.items())


def trees(*folders: Path) -> dict[Path, object]:
    return {path: state(path) for folder in folders for path in (folder, *folder.rglob("*"))}


@pytest.mark.parametrize("name", [*TABLES, "tables", "verdicts"])
@pytest.mark.parametrize("where", ["disk", "gone", "run"])
def test_a_folder_of_a_run_that_is_a_link_out_of_it_is_refused_before_anything_is_written(
    name: str, where: str, whole: Path, pages: Path, tmp_path: Path
) -> None:
    """`ln -s ../bigdisk run/packs`, and every variety of it."""
    run, disk = tmp_path / "run", tmp_path / "bigdisk"
    write(disk / "deep" / "precious.txt", b"mine")
    write(disk / "000000-00000000000000.parquet", b"mine too")
    target = {"disk": disk, "gone": tmp_path / "gone", "run": whole / name}[where]
    (run / name).parent.mkdir(parents=True)
    (run / name).symlink_to(os.path.relpath(target, (run / name).parent))
    before = trees(run, disk)
    ended = command("run", pages, "-o", run, *SMALL, "--no-fetch")
    assert (ended.code, ended.out) == (2, "")
    assert f"{run / name} is a link to {target}, out of the run folder" in ended.err
    assert "remove the link" in ended.err
    assert ended.err.count("\n") == 1
    assert trees(run, disk) == before


@pytest.mark.parametrize("name", ["packs", "shards", "images", "verdicts/filter_text", "leases"])
def test_a_run_whose_folder_was_moved_and_linked_is_refused_by_all_that_write(
    name: str, whole: Path, tar: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    (run / name).mkdir(exist_ok=True)
    shutil.move(run / name, tmp_path / "moved")
    (run / name).symlink_to(tmp_path / "moved")
    before = trees(run, tmp_path / "moved")
    for arguments in (
        ("run", "-o", run, "--recipe=off", "--workers=1"),
        ("refetch", run, "--contact=us@example.org"),
        ("import-images", run, tar),
    ):
        ended = command(*arguments)
        assert (ended.code, ended.out) == (2, "")
        assert f"{run / name} is a link to {tmp_path / 'moved'}, out of the run folder" in ended.err
        assert trees(run, tmp_path / "moved") == before


def test_a_link_into_another_run_is_refused_wherever_that_lies(whole: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    other = Path(shutil.copytree(whole, run / "older"))
    shutil.rmtree(run / "packs")
    (run / "packs").symlink_to("older/packs")
    ended = command("run", "-o", run, "--workers=1")
    assert ended.code == 2
    assert f"{run}/packs is a link to {other}/packs, into another run" in ended.err
    (run / "packs").unlink()
    shutil.copytree(whole / "packs", run / "packs")
    (run / "report.html").unlink()
    (run / "report.html").symlink_to("older/report.html")
    ended = command("run", "-o", run, "--workers=1")
    assert ended.code == 2
    assert f"{run}/report.html is a link to {other}/report.html, into another run" in ended.err


def test_a_file_in_the_place_of_a_folder_and_a_loop_are_refused(
    pages: Path, tmp_path: Path
) -> None:
    write(tmp_path / "a" / "kept", b"mine")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "kept").symlink_to("kept")
    for run in (tmp_path / "a", tmp_path / "b"):
        ended = command("run", pages, "-o", run, *SMALL, "--no-fetch")
        assert (ended.code, ended.out) == (2, "")
        assert f"{run}/kept is no folder, and a run keeps its own under that name" in ended.err
        assert [path.name for path in run.iterdir()] == ["kept"]


def test_the_run_folder_itself_a_folder_above_it_and_a_folder_within_it_may_be_links(
    whole: Path, tmp_path: Path
) -> None:
    shutil.copytree(whole, tmp_path / "disk" / "run")
    (tmp_path / "above").symlink_to("disk")
    (tmp_path / "run").symlink_to("above/run")
    (tmp_path / "run" / "shards").rename(tmp_path / "run" / "tars")
    (tmp_path / "run" / "shards").symlink_to("tars")
    before = tree(whole, "shards")
    for output in (tmp_path / "run", tmp_path / "above" / "run"):
        done("run", "-o", output, "--heldout=0.5", "--workers=1")
        assert tree(output, "tars") != {f"tars{name[6:]}": one for name, one in before.items()}
        done("run", "-o", output, "--heldout=0.2", "--workers=1")
        assert tree(output, "tars") == {f"tars{name[6:]}": one for name, one in before.items()}
    assert (tmp_path / "run" / "shards").is_symlink()


@pytest.mark.parametrize("kind", ["link", "folder"])
def test_what_stands_under_the_very_name_of_a_file_is_not_replaced(
    kind: str, whole: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    place = sorted((run / "shards").glob("train-*"))[0]
    place.rename(tmp_path / "moved")
    if kind == "link":
        place.symlink_to(tmp_path / "moved")
    else:
        write(place / "x.txt", b"mine")
    before = trees(place, tmp_path / "moved")
    ended = command("run", "-o", run, "--heldout=0.5", "--workers=1")
    assert ended.code == 1
    assert f"{place} is a link or a folder, and a run writes a file of that name" in ended.err
    assert trees(place, tmp_path / "moved") == before


def test_what_is_not_of_a_run_is_told_once_and_verify_advises_to_delete_none_of_it(
    whole: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    write(run / "shards" / "MY_NOTES.txt", b"mine")
    write(run / "shards" / "mine" / "x.txt", b"mine")
    write(run / "counts" / "0123" / "train-00000.parquet", b"the trainer's")
    said = done("run", "-o", run, "--heldout=0.5", "--workers=1")
    told = f"left as it is, since no run has written it: 'shards/MY_NOTES.txt' in {run}, and 1 more"
    assert said.count(told) == said.count("left as it is") == 1
    found = command("verify", run)
    assert found.code == 1
    assert "FAILED: shards/MY_NOTES.txt, shards/mine\n" in found.out
    assert "remove" not in found.out
    lost = sorted((run / "shards").glob("train-*"))[0]
    lost.unlink()
    (advised,) = re.findall(r"remove (.*?), give the command", command("verify", run).out)
    assert advised.split(", ") == [f"shards/{lost.name}", "shard.manifest.json"]


def test_a_folder_without_a_run_is_empty_only_without_anything_of_others(
    whole: Path, tmp_path: Path
) -> None:
    crawl = json.loads((whole / "run.json").read_text())["crawl"]["inputs"][0]
    for name in ("opt-out-mine.txt", "my.aside-notes", f"kept/x.parquet.aside-{HEX}", "a/b/c"):
        run = tmp_path / name.replace("/", "-")
        kept = write(run / name, b"mine")
        ended = command("run", crawl, "-o", run, "--no-fetch")
        assert (ended.code, ended.out) == (2, "")
        assert f"is not empty and holds no run (it has {kept})" in ended.err
        assert kept.read_bytes() == b"mine"
    run = tmp_path / "linked"
    run.mkdir()
    (run / "mine").symlink_to(tmp_path)
    assert "is not empty" in command("run", crawl, "-o", run, "--no-fetch").err


def test_a_job_that_is_executed_at_once_tells_it_too(whole: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    write(run / "notes.txt", b"mine")
    said: list[str] = []
    execute(job_of(str(run)), say=said.append)
    assert said[0].endswith(f"'notes.txt' in {run}")
    assert len(said) == 1 + len(STAGES)
