"""The funnel of demo/run, pasted where it is shown and where it is pinned.

In:   demo/run, made by `make demo`.
Out:  tests/pipeline/golden/PACKAGE.txt and the README's first screen, which a test compares.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

from pipeline.choose import job_of
from pipeline.funnel import as_text, funnel
from pipeline.job import read_crawl
from pipeline.run import manifests

ROOT: Final = Path(__file__).resolve().parents[2]
GOLDEN: Final = ROOT / "tests" / "pipeline" / "golden"
SHOWN: Final = re.compile(r"(?<=```text\n)(stage .*?|FUNNEL\n)(?=```)", re.DOTALL)


def main(run: str = "demo/run") -> None:
    """Write both. Raises ValueError where there is no run, or it is not whole."""
    job = job_of(run)
    found = manifests(job)
    if "shard" not in found:
        raise ValueError(f"{run} is not whole: make demo")
    text = as_text(funnel(found)) + "\n"
    (crawl,) = sorted({Path(name).name for name in read_crawl(run).inputs})
    pinned = GOLDEN / crawl.replace(".warc.gz", ".txt")
    for old in GOLDEN.glob(crawl.split("_")[0] + "_*.txt"):
        old.unlink()  # of another version of the package
    pinned.parent.mkdir(parents=True, exist_ok=True)
    pinned.write_text(text)
    if crawl.startswith("gimp-help-en"):
        readme = ROOT / "README.md"
        readme.write_text(SHOWN.sub(lambda _: text, readme.read_text()))
    print(f"{pinned.relative_to(ROOT)}\n{text}", end="")


if __name__ == "__main__":
    main(*sys.argv[1:2])
