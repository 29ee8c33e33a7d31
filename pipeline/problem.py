"""A refusal before anybody knows where it happened: the reason with its value and its limit.

Readers, decoders and extractors return a Problem in place of what they could not make. The
stage that called them knows the part and the row, and makes it a `schemas.verdict.Drop`.
"""

from __future__ import annotations

from dataclasses import dataclass

from schemas.verdict import Reason


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """Why something could not be made; value and limit are in the unit of the reason's rule."""

    reason: Reason
    value: float | None = None
    limit: float | None = None
