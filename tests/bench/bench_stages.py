"""Speed and peak memory of every stage at 1, 4 and 16 crawls of distinct URLs, dates and texts.

    python -m tests.bench stages [PAGES]      pages of one crawl, else 300

One worker, so pages/s are those of a core; peak memory is of the process and all its children.
extract and shard should not grow with the input. The filter stages hold facts in memory on the
local runner: what they grow by a document is what a local run has to be warned about.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from pipeline.stages import NAMES
from tests.bench.watch import watch
from tests.crawl import write_crawl

CRAWLS: Final = (1, 4, 16)
SMALL: Final = ("--part-size=1", "--shard-size=1", "--workers=1", "--no-fetch")


def main(pages: int = 300) -> None:
    """Print the table."""
    table = Table(title=f"{pages} pages a crawl, one worker")
    for name in ("stage", *(f"{n} crawls" for n in CRAWLS), "bytes a document"):
        table.add_column(name, justify="right")
    found: dict[str, list[tuple[int, float, int]]] = {stage: [] for stage in NAMES}
    with tempfile.TemporaryDirectory() as folder:
        for crawls in CRAWLS:
            documents, measured = measure(Path(folder), crawls, pages)
            for stage, (seconds, peak) in measured.items():
                found[stage].append((documents, seconds, peak))
    for stage, rows in found.items():
        cells = [f"{n / s:,.0f} pages/s, {p / 1e6:,.0f} MB" for n, s, p in rows]
        (few, _, low), (many, _, high) = rows[0], rows[-1]
        table.add_row(stage, *cells, f"{(high - low) / (many - few):,.0f}")
    Console(width=140).print(table)


def measure(folder: Path, crawls: int, pages: int) -> tuple[int, dict[str, tuple[float, int]]]:
    """Documents of so many crawls, and seconds and peak bytes of each stage."""
    crawl, output = folder / f"crawl-{crawls}", folder / f"run-{crawls}"
    for seed in range(crawls):
        write_crawl(crawl, seed=seed + 1, pages=pages, warcs=1)
    measured = {stage: run_stage(crawl, output, stage) for stage in NAMES}
    counts = json.loads((output / "extract.manifest.json").read_text())["counts"]
    return counts["documents.seen"], measured


def run_stage(crawl: Path, output: Path, stage: str) -> tuple[float, int]:
    """Seconds and peak memory of one stage in a process of its own; start-up is in both."""
    command = [sys.executable, "-m", "pipeline", "run", str(crawl), "-o", str(output), *SMALL,
               f"--stage={stage}"]  # fmt: skip
    watched = watch(command)
    return watched.seconds, watched.peak


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
