"""Settings that change between two starts: what they touch is done again, and nothing else.

The result is that of a fresh run with those settings, byte for byte, run.json included.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import pytest

from pipeline.stages import NAMES
from tests.pipeline.bad_crawls import command, run_here, write
from tests.pipeline.runs import SMALL, counts, tree

RECIPE: Final = 'base = "obelics"\nname = "longer"\n[paragraph]\nwords_at_least = 16\n'


@pytest.fixture
def output(reference: Path, tmp_path: Path) -> Path:
    """A whole run, to go on with."""
    return Path(shutil.copytree(reference, tmp_path / "run"))


def again(output: Path, *options: str | Path) -> list[str]:
    """Start once more with these options; the stages that were done again."""
    ended = command("run", *options, "-o", output, "--workers=1")
    assert (ended.code, ended.err) == (0, "")
    said = [line for line in ended.out.splitlines() if line.endswith(("to do", "done again"))]
    assert [line.split(":")[0] for line in said] == list(NAMES)
    return [line.split(":")[0] for line in said if "have changed, so" in line]


def test_a_start_without_options_keeps_the_settings_and_does_nothing(
    output: Path, crawl: list[Path]
) -> None:
    before = tree(output)
    assert again(output) == []
    assert again(output, *crawl) == []
    assert tree(output) == before


def test_another_recipe_is_done_from_filter_text_and_gives_what_a_fresh_run_gives(
    output: Path, crawl: list[Path], reference: Path, tmp_path: Path
) -> None:
    file = write(tmp_path / "longer.toml", RECIPE.encode())
    recipe = f"--recipe={file}"
    assert again(output, recipe) == ["filter_text", "fetch", "filter_images", "shard"]
    run_here(tmp_path / "fresh", *crawl, *SMALL, recipe)
    assert tree(output) == tree(tmp_path / "fresh") != tree(reference)
    few = counts(output, "filter_text")["texts.dropped.too_few_words"]
    assert few > counts(reference, "filter_text")["texts.dropped.too_few_words"]
    file.unlink()
    assert again(output) == []  # the next start keeps the recipe, not the name of its file
    assert again(output, "--recipe=obelics") == ["filter_text", "fetch", "filter_images", "shard"]
    assert tree(output) == tree(reference)


def test_another_shard_size_is_done_in_shard_alone_and_gives_what_a_fresh_run_gives(
    output: Path, crawl: list[Path], reference: Path, tmp_path: Path
) -> None:
    assert again(output, "--shard-size=0.0625", "--heldout=0") == ["shard"]
    options = [option for option in SMALL if "shard-size" not in option and "heldout" not in option]
    run_here(tmp_path / "fresh", *crawl, *options, "--shard-size=0.0625", "--heldout=0")
    assert tree(output) == tree(tmp_path / "fresh") != tree(reference)
    assert counts(output, "shard")["shards"] > counts(reference, "shard")["shards"]
    assert again(output, "--shard-size=0.125", "--heldout=0.2") == ["shard"]
    assert tree(output) == tree(reference)


def test_word_lists_of_ones_own_are_done_from_extract(output: Path, tmp_path: Path) -> None:
    before = tree(output)
    words = write(tmp_path / "words.txt", b"garden\ndragon\n")
    assert again(output, f"--flagged-words={words}") == list(NAMES)
    assert tree(output) != before


def test_one_stage_alone_leaves_those_behind_it_undone(output: Path) -> None:
    ended = command("run", "-o", output, "--recipe=off", "--stage=filter_text", "--workers=1")
    assert ended.code == 0
    assert f"2 of 5 stages are whole in {output}" in ended.out
    ended = command("run", "-o", output, "--stage=shard", "--workers=1")
    assert ended.code == 2
    assert "shard needs fetch first: run that stage, or all of them" in ended.err
    assert again(output) == ["fetch", "filter_images", "shard"]


@pytest.mark.parametrize("kind", ["images", "objections", "verdicts/extract", "documents", "packs"])
def test_a_part_that_lacks_one_of_its_files_is_read_again_and_no_other(
    output: Path, reference: Path, kind: str
) -> None:
    """As the message about a damaged file advises: remove it, and the manifest of its stage."""
    one = sorted((output / kind).glob("0*"))[0]
    one.unlink()
    (output / "extract.manifest.json").unlink()
    others = {path: path.stat().st_mtime_ns for path in (output / "documents").iterdir()
              if not one.name.startswith(path.stem)}  # fmt: skip
    assert command("run", "-o", output, "--workers=1").code == 0
    assert tree(output) == tree(reference)
    assert len(others) > 1
    assert {path: path.stat().st_mtime_ns for path in others} == others


def test_a_shard_that_lacks_its_tar_is_written_again(output: Path, reference: Path) -> None:
    sorted((output / "shards").iterdir())[0].unlink()
    (output / "shard.manifest.json").unlink()
    assert command("run", "-o", output, "--workers=1").code == 0
    assert tree(output) == tree(reference)
