"""Packs: the tars of one part opened, each member hashed, held against the rows of images/."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator

from pipeline import store
from pipeline.verify.folder import RunFolder
from schemas.verdict import OK

Place = tuple[str, int]  # pack, offset of the bytes


def wrong_packs(folder: RunFolder, part: str, *, packs: int) -> Iterator[str]:
    """What a part's packs hold otherwise than images/PART says; nothing where they agree."""
    held: dict[Place, tuple[str, int]] = {}
    for number in range(packs):
        name = f"{part}-{number}.tar"
        try:
            held |= dict(_members(folder.path("packs", name), name))
        except (OSError, tarfile.TarError) as error:
            folder.note("packs", f"packs/{name}", " ".join(str(error).split()))
    named = set()
    columns = ("status", "url", "sha256", "bytes", "pack", "pack_offset")
    for row in folder.rows("images", part, columns):
        if row["status"] != OK:
            continue
        place = (row["pack"], row["pack_offset"])
        named.add(place)
        if held.get(place) != (row["sha256"], row["bytes"]):
            yield f"{row['pack']} at {row['pack_offset']} ({row['url']})"
    yield from (f"{name} at {offset} (no row)" for name, offset in sorted(held.keys() - named))


def _members(path: str, name: str) -> Iterator[tuple[Place, tuple[str, int]]]:
    with store.open_input(path) as handle, tarfile.open(fileobj=handle, mode="r:") as tar:
        for info in tar:
            stream = tar.extractfile(info)
            data = b"" if stream is None else stream.read()
            yield (name, info.offset_data), (hashlib.sha256(data).hexdigest(), len(data))
