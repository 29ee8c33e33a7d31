"""Rows: the plan of packed rows in, the rows themselves out, read from their tars and decoded.

In:      RowPlans (plan.py), for each piece its sample, start, end and images.
Out:     a Row each (batch.py), and which images were broken, with the reason.
Refused: a tar or an index that is not what the plan was made of: ValueError; what a store does not
         give after some attempts: OSError. Both name the shard.

A broken image (its member is missing, too large or not what was sharded, or does not decode) leaves
with its tokens: its document closes up and the row is that much shorter; no other document and no
other row changes (law 9).
All ranges of a call are read at once: the samples' JSON and the members in whose place the shown
images stand. Only where an image is another member than its place tells (of a tar that was not made
here, or lacks a member) it is read after the JSON. This runs in worker processes, so a RowReader
pickles, and takes along nothing that it has opened or read.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa

from schemas.sample import SampleImage
from training.data.batch import Broken, Piece, Row, row_of
from training.data.counts import read_counts
from training.data.images import ImageRule, Patches
from training.data.index import JSON, read_index, read_sample
from training.data.members import Members, Range
from training.data.pieces import PiecePlan, SampleNumber
from training.data.plan import RowPlan
from training.data.sources import Shard, Source
from training.data.tokens import Assembled, Encoder, Ints, TokenSequence, assemble, sequence_of

IMAGE_BYTES: Final = 1 << 27  # of a member; the pipeline keeps images of up to 16 MiB
CACHED: Final = 65_536  # samples whose index rows a process keeps; a window of a plan is 4,096

Pictures = Mapping[tuple[SampleNumber, int], Patches]  # by sample and number of the image


@dataclass(kw_only=True)
class RowReader:
    """Reads rows in one process; what it keeps is bounded by samples and open files."""

    sources: Sequence[Source]
    encoder: Encoder
    digest: str  # of the tokenizer, which names the counts
    images: ImageRule
    members: Members = field(default_factory=Members)
    # rows of an index, and the tokens that were counted of each
    _indexes: OrderedDict[str, tuple[pa.Table, Ints]] = field(
        default_factory=OrderedDict, init=False
    )

    def __getstate__(self) -> dict[str, Any]:
        """Without what was read so far, which another process may never need."""
        return self.__dict__ | {"_indexes": OrderedDict()}

    def read(self, rows: Sequence[RowPlan]) -> tuple[list[Row], list[Broken]]:
        """The rows, and the images that they had to leave out."""
        pieces = [piece for row in rows for piece in row]
        samples = self._samples(pieces)
        pictures, broken = self._pictures(samples, pieces)
        return [_row(row, samples, pictures) for row in rows], broken

    def _samples(self, pieces: Sequence[PiecePlan]) -> dict[SampleNumber, _Sample]:
        """The pieces' samples; read are their JSON and what should be the shown images."""
        samples: dict[SampleNumber, _Sample] = {}
        for piece in pieces:
            if piece.sample not in samples:
                shard = self.sources[piece.source].shards[piece.shard]
                samples[piece.sample] = self._sample(shard, piece.row)
        self._read_members(
            samples,
            [
                (piece.sample, member)
                for piece in pieces
                for member in samples[piece.sample].likely_members(piece)
            ],
        )
        for sample in samples.values():
            sample.tokenise(self.encoder, self.images.image_tokens)
        for piece in pieces:
            samples[piece.sample].check(piece)
        return samples

    def _sample(self, shard: Shard, row: int) -> _Sample:
        if shard.tar not in self._indexes:
            indexed = read_index(shard.index, ["key", "members"], tar_bytes=shard.tar_bytes)
            lengths = read_counts(shard, self.digest).lengths(self.images.image_tokens)
            self._indexes[shard.tar] = indexed, lengths
            kept = sum(len(lengths) for _, lengths in self._indexes.values())
            if len(self._indexes) > 1 and kept > CACHED:
                self._indexes.popitem(last=False)
        self._indexes.move_to_end(shard.tar)
        indexed, lengths = self._indexes[shard.tar]
        (told,) = indexed.slice(row, 1).to_pylist()
        ranges = {member["name"]: Range.of(shard.tar, member) for member in told["members"]}
        return _Sample(shard=shard, key=told["key"], length=int(lengths[row]), ranges=ranges)

    def _read_members(
        self,
        samples: Mapping[SampleNumber, _Sample],
        wanted: Iterable[tuple[SampleNumber, str]],
    ) -> None:
        """Read those that are there and were not read before, at once."""
        missing = [
            (samples[number], member)
            for number, member in dict.fromkeys(wanted)
            if samples[number].is_missing(member)
        ]
        bodies = self.members.read([sample.ranges[member] for sample, member in missing])
        for (sample, member), body in zip(missing, bodies, strict=True):
            sample.bodies[member] = body

    def _pictures(
        self, samples: Mapping[SampleNumber, _Sample], pieces: Sequence[PiecePlan]
    ) -> tuple[Pictures, list[Broken]]:
        """Patches of every shown image that is whole."""
        shown = sorted({(piece.sample, image) for piece in pieces for image in piece.shown})
        self._read_members(
            samples, [(number, samples[number].images[image].member) for number, image in shown]
        )
        pictures: dict[tuple[SampleNumber, int], Patches] = {}
        broken: list[Broken] = []
        for number, image in shown:
            sample = samples[number]
            node = sample.images[image]
            try:
                pictures[number, image] = self.images.patches_of(sample.image_bytes(node))
            except ValueError as error:
                broken.append(
                    Broken(
                        shard=sample.shard.name,
                        key=sample.key,
                        member=node.member,
                        reason=str(error),
                    )
                )
        return pictures, broken


