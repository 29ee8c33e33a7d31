"""Packs: tars of images opened, each member hashed and looked at, against rows of images/.

In:   the packs of a part of extract and its rows, or all that fetch brought; how many image files
      the run has (pictures.py draws by that).
Out:  what the packs hold otherwise than the rows say, to the byte; how many pictures were looked at
      and how many drawn. A member is in memory at a time.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from pipeline.verify import archive
from pipeline.verify.differences import OF_PACKS, Differences, OfPacks
from pipeline.verify.folder import Row, RunFolder
from pipeline.verify.pictures import Shown, is_drawn, look
from schemas.manifest import Ledger
from schemas.verdict import OK

COLUMNS: Final = (
    "status", "url", "sha256", "phash", "width", "height", "format", "bytes", "pack", "pack_offset"
)  # fmt: skip
Spot = tuple[str, int]  # pack, offset of the bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """One member of a pack."""

    sha256: str
    length: int
    shown: Shown | str


def check_packs(
    folder: RunFolder,
    names: Iterable[str],
    rows: Iterable[Row],
    *,
    stage: str,
    files: int,
    wrong: Differences,
) -> Ledger:
    """Hold packs against the rows that point into them; `files.looked` and `files.drawn`."""
    kinds = OF_PACKS[stage]
    held: dict[Spot, Held] = {}
    for name in names:
        odd: list[str] = []
        try:
            held |= _members(folder.path("packs", name), name, files, odd)
        except (OSError, tarfile.TarError) as error:
            folder.note("packs", f"packs/{name}", " ".join(str(error).split()))
        wrong[kinds.bytes] += [f"packs/{name}: {one}" for one in odd]
    named = set()
    for row in rows:
        if row["status"] == OK:
            spot = (row["pack"], row["pack_offset"])
            named.add(spot)
            _hold_against(row, held.get(spot), wrong, kinds)
    wrong[kinds.images] += [
        f"{name} at {offset} (no row)" for name, offset in sorted(held.keys() - named)
    ]
    drawn = sum(isinstance(one.shown, Shown) and one.shown.phash is not None
                for one in held.values())  # fmt: skip
    return Ledger({"files.looked": len(held), "files.drawn": drawn})


def _hold_against(row: Row, held: Held | None, wrong: Differences, kinds: OfPacks) -> None:
    where = f"{row['pack']} at {row['pack_offset']} ({row['url']})"
    if held is None or (held.sha256, held.length) != (row["sha256"], row["bytes"]):
        wrong[kinds.images].append(where)
        return
    shown = held.shown
    if isinstance(shown, str):
        wrong[kinds.pictures].append(f"{where}: {shown}")
        return
    told = Shown(
        format=row["format"],
        width=row["width"],
        height=row["height"],
        phash=row["phash"] if shown.phash is not None else None,
    )
    if shown != told:
        wrong[kinds.pictures].append(f"{where}: {', '.join(_other(told, shown))}")


def _other(told: Shown, shown: Shown) -> Iterator[str]:
    for name in Shown.__slots__:
        if getattr(told, name) != getattr(shown, name):
            yield f"{name} {getattr(told, name)}, but it shows {getattr(shown, name)}"


def _members(path: str, name: str, files: int, odd: list[str]) -> Iterator[tuple[Spot, Held]]:
    for info, data in archive.members(path, odd):
        sha256 = hashlib.sha256(data).hexdigest()
        if info.name.partition(".")[0] != sha256:
            odd.append(f"{info.name} is not the name of its bytes")
        shown = look(data, decode=is_drawn(sha256, files=files))
        yield (name, info.offset_data), Held(sha256=sha256, length=len(data), shown=shown)
