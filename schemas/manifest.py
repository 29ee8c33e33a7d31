"""Manifest: what a stage did, written last; without it the stage did not happen.

In:   the counts of every part (`Ledger`), the settings and versions that made them.
Out:  `STAGE.parts.parquet` (a row a part, with every file that it wrote) and
      `STAGE.manifest.json` (their sums, and the digest of that table).
Not:  times, hosts, runners, worker counts and paths. Those live in `*.host.json`, so that the
      same input and settings give the same bytes wherever and however often a stage runs.

A ledger is a counter with dotted names: `documents.seen`, `documents.kept`,
`documents.dropped.language`. No side of a sum is computed from another: seen is counted where
things are read, kept where they are written, dropped from the Drops themselves.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple

from schemas.from_json import built, json_object

FORMAT_VERSION: Final = 2  # of a run folder; a reader refuses another

# what a ledger accounts for, in the order in which a funnel shows it
KINDS: Final[Mapping[str, str]] = {
    "records": "records of the crawl that bring a payload; the others are counted by type alone",
    "files": "image files found in the crawl or fetched",
    "wanted": "image URLs that the crawl does not hold",
    "documents": "pages",
    "texts": "text nodes",
    "images": "image nodes",
}


class StageName(StrEnum):
    """The stages in their order, for whoever names one; what each of them is, stages.py says."""

    EXTRACT = "extract"
    FILTER_TEXT = "filter_text"
    FETCH = "fetch"
    FILTER_IMAGES = "filter_images"
    SHARD = "shard"


class Ledger(Counter[str]):
    """Counts under dotted names; adds up over parts like any Counter."""

    def see(self, kind: str, n: int = 1) -> None:
        self[f"{kind}.seen"] += n

    def keep(self, kind: str, n: int = 1) -> None:
        self[f"{kind}.kept"] += n

    def drop(self, kind: str, reason: str, n: int = 1) -> None:
        if n:
            self[f"{kind}.dropped.{reason}"] += n

    def dropped(self, kind: str) -> dict[str, int]:
        """Reason -> count, the most frequent first."""
        start = f"{kind}.dropped."
        reasons = {
            name.removeprefix(start): n for name, n in self.items() if name.startswith(start)
        }
        return dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0])))

    def imbalances(self) -> list[str]:
        """A sentence for each kind whose seen is not kept + dropped; empty where all balance."""
        wrong = []
        for kind in KINDS:
            seen, kept = self[f"{kind}.seen"], self[f"{kind}.kept"]
            dropped = sum(self.dropped(kind).values())
            if seen != kept + dropped:
                wrong.append(f"{kind}: {seen:,} seen, {kept:,} kept + {dropped:,} dropped")
        return wrong


def total(ledgers: Iterable[Mapping[str, int]]) -> Ledger:
    result = Ledger()
    for ledger in ledgers:
        result.update(ledger)
    return result


class StoredFile(NamedTuple):
    """A file of a run as it was written: its path below the run folder, its size and digest."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PartResult:
    """One part of a stage: its fingerprint, what it counted, and every file that it wrote.

    What belongs to no part (a partition's wanted URLs, the report) has the empty name.
    """

    part: str
    fingerprint: str
    counts: Mapping[str, int]
    files: Sequence[StoredFile] = ()


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """`STAGE.manifest.json`. `fingerprint`: of inputs, settings and versions that matter."""

    stage: str
    fingerprint: str
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    parts: int
    parts_sha256: str
    counts: Mapping[str, int]
    format_version: int = field(default=FORMAT_VERSION)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """Raises ValueError for another FORMAT_VERSION, and for what is no manifest."""
        return cls.of(json_object(text))

    @classmethod
    def of(cls, read: Mapping[str, Any]) -> Manifest:
        """The same of what its JSON holds."""
        if (version := read.get("format_version")) != FORMAT_VERSION:
            raise ValueError(
                f"manifest of format version {version_shown(version)}, but this interloom "
                f"reads {FORMAT_VERSION}: run the stage again, or install the version that wrote it"
            )
        return built(cls, read)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.counts)


def version_shown(version: object) -> str:
    """A format version for a message: whatever else a foreign file has there is not shown."""
    known = isinstance(version, int) and 0 <= version < 1_000_000
    return f"{version}" if known else "unknown"


def fingerprint(*things: object) -> str:
    """32 hex digits over the canonical JSON of what is given."""
    text = json.dumps(things, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
