"""Watch a command: its time, and the memory and processor of it and all processes below it."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE_SIZE: Final = os.sysconf("SC_PAGE_SIZE")
TICKS: Final = os.sysconf("SC_CLK_TCK")
EVERY: Final = 0.02  # seconds between two looks; a process that lives shorter is not seen


@dataclass(frozen=True, kw_only=True, slots=True)
class Watched:
    seconds: float
    peak: int  # resident bytes of all together; pages that two of them share count twice
    processor: float  # seconds
    said: str


def watch(command: Sequence[str]) -> Watched:
    """Run it to its end, which must be 0 or 3 (nothing kept)."""
    started, peak, spent = time.monotonic(), 0, dict[int, int]()
    process = subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)  # fmt: skip
    done = threading.Event()

    def look() -> None:
        nonlocal peak
        while not done.wait(EVERY):
            seen = list(_at_and_below(process.pid))
            peak = max(peak, sum(pages for _, pages, _ in seen) * PAGE_SIZE)
            spent.update((pid, ticks) for pid, _, ticks in seen)

    watcher = threading.Thread(target=look)
    watcher.start()
    said, errors = process.communicate()
    done.set()
    watcher.join()
    if process.returncode not in {0, 3}:
        raise SystemExit(said[-2000:] + errors[-3000:])
    return Watched(seconds=time.monotonic() - started, peak=peak, said=said,
                   processor=sum(spent.values()) / TICKS)  # fmt: skip


def _at_and_below(pid: int) -> Iterator[tuple[int, int, int]]:
    """(process, resident pages, ticks of processor) of one and of all that it has started."""
    place = Path(f"/proc/{pid}")
    try:
        pages = int((place / "statm").read_text().split()[1])
        told = (place / "stat").read_text().rpartition(")")[2].split()
        threads = list((place / "task").iterdir())  # each has the children that it has started
        children = [one for task in threads for one in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return
    yield pid, pages, int(told[11]) + int(told[12])  # user, system
    for child in children:
        yield from _at_and_below(int(child))
