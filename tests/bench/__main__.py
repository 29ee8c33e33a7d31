"""`python -m tests.bench [NAME [ARGUMENT...]]`: the benchmarks, one or all; `make bench`."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    here = Path(__file__).parent
    names = sorted(path.stem.removeprefix("bench_") for path in here.glob("bench_*.py"))
    chosen, arguments = (sys.argv[1:2] or names), sys.argv[2:]
    for name in chosen:
        if name not in names:
            raise SystemExit(f"no benchmark {name}: choose one of {', '.join(names)}")
        sys.argv = [name, *arguments]
        runpy.run_path(str(here / f"bench_{name}.py"), run_name="__main__")
