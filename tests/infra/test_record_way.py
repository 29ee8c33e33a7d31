"""The way of a record is as pipeline/README.md lists it: where it stands, and in which order."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import FrameType

from pipeline.extract.document import Tools
from pipeline.extract.part import extract_part
from pipeline.job import Crawl
from pipeline.options.launch import choose_settings
from pipeline.options.run_options import RunOptions
from pipeline.read.parts import whole
from pipeline.stages import EXTRACT, make_job
from tests.infra.record_way import README, ROOT, functions, steps, written_anew
from tests.pipeline.bad_crawls import good
from tests.read.crawls import gzipped

LONGEST = 20  # functions


def test_every_function_of_the_way_stands_where_the_readme_says() -> None:
    text = README.read_text()
    assert text == written_anew(text), "python -m tests.infra.record_way writes the lines anew"


def test_the_way_of_a_record_is_at_most_twenty_functions() -> None:
    way = steps(README.read_text())
    assert [step.number for step in way] == list(range(1, len(way) + 1))
    assert 10 <= len(way) <= LONGEST
    assert all(step.function in functions(step.file) for step in way)


def test_a_record_goes_this_way(tmp_path: Path) -> None:
    way = [(step.file, step.function) for step in steps(README.read_text())]
    (tmp_path / "crawl.warc.gz").write_bytes(gzipped(good(1)))
    settings = choose_settings(RunOptions(fetch=False), None)
    job = make_job(str(tmp_path / "run"), Crawl(inputs=("crawl",)), settings).doing(EXTRACT.name)
    tools = Tools(job=job)
    tools.load()
    called: list[tuple[str, str]] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            code = frame.f_code
            path = Path(code.co_filename)
            if path.is_relative_to(ROOT):
                called.append((path.relative_to(ROOT).as_posix(), code.co_qualname))

    sys.setprofile(note)
    try:
        result = extract_part(whole(str(tmp_path / "crawl.warc.gz"), 0), tools)
    finally:
        sys.setprofile(None)

    assert result.counts["documents.kept"] == 1
    assert [step for step in way if step not in called] == []
    assert sorted(way, key=called.index) == way


def test_the_readme_says_what_each_folder_is_for() -> None:
    named = set(re.findall(r"^\| `(\w+)/` \|", README.read_text(), re.MULTILINE))
    folders = {path.parent.name for path in (ROOT / "pipeline").glob("*/__init__.py")}
    assert named == folders
