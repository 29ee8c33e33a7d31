"""Digests: what a sample must say, from documents/ and kept/, and what it says, from its tar.

In:   ids with a digest of all that is in a document (its texts, and its images' own hashes), or
      with a word of up to 16 bytes (its split).
Out:  which ids are missing, in two places, strange, or say something else.
Cost: 32 bytes a kept document and as much a sample, in arrays: 64 MB at a million documents.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.verify.folder import Row
from schemas.sample import Sample, SampleText

ID_BYTES: Final = 16
# what a sample takes from its document as it is; its nodes besides
DIGESTED: Final = ("id", "url", "date", "title", "language", "licence", "input", "offset", "length")
_PAIR: Final = np.dtype([("id", f"V{ID_BYTES}"), ("digest", f"V{ID_BYTES}")])


def kept_digest(document: Row, kept: Row) -> bytes:
    """Of the sample that a kept row and its document make."""
    images = {image["node"]: image for image in kept["images"]}
    positions = [at for at in sorted([*kept["texts"], *images]) if at < len(document["nodes"])]
    place_of = {position: place for place, position in enumerate(positions)}
    nodes: list[Sequence[object]] = []
    for position in positions:
        node = document["nodes"][position]
        if (image := images.get(position)) is None:
            nodes.append((node["role"], node["text"], place_of.get(node["caption_of"])))
        else:
            size = (image["width"], image["height"], image["length"])
            nodes.append((image["url"], node["alt"], image["sha256"], *size))
    return _digest(*(document[name] for name in DIGESTED), nodes)


def sample_digest(sample: Sample, images: Sequence[tuple[str, int]]) -> bytes:
    """Of a sample as it lies in its tar; `images` are sha256 and length of its members' bytes."""
    of_images = iter(images)
    nodes: list[Sequence[object]] = []
    for node in sample.nodes:
        if isinstance(node, SampleText):
            nodes.append((node.role, node.text, node.caption_of))
        else:
            sha256, length = next(of_images)
            nodes.append((node.url, node.alt, sha256, node.width, node.height, length))
    plain = (sample.key, sample.url, sample.date, sample.title, sample.language, sample.licence)
    return _digest(*plain, *sample.source, nodes)


def _digest(*things: object) -> bytes:
    text = json.dumps(things, ensure_ascii=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=ID_BYTES).digest()


class Pairs:
    """Ids with digests: those that are kept, and those that were met in tars."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._met = bytearray()

    def keep(self, id_: str, digest: bytes) -> None:
        self._kept += key_of(id_) + digest.ljust(ID_BYTES, b"\0")

    def meet(self, id_: str, digest: bytes) -> None:
        self._met += key_of(id_) + digest.ljust(ID_BYTES, b"\0")

    def agreed(self) -> set[bytes]:
        """Keys of the ids of which both sides say the same."""
        kept, met = (np.unique(side) for side in self._sides())
        return {one.tobytes() for one in np.intersect1d(kept, met)["id"]}

    def _sides(self) -> tuple[npt.NDArray[np.void], npt.NDArray[np.void]]:
        kept, met = (np.frombuffer(bytes(side), dtype=_PAIR) for side in (self._kept, self._met))
        return kept, met

    def compare(self) -> dict[str, list[str]]:
        """What is wrong -> the ids of which it is; empty lists where nothing is."""
        kept, met = self._sides()
        both = np.intersect1d(kept["id"], met["id"])
        same = np.intersect1d(np.unique(kept), np.unique(met))
        return {
            "kept twice": _ids(_repeated(kept["id"])),
            "in two places": _ids(_repeated(met["id"])),
            "not in any shard": _ids(np.setdiff1d(kept["id"], met["id"])),
            "in a shard but not kept": _ids(np.setdiff1d(met["id"], kept["id"])),
            "other than what was kept": _ids(np.setdiff1d(both, same["id"])),
        }


def key_of(id_: str) -> bytes:
    """The id's bytes; of what is no id of ours, a hash, so that it is found to be strange."""
    try:
        key = bytes.fromhex(id_)
    except ValueError:
        key = b""
    return key if len(key) == ID_BYTES else hashlib.blake2b(id_.encode(), digest_size=16).digest()


def _repeated(ids: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    found, counts = np.unique(ids, return_counts=True)
    return found[counts > 1]


def _ids(ids: Iterable[np.void]) -> list[str]:
    return [bytes(one.tobytes()).hex() for one in ids]
