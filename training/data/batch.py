"""A packed batch: what the stream hands to the model, without a padded token, pixel or document.

Shape suffixes: T tokens of all documents one after the other, D documents, N images, P visual
tokens an image, K patches of all images one after the other, C bytes of a patch (3 x 14 x 14).

In:   rows as rows.py reads them, each a few documents that fit one sequence length.
Out:  one Batch a micro-batch. Documents and images are told apart by cumulative lengths only, so
      rows of any fill cost what they hold; attention.py keeps documents from seeing each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from training.data.images import PATCH, Bytes, Patches
from training.data.tokens import IGNORED, Assembled, Ints

NO_PATCH: Final = np.zeros((0, 3 * PATCH * PATCH), dtype=np.uint8)
NO_PLACE: Final = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """A slice of a sample's token sequence, as it stands in a row; places are of the sequence."""

    source: int  # which of the shard folders
    shard: str
    key: str
    start: int  # first token that this piece trains; its context is the one before
    end: int
    broken: int = 0  # images that did not decode and have left with their tokens


@dataclass(frozen=True, kw_only=True, slots=True)
class Broken:
    """An image that left the training, and why."""

    shard: str
    key: str
    member: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One packed row. Labels are already shifted: labels[i] is what position i predicts."""

    tokens: Ints
    labels: Ints
    lengths: Ints  # tokens of each piece
    patches: Bytes  # K x C, channels first within a patch
    patch_places: Ints  # K, row * table + column of the position table
    patch_lengths: Ints  # patches of each image, in the order of their tokens
    pieces: tuple[Piece, ...]


def row_of(
    assembled: Sequence[Assembled], images: Sequence[Patches], pieces: tuple[Piece, ...]
) -> Row:
    """A row of assembled pieces, and of their images in the same order."""
    return Row(
        tokens=np.concatenate([part.tokens for part in assembled]),
        labels=np.concatenate([part.labels for part in assembled]),
        lengths=np.asarray([len(part.tokens) for part in assembled], dtype=np.int64),
        patches=np.concatenate([NO_PATCH, *(patches for patches, _ in images)]),
        patch_places=np.concatenate([NO_PLACE, *(places for _, places in images)]),
        patch_lengths=np.asarray([len(places) for _, places in images], dtype=np.int64),
        pieces=pieces,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    tokens_T: Tensor  # int64
    labels_T: Tensor  # int64, IGNORED where nothing is trained
    positions_T: Tensor  # int64, from 0 in each document
    documents_D1: Tensor  # int32, cumulative tokens: document d is [documents_D1[d], [d + 1])
    patches_KC: Tensor  # uint8
    patch_places_K: Tensor  # int64
    images_N1: Tensor  # int32, cumulative patches
    longest_document: int  # tokens; known here, so that no kernel launch waits for the device
    longest_image: int  # patches
    targets: int  # labels that are trained
    pieces: tuple[Piece, ...]
    broken: tuple[Broken, ...] = ()

    @property
    def images(self) -> int:
        return self.images_N1.shape[0] - 1

    def to(self, device: torch.device | str) -> Batch:
        """The same batch there; from pinned memory without waiting."""
        return self._mapped(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """Called by DataLoader on a machine with a GPU."""
        return self._mapped(Tensor.pin_memory)

    def _mapped(self, change: Callable[[Tensor], Tensor]) -> Batch:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        changed: dict[str, Any] = {
            name: change(value) for name, value in values.items() if isinstance(value, Tensor)
        }
        return replace(self, **changed)


def collate(rows: Sequence[Row], broken: Sequence[Broken] = ()) -> Batch:
    """Rows one after the other."""
    lengths = np.concatenate([row.lengths for row in rows])
    patch_lengths = np.concatenate([row.patch_lengths for row in rows])
    labels = np.concatenate([row.labels for row in rows])
    starts = np.cumsum(lengths) - lengths
    positions = np.arange(int(lengths.sum()), dtype=np.int64) - np.repeat(starts, lengths)
    return Batch(
        tokens_T=torch.from_numpy(np.concatenate([row.tokens for row in rows])),
        labels_T=torch.from_numpy(labels),
        positions_T=torch.from_numpy(positions),
        documents_D1=_cumulative(lengths),
        patches_KC=torch.from_numpy(np.concatenate([row.patches for row in rows])),
        patch_places_K=torch.from_numpy(np.concatenate([row.patch_places for row in rows])),
        images_N1=_cumulative(patch_lengths),
        longest_document=int(lengths.max(initial=0)),
        longest_image=int(patch_lengths.max(initial=0)),
        targets=int((labels != IGNORED).sum()),
        pieces=tuple(piece for row in rows for piece in row.pieces),
        broken=tuple(broken),
    )


def _cumulative(lengths: Ints) -> Tensor:
    return torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
