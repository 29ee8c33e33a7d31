"""Rows: the plan of packed rows in, the rows themselves out, read from their tars and decoded.

In:      RowPlans (windows.py), for each piece its sample, start, end and images.
Out:     a Row each (batch.py), and which images were broken, with the reason.
Refused: a tar or an index that is not what the plan was made of: ValueError; what a store does not
         give after some attempts: OSError. Both name the shard.

A broken image (its member is missing, too large or not what was sharded, or does not decode) leaves
with its tokens: its document closes up and the row is that much shorter; no other document and no
other row changes (law 9).
All ranges of a call are asked for at once: the samples' JSON and the members in whose place the
shown images stand. Only where an image is another member than its place tells (of a tar that was
not made here, or lacks a member) it is asked for after the JSON. This runs in worker processes, so
a RowReader pickles, and takes along nothing that it has opened or read.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa

from schemas.sample import SampleImage
from training.data.batch import Bytes, Ints, Piece, Row
from training.data.encode import Encoder
from training.data.images import PATCH, patches_of
from training.data.shards.counts import read_counts
from training.data.shards.index import JSON, read_index, read_sample
from training.data.shards.members import Members, Range
from training.data.shards.sources import Shard, Source
from training.data.tokens import Assembled, TokenSequence, assemble, sequence_of
from training.data.windows import PiecePlan, RowPlan

IMAGE_BYTES: Final = 1 << 27  # of a member; the pipeline keeps images of up to 16 MiB
HELD: Final = 65_536  # samples whose index rows a process keeps; a window of a plan is 4,096


Name = tuple[int, int, int]  # of a sample: source, shard, row of its index
Picture = tuple[Name, int]  # a sample's image by number
Patches = tuple[Bytes, Ints]  # and their places
NO_PATCH: Final = np.zeros((0, 3 * PATCH * PATCH), dtype=np.uint8)
NO_PLACE: Final = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, kw_only=True, slots=True)
class Broken:
    """An image that left the training, and why."""

    shard: str
    key: str
    member: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageRule:
    """How pictures become patches; `table` is the side of the model's position table."""

    longest: int
    shortest: int
    table: int
    image_tokens: int  # visual tokens of an image

    def __post_init__(self) -> None:
        if not PATCH <= self.shortest <= self.longest or self.longest // PATCH > self.table:
            raise ValueError(
                f"images of {self.shortest} to {self.longest} pixels a side: choose from {PATCH}, "
                f"one patch, to {self.table * PATCH + PATCH - 1}, what the model has places for"
            )


