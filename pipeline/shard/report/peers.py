"""Table 1 of the OBELICS paper (arXiv 2306.16527): published sets beside which a run is put."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True, slots=True)
class Peer:
    """A published set of interleaved documents; None where nothing was published."""

    name: str
    images: float | None
    unique: float | None  # share of images that are no repetition, 0..1
    documents: float
    tokens: float | None


PEERS: Final = (
    Peer(name="KOSMOS-1", images=None, unique=None, documents=71e6, tokens=None),
    Peer(name="M3W", images=185e6, unique=None, documents=43e6, tokens=None),
    Peer(name="mmc4-ff", images=385e6, unique=0.606, documents=79e6, tokens=34e9),
    Peer(name="mmc4", images=585e6, unique=None, documents=103e6, tokens=43e9),
    Peer(name="OBELICS", images=353e6, unique=0.843, documents=141e6, tokens=115e9),
)
