"""A stream that goes on until it is ended; prints its workers first, then a line a step."""

from __future__ import annotations

import multiprocessing
import time

from tests.training.stream.feeds import feed
from training.data.plan import RankPlan
from training.data.stream import stream


def endless_stream(folder: str) -> None:
    plan, reader = feed(folder)
    try:
        for number, _ in enumerate(stream(RankPlan(plan), reader, micro_rows=2, workers=2)):
            if not number:
                print(*(child.pid for child in multiprocessing.active_children()), flush=True)
            print("step", number, flush=True)
            time.sleep(0.02)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
