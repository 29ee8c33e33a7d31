"""Tables: the Arrow schema of every Parquet file of a run, each column with its unit and meaning.

Out:  one `pa.Schema` a kind of file; schemas/README.md is made from them (`make schemas`).
A part carries the fingerprint of its stage and its counts in the file's metadata.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

FINGERPRINT_KEY: Final = b"interloom.fingerprint"
COUNTS_KEY: Final = b"interloom.counts"


def _column(
    name: str, kind: pa.DataType, unit: str, meaning: str, *, null: bool = False
) -> pa.Field:
    return pa.field(name, kind, nullable=null, metadata={"unit": unit, "meaning": meaning})


TEXT_COUNTS: Final = pa.struct(
    [
        _column("characters", pa.int32(), "characters", "length of the text"),
        _column(
            "special_characters", pa.int32(), "characters", "digits, punctuation, symbols, spaces"
        ),
        _column("words", pa.int32(), "words", "split at white space"),
        _column("stop_words", pa.int32(), "words", "found among the language's stop words"),
        _column("flagged_words", pa.int32(), "words", "found among the flagged words"),
        _column("common_words", pa.int32(), "words", "found among the common words"),
        _column("spam_words", pa.int32(), "words", "found among the spam words"),
        _column("punctuation", pa.int32(), "tokens", "one of , ; : ? ! ."),
        _column("tokens", pa.int32(), "tokens", "words and punctuation marks"),
        _column("character_ngrams", pa.int32(), "n-grams", "character 10-grams"),
        _column(
            "character_ngrams_repeated", pa.int32(), "n-grams", "mass of the most frequent ones"
        ),
        _column("word_ngrams", pa.int32(), "n-grams", "word 5-grams"),
        _column("word_ngrams_repeated", pa.int32(), "n-grams", "mass of those seen more than once"),
    ]
)

NODE: Final = pa.struct(
    [
        _column("kind", pa.string(), "", "text or image"),
        _column(
            "role", pa.string(), "", "of a text: paragraph, heading, list_item, ...", null=True
        ),
        _column("text", pa.string(), "UTF-8", "of a text", null=True),
        _column("caption_of", pa.int32(), "node", "position of the image it describes", null=True),
        _column("counts", TEXT_COUNTS, "", "what was measured of a text", null=True),
        _column("url", pa.string(), "", "of an image, absolute", null=True),
        _column("alt", pa.string(), "UTF-8", "of an image", null=True),
        _column("width", pa.int32(), "pixels", "of an image, as the page declares it", null=True),
        _column("height", pa.int32(), "pixels", "of an image, as the page declares it", null=True),
    ]
)

DOCUMENTS: Final = pa.schema(
    [
        _column(
            "id", pa.string(), "32 hex digits", "sha256(URL, WARC-Date, payload digest), 128 bits"
        ),
        _column("url", pa.string(), "", "WARC-Target-URI"),
        _column(
            "domain", pa.string(), "", "registered domain (public suffix list, private part too)"
        ),
        _column("date", pa.string(), "ISO 8601, UTC", "WARC-Date"),
        _column("input", pa.string(), "", "crawl file, as the user named it"),
        _column("offset", pa.int64(), "bytes", "where the record's member starts in it"),
        _column("length", pa.int64(), "bytes", "of that member"),
        _column("title", pa.string(), "UTF-8", "of the page"),
        _column("language", pa.string(), "ISO 639-1", "fastText lid.176 over all text nodes"),
        _column("language_score", pa.float64(), "0..1", "its probability"),
        _column("charset", pa.string(), "", "the page was decoded by"),
        _column(
            "extractor", pa.string(), "", "that decided on main content: blocks or trafilatura"
        ),
        _column("robots", pa.list_(pa.string()), "", "directives of meta robots and X-Robots-Tag"),
        _column("tdm_reservation", pa.bool_(), "", "the page reserves text and data mining"),
        _column("tdm_policy", pa.string(), "", "URL of its policy"),
        _column("canonical", pa.string(), "", "rel=canonical, absolute"),
        _column("licence", pa.string(), "", "rel=license, absolute"),
        _column("nodes", pa.list_(NODE), "", "texts and images in reading order"),
    ]
)

IMAGES: Final = pa.schema(
    [
        _column("url", pa.string(), "", "of the image"),
        _column("date", pa.string(), "ISO 8601, UTC", "of the capture or fetch"),
        _column("status", pa.string(), "", "ok, or the Reason why there are no usable bytes"),
        _column("value", pa.float64(), "of the reason", "measured", null=True),
        _column("limit", pa.float64(), "of the reason", "missed", null=True),
        _column("sha256", pa.string(), "64 hex digits", "of the bytes", null=True),
        _column("phash", pa.uint64(), "64 bits", "imagehash.phash of the decoded image", null=True),
        _column(
            "width", pa.int32(), "pixels", "as displayed (EXIF orientation applied)", null=True
        ),
        _column("height", pa.int32(), "pixels", "as displayed", null=True),
        _column("format", pa.string(), "", "told by the content: jpeg, png, webp, ...", null=True),
        _column("bytes", pa.int64(), "bytes", "of the file", null=True),
        _column("pack", pa.string(), "", "file under packs/ that holds the bytes", null=True),
        _column("pack_offset", pa.int64(), "bytes", "where they start in it", null=True),
        _column("input", pa.string(), "", "crawl file it was found in", null=True),
        _column("offset", pa.int64(), "bytes", "of its record's member in that file", null=True),
        _column("decision", pa.string(), "", "why it may be used: crawl (found in the crawl)"),
        _column("decided", pa.string(), "ISO 8601, UTC", "when that was decided"),
    ]
)

WANTED: Final = pa.schema(
    [
        _column("url", pa.string(), "", "image URL that a kept document needs and the crawl lacks"),
        _column("sha256", pa.string(), "64 hex digits", "of the URL"),
    ]
)

VERDICTS: Final = pa.schema(
    [
        _column("part", pa.string(), "", "PART of the document (extract: of the record)"),
        _column(
            "row", pa.int64(), "rows", "in documents/PART (extract: byte offset of the record)"
        ),
        _column("id", pa.string(), "32 hex digits", "document; empty where it never became one"),
        _column(
            "node", pa.int32(), "node", "position in the document; null for the whole", null=True
        ),
        _column("reason", pa.string(), "", "one of schemas/verdict.py"),
        _column("value", pa.float64(), "of the reason", "measured", null=True),
        _column("limit", pa.float64(), "of the reason", "missed", null=True),
    ]
)

KEPT_IMAGE: Final = pa.struct(
    [
        _column("node", pa.int32(), "node", "position in the document"),
        _column("sha256", pa.string(), "64 hex digits", "of the bytes"),
        _column("pack", pa.string(), "", "file under packs/"),
        _column("offset", pa.int64(), "bytes", "in the pack"),
        _column("length", pa.int64(), "bytes", "of the file"),
        _column("width", pa.int32(), "pixels", "as displayed"),
        _column("height", pa.int32(), "pixels", "as displayed"),
        _column("format", pa.string(), "", "jpeg, png or webp"),
    ]
)

KEPT: Final = pa.schema(
    [
        _column("part", pa.string(), "", "PART of the document"),
        _column("row", pa.int64(), "rows", "in documents/PART"),
        _column("id", pa.string(), "32 hex digits", "document"),
        _column("bytes", pa.int64(), "bytes", "of its kept texts (UTF-8) and images"),
        _column("texts", pa.list_(pa.int32()), "nodes", "positions of the kept texts"),
        _column("images", pa.list_(KEPT_IMAGE), "", "the kept images, in order"),
    ]
)

PARTS: Final = pa.schema(
    [
        _column("part", pa.string(), "", "PART, PARTITION or shard"),
        _column("fingerprint", pa.string(), "32 hex digits", "of the stage that wrote it"),
        _column("counts", pa.map_(pa.string(), pa.int64()), "", "dotted name -> count"),
    ]
)

TABLE_DOCUMENTS: Final = pa.schema(
    [
        _column(
            "id", pa.string(), "32 hex digits", "document; key of its sample where it was kept"
        ),
        _column("url", pa.string(), "", "of the page"),
        _column("domain", pa.string(), "", "registered domain"),
        _column("date", pa.string(), "ISO 8601, UTC", "of the capture"),
        _column("language", pa.string(), "ISO 639-1", ""),
        _column("title", pa.string(), "UTF-8", ""),
        _column("outcome", pa.string(), "", "kept or dropped"),
        _column("split", pa.string(), "", "train or heldout, of a kept document", null=True),
        _column("stage", pa.string(), "", "that dropped it", null=True),
        _column("reason", pa.string(), "", "it was dropped for", null=True),
        _column("texts", pa.int32(), "nodes", "text nodes of the page"),
        _column("images", pa.int32(), "nodes", "image nodes of the page"),
        _column("kept_texts", pa.int32(), "nodes", "0 for a dropped document"),
        _column("kept_images", pa.int32(), "nodes", "0 for a dropped document"),
        _column("words", pa.int64(), "words", "of the kept texts"),
        _column("bytes", pa.int64(), "bytes", "of the kept texts and images"),
    ]
)

TABLE_IMAGES: Final = pa.schema(
    [
        _column("id", pa.string(), "32 hex digits", "document"),
        _column("node", pa.int32(), "node", "position in the document"),
        _column("url", pa.string(), "", "of the image"),
        _column("alt", pa.string(), "UTF-8", ""),
        _column("outcome", pa.string(), "", "kept, dropped, or parent (its document was dropped)"),
        _column("stage", pa.string(), "", "that dropped it", null=True),
        _column("reason", pa.string(), "", "it was dropped for", null=True),
        _column("sha256", pa.string(), "64 hex digits", "of a kept image", null=True),
        _column("width", pa.int32(), "pixels", "of a kept image", null=True),
        _column("height", pa.int32(), "pixels", "of a kept image", null=True),
        _column("format", pa.string(), "", "of a kept image", null=True),
        _column("bytes", pa.int64(), "bytes", "of a kept image", null=True),
    ]
)

TABLE_DROPS: Final = pa.schema(
    [
        _column("stage", pa.string(), "", "that dropped it"),
        _column("kind", pa.string(), "", "record, document, text or image"),
        _column("reason", pa.string(), "", "one of schemas/verdict.py"),
        _column("value", pa.float64(), "of the reason", "measured", null=True),
        _column("limit", pa.float64(), "of the reason", "missed", null=True),
        _column("id", pa.string(), "32 hex digits", "document; empty for a record"),
        _column("row", pa.int64(), "rows or bytes", "as in verdicts/"),
        _column("node", pa.int32(), "node", "null for a whole document or record", null=True),
        _column("url", pa.string(), "", "of the page, or of the image", null=True),
        _column(
            "excerpt", pa.string(), "UTF-8", "the text's beginning, or the image's alt", null=True
        ),
    ]
)
