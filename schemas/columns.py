"""One column of a table at rest: its Arrow type, and its unit and meaning as field metadata."""

from __future__ import annotations

import pyarrow as pa


def column(
    name: str, kind: pa.DataType, unit: str, meaning: str, *, null: bool = False
) -> pa.Field:
    """A field that cannot be null unless told, so that an unmeasured value is seen on writing."""
    return pa.field(name, kind, nullable=null, metadata={"unit": unit, "meaning": meaning})
