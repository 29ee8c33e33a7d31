"""Folder: what a run says of itself, and its files opened with care.

In:   run.json, manifests, parts tables; the paths of every file that they name.
Out:  the counts that were told, rows of any file, whether a file is as it was packed.
A file that is missing or cannot be read gives no rows and is noted once; whoever counts on it
finds its folder among `broken` and says so, in place of blaming another stage.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import pyarrow as pa

from pipeline.job import read_run, shortened
from pipeline.stages import NAMES
from pipeline.store import forms, parquet, store
from pipeline.verify.packed import Packed, pack_again
from schemas.index import INDEX
from schemas.manifest import FORMAT_VERSION, Ledger, Manifest, fingerprint
from schemas.tables import (
    DOCUMENTS,
    IMAGES,
    KEPT,
    OBJECTIONS,
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
    "objections": OBJECTIONS,
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
_NAMES: Final = dict.fromkeys(NAMES, re.compile(forms.PART)) | {
    "fetch": re.compile(forms.SETTLED),
    "shard": re.compile(forms.SHARD),
}
Row = dict[str, Any]


class Told:
    """A manifest and its parts table: counts by part, held as Arrow holds them."""

    def __init__(self, manifest: Manifest, parts: pa.Table, packed: Packed) -> None:
        self.manifest = manifest
        self.packed = packed
        self._counts = parts["counts"]
        self._prints = parts["fingerprint"]
        self.parts: list[str] = parts["part"].to_pylist()
        self._place = {name: place for place, name in enumerate(self.parts)}

    def counts(self, part: str) -> Ledger:
        place = self._place.get(part)
        return Ledger() if place is None else Ledger(dict(self._counts[place].as_py()))

    def sums(self) -> Ledger:
        """Of all parts; what belongs to none of them is not there."""
        sums = Ledger()
        for part in self.parts:
            sums.update(self.counts(part))
        return sums

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
        """run.json; raises ValueError where there is none, or one that cannot be read."""
        return read_run(self.output)

    @property
    def opt_out(self) -> str:
        """Name of the opt-out list; "" where there is none."""
        return str(self.run["settings"].get("opt_out", ""))

    def path(self, *names: str) -> str:
        return store.join(self.output, *names)

    def load(self) -> None:
        """Read what the stages tell; behind one that tells nothing, the others are not asked."""
        for stage in NAMES:
            if self.missing:
                self.missing[stage] = ""
                self._leave(stage)
                continue
            try:
                self.told[stage] = self._tell(stage)
            except (OSError, ValueError) as error:
                self.missing[stage] = _short(error)
                self._leave(stage)

    def _tell(self, stage: str) -> Told:
        """Raises OSError or ValueError, with the name of the file that is missing or damaged."""
        manifest = _manifest(self.path(f"{stage}.manifest.json"), stage)
        path = self.path(f"{stage}.parts.parquet")
        try:
            packed = pack_again(path, PARTS)
            with parquet.open_file(path) as file:
                told = Told(manifest, file.read(), packed)
            if wrong := [one for one in told.parts if not _NAMES[stage].fullmatch(one)]:
                raise ValueError(f"names a part {wrong[0]!r}")
            return told
        except parquet.DamagedFileError as error:
            raise ValueError(f"{path} is damaged ({error.why})") from error
        except ValueError as error:
            raise ValueError(f"{path} {error}") from error

    def _leave(self, stage: str) -> None:
        """Nothing that a stage wrote without a manifest is read, or counted on."""
        folders = {f"verdicts/{stage}", *_BESIDES.get(stage, ())}
        self.unread |= folders
        self.broken |= folders

    def fingerprints(self) -> dict[str, str]:
        """What each stage's must be: by run.json, and by the settings its manifest tells."""
        chain: list[object] = [FORMAT_VERSION, self.run["crawl"]]
        prints: dict[str, str] = {}
        for stage in NAMES:
            if stage not in self.told:
                break
            settings = self.told[stage].manifest.settings
            chain = [*chain, stage, self.told[stage].manifest.versions, settings]
            prints[stage] = fingerprint(*chain)
        return prints

    def rows(self, kind: str, part: str, columns: Sequence[str] | None = None) -> Iterator[Row]:
        """Rows of a part; none, and a note, from where it cannot be read."""
        path = f"{kind}/{part}.parquet"
        if kind in self.unread:
            return
        if path in self.unreadable:  # noted already, for its columns or its bytes
            return
        try:
            yield from parquet.read_rows(self.path(path), columns)
        except (OSError, parquet.DamagedFileError) as error:
            self.note(kind, path, _short(error))

    def faults(self, part: str) -> list[str]:
        """What was raised at each unreadable record of a part; none where that cannot be read."""
        try:
            return parquet.read_faults(self.path(f"verdicts/extract/{part}.parquet"))
        except (OSError, ValueError):
            return []  # packed() names the file

    def note(self, kind: str, path: str, why: str) -> None:
        self.unreadable.setdefault(path, (kind, why))
        self.broken.add(kind)

    def row_count(self, kind: str, part: str) -> int:
        """Of a part's file, as its footer tells; 0 where it tells nothing."""
        try:
            with parquet.open_file(self.path(f"{kind}/{part}.parquet")) as file:
                return int(file.metadata.num_rows)
        except (OSError, ValueError):
            return 0  # packed() names the file

    def packed(self, kind: str, part: str) -> Packed | None:
        """What a part's file says of itself, all of it read; None, and a note, where it cannot."""
        path = f"{kind}/{part}.parquet"
        try:
            return pack_again(self.path(path), SCHEMAS[kind])
        except (OSError, ValueError) as error:
            self.note(kind, path, _short(error))
            return None


def _manifest(path: str, stage: str) -> Manifest:
    """Raises ValueError, with the path, for one that is damaged or of another format."""
    try:
        manifest = Manifest.of(store.read_json(path))
        if manifest.stage != stage:
            raise ValueError("it is of another stage")
    except ValueError as error:
        raise ValueError(f"{path} cannot be used ({error})") from error
    return manifest


def _short(error: Exception) -> str:
    return shortened(error.why if isinstance(error, parquet.DamagedFileError) else error)
