"""Index: one row a sample, where it lies in its tar and how big each node is; no tokenizer in it.

Out:  `index/SHARD.parquet`. Offsets are of the members' bytes (behind the tar header), so that a
      reader takes a member by one range request and no tar is ever read to plan an epoch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pyarrow as pa

from schemas.columns import column
from schemas.sample import Sample, SampleText

_MEMBER: Final = pa.struct(
    [
        column("name", pa.string(), "", "after KEY and a dot"),
        column("offset", pa.int64(), "bytes", "of its bytes in the tar"),
        column("length", pa.int64(), "bytes", "of its bytes"),
    ]
)

_NODE: Final = pa.struct(
    [
        column("kind", pa.string(), "", "text or image"),
        column("characters", pa.int32(), "characters", "of a text", null=True),
        column("width", pa.int32(), "pixels", "of an image, as displayed", null=True),
        column("height", pa.int32(), "pixels", "of an image, as displayed", null=True),
    ]
)

INDEX: Final = pa.schema(
    [
        column("key", pa.string(), "", "of the sample"),
        column("members", pa.list_(_MEMBER), "", "the JSON first, then the images"),
        column("nodes", pa.list_(_NODE), "", "in reading order"),
    ]
)

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