@dataclass(kw_only=True)
class RowReader:
    """Reads rows in one process; what it keeps is bounded by samples and open files."""

    sources: Sequence[Source]
    encoder: Encoder
    digest: str  # of the tokenizer, which names the counts
    images: ImageRule
    members: Members = field(default_factory=Members)
    _indexes: OrderedDict[str, _Index] = field(default_factory=OrderedDict, init=False)

    def __getstate__(self) -> dict[str, Any]:
        """Without what was read so far, which another process may never need."""
        return self.__dict__ | {"_indexes": OrderedDict()}

    def read(self, rows: Sequence[RowPlan]) -> tuple[list[Row], list[Broken]]:
        """The rows, and the images that they had to leave out.

        Raises:
            ValueError: for shards that are not what was planned.
            OSError: for what could not be read.
        """
        samples = self._open([piece for row in rows for piece in row])
        shown = sorted({one for row in rows for piece in row for one in _shown(piece)})
        pictures, broken = self._pictures(samples, shown)
        return [self._row(row, samples, pictures) for row in rows], broken

    def _open(self, pieces: Sequence[PiecePlan]) -> dict[Name, _Sample]:
        """The pieces' samples; read are their JSON and what should be the shown images."""
        places = {_name(piece): self._find(piece) for piece in pieces}
        asked = dict.fromkeys(
            (_name(piece), member)
            for piece in pieces
            for member in places[_name(piece)].likely(piece.image, piece.images)
        )
        bodies = self.members.read([places[name].ranges[member] for name, member in asked])
        for (name, member), body in zip(asked, bodies, strict=True):
            places[name].held[member] = body
        samples: dict[Name, _Sample] = {}
        for piece in pieces:
            name = _name(piece)
            if name not in samples:  # once, of however many pieces
                samples[name] = self._tokenised(piece, places[name])
            self._check(piece, samples[name])
        return samples

    def _find(self, piece: PiecePlan) -> _Place:
        return self._index(self._shard(piece)).place(piece.row)

    def _index(self, shard: Shard) -> _Index:
        if shard.tar not in self._indexes:
            self._indexes[shard.tar] = _Index.of(shard, self.digest)
            if len(self._indexes) > 1 and sum(map(len, self._indexes.values())) > HELD:
                self._indexes.popitem(last=False)
        self._indexes.move_to_end(shard.tar)
        return self._indexes[shard.tar]

    def _shard(self, piece: PiecePlan) -> Shard:
        return self.sources[piece.source].shards[piece.shard]

    def _tokenised(self, piece: PiecePlan, place: _Place) -> _Sample:
        shard = self._shard(piece)
        sample = read_sample(place.held[JSON], place.key, shard.tar)
        sequence = sequence_of(sample, self.encoder, self.images.image_tokens)
        images = [node for node in sample.nodes if isinstance(node, SampleImage)]
        return _Sample(place=place, shard=shard.name, sequence=sequence, images=images)

    def _check(self, piece: PiecePlan, sample: _Sample) -> None:
        """Raises ValueError where a piece is of another sequence than was counted."""
        shard, tokens = self._shard(piece), len(sample.sequence.tokens)
        counted = self._index(shard).length(piece.row, self.images.image_tokens)
        shown = sample.sequence.shown(piece.start, piece.end).tolist()
        if tokens != counted or shown != [number for _, number in _shown(piece)]:
            raise ValueError(
                f"{shard.tar}, sample {sample.place.key}: {tokens:,} tokens, but its counts say "
                f"{counted:,} or have its images elsewhere: remove counts/ beside the shards, "
                "which is then made anew"
            )

    def _pictures(
        self, samples: Mapping[Name, _Sample], shown: Sequence[Picture]
    ) -> tuple[dict[Picture, Patches], list[Broken]]:
        """Patches of every shown image that is whole."""
        wanted = [(samples[name].place, samples[name].images[one].member) for name, one in shown]
        self._hold_rest(wanted)
        pictures: dict[Picture, Patches] = {}
        broken: list[Broken] = []
        for name, number in shown:
            sample, rule = samples[name], self.images
            image = sample.images[number]
            try:
                data = sample.place.image(image)
                pictures[name, number] = patches_of(
                    data, longest=rule.longest, shortest=rule.shortest, table=rule.table
                )
            except ValueError as error:
                key, reason = sample.place.key, str(error)
                broken.append(
                    Broken(shard=sample.shard, key=key, member=image.member, reason=reason)
                )
        return pictures, broken

    def _hold_rest(self, members: Sequence[tuple[_Place, str]]) -> None:
        """Read the images that are there and were not read with the JSON."""
        missing = [
            (place, name)
            for place, name in members
            if name in place.ranges and name not in place.held
        ]
        bodies = self.members.read([place.ranges[name] for place, name in missing])
        for (place, name), body in zip(missing, bodies, strict=True):
            place.held[name] = body

    def _row(
        self,
        row: RowPlan,
        samples: Mapping[Name, _Sample],
        pictures: Mapping[Picture, Patches],
    ) -> Row:
        assembled: list[Assembled] = []
        pieces: list[Piece] = []
        images: list[Patches] = []
        for piece in row:
            sample = samples[_name(piece)]
            broken = [number for name, number in _shown(piece) if (name, number) not in pictures]
            assembled.append(assemble(sample.sequence, piece.start, piece.end, broken))
            images += [pictures[_name(piece), int(one)] for one in assembled[-1].images]
            pieces.append(
                Piece(
                    source=piece.source,
                    shard=sample.shard,
                    key=sample.place.key,
                    start=piece.start,
                    end=piece.end,
                    broken=len(broken),
                )
            )
        return Row(
            tokens=np.concatenate([one.tokens for one in assembled]),
            labels=np.concatenate([one.labels for one in assembled]),
            lengths=np.asarray([len(one.tokens) for one in assembled], dtype=np.int64),
            patches=np.concatenate([NO_PATCH, *(patches for patches, _ in images)]),
            patch_places=np.concatenate([NO_PLACE, *(places for _, places in images)]),
            patch_lengths=np.asarray([len(places) for _, places in images], dtype=np.int64),
            pieces=tuple(pieces),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Index:
    """A shard's index, and what was counted of each of its samples."""

    tar: str
    rows: pa.Table
    counted: Ints  # tokens of texts, images, groups of images of each sample

    @classmethod
    def of(cls, shard: Shard, digest: str) -> _Index:
        rows = read_index(shard.index, ["key", "members"], tar_bytes=shard.tar_bytes)
        counts = read_counts(shard, digest)
        counted = np.stack([counts.tokens, counts.images, counts.groups], axis=1)
        return cls(tar=shard.tar, rows=rows, counted=counted)

    def __len__(self) -> int:
        return len(self.counted)

    def place(self, row: int) -> _Place:
        (found,) = self.rows.slice(row, 1).to_pylist()
        lengths = {one["name"]: one["length"] for one in found["members"]}
        large = {
            name: length
            for name, length in lengths.items()
            if name != JSON and length > IMAGE_BYTES
        }
        ranges = {
            one["name"]: Range(url=self.tar, offset=one["offset"], length=one["length"])
            for one in found["members"]
            if one["name"] not in large
        }
        return _Place(key=found["key"], ranges=ranges, large=large)

    def length(self, row: int, image_tokens: int) -> int:
        """Tokens of a sample's whole sequence (tokens.py draws it)."""
        texts, images, groups = (int(count) for count in self.counted[row])
        return texts + images * (image_tokens + 1) + groups + 2


@dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    """Where a sample's members lie, and the bytes of those that are read."""

    key: str
    ranges: Mapping[str, Range]
    large: Mapping[str, int]  # bytes of the members that are not read
    held: dict[str, bytes] = field(default_factory=dict)

    def likely(self, image: int, images: int) -> list[str]:
        """The JSON, and what are images `image` and on where members stand in their order."""
        names = [name for name in self.ranges if name != JSON]
        return [JSON, *names[image : image + images]]

    def image(self, image: SampleImage) -> bytes:
        """The member of an image, which must be what was sharded."""
        if large := self.large.get(image.member):
            raise ValueError(f"its member has {large:,} bytes, over the limit of {IMAGE_BYTES:,}")
        if image.member not in self.held:
            raise ValueError("its member is missing in the tar")
        data = self.held[image.member]
        if hashlib.sha256(data).hexdigest() != image.sha256:
            raise ValueError("its member holds other bytes than were sharded (sha256)")
        return data


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sample:
    place: _Place
    shard: str
    sequence: TokenSequence
    images: Sequence[SampleImage]  # in order


def _name(piece: PiecePlan) -> Name:
    return piece.source, piece.shard, piece.row


def _shown(piece: PiecePlan) -> list[Picture]:
    return [(_name(piece), piece.image + number) for number in range(piece.images)]
