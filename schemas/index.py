"""Index: one row a sample, where it lies in its tar and how big each node is; no tokenizer in it.

Out:  `index/SHARD.parquet`. Offsets are of the members' bytes (behind the tar header), so that a
      reader takes a member by one range request and no tar is ever read to plan an epoch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pyarrow as pa

from schemas.sample import Sample, SampleText

INDEX: Final = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False, metadata={"unit": "", "meaning": "of the sample"}),
        pa.field(
            "members",
            pa.list_(
                pa.struct(
                    [
                        pa.field("name", pa.string(), nullable=False, metadata={"unit": "", "meaning": "after KEY and a dot"}),
                        pa.field("offset", pa.int64(), nullable=False, metadata={"unit": "bytes", "meaning": "of its bytes in the tar"}),
                        pa.field("length", pa.int64(), nullable=False, metadata={"unit": "bytes", "meaning": "of its bytes"}),
                    ]
                )
            ),
            nullable=False,
            metadata={"unit": "", "meaning": "the JSON first, then the images"},
        ),
        pa.field(
            "nodes",
            pa.list_(
                pa.struct(
                    [
                        pa.field("kind", pa.string(), nullable=False, metadata={"unit": "", "meaning": "text or image"}),
                        pa.field("characters", pa.int32(), metadata={"unit": "characters", "meaning": "of a text"}),
                        pa.field("width", pa.int32(), metadata={"unit": "pixels", "meaning": "of an image, as displayed"}),
                        pa.field("height", pa.int32(), metadata={"unit": "pixels", "meaning": "of an image, as displayed"}),
                    ]
                )
            ),
            nullable=False,
            metadata={"unit": "", "meaning": "in reading order"},
        ),
    ]
)  # fmt: skip

Place = tuple[str, int, int]  # member name, offset and length of its bytes


def index_row(sample: Sample, members: Sequence[Place]) -> Mapping[str, Any]:
    """A row of INDEX."""
    return {
        "key": sample.key,
        "members": [{"name": n, "offset": o, "length": size} for n, o, size in members],
        "nodes": [
            {"kind": "text", "characters": len(node.text), "width": None, "height": None}
            if isinstance(node, SampleText)
            else {"kind": "image", "characters": None, "width": node.width, "height": node.height}
            for node in sample.nodes
        ],
    }
