"""Pictures of what was dropped, where the crawl holds them: a rule is judged by what it takes.

In:   image URLs that the report shows, images/ of the parts that it has read, packs/.
Out:  URL -> Thumbnail of the first usable capture. What lies in other parts, or was fetched, is
      left out: to look through all of images/ for a few pictures would cost more than they tell.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from pipeline.job import Job
from pipeline.shard.report.thumbnail import Thumbnail, thumbnail
from pipeline.store import parquet
from pipeline.store.packs import PackReader
from schemas.verdict import OK

SIDE: Final = 160  # pixels at most
_COLUMNS: Final = ("url", "status", "pack", "pack_offset", "bytes")


def find_pictures(job: Job, urls: Collection[str], *, parts: Iterable[str]) -> dict[str, Thumbnail]:
    found: dict[str, Thumbnail] = {}
    packs = PackReader(job.path("packs"))
    try:
        for part in sorted(parts):
            for row in parquet.read_rows(job.part("images", part), _COLUMNS):
                if row["url"] not in urls or row["url"] in found or row["status"] != OK:
                    continue
                data = packs.read(row["pack"], row["pack_offset"], row["bytes"])
                if (small := thumbnail(data, side=SIDE)) is not None:
                    found[row["url"]] = small
    finally:
        packs.close()
    return found
