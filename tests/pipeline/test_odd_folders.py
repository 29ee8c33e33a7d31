"""A run folder may be called anything: like one of our own folders, or like markup."""

from __future__ import annotations

from pathlib import Path

from tests.crawl import write_crawl
from tests.pipeline.runs import interloom, tree


def test_a_restart_keeps_and_sweeps_the_same_whatever_the_folders_are_called(
    tmp_path: Path,
) -> None:
    crawl = write_crawl(tmp_path / "crawl", pages=6, warcs=1)
    output = tmp_path / "packs" / "a [b] [/b] %20#?" / "fetch-x"
    first = interloom("run", *crawl, "-o", output, "--shard-size=0.0625", "--no-fetch")
    assert str(output / "report.html") in first.stdout.replace("\n", "")
    before = tree(output)
    (output / "extract.manifest.json").unlink()
    interloom("run", "-o", output)
    assert tree(output) == before
    interloom("run", "-o", output, "--shard-size=100")
    assert len(list((output / "shards").iterdir())) <= 2
    assert interloom("verify", output).returncode == 0
