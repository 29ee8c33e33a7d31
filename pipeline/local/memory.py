"""Memory of a local run: what the filter stages will hold, against what the process may use.

In:   the machine's memory and the limits of the control groups that the process is in (containers,
      Slurm and systemd set them): version 2, version 1, or both. The smallest counts.
Out:  how many documents fit, a warning, or a ValueError.

Beam's local runner keeps everything that is grouped in memory. Facts are small and grow with the
documents, so the largest crawl of a machine is a number, and a run that would pass it is told so
before hours of work; a distributed runner keeps them on disk.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

# tests/bench/bench_stages.py: 24,347 in filter_images, 20,666 in filter_text, of pages with four
# paragraphs and three images, from 200 to 3,200 pages
BYTES_A_DOCUMENT: Final = 25_000
BASE: Final = 500_000_000  # the process itself, with word lists and model
# of a crawl of pages alone, gzip (Common Crawl: 1 GB holds some 40,000)
BYTES_A_PAGE: Final = 25_000

REMEDY: Final = (
    "use a distributed runner (--runner DataflowRunner, infra/README.md), or split the inputs "
    "into runs"
)


def most_documents(memory: int) -> int:
    """How many documents a machine with so many bytes can filter locally."""
    return max(0, memory - BASE) // BYTES_A_DOCUMENT


def memory_here() -> int:
    """Bytes that this process may use."""
    of_machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([of_machine, *group_limits(Path("/"))])


def group_limits(root: Path) -> Iterator[int]:
    """Limits of the process's control groups and of all that these are in; none off Linux.

    In a container the group's path may be that of the host, and the mount is the group itself:
    what is not there is passed by, and the mount's own limit is always asked for.
    """
    table = root / "proc/self/cgroup"
    for line in table.read_text().splitlines() if table.exists() else ():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            mount, name = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            mount, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        group = mount / path.lstrip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(mount) and (folder / name).exists():
                limit = (folder / name).read_text().strip()
                if limit != "max":  # version 1 has a number larger than any machine's
                    yield int(limit)


def warning(input_bytes: int) -> str:
    """What to say at the start of a local run; "" where it fits however little a page takes."""
    pages, most = input_bytes // BYTES_A_PAGE, most_documents(memory_here())
    if pages <= most:
        return ""
    return (
        f"{input_bytes / 1e9:,.0f} GB of input may hold {pages:,} pages; the {_gib()} GiB that "
        f"this process may use can filter {most:,} documents locally: {REMEDY}"
    )


def check(documents: int) -> None:
    """Refuse to group more documents than fit, before a filter stage begins.

    Raises:
        ValueError: with the number, the limit and the remedy.
    """
    most = most_documents(memory_here())
    if documents > most:
        raise ValueError(
            f"{documents:,} documents, but the {_gib()} GiB that this process may use can filter "
            f"{most:,} locally: {REMEDY}; what is whole stays"
        )


def _gib() -> str:
    return f"{memory_here() / 2**30:,.1f}"
