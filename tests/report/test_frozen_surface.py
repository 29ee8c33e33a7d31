"""What others build on: a change here is a change of the format and shows in the diff."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields

import pyarrow as pa
import pytest

from schemas import readme, tables
from schemas.manifest import Manifest
from schemas.sample import SAMPLE_JSON, Sample, SampleImage, SampleText, encode
from schemas.tables import INDEX
from schemas.verdict import Reason

REASONS = """
    damaged_record unreadable_record record_too_large truncated_payload bad_http bad_encoding
    http_status bad_url other_media empty_payload page_too_large too_many_elements reader_died
    no_content not_an_image undecodable truncated_image too_many_pixels side_too_long image_bytes
    decoder_died deferred robots_txt ai_txt
    rules_unreachable opted_out no_such_host forbidden_address forbidden_port connection_failed
    connection_lost tls_failed timed_out too_many_redirects same_record older_capture
    near_duplicate_text repeated_in_domain too_few_words too_many_words character_repetition
    word_repetition
    special_characters few_stop_words flagged_words little_punctuation few_common_words spam_words
    language no_text no_image noai noimageai tdm_reserved image_url_scheme image_url_word
    image_url_frequent image_declared_side image_declared_aspect not_fetched image_format
    image_side_short image_side_long image_aspect duplicate_in_document frequent_image
    too_many_images same_image_set parent
"""

# file -> (columns at the top, digest over the names and types of all, nested ones too)
COLUMNS: dict[str, tuple[str, str]] = {
    "documents/PART.parquet": (
        "id url domain date input offset length title language language_score charset extractor "
        "robots tdm_reservation tdm_policy canonical licence nodes",
        "4b14d6ce00d6",
    ),
    "images/PART.parquet": (
        "url date status value limit sha256 phash width height format bytes pack pack_offset "
        "input offset robots tdm_reservation decision decided final_url http_status attempt",
        "c331bcc04410",
    ),
    "objections/PART.parquet": (
        "url date offset robots tdm_reservation",
        "c2d1a790899e",
    ),
    "verdicts/STAGE/PART.parquet": (
        "part row id url node reason value limit",
        "5827a9229a37",
    ),
    "wanted/PARTITION.parquet": (
        "url sha256 date",
        "1f43b10722bc",
    ),
    "kept/PART.parquet": (
        "part row id domain bytes texts images",
        "2ca7d2b9baf7",
    ),
    "index/SHARD.parquet": (
        "key members nodes",
        "c805e19e2001",
    ),
    "tables/documents/PART.parquet": (
        "part row id url domain date language title extractor outcome split stage reason value "
        "limit texts images kept_texts kept_images words bytes",
        "d0920f3365ba",
    ),
    "tables/images/PART.parquet": (
        "part row id node url alt outcome stage reason value limit sha256 width height format "
        "bytes",
        "3c7c232fc35a",
    ),
    "tables/drops/PART.parquet": (
        "part row id stage kind node reason value limit url words excerpt",
        "4384dd3353b7",
    ),
    "STAGE.parts.parquet": (
        "part fingerprint counts files",
        "5499d8505535",
    ),
    "KEY.json": (
        "format_version id url date title language licence source nodes",
        "bdeef4dc5c83",
    ),
}


def digest(schema: pa.Schema) -> str:
    told = "\n".join(f"{name} {kind}" for name, kind, _, _ in readme.columns(schema))
    return hashlib.sha256(told.encode()).hexdigest()[:12]


SCHEMAS = {file.path: file.schema for file in readme.FILES} | {"KEY.json": SAMPLE_JSON}


def test_the_reasons_are_these() -> None:
    assert [str(reason) for reason in Reason] == REASONS.split()


def test_every_schema_is_frozen_here() -> None:
    assert set(COLUMNS) == set(SCHEMAS)
    known = {id(schema) for schema in SCHEMAS.values()}
    for module in (tables,):
        for name, value in vars(module).items():
            assert not isinstance(value, pa.Schema) or id(value) in known, name
    assert id(INDEX) in known


@pytest.mark.parametrize("path", sorted(SCHEMAS))
def test_columns_are_these(path: str) -> None:
    names, nested = COLUMNS[path]
    assert SCHEMAS[path].names == names.split()
    assert digest(SCHEMAS[path]) == nested


def test_the_page_of_schemas_is_the_one_the_code_makes() -> None:
    assert readme.README.read_text(encoding="utf-8") == readme.render(), (
        "schemas/README.md is not what the code says: run python -m schemas.readme"
    )


@pytest.mark.parametrize("path", sorted(SCHEMAS))
def test_every_column_has_a_meaning(path: str) -> None:
    for name, _, _, meaning in readme.columns(SCHEMAS[path]):
        assert meaning, name


def test_every_field_of_a_manifest_is_described() -> None:
    assert {field.name for field in fields(Manifest)} == set(readme.MANIFEST)


def keys_of(kind: pa.DataType | pa.Schema, value: object) -> None:
    """Every struct of a JSON value has just the columns that are declared, in that order."""
    if isinstance(kind, pa.Schema) or pa.types.is_struct(kind):
        assert isinstance(value, dict)
        assert list(value) == [field.name for field in kind]
        for field in kind:
            keys_of(field.type, value[field.name])
    elif pa.types.is_list(kind):
        assert isinstance(value, list)
        for one in value:
            keys_of(kind.value_type, one)


def test_the_declared_json_is_what_samples_hold() -> None:
    sample = Sample(
        key="0" * 32, url="u", date="d", title="t", language="en", licence="", source=("i", 1, 2),
        nodes=(
            SampleText(text="a", role="paragraph", caption_of=1),
            SampleImage(member="000.jpg", url="u", alt="", width=1, height=2, sha256="f" * 64),
        ),
    )  # fmt: skip
    (_, body), _ = encode(sample, [b"image"])
    read = json.loads(body)
    keys_of(SAMPLE_JSON, read)
    pa.Table.from_pylist([read], schema=SAMPLE_JSON).validate(full=True)
