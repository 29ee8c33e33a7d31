"""Wanted: which image URLs documents need and the crawl does not hold, against wanted/.

In:   the fates of all documents (what filter_text let pass, each image with its URLs in other
      sizes), the URLs of images/, and the rows of wanted/.
Out:  which rows of wanted/ are wrong in themselves, which URLs are missing there or too many.
Cost: 52 bytes a URL that a document needs, 36 a URL of wanted/, 16 one of images/, in arrays, and
      a dict of dates at the end. A URL is known by the first half of its sha256, the whole of which
      stands beside it in wanted/.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.verify.fate import Fate
from pipeline.verify.folder import Row
from pipeline.words.domain import registered_domain

_HALF: Final = 16  # bytes of a sha256
_DATE: Final = 20  # characters of a date to the second
_NEED: Final = np.dtype([("image", f"V{_HALF}"), ("url", f"V{_HALF}"), ("date", f"S{_DATE}")])
_DATED: Final = np.dtype([("image", f"V{_HALF}"), ("date", f"S{_DATE}")])
Keys = npt.NDArray[np.void]


class Wanted:
    """Both sides of wanted/, as keys."""

    def __init__(self, *, partitions: int) -> None:
        self._partitions = partitions
        self._needed = bytearray()
        self._held = bytearray()
        self._wanted = bytearray()
        self._before: tuple[int, str] = (-1, "")

    def need(self, fate: Fate) -> None:
        """The images of a document that filter_text let pass."""
        for _, node in fate.left_by_text():
            if node["kind"] == "image":
                image, date = _key(node["url"]), _dated(fate.document["date"])
                for url in (node["url"], *(node["others"] or ())):
                    self._needed += image + _key(url) + date

    def hold(self, url: str) -> None:
        """A row of images/ that extract wrote, usable or not: its URL has been asked for."""
        self._held += _key(url)

    def want(self, partition: int, row: Row) -> Iterator[str]:
        """A row of wanted/; what is wrong with it by itself."""
        url, before = row["url"], self._before
        self._before = (partition, url)
        self._wanted += _key(url) + _dated(row["date"])
        if row["sha256"] != hashlib.sha256(url.encode()).hexdigest():
            yield f"{url} has another sha256"
        if before >= self._before:
            yield f"{url} is out of order in partition {partition}"
        if self.home(url) != partition:
            yield f"{url} is in partition {partition}, where its domain is not"

    def home(self, url: str) -> int:
        """The partition of a URL."""
        digest = hashlib.sha256(registered_domain(url).encode()).digest()
        return int.from_bytes(digest[:8], "big") % self._partitions

    def differing(self) -> Iterator[str]:
        """What wanted/ lacks, and what nobody needs."""
        needed = np.frombuffer(bytes(self._needed), dtype=_NEED)
        held, dated = _keys(self._held), np.frombuffer(bytes(self._wanted), dtype=_DATED)
        wanted = np.unique(dated["image"])
        met = np.unique(needed["image"][np.isin(needed["url"], held)])
        should = np.setdiff1d(np.unique(needed["image"]), met)
        yield from (f"{_hex(one)} is missing" for one in np.setdiff1d(should, wanted))
        yield from (f"{_hex(one)} is not needed, or held" for one in np.setdiff1d(wanted, should))
        latest = dict(sorted(zip(needed["image"].tolist(), needed["date"].tolist(), strict=True)))
        for image, date in zip(dated["image"], dated["date"].tolist(), strict=True):
            if latest.get(image.tobytes(), date) != date:
                yield f"{_hex(image)} has another date than the latest page with it"


def _key(url: str | None) -> bytes:
    """An image without a URL is a difference of its own (rows.py)."""
    return hashlib.sha256((url or "").encode()).digest()[:_HALF]


def _dated(date: str | None) -> bytes:
    return (date or "").encode().ljust(_DATE, b"\0")[:_DATE]


def _keys(stored: bytearray) -> Keys:
    return np.unique(np.frombuffer(bytes(stored), dtype=f"V{_HALF}"))


def _hex(key: np.void) -> str:
    return f"the URL of sha256 {bytes(key.tobytes()).hex()}…"
