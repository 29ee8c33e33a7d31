"""What cannot work fails at once: code 2, and one line with value, limit and remedy."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Final

import pytest
import typer

from pipeline.cli import app
from pipeline.options.beam import OURS
from pipeline.options.launch import choose_crawl
from pipeline.options.run_options import RunOptions
from pipeline.read.parts import FEW_INPUTS
from pipeline.run.layout import check_same
from tests.pipeline.bad_crawls import Ended, command, good, write
from tests.pipeline.runs import SMALL, interloom, tree
from tests.read.crawls import gzipped

RECIPE: Final = 'base = "obelics"\nname = "mine"\n'


@pytest.fixture
def input_(tmp_path: Path) -> Path:
    return write(tmp_path / "in" / "a.warc.gz", gzipped(good(1)))


def refused(*arguments: str | Path) -> str:
    """The line that a command is refused with."""
    ended = command("run", *arguments, "--no-fetch")
    return _line(ended)


def _line(ended: Ended) -> str:
    assert (ended.code, ended.out) == (2, ""), ended.out + ended.err
    assert ended.err.startswith("interloom: ")
    assert ended.err.count("\n") == 1, ended.err
    return ended.err.removeprefix("interloom: ").strip()


# options, and what the line must name: the value, the limit, the remedy
OPTIONS: Final = [
    (("--opt-out-service=not-a-url",), ("opt-out service is 'not-a-url'", "https:// URL")),
    (("--opt-out-service=ftp://x/",), ("opt-out service is 'ftp://x/'", "https:// URL")),
    (("--image-quality=5",), ("image quality is 5", "--image-format or --longest-side")),
    (("--workers=0",), ("workers is 0", "choose 1 or more")),
    (("--part-size=0",), ("part size is 0 bytes", "0.0625 MiB or more")),
    (("--part-size=-1",), ("part size is -1048576 bytes", "0.0625 MiB or more")),
    (("--part-size=big",), ("--part-size", "valid number")),
    (("--part-size=inf",), ("part size is inf MiB", "0.0625 or more")),
    (("--shard-size=nan",), ("shard size is nan MiB", "0.0625 or more")),
    (("--shard-size=0",), ("shard size is 0 bytes", "0.0625 MiB or more")),
    (("--heldout=2",), ("heldout is 2.0", "from 0 to below 1")),
    (("--heldout=1",), ("heldout is 1.0", "from 0 to below 1")),
    (("--heldout=nan",), ("heldout is nan", "from 0 to below 1")),
    (("--heldout-by=site",), ("heldout_by is 'site'", "id or domain")),
    (("--limit=0",), ("limit is 0", "1 or more")),
    (("--partitions=0",), ("partitions is 0", "1 or more")),
    (("--recipe=obelisk",), ("recipe is 'obelisk'", "obelics, off, or a TOML file")),
    (("--recipe=none.toml",), ("recipe is 'none.toml'", "TOML file that exists")),
    (("--lid-model=none.ftz",), ("none.ftz",)),
    (("--stop-words=none.txt",), ("none.txt",)),
    (
        ("--stage=filter",),
        ("stage is 'filter'", "extract, filter_text, fetch, filter_images, shard"),
    ),
    (("--stage=shard",), ("shard needs extract first", "run that stage, or all")),
    (("--runner=Flunk",), ("runner is 'Flunk'", "did you mean FlinkRunner?", "DirectRunner")),
    (("--runner=DaskRunner",), ("runner is 'DaskRunner'", "choose FnApiRunner")),
    (("--runner=DirectRunner", "--workers=2"), ("workers is for FnApiRunner", "--num_workers=N")),
    (("--shard-sise=3",), ("no such option --shard-sise", "did you mean --shard-size?")),
    (("--runer=DirectRunner",), ("no such option --runer", "did you mean --runner?")),
    (("--num_worker=3",), ("no such option --num_worker", "did you mean --num_workers?")),
    (("--nothing-like-it",), ("no such option --nothing-like-it", "--name=value")),
    (("--direct_num_workers=two",), ("--direct_num_workers", "'two'", "--name=value")),
    (("--direct_num_workers", "2"), ("--direct_num_workers", "expected one argument")),
]


@pytest.mark.parametrize(("options", "told"), OPTIONS, ids=[" ".join(row[0]) for row in OPTIONS])
def test_a_wrong_option_is_refused_with_value_limit_and_remedy(
    options: tuple[str, ...], told: tuple[str, ...], input_: Path, tmp_path: Path
) -> None:
    line = refused(input_, "-o", tmp_path / "run", *options)
    for part in told:
        assert part in line
    left = [path.name for path in (tmp_path / "run").glob("*")]
    assert left in ([], ["run.json"])  # a stage that comes too early is known by the run's own file


def test_every_option_of_the_command_is_offered_where_one_is_misspelt() -> None:
    group = typer.main.get_command(app)
    run = group.commands["run"]  # type: ignore[attr-defined]
    names = {
        name
        for parameter in run.params
        for name in (*parameter.opts, *parameter.secondary_opts)
        if name.startswith("--")
    }
    assert names - {"--help"} == set(OURS)


RECIPES: Final = [
    ("[paragraf]\nwords_at_least = 5", ("no key 'paragraf'", "did you mean paragraph?")),
    ("[paragraph]\nword_at_least = 5", ("no key 'word_at_least'", "did you mean words_at_least?")),
    ("noai = 3", ("noai",)),
    ("phash_distance = -1", ("phash_distance",)),
    ("this is no TOML", ("no TOML",)),
]


@pytest.mark.parametrize(("text", "told"), RECIPES, ids=[row[0].split("\n")[-1] for row in RECIPES])
def test_a_wrong_recipe_file_is_refused_with_the_nearest_key(
    text: str, told: tuple[str, ...], input_: Path, tmp_path: Path
) -> None:
    recipe = write(tmp_path / "mine.toml", (RECIPE + text).encode())
    line = refused(input_, "-o", tmp_path / "run", f"--recipe={recipe}")
    assert all(part in line for part in told), line
    assert not (tmp_path / "run").exists()


def test_inputs_that_cannot_be_read_are_refused(input_: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    lz4 = write(tmp_path / "a.warc.lz4", b"\x04\x22\x4d\x18")
    for name, told in (
        (tmp_path / "none.warc.gz", "does not exist; check the spelling"),
        (empty, "no file whose name has .warc or .arc in it"),
        (f"{empty}/*.warc.gz", "the glob matches no file"),
        (lz4, "lz4 is not read; compress each record with gzip or zstd"),
        ("ftp://example.org/a.warc.gz", "ftp:// is not read"),
    ):
        line = refused(name, "-o", tmp_path / "run")
        assert str(name) in line
        assert told in line
        line = refused(input_, name, "-o", tmp_path / "run")  # beside a good one too
        assert told in line
    assert "no input: name WARC files" in refused("-o", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_outputs_that_cannot_be_written_are_refused(input_: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "file", b"")
    for output in (file, file / "run", file / "deep" / "run"):
        line = refused(input_, "-o", output)
        assert f"output is {output}, but {file} is a file: choose another folder" in line
    full = write(tmp_path / "full" / "letter.txt", b"dear").parent
    line = refused(input_, "-o", full)
    assert f"{full} is not empty and holds no run (it has {full}/letter.txt)" in line
    assert [path.name for path in full.iterdir()] == ["letter.txt"]
    assert "Missing option '--output'" in refused(input_)


@pytest.fixture
def other_run(reference: Path, tmp_path: Path) -> Path:
    """A run folder that holds a whole run over other inputs."""
    return Path(shutil.copytree(reference, tmp_path / "other"))


def test_an_output_that_holds_another_run_is_refused_and_left_as_it_is(
    crawl: list[Path], input_: Path, other_run: Path
) -> None:
    before = tree(other_run)
    for arguments, told in (
        ((input_,), f"{input_} is not among its inputs"),
        (crawl[:2], f"{crawl[2]} is, and is not named now"),
        ((*crawl, "--part-size=0.25"), "its part_size is 65536, now 262144"),
        ((*crawl, "--partitions=5"), "its partitions is 4, now 5"),
        ((*crawl, "--limit=3"), "its limit is None, now 3"),
    ):
        line = refused(*arguments, "-o", other_run)
        assert f"{other_run} holds another run: {told}" in line
        assert "give the same again, or choose another output" in line
    assert tree(other_run) == before


def test_an_input_that_changed_or_went_between_two_starts_is_refused(
    input_: Path, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    assert (
        command("run", input_, "-o", output, "--stage=extract", "--workers=1", "--no-fetch").code
        == 0
    )
    before, was, whole = tree(output), input_.stat().st_size, input_.read_bytes()
    write(input_, whole + gzipped(good(2)))
    for named in ((input_,), ()):  # named again, or left to run.json
        line = refused(*named, "-o", output)
        assert f"{input_} had {was:,} bytes, now {input_.stat().st_size:,}" in line
    for place in (20, was - 20):  # another file of the same size, near its start and near its end
        other = bytearray(whole)
        other[place] ^= 1
        write(input_, bytes(other))
        assert f"{input_} has other bytes now" in refused(input_, "-o", output)
    input_.unlink()
    assert f"{input_}: does not exist" in refused(input_, "-o", output)
    line = refused("-o", output)
    assert f"{input_} cannot be read any more (No such file or directory): bring it back" in line
    assert tree(output) == before


def test_one_of_many_inputs_that_was_replaced_is_refused(tmp_path: Path) -> None:
    """So many that their sizes are not kept, each of one page."""
    for number in range(FEW_INPUTS + 1):
        write(tmp_path / f"{number:03d}.warc.gz", gzipped(good(1)))
    crawl = choose_crawl([str(tmp_path)], RunOptions(), None)
    assert not crawl.sizes
    kept = json.loads(json.dumps(asdict(crawl)))  # as run.json has it
    check_same("run", kept, choose_crawl([str(tmp_path)], RunOptions(), None))
    write(tmp_path / "100.warc.gz", gzipped(good(2)))
    with pytest.raises(ValueError, match=r"100\.warc\.gz has other bytes now"):
        check_same("run", kept, choose_crawl([str(tmp_path)], RunOptions(), None))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "run.json is damaged"),
        ('{"format_version": 99}', "run.json is of format version 99, but this interloom reads 2"),
    ],
)
def test_a_run_folder_that_cannot_be_understood_is_refused(
    text: str, told: str, input_: Path, other_run: Path
) -> None:
    (other_run / "run.json").write_text(text)
    assert told in refused(input_, "-o", other_run)
    (other_run / "run.json").unlink()
    assert "is not empty and holds no run" in refused(input_, "-o", other_run)


@pytest.mark.parametrize("name", ["stats", "verify"])
def test_a_folder_that_holds_no_run_is_refused_by_what_reads_one(name: str, tmp_path: Path) -> None:
    assert "holds no run" in _line(command(name, tmp_path))
    assert "holds no run" in _line(command(name, tmp_path / "none"))


def test_the_command_in_a_process_of_its_own_prints_one_line_and_no_traceback(
    input_: Path, tmp_path: Path
) -> None:
    ended = interloom("run", input_, "-o", tmp_path / "run", *SMALL, "--heldout=7", check=False)
    assert ended.returncode == 2
    assert ended.stderr == "interloom: heldout is 7.0: choose a share from 0 to below 1\n"


def test_a_model_that_is_none_is_refused_before_anything_is_swept(
    input_: Path, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    assert command("run", input_, "-o", output, "--no-fetch", "--workers=1").code in {0, 3}
    before = tree(output)
    line = refused("-o", output, f"--lid-model={input_}")
    assert "cannot be loaded" in line
    assert "--lid-model '' for the packaged one" in line
    assert tree(output) == before
