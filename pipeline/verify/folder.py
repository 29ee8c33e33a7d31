"""Folder: what a run says of itself, and its files opened with care.

In:   run.json, manifests, parts tables; the paths of every file that they name.
Out:  the counts that were told, rows of any file, checks of fingerprints, files and strays.
A file that is missing or cannot be read gives no rows and is noted once; whoever counts on it
finds its folder among `broken` and says so, in place of blaming another stage.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import parquet, store
from pipeline.job import VERSIONS
from schemas.index import INDEX
from schemas.manifest import FORMAT_VERSION, STAGES, Ledger, Manifest, fingerprint
from schemas.tables import (
    DOCUMENTS,
    FINGERPRINT_KEY,
    IMAGES,
    KEPT,
    PARTS,
    TABLE_DOCUMENTS,
    TABLE_DROPS,
    TABLE_IMAGES,
    VERDICTS,
    WANTED,
)  # fmt: skip

SCHEMAS: Final = {
    "documents": DOCUMENTS,
    "images": IMAGES,
    "verdicts/extract": VERDICTS,
    "verdicts/filter_text": VERDICTS,
    "verdicts/filter_images": VERDICTS,
    "wanted": WANTED,
    "kept": KEPT,
    "index": INDEX,
    "tables/documents": TABLE_DOCUMENTS,
    "tables/images": TABLE_IMAGES,
    "tables/drops": TABLE_DROPS,
}
_BESIDES: Final = {"filter_text": ("wanted",), "filter_images": ("kept",)}  # beside verdicts/
Row = dict[str, Any]


class Told:
    """A manifest and its parts table: counts by part, held as Arrow holds them."""

    def __init__(self, manifest: Manifest, parts: pa.Table) -> None:
        self.manifest = manifest
        self._counts = parts["counts"]
        self._prints = parts["fingerprint"]
        self.parts: list[str] = parts["part"].to_pylist()
        self._place = {name: place for place, name in enumerate(self.parts)}

    def counts(self, part: str) -> Ledger:
        place = self._place.get(part)
        return Ledger() if place is None else Ledger(dict(self._counts[place].as_py()))

    def fingerprint(self, part: str) -> str:
        return str(self._prints[self._place[part]].as_py())


@dataclass(kw_only=True)
class RunFolder:
    """A run folder at rest. `unreadable` fills while files are read: (folder, path, why)."""

    output: str
    told: dict[str, Told] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)  # stage -> why nothing is told
    unread: set[str] = field(default_factory=set)  # folders of stages that tell nothing
    unreadable: dict[str, tuple[str, str]] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)  # folders that cannot be counted on

    @cached_property
    def run(self) -> Row:
        """run.json; raises ValueError where there is none, or one of another format."""
        path = store.join(self.output, "run.json")
        if not store.exists(path):
            raise ValueError(f"{self.output} holds no run: there is no run.json; name a run folder")
        run: Row = json.loads(store.read_bytes(path))
        if run.get("format_version") != FORMAT_VERSION:
            raise ValueError(
                f"{path} is of format version {run.get('format_version')}, but this interloom "
                f"reads {FORMAT_VERSION}: verify it with the version that wrote it"
            )
        return run

    def path(self, *names: str) -> str:
        return store.join(self.output, *names)

    def load(self) -> None:
        """Read what the stages tell; behind one that tells nothing, the others are not asked."""
        for stage in STAGES:
            if self.missing:
                self.missing[stage] = ""
                self._leave(stage)
                continue
            try:
                text = store.read_bytes(self.path(f"{stage}.manifest.json")).decode()
                manifest = Manifest.from_json(text)
                with store.open_input(self.path(f"{stage}.parts.parquet")) as handle:
                    parts = pq.read_table(handle)
                if not parts.schema.equals(PARTS):
                    raise ValueError(f"{stage}.parts.parquet has other columns than it should")
                self.told[stage] = Told(manifest, parts)
            except (OSError, ValueError, TypeError, pa.ArrowException) as error:
                self.missing[stage] = _short(error)
                self._leave(stage)

    def _leave(self, stage: str) -> None:
        """Nothing that a stage wrote without a manifest is read, or counted on."""
        folders = {f"verdicts/{stage}", *_BESIDES.get(stage, ())}
        self.unread |= folders
        self.broken |= folders

    def fingerprints(self) -> dict[str, str]:
        """What each stage's must be: by run.json, and by the settings its manifest tells."""
        chain: list[object] = [FORMAT_VERSION, self.run["crawl"]]
        prints: dict[str, str] = {}
        for stage in STAGES:
            if stage not in self.told:
                break
            settings = self.told[stage].manifest.settings
            chain = [*chain, stage, VERSIONS[stage], settings]
            prints[stage] = fingerprint(*chain)
        return prints

    def rows(self, kind: str, part: str, columns: Sequence[str] | None = None) -> Iterator[Row]:
        """Rows of a part; none, and a note, from where it cannot be read."""
        path = f"{kind}/{part}.parquet"
        if kind in self.unread:
            return
        try:
            yield from parquet.read_rows(self.path(path), columns)
        except (OSError, pa.ArrowException) as error:
            self.note(kind, path, _short(error))

    def note(self, kind: str, path: str, why: str) -> None:
        self.unreadable.setdefault(path, (kind, why))
        self.broken.add(kind)

    def count_rows(self, kind: str, part: str) -> int:
        """Rows of a part, by reading one column of them."""
        first = SCHEMAS[kind].names[0]
        return sum(1 for _ in self.rows(kind, part, [first]))

    def mark(self, kind: str, part: str) -> str:
        """The fingerprint that a part's file carries; "" and a note where it is no such file."""
        path = f"{kind}/{part}.parquet"
        try:
            with store.open_input(self.path(path)) as handle, pq.ParquetFile(handle) as file:
                if not file.schema_arrow.equals(SCHEMAS[kind]):
                    raise ValueError("has other columns than it should")
                return str((file.metadata.metadata or {}).get(FINGERPRINT_KEY, b"").decode())
        except (OSError, ValueError, pa.ArrowException) as error:
            self.note(kind, path, _short(error))
            return ""


def _short(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else f"{text[:157]}..."
