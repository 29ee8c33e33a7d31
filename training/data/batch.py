"""A packed batch: what the stream hands to the model, without a padded token, pixel or document.

Shape suffixes: T tokens of all documents one after the other, D documents, N images, P visual
tokens an image, K patches of all images one after the other, C bytes of a patch (3 x 14 x 14).

In:   rows as stream.py made them, each a few documents that fit one sequence length.
Out:  one Batch a micro-batch. Documents and images are told apart by cumulative lengths only, so
      rows of any fill cost what they hold; attention.py keeps documents from seeing each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

IGNORED = -100  # a label that no loss reads: image and fake tokens, context, the last position

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]


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
class Row:
    """One packed row. Labels are already shifted: labels[i] is what position i predicts."""

    tokens: Ints
    labels: Ints
    lengths: Ints  # tokens of each piece
    patches: Bytes  # K x C, channels first within a patch
    patch_places: Ints  # K, row * table + column of the position table
    patch_lengths: Ints  # patches of each image, in the order of their tokens
    pieces: tuple[Piece, ...]


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

    def to(self, device: torch.device | str) -> Batch:
        """The same batch there; from pinned memory without waiting."""
        moved = {
            one.name: getattr(self, one.name).to(device, non_blocking=True)
            for one in fields(self)
            if isinstance(getattr(self, one.name), Tensor)
        }
        return replace(self, **moved)


def collate(rows: Sequence[Row]) -> Batch:
    """Rows one after the other."""
    lengths = np.concatenate([row.lengths for row in rows])
    patch_lengths = np.concatenate([row.patch_lengths for row in rows])
    labels = np.concatenate([row.labels for row in rows])
    return Batch(
        tokens_T=torch.from_numpy(np.concatenate([row.tokens for row in rows])),
        labels_T=torch.from_numpy(labels),
        positions_T=torch.from_numpy(_positions(lengths)),
        documents_D1=torch.from_numpy(_cumulative(lengths)),
        patches_KC=torch.from_numpy(np.concatenate([row.patches for row in rows])),
        patch_places_K=torch.from_numpy(np.concatenate([row.patch_places for row in rows])),
        images_N1=torch.from_numpy(_cumulative(patch_lengths)),
        longest_document=int(lengths.max(initial=0)),
        longest_image=int(patch_lengths.max(initial=0)),
        targets=int((labels != IGNORED).sum()),
        pieces=tuple(piece for row in rows for piece in row.pieces),
    )


def _positions(lengths: Ints) -> Ints:
    starts = np.cumsum(lengths) - lengths
    return np.arange(int(lengths.sum()), dtype=np.int64) - np.repeat(starts, lengths)


def _cumulative(lengths: Ints) -> npt.NDArray[np.int32]:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