def _row(row: RowPlan, samples: Mapping[SampleNumber, _Sample], pictures: Pictures) -> Row:
    parts: list[Assembled] = []
    images: list[Patches] = []
    pieces: list[Piece] = []
    for piece in row:
        sample = samples[piece.sample]
        broken = [number for number in piece.shown if (piece.sample, number) not in pictures]
        part = assemble(sample.sequence, piece.start, piece.end, broken)
        parts.append(part)
        images += [pictures[piece.sample, number] for number in part.images]
        pieces.append(
            Piece(
                source=piece.source,
                shard=sample.shard.name,
                key=sample.key,
                start=piece.start,
                end=piece.end,
                broken=len(broken),
            )
        )
    return row_of(parts, images, tuple(pieces))


@dataclass(kw_only=True, slots=True)
class _Sample:
    """Where a sample's members lie and the bytes of those that are read; then its tokens."""

    shard: Shard
    key: str
    length: int  # tokens of its sequence, by its counts
    ranges: Mapping[str, Range]  # of each member
    bodies: dict[str, bytes] = field(default_factory=dict)
    images: list[SampleImage] = field(init=False)
    sequence: TokenSequence = field(init=False)

    def likely_members(self, piece: PiecePlan) -> list[str]:
        """The JSON, and what are the piece's images where members stand in their order."""
        names = [name for name in self.ranges if name != JSON]
        return [JSON, *names[piece.image : piece.image + piece.images]]

    def is_missing(self, member: str) -> bool:
        """Whether a member is there to be read, and was not; no image that is too large is."""
        place = self.ranges.get(member)
        is_small = place is not None and (member == JSON or place.length <= IMAGE_BYTES)
        return is_small and member not in self.bodies

    def tokenise(self, encoder: Encoder, image_tokens: int) -> None:
        sample = read_sample(self.bodies[JSON], self.key, self.shard.tar)
        self.images = [node for node in sample.nodes if isinstance(node, SampleImage)]
        self.sequence = sequence_of(sample, encoder, image_tokens)

    def check(self, piece: PiecePlan) -> None:
        """Raises ValueError where a piece is of another sequence than was counted."""
        tokens = len(self.sequence.tokens)
        shown = self.sequence.shown(piece.start, piece.end).tolist()
        if tokens != self.length or shown != list(piece.shown):
            raise ValueError(
                f"{self.shard.tar}, sample {self.key}: {tokens:,} tokens, but its counts say "
                f"{self.length:,} or have its images elsewhere: remove counts/ beside the shards, "
                "which is then made anew"
            )

    def image_bytes(self, image: SampleImage) -> bytes:
        """The member of an image, which must be what was sharded."""
        place = self.ranges.get(image.member)
        if place is None:
            raise ValueError("its member is missing in the tar")
        if place.length > IMAGE_BYTES:
            raise ValueError(
                f"its member has {place.length:,} bytes, over the limit of {IMAGE_BYTES:,}"
            )
        data = self.bodies[image.member]
        if hashlib.sha256(data).hexdigest() != image.sha256:
            raise ValueError("its member holds other bytes than were sharded (sha256)")
        return data
