"""schemas/README.md, made from the code: every file at rest, every column, its unit and meaning.

In:   the Arrow schemas (tables.py, sample.py), the manifest's fields, the Reasons.
Out:  Markdown. `python -m schemas.readme` writes it; a test compares it with what is there.
Refused: a column without unit and meaning in its metadata, which is a KeyError here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Final, NamedTuple

import pyarrow as pa

from schemas import tables
from schemas.manifest import FORMAT_VERSION, KINDS, Manifest, StageName
from schemas.sample import SAMPLE_JSON
from schemas.tables import INDEX
from schemas.verdict import Reason

README: Final = Path(__file__).with_name("README.md")


class File(NamedTuple):
    """A kind of file at rest: what one row is, who writes it, and its columns."""

    path: str
    row: str
    writer: str
    schema: pa.Schema


FILES: Final = (
    File("documents/PART.parquet", "a page as it was read", StageName.EXTRACT, tables.DOCUMENTS),
    File(
        "images/PART.parquet",
        "a capture of an image URL",
        f"{StageName.EXTRACT}, {StageName.FETCH}",
        tables.IMAGES,
    ),
    File(
        "objections/PART.parquet",
        "an answer that became no document and asks something of its readers",
        StageName.EXTRACT,
        tables.OBJECTIONS,
    ),
    File("verdicts/STAGE/PART.parquet", "a drop", "every deciding stage", tables.VERDICTS),
    File("wanted/PARTITION.parquet", "an image URL to fetch", StageName.FILTER_TEXT, tables.WANTED),
    File("kept/PART.parquet", "a kept document", StageName.FILTER_IMAGES, tables.KEPT),
    File("index/SHARD.parquet", "a sample: where it lies in its tar", StageName.SHARD, INDEX),
    File("tables/documents/PART.parquet", "a document", StageName.SHARD, tables.TABLE_DOCUMENTS),
    File("tables/images/PART.parquet", "an image node", StageName.SHARD, tables.TABLE_IMAGES),
    File(
        "tables/drops/PART.parquet",
        "a drop, with what it dropped",
        StageName.SHARD,
        tables.TABLE_DROPS,
    ),
    File("STAGE.parts.parquet", "a part with its counts and files", "every stage", tables.PARTS),
)

MANIFEST: Final = {
    "stage": "the name of the stage",
    "fingerprint": "32 hex digits over the inputs, and the settings and versions of this stage and "
    "those before it; every part of the stage carries it",
    "settings": "what this stage reads of the settings",
    "versions": "of the stage's own code and of the packages that shape its bytes",
    "parts": "in STAGE.parts.parquet, beside the row of what belongs to none",
    "parts_sha256": "of STAGE.parts.parquet, which has the digest of every other file of the stage",
    "counts": "dotted name -> count, the sums over all parts",
    "format_version": f"{FORMAT_VERSION}; a reader refuses another",
}

HEAD: Final = """\
# What lies at rest

Made by `python -m schemas.readme` from the code; a test compares it. A run folder holds these
files, and the pipeline and the trainer share nothing else. PART names an input and the offset in
it where the part starts, SHARD a tar (`train-00000`), STAGE one of
{stages}.
A Parquet part carries the fingerprint of its stage, its counts and the digests of those files of
its part that were written before it in the file's metadata (`{fingerprint}`, `{counts}`,
`{files}`); verdicts/extract also what was raised at each `{unreadable}`
(`{faults}`), which tables/drops has in `excerpt`. No column is null unless its type here ends in
`?`.
"""

PLAIN: Final = """\
## packs/PART-K.tar
Image bytes, once per sha256 within a part, as plain tar members; images/ has pack and offset.

## shards/SHARD.tar
A sample is a run of members with one key: `KEY.json`, then `KEY.000.jpg`, `KEY.001.png` and so on,
the images' bytes as they were found. KEY is the document's id and holds no dot.

## KEY.json
The document of a sample; every node has every field.
"""


def render() -> str:
    """The whole page, one string."""
    head = HEAD.format(
        stages=", ".join(StageName),
        fingerprint=tables.FINGERPRINT_KEY.decode(),
        counts=tables.COUNTS_KEY.decode(),
        files=tables.FILES_KEY.decode(),
        faults=tables.FAULTS_KEY.decode(),
        unreadable=Reason.UNREADABLE_RECORD,
    )
    parts = [head, *map(_section, FILES), PLAIN + "\n" + _table(SAMPLE_JSON)]
    return "\n".join([*parts, _manifest(), _reasons()])


def _section(file: File) -> str:
    sentence = f"One row is {file.row}; written by {file.writer}."
    return f"## {file.path}\n{sentence}\n\n{_table(file.schema)}"


def columns(schema: pa.Schema) -> Iterator[tuple[str, str, str, str]]:
    """(dotted name, type, unit, meaning) of every column, those inside structs and lists too."""
    for field in schema:
        yield from _columns(field, "")


def _columns(field: pa.Field, before: str) -> Iterator[tuple[str, str, str, str]]:
    metadata = field.metadata
    name = before + field.name
    inner, kind = field.type, str(field.type)
    if pa.types.is_list(inner):
        inner, name = inner.value_type, name + "[]"
        kind = f"list of {inner}"
    if pa.types.is_struct(inner):
        kind = kind.split("struct<")[0] + "struct"
    kind += "?" if field.nullable else ""
    yield name, kind, metadata[b"unit"].decode(), metadata[b"meaning"].decode()
    if pa.types.is_struct(inner):
        for child in inner:
            yield from _columns(child, name + ".")


def _table(schema: pa.Schema) -> str:
    rows = ["| column | type | unit | meaning |", "|---|---|---|---|"]
    for name, kind, unit, meaning in columns(schema):
        rows.append(f"| `{name}` | {kind} | {unit} | {_cell(meaning)} |")
    return "\n".join(rows) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _manifest() -> str:
    rows = ["| field | meaning |", "|---|---|"]
    rows += [f"| `{field.name}` | {_cell(MANIFEST[field.name])} |" for field in fields(Manifest)]
    kinds = [f"| `{kind}` | {meaning} |" for kind, meaning in KINDS.items()]
    return "\n".join(
        [
            "## STAGE.manifest.json",
            "Written last; without it the stage did not happen.",
            "",
            *rows,
            "",
            "Counts are named `KIND.seen`, `KIND.kept` and `KIND.dropped.REASON`, and of every",
            "kind seen = kept + dropped. Other names (`records.type.response`, `rows.documents`)",
            "only count.",
            "",
            "| kind | what it counts |",
            "|---|---|",
            *kinds,
            "",
        ]
    )


def _reasons() -> str:
    names = ", ".join(f"`{reason}`" for reason in Reason)
    return f"## Reasons\nA closed list, schemas/verdict.py: {names}.\n"


if __name__ == "__main__":
    README.write_text(render(), encoding="utf-8")
