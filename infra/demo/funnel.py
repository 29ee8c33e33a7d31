"""The funnel of demo/run, pasted where it is shown and where it is pinned.

In:   demo/run, made by `make demo`.
Out:  tests/pipeline/golden/PACKAGE.json, every count of every stage, and the funnel on the README's
      first screen; a test compares both.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Final

from pipeline.account.funnel import as_text, funnel
from pipeline.job import read_crawl
from pipeline.options.launch import job_of
from pipeline.run.execute import manifests

ROOT: Final = Path(__file__).resolve().parents[2]
GOLDEN: Final = ROOT / "tests" / "pipeline" / "golden"
SHOWN: Final = re.compile(r"(?<=```text\n)(stage .*?|FUNNEL\n)(?=```)", re.DOTALL)


def main(run: str = "demo/run") -> None:
    """Write both. Raises ValueError where there is no run, or it is not whole."""
    job = job_of(run)
    found = manifests(job)
    if "shard" not in found:
        raise ValueError(f"{run} is not whole: make demo")
    counts = {stage: dict(manifest.counts) for stage, manifest in found.items()}
    text = as_text(funnel(found)) + "\n"
    (crawl,) = sorted({Path(name).name for name in read_crawl(run).inputs})
    pinned = GOLDEN / crawl.replace(".warc.gz", ".json")
    for old in GOLDEN.glob(crawl.split("_")[0] + "_*.json"):
        old.unlink()  # of another version of the package
    pinned.parent.mkdir(parents=True, exist_ok=True)
    pinned.write_text(json.dumps(counts, indent=1, sort_keys=True) + "\n")
    if crawl.startswith("gimp-help-en"):
        readme = ROOT / "README.md"
        readme.write_text(SHOWN.sub(lambda _: text, readme.read_text()))
    print(f"{pinned.relative_to(ROOT)}\n{text}", end="")


if __name__ == "__main__":
    main(*sys.argv[1:2])
