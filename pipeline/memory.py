"""Memory of a local run: what the filter stages will hold, against what the machine has.

Beam's local runner keeps everything that is grouped in memory. Facts are small and grow with the
documents, so the largest crawl of a machine is a number, and a run that would pass it is told so
before hours of work; a distributed runner keeps them on disk.
"""

from __future__ import annotations

import os
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
    """Bytes of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def warning(input_bytes: int) -> str:
    """What to say at the start of a local run; "" where it fits however little a page takes."""
    pages, most = input_bytes // BYTES_A_PAGE, most_documents(memory_here())
    if pages <= most:
        return ""
    return (
        f"{input_bytes / 1e9:,.0f} GB of input may hold {pages:,} pages; this machine's "
        f"{memory_here() / 2**30:,.0f} GiB can filter {most:,} documents locally: {REMEDY}"
    )


def check(documents: int) -> None:
    """Refuse to group more documents than fit, before a filter stage begins.

    Raises:
        ValueError: with the number, the limit and the remedy.
    """
    most = most_documents(memory_here())
    if documents > most:
        raise ValueError(
            f"{documents:,} documents, but this machine's {memory_here() / 2**30:,.0f} GiB can "
            f"filter {most:,} locally: {REMEDY}; what is whole stays"
        )
