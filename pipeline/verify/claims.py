"""Claims: what verdicts and kept/ say of image files, looked up when all of images/ is read.

In:   facts (each row of images/, in the words in which others speak of it); claims, each of which
      must be a fact under one of the URLs of a node; denials, of which none may be one.
Out:  the places of claims that nothing bears out, and of denials that something contradicts.
Cost: 16 bytes a fact, 56 a claim, in arrays. A digest is of the words as JSON, so that nothing is
      held but hashes; two that collide are not told apart (128 bits).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.verify.digest import key_of
from pipeline.verify.fate import Fate
from pipeline.verify.folder import Row
from pipeline.verify.limits import Recipe, asks
from pipeline.words.opt_out_list import OptOutList
from schemas.verdict import OK, Reason

_DIGEST: Final = 16
_CLAIM: Final = np.dtype([("claim", "<i8"), ("digest", f"V{_DIGEST}")])
_PLACE: Final = np.dtype([("part", "<i4"), ("node", "<i4"), ("row", "<i8"), ("id", "V16")])
# reasons of filter_images that speak of more than one file
_OF_OTHERS: Final = frozenset({Reason.DUPLICATE_IN_DOCUMENT, Reason.FREQUENT_IMAGE})
# what is said of a kept file: what its sample says too, and the rest, so that each names its stage
_SEEN: Final = ("url", "sha256", "width", "height", "bytes")
_LIES: Final = ("sha256", "format", "bytes", "pack", "pack_offset")


def digest(*things: object) -> bytes:
    text = json.dumps(things, ensure_ascii=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=_DIGEST).digest()


class Place(NamedTuple):
    part: str
    row: int
    node: int
    id: bytes = b""  # key of the document (digest.py)

    def __str__(self) -> str:
        return f"{self.part} row {self.row} node {self.node}"


class Claims:
    """Claims of one kind, in the order in which they were made."""

    def __init__(self) -> None:
        self._parts: dict[str, int] = {}
        self._places = bytearray()
        self._claims = bytearray()
        self._count = 0

    def add(self, place: Place, digests: Iterable[bytes]) -> None:
        """Any one of the digests bears it out."""
        part = self._parts.setdefault(place.part, len(self._parts))
        self._places += np.array((part, place.node, place.row, place.id), _PLACE).tobytes()
        number = self._count.to_bytes(8, "little")
        for one in digests:
            self._claims += number + one
        self._count += 1

    def places(self, facts: npt.NDArray[np.void], *, borne_out: bool) -> list[Place]:
        """Those that a fact bears out, or those that none does."""
        claims = np.frombuffer(bytes(self._claims), dtype=_CLAIM)
        met = np.zeros(self._count, dtype=bool)
        met[claims["claim"][np.isin(claims["digest"], facts)]] = True
        names = list(self._parts)
        places = np.frombuffer(bytes(self._places), dtype=_PLACE)[met == borne_out]
        return [
            Place(names[one["part"]], int(one["row"]), int(one["node"]), one["id"].tobytes())
            for one in places
        ]


class Files:
    """Facts of images/, and what is claimed of them."""

    def __init__(self, listed: OptOutList) -> None:
        self._listed = listed
        self._facts = bytearray()
        self.seen = Claims()  # kept files: URL, hash, sides
        self.lie = Claims()  # kept files: where their bytes are, and of what format
        self.refused = Claims()  # verdicts about a file
        self.missing = Claims()  # verdicts that there is none

    def tell(self, image: Row, recipe: Recipe) -> None:
        """A row of images/."""
        url, facts = image["url"], [digest("held", image["url"])]
        if url in self._listed or (image["final_url"] or "") in self._listed:
            facts.append(digest(url, Reason.OPTED_OUT, None, None))
        elif image["status"] == OK:
            if not any(asks(image, rule) for rule in recipe.get("consent", ())):
                facts.append(digest("seen", *(image[name] for name in _SEEN)))
                facts.append(digest("lies", *(image[name] for name in _LIES)))
            facts += [digest(url, *refused) for refused in _refusals(image, recipe)]
        else:
            facts.append(digest(url, image["status"], image["value"], image["limit"]))
        self._facts += b"".join(facts)
        self.object(url, image, recipe)

    def object(self, url: str, answer: Row, recipe: Recipe) -> None:
        """What an answer asks for, it asks for earlier captures of its URL too."""
        rules = [rule for rule in recipe.get("consent", ()) if asks(answer, rule)]
        facts = [digest(url, rule["reason"], 1.0, 0.0) for rule in rules]
        self._facts += b"".join(facts)

    def ask(self, fate: Fate) -> None:
        """What a document's verdicts and its kept row say of its image files."""
        nodes, key = fate.document["nodes"], key_of(fate.document["id"])
        for kept in fate.kept:
            for image in kept["images"]:
                place = Place(fate.part, fate.row, image["node"], key)
                said = {**image, "bytes": image["length"], "pack_offset": image["offset"]}
                self.seen.add(place, [digest("seen", *(said[name] for name in _SEEN))])
                self.lie.add(place, [digest("lies", *(said[name] for name in _LIES))])
        for verdict in fate.nodes["filter_images"]:
            at, reason = verdict["node"], verdict["reason"]
            if not 0 <= at < len(nodes) or nodes[at]["kind"] != "image":
                continue
            urls = [nodes[at]["url"], *(nodes[at]["others"] or ())]
            place, why = Place(fate.part, fate.row, at, key), (verdict["value"], verdict["limit"])
            if reason == Reason.NOT_FETCHED:
                self.missing.add(place, [digest("held", url) for url in urls])
            elif reason not in _OF_OTHERS:
                self.refused.add(place, [digest(url, reason, *why) for url in urls])

    def facts(self) -> npt.NDArray[np.void]:
        return np.unique(np.frombuffer(bytes(self._facts), dtype=f"V{_DIGEST}"))


def _refusals(image: Row, recipe: Recipe) -> Iterable[tuple[str, float | None, float | None]]:
    """For what a recipe may refuse a usable file by itself, the value with each limit."""
    width, height = image["width"], image["height"]
    values = {
        "short_side": float(min(width, height)),
        "long_side": float(max(width, height)),
        "aspect": width / height if height else None,
    }
    for rule in recipe.get("image", ()):
        yield rule["reason"], values.get(rule["signal"]), float(rule["limit"])
    if (formats := recipe.get("formats")) and image["format"] not in formats["formats"]:
        yield formats["reason"], None, None
