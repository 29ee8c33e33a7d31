"""The JSON member of a sample as columns, for those who read tars without this package.

In:   nothing; the names are those of `sample.encode`, which a test compares.
Out:  SAMPLE_JSON, from which schemas/README.md and the dataset card's features are made.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from schemas.columns import column

_SOURCE: Final = pa.struct(
    [
        column("input", pa.string(), "", "crawl file, as the user named it"),
        column("offset", pa.int64(), "bytes", "where the record's member starts in it"),
        column("length", pa.int64(), "bytes", "of that member"),
    ]
)

_NODE: Final = pa.struct(
    [
        column("kind", pa.string(), "", "text or image"),
        column("role", pa.string(), "", "of a text: paragraph, heading, list_item, ...", null=True),
        column("text", pa.string(), "UTF-8", "of a text", null=True),
        column("caption_of", pa.int64(), "node", "place of the image it describes", null=True),
        column("member", pa.string(), "", "of an image: 000.jpg is KEY.000.jpg", null=True),
        column("url", pa.string(), "", "of an image, absolute", null=True),
        column("alt", pa.string(), "UTF-8", "of an image", null=True),
        column("width", pa.int64(), "pixels", "of an image, as displayed", null=True),
        column("height", pa.int64(), "pixels", "of an image, as displayed", null=True),
        column("sha256", pa.string(), "64 hex digits", "of an image's bytes", null=True),
    ]
)

SAMPLE_JSON: Final = pa.schema(
    [
        column("format_version", pa.int64(), "", "a reader refuses another"),
        column("id", pa.string(), "32 hex digits", "of the document; the sample's KEY"),
        column("url", pa.string(), "", "of the page"),
        column("date", pa.string(), "ISO 8601, UTC", "of the capture"),
        column("title", pa.string(), "UTF-8", "of the page"),
        column("language", pa.string(), "ISO 639-1", "fastText lid.176 over all text nodes"),
        column("licence", pa.string(), "", "rel=license, absolute; empty where none is named"),
        column("source", _SOURCE, "", "where the page was captured"),
        column("nodes", pa.list_(_NODE), "", "texts and images in reading order"),
    ]
)
