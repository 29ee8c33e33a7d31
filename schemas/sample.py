"""Sample codec: a document as members of a tar, readable by plain webdataset, and back.

    KEY.json      the document: nodes in order; an image node names its member
    KEY.000.jpg   its first image's bytes as they were found, KEY.001.png the second, ...

KEY is the document's id. It holds no dot, because webdataset ends a key at the first one, and a
sample's members stand together, because it groups neighbours. Every node has every field (null
where it does not apply), so that loaders which infer a schema see one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from schemas.manifest import FORMAT_VERSION

EXTENSIONS: Final[Mapping[str, str]] = {"jpeg": "jpg", "png": "png", "webp": "webp", "gif": "gif"}

Member = tuple[str, bytes]  # name inside the sample (after KEY and a dot), bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleText:
    text: str
    role: str
    caption_of: int | None = None  # position of an image among this sample's nodes


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleImage:
    member: str  # 000.jpg
    url: str
    alt: str
    width: int  # pixels, as displayed
    height: int
    sha256: str


SampleNode = SampleText | SampleImage


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """A document as it is trained on. `source` is (crawl file, offset, length) of its record."""

    key: str
    url: str
    date: str
    title: str
    language: str
    licence: str
    source: tuple[str, int, int]
    nodes: tuple[SampleNode, ...]


def member_name(number: int, image_format: str) -> str:
    """The name of a sample's image member.

    Raises:
        ValueError: for a format that no shard holds.
    """
    if image_format not in EXTENSIONS:
        raise ValueError(f"image format {image_format!r} is none of {', '.join(EXTENSIONS)}")
    return f"{number:03d}.{EXTENSIONS[image_format]}"


def encode(sample: Sample, images: Sequence[bytes]) -> list[Member]:
    """Members in the order in which they stand in the tar: the JSON, then the images.

    Raises:
        ValueError: if the number of images is not that of the image nodes.
    """
    names = [node.member for node in sample.nodes if isinstance(node, SampleImage)]
    if len(names) != len(images):
        raise ValueError(f"{sample.key}: {len(names)} image nodes, but {len(images)} images")
    body = {
        "format_version": FORMAT_VERSION,
        "id": sample.key,
        "url": sample.url,
        "date": sample.date,
        "title": sample.title,
        "language": sample.language,
        "licence": sample.licence,
        "source": dict(zip(("input", "offset", "length"), sample.source, strict=True)),
        "nodes": [_encode_node(node) for node in sample.nodes],
    }
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return [("json", text.encode()), *zip(names, images, strict=True)]


def decode(body: bytes) -> Sample:
    """The JSON member back to a Sample.

    Raises:
        ValueError: for another FORMAT_VERSION, or what is no sample at all.
    """
    read = json.loads(body.decode())
    if not isinstance(read, dict):
        raise ValueError("its JSON is no object: copy the tar again, or shard the run again")
    if read.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"sample of format version {read.get('format_version')}, but this interloom reads "
            f"{FORMAT_VERSION}: shard the run again, or install the version that wrote it"
        )
    source = read["source"]
    return Sample(
        key=read["id"],
        **{name: read[name] for name in ("url", "date", "title", "language", "licence")},
        source=(source["input"], source["offset"], source["length"]),
        nodes=tuple(_decode_node(node) for node in read["nodes"]),
    )


_NOTHING: Final = dict.fromkeys(
    ("role", "text", "caption_of", "member", "url", "alt", "width", "height", "sha256")
)


def _encode_node(node: SampleNode) -> dict[str, Any]:
    kind = "text" if isinstance(node, SampleText) else "image"
    return {"kind": kind} | _NOTHING | {name: getattr(node, name) for name in node.__slots__}


def _decode_node(row: Mapping[str, Any]) -> SampleNode:
    kind: type[SampleText | SampleImage] = SampleText if row["kind"] == "text" else SampleImage
    return kind(**{name: row[name] for name in kind.__slots__})
