"""A stream that goes on until it is ended: python endless.py PICKLE; prints its workers first."""

from __future__ import annotations

import multiprocessing
import pickle
import sys
import time
from pathlib import Path

from training.data.plan import RankPlan
from training.data.stream import stream


def main() -> None:
    """Print the workers' process ids, then a line a step."""
    plan, reader = pickle.loads(Path(sys.argv[1]).read_bytes())
    try:
        for number, _ in enumerate(stream(RankPlan(plan), reader, micro_rows=2, workers=2)):
            if not number:
                print(*(one.pid for one in multiprocessing.active_children()), flush=True)
            print("step", number, flush=True)
            time.sleep(0.02)
    except KeyboardInterrupt:
        print("interrupted", flush=True)


if __name__ == "__main__":
    main()
