"""A rule is self-contained: each of these diffs is all that a user writes, and a run obeys it.

The diffs are applied to a copy of the packages. Each adds a thing in one file; the lines of
recipe.py and stages.py use it.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.read.crawls import gzipped, http, warc

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("pipeline", "filters", "schemas")

# a threshold of a new kind: the limit does not pass
ABOVE = '''
@dataclass(frozen=True, kw_only=True, slots=True)
class Above(Threshold):
    """Keep what is above the limit; the limit itself is refused."""

    direction = "above"

    def _passes(self, value: float) -> bool:
        return value > self.limit


'''
# (file, the line before which it goes, what goes there)
THRESHOLD = [("filters/rules.py", "def first_refusal(", ABOVE)]
SIGNAL = [
    ("filters/signals.py", '    IMAGES = "images"', '    WORD_LENGTH = "word_length"\n'),
    (
        "filters/signals.py",
        "        Signal.STOP_WORDS: _share(",
        "        Signal.WORD_LENGTH: _share(characters, words),\n",
    ),
]
VERDICTS = "schemas/verdict.py"
REASONS = [
    (VERDICTS, '    TOO_FEW_WORDS = "too_few_words"', '    LONG_WORDS = "long_words"\n'),
    (VERDICTS, '    NEAR_DUPLICATE_TEXT = "near', '    CROWDED_DOMAIN = "crowded_domain"\n'),
]
GROUPING = """    yield latest | "Drop crowded domains" >> DropFrequent(
        lambda fact: [(fact.url.split("/")[2].encode(), fact.place)],
        limit=2,
        reason=Reason.CROWDED_DOMAIN,
    )
"""
USE = [
    ("filters/recipe.py", "from filters.rules import", "from filters.rules import Above\n"),
    (
        "filters/recipe.py",
        "    _at_least(Signal.WORDS, 4,",
        "    Above(signal=Signal.WORDS, limit=2, reason=Reason.TOO_FEW_WORDS, source=OURS),\n"
        "    _at_most(Signal.WORD_LENGTH, 20, Reason.LONG_WORDS),\n",
    ),
    ("pipeline/stages.py", "    if recipe.paragraph_repeats is not None:", GROUPING),
]
PROSE = (
    "The old harbour of the town is quiet in the morning, and the boats come home with the tide "
    "before the people of the market have opened their doors. It was a long way for all of them, "
    "but they are here now, and there is bread, fish and good coffee for everyone who waits."
)


def page(host: str, number: int) -> bytes:
    words = PROSE.split()
    random.Random(f"{host}/{number}").shuffle(words)
    body = (
        f"<html><title>Page {number}</title><body><article><h1>Of boats and people {number}</h1>"
        f"<p>{' '.join(words)} This is what page {number} of {host} has to say about it.</p>"
        f"<p>{'extraordinarily' * 3} {'internationalisation' * 2} of the {number}</p>"
        f"<p>two words</p><p>one two</p>"
        f"<img src='/image-{number}.jpg' width=400 height=300></article></body></html>"
    )
    return warc(http(body.encode()), url=f"http://{host}/{number}")


def in_copy(copy: Path, *command: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pipeline", *command],
        cwd=copy,
        env=os.environ | {"PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """The packages with all the diffs."""
    copy = tmp_path / "copy"
    for name in PACKAGES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name, line, added in (*THRESHOLD, *SIGNAL, *REASONS, *USE):
        text = (copy / name).read_text()
        assert text.count(f"\n{line}") == 1, (name, line)
        (copy / name).write_text(text.replace(f"\n{line}", f"\n{added}{line}"))
    return copy


@pytest.mark.parametrize("diff", [THRESHOLD, SIGNAL, REASONS])
def test_each_is_added_in_one_file(diff: list[tuple[str, str, str]]) -> None:
    assert len({name for name, _, _ in diff}) == 1


def test_a_run_obeys_a_new_threshold_a_new_signal_and_a_new_grouping(
    changed: Path, tmp_path: Path
) -> None:
    crawl, run = tmp_path / "crawl.warc.gz", tmp_path / "run"
    crowded = [page("crowded.test", number) for number in range(3)]
    crawl.write_bytes(gzipped([*crowded, page("quiet.test", 7), page("calm.test", 8)]))

    for stage in ("extract", "filter_text"):
        in_copy(changed, "run", str(crawl), "-o", str(run), "--no-fetch", "--workers=1",
                "--stage", stage)  # fmt: skip

    rows = [
        row
        for path in (run / "verdicts/filter_text").glob("*.parquet")
        for row in pq.read_table(path).to_pylist()
    ]
    whole = Counter(row["reason"] for row in rows if row["node"] is None)
    nodes = Counter((row["reason"], row["limit"]) for row in rows if row["node"] is not None)
    assert whole == {"crowded_domain": 3}
    assert nodes["too_few_words", 2] == 4
    assert nodes["long_words", 20] == 2
    manifest = json.loads((run / "filter_text.manifest.json").read_text())
    assert manifest["counts"]["documents.dropped.crowded_domain"] == 3
    assert {"rule": "Above", "signal": "words"}.items() <= manifest["settings"]["recipe"][
        "paragraph"
    ][0].items()
    assert "crowded_domain" in in_copy(changed, "stats", str(run))
    # no picture is in the crawl, so nothing is kept; the report and verify know the rules
    in_copy(changed, "run", str(crawl), "-o", str(run), "--no-fetch", "--workers=1", code=3)
    assert "crowded domain" in (run / "report.html").read_text()
    verified = in_copy(changed, "verify", str(run))
    assert "everything that could be counted balances" in verified
    assert re.search(r"documents\.dropped\.crowded_domain +3 +3 +ok", verified)
