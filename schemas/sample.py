"""Sample: a document as members of a tar, readable by plain webdataset, and back; its index row.

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
from typing import Any, Final, TypeVar

import pyarrow as pa

from schemas.tables import column

FORMAT_VERSION: Final = 1  # of a sample; that of a run folder is manifest.py's
EXTENSIONS: Final[Mapping[str, str]] = {"jpeg": "jpg", "png": "png", "webp": "webp", "gif": "gif"}

# More than any page makes: of its HTML 8 MiB are read, of its elements 200,000 (html/limits.py).
# Python needs up to 72 bytes for each bracket.
BYTES: Final = 1 << 26  # of a JSON member
BRACKETS: Final = 1 << 23
CHARACTERS: Final = 1 << 23  # of all texts
SIDE: Final = 2**31 - 1  # pixels, as the index has them
KINDS: Final = ("text", "image")
AGAIN: Final = "copy the tar again, or shard the run again"

_Kind = TypeVar("_Kind", str, int, list[Any], dict[str, Any])

# the JSON member as columns, for those who read tars without this package
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

MemberRange = tuple[str, int, int]  # member name, offset and length of its bytes in the tar
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
    for what, value, limit in (
        ("bytes", len(body), BYTES), ("brackets", body.count(b"{") + body.count(b"["), BRACKETS),
    ):  # fmt: skip
        if value > limit:
            raise ValueError(f"its JSON has {value:,} {what}, over the limit of {limit:,}: {AGAIN}")
    try:
        read = json.loads(body.decode())
    except RecursionError as error:
        raise ValueError(f"its JSON is nested too deep: {AGAIN}") from error
    if not isinstance(read, dict):
        raise ValueError(f"its JSON is no object: {AGAIN}")
    if read.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"sample of format version {_short(read.get('format_version'))}, but this interloom "
            f"reads {FORMAT_VERSION}: shard the run again, or install the version that wrote it"
        )
    source = _of(read, "source", dict)
    nodes = tuple(_decode_node(node) for node in _of(read, "nodes", list))
    text = sum(len(node.text) for node in nodes if isinstance(node, SampleText))
    if text > CHARACTERS:
        raise ValueError(f"it has {text:,} characters, over the limit of {CHARACTERS:,}: {AGAIN}")
    return Sample(
        key=_of(read, "id", str),
        **{name: _of(read, name, str) for name in ("url", "date", "title", "language", "licence")},
        source=(_of(source, "input", str), _of(source, "offset", int), _of(source, "length", int)),
        nodes=nodes,
    )


_NOTHING: Final = dict.fromkeys(
    ("role", "text", "caption_of", "member", "url", "alt", "width", "height", "sha256")
)


def _encode_node(node: SampleNode) -> dict[str, Any]:
    kind = "text" if isinstance(node, SampleText) else "image"
    return {"kind": kind} | _NOTHING | {name: getattr(node, name) for name in node.__slots__}


def _decode_node(row: object) -> SampleNode:
    if not isinstance(row, dict) or row.get("kind") not in KINDS:
        raise ValueError(f"one of its nodes is no text and no image: {AGAIN}")
    if row["kind"] == "text":
        place = None if _is_null(row, "caption_of") else _of(row, "caption_of", int)
        return SampleText(text=_of(row, "text", str), role=_words(row, "role"), caption_of=place)
    width, height = (_of(row, name, int) for name in ("width", "height"))
    if not 1 <= min(width, height) <= max(width, height) <= SIDE:
        sides = f"{_short(width)} x {_short(height)}"
        raise ValueError(f"an image of {sides} pixels, but sides are 1 to {SIDE:,}: {AGAIN}")
    return SampleImage(
        member=_of(row, "member", str),
        url=_words(row, "url"),
        alt=_words(row, "alt"),
        width=width,
        height=height,
        sha256=_of(row, "sha256", str),
    )


def _of(row: Mapping[str, Any], name: str, kind: type[_Kind]) -> _Kind:
    """A value of the JSON, of the type that SAMPLE_JSON tells."""
    if name not in row:
        raise ValueError(f"its JSON lacks {name}: {AGAIN}")
    value = row[name]
    if type(value) is not kind:  # a bool would be an int
        raise ValueError(f"its JSON has {_short(value)} as {name}: {AGAIN}")
    if isinstance(value, str) and not value.isascii() and not _is_text(value):
        raise ValueError(f"its JSON has half a character in {name}: {AGAIN}")
    return value


def _words(row: Mapping[str, Any], name: str) -> str:
    """A text that nothing depends on; other writers have null where there is none."""
    return "" if _is_null(row, name) else _of(row, name, str)


def _is_null(row: Mapping[str, Any], name: str) -> bool:
    return name in row and row[name] is None


def _is_text(value: str) -> bool:
    """Whether UTF-8 can hold it: an escape of one surrogate alone (\\ud800) cannot be."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _short(value: object) -> str:
    """For a message: what it is, or of what kind."""
    return f"a {type(value).__name__}" if isinstance(value, (list, dict)) else repr(value)[:40]


def index_row(sample: Sample, members: Sequence[MemberRange]) -> Mapping[str, Any]:
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
