"""Tables: the Arrow schema of every Parquet file of a run, each column with its unit and meaning.

Out:  one `pa.Schema` a kind of file; `python -m schemas.readme` makes schemas/README.md of them.
A part carries the fingerprint of its stage, its counts and the digests of its other files in the
metadata of the file that is written last.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

FINGERPRINT_KEY: Final = b"interloom.fingerprint"
COUNTS_KEY: Final = b"interloom.counts"
FILES_KEY: Final = b"interloom.files"  # of the part, those written before: [path, bytes, sha256]
# of verdicts/extract, where it holds any unreadable_record: a JSON list of what was raised at each
FAULTS_KEY: Final = b"interloom.faults"


def column(
    name: str, kind: pa.DataType, unit: str, meaning: str, *, null: bool = False
) -> pa.Field:
    """A field that cannot be null unless it says so: an unmeasured value is seen on writing."""
    return pa.field(name, kind, nullable=null, metadata={"unit": unit, "meaning": meaning})


TEXT_COUNTS: Final = pa.struct(
    [
        column("characters", pa.int32(), "characters", "length of the text"),
        column(
            "special_characters", pa.int32(), "characters", "digits, punctuation, symbols, spaces"
        ),
        column("words", pa.int32(), "words", "split at white space"),
        column("stop_words", pa.int32(), "words", "found among the language's stop words"),
        column("flagged_words", pa.int32(), "words", "found among the flagged words"),
        column("common_words", pa.int32(), "words", "found among the common words"),
        column("spam_words", pa.int32(), "words", "found among the spam words"),
        column("punctuation", pa.int32(), "tokens", "one of , ; : ? ! ."),
        column("tokens", pa.int32(), "tokens", "words and punctuation marks"),
        column("character_ngrams", pa.int32(), "n-grams", "character 10-grams"),
        column(
            "character_ngrams_repeated", pa.int32(), "n-grams", "mass of the most frequent ones"
        ),
        column("word_ngrams", pa.int32(), "n-grams", "word 5-grams"),
        column("word_ngrams_repeated", pa.int32(), "n-grams", "mass of those seen more than once"),
    ]
)

NODE: Final = pa.struct(
    [
        column("kind", pa.string(), "", "text or image"),
        column("role", pa.string(), "", "of a text: paragraph, heading, list_item, ...", null=True),
        column("text", pa.string(), "UTF-8", "of a text", null=True),
        column("caption_of", pa.int32(), "node", "position of the image it describes", null=True),
        column("counts", TEXT_COUNTS, "", "what was measured of a text", null=True),
        column("url", pa.string(), "", "of an image, absolute", null=True),
        column(
            "others", pa.list_(pa.string()), "", "URLs of the picture in other sizes", null=True
        ),
        column("alt", pa.string(), "UTF-8", "of an image", null=True),
        column("width", pa.int32(), "pixels", "of an image, as the page declares it", null=True),
        column("height", pa.int32(), "pixels", "of an image, as the page declares it", null=True),
    ]
)

DOCUMENTS: Final = pa.schema(
    [
        column(
            "id", pa.string(), "32 hex digits", "sha256(URL, WARC-Date, payload digest), 128 bits"
        ),
        column("url", pa.string(), "", "WARC-Target-URI"),
        column(
            "domain", pa.string(), "", "registered domain (public suffix list, private part too)"
        ),
        column("date", pa.string(), "ISO 8601, UTC", "WARC-Date"),
        column("input", pa.string(), "", "crawl file, as the user named it"),
        column("offset", pa.int64(), "bytes", "where the record's member starts in it"),
        column("length", pa.int64(), "bytes", "of that member"),
        column("title", pa.string(), "UTF-8", "of the page"),
        column("language", pa.string(), "ISO 639-1", "fastText lid.176 over the running text"),
        column("language_score", pa.float64(), "0..1", "its probability"),
        column("charset", pa.string(), "", "the page was decoded by"),
        column("extractor", pa.string(), "", "that decided on main content: blocks or trafilatura"),
        column("robots", pa.list_(pa.string()), "", "directives of meta robots and X-Robots-Tag"),
        column("tdm_reservation", pa.bool_(), "", "the page reserves text and data mining"),
        column("tdm_policy", pa.string(), "", "URL of its policy"),
        column("canonical", pa.string(), "", "rel=canonical, absolute"),
        column("licence", pa.string(), "", "rel=license, absolute"),
        column("nodes", pa.list_(NODE), "", "texts and images in reading order"),
    ]
)

IMAGES: Final = pa.schema(
    [
        column("url", pa.string(), "", "of the image"),
        column("date", pa.string(), "ISO 8601, UTC", "of the capture or fetch"),
        column("status", pa.string(), "", "ok, or the Reason why there are no usable bytes"),
        column("value", pa.float64(), "of the reason", "measured", null=True),
        column("limit", pa.float64(), "of the reason", "missed", null=True),
        column("sha256", pa.string(), "64 hex digits", "of the bytes", null=True),
        column("phash", pa.uint64(), "64 bits", "imagehash.phash of the decoded image", null=True),
        column("width", pa.int32(), "pixels", "as displayed (EXIF orientation applied)", null=True),
        column("height", pa.int32(), "pixels", "as displayed", null=True),
        column("format", pa.string(), "", "told by the content: jpeg, png, webp, ...", null=True),
        column("bytes", pa.int64(), "bytes", "of the file", null=True),
        column("pack", pa.string(), "", "file under packs/ that holds the bytes", null=True),
        column("pack_offset", pa.int64(), "bytes", "where they start in it", null=True),
        column("input", pa.string(), "", "crawl file it was found in", null=True),
        column("offset", pa.int64(), "bytes", "of its record's member in that file", null=True),
        column("robots", pa.list_(pa.string()), "", "directives of its response's X-Robots-Tag"),
        column("tdm_reservation", pa.bool_(), "", "its response reserves text and data mining"),
        column(
            "decision",
            pa.string(),
            "",
            "why it may be used: crawl (found in the crawl), allowed (by robots.txt, ai.txt and "
            "opt-outs), imported (by another fetcher), undecided (nobody was asked), or what "
            "forbids to ask for it",
        ),
        column("decided", pa.string(), "ISO 8601, UTC", "when that was decided"),
        column("final_url", pa.string(), "", "that answered a fetch, behind redirects", null=True),
        column("http_status", pa.int32(), "", "of its answer", null=True),
        column(
            "attempt",
            pa.int32(),
            "",
            "round of fetching it is of: 1, and 1 more a refetch",
            null=True,
        ),
    ]
)

OBJECTIONS: Final = pa.schema(
    [
        column("url", pa.string(), "", "that answered: with a revisit, an error, an image, ..."),
        column("date", pa.string(), "ISO 8601, UTC", "of the capture"),
        column("offset", pa.int64(), "bytes", "of its record's member in the crawl file"),
        column("robots", pa.list_(pa.string()), "", "directives of its X-Robots-Tag"),
        column("tdm_reservation", pa.bool_(), "", "it reserves text and data mining"),
    ]
)

WANTED: Final = pa.schema(
    [
        column("url", pa.string(), "", "image URL that a kept document needs and the crawl lacks"),
        column("sha256", pa.string(), "64 hex digits", "of the URL"),
        column("date", pa.string(), "ISO 8601, UTC", "of the latest page that needs it"),
    ]
)

VERDICTS: Final = pa.schema(
    [
        column("part", pa.string(), "", "PART of the document (extract: of the record)"),
        column("row", pa.int64(), "rows", "in documents/PART (extract: byte offset of the record)"),
        column("id", pa.string(), "32 hex digits", "document; empty where it never became one"),
        column("url", pa.string(), "", "of a record that never became a document", null=True),
        column(
            "node", pa.int32(), "node", "position in the document; null for the whole", null=True
        ),
        column("reason", pa.string(), "", "one of schemas/verdict.py"),
        column("value", pa.float64(), "of the reason", "measured", null=True),
        column("limit", pa.float64(), "of the reason", "missed", null=True),
    ]
)

KEPT_IMAGE: Final = pa.struct(
    [
        column("node", pa.int32(), "node", "position in the document"),
        column("url", pa.string(), "", "that the bytes came from: the node's, or of another size"),
        column("sha256", pa.string(), "64 hex digits", "of the bytes"),
        column("pack", pa.string(), "", "file under packs/"),
        column("offset", pa.int64(), "bytes", "in the pack"),
        column("length", pa.int64(), "bytes", "of the file"),
        column("width", pa.int32(), "pixels", "as displayed"),
        column("height", pa.int32(), "pixels", "as displayed"),
        column("format", pa.string(), "", "jpeg, png or webp"),
    ]
)

KEPT: Final = pa.schema(
    [
        column("part", pa.string(), "", "PART of the document"),
        column("row", pa.int64(), "rows", "in documents/PART"),
        column("id", pa.string(), "32 hex digits", "document"),
        column("domain", pa.string(), "", "its registered domain"),
        column("bytes", pa.int64(), "bytes", "of its kept texts (UTF-8) and images"),
        column("texts", pa.list_(pa.int32()), "nodes", "positions of the kept texts"),
        column("images", pa.list_(KEPT_IMAGE), "", "the kept images, in order"),
    ]
)

# index/SHARD.parquet. Offsets are of the members' bytes (behind the tar header), so that a reader
# takes a member by one range request, and no tar is read to plan an epoch. It knows no tokenizer.
MEMBER: Final = pa.struct(
    [
        column("name", pa.string(), "", "after KEY and a dot"),
        column("offset", pa.int64(), "bytes", "of its bytes in the tar"),
        column("length", pa.int64(), "bytes", "of its bytes"),
    ]
)

INDEX_NODE: Final = pa.struct(
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
        column("members", pa.list_(MEMBER), "", "the JSON first, then the images"),
        column("nodes", pa.list_(INDEX_NODE), "", "in reading order"),
    ]
)

STORED_FILE: Final = pa.struct(
    [
        column("path", pa.string(), "", "below the run folder"),
        column("bytes", pa.int64(), "bytes", "size"),
        column("sha256", pa.string(), "64 hex digits", "of all its bytes"),
    ]
)

PARTS: Final = pa.schema(
    [
        column("part", pa.string(), "", "PART, PARTITION or shard; empty for what is of none"),
        column("fingerprint", pa.string(), "32 hex digits", "of the stage that wrote it"),
        column("counts", pa.map_(pa.string(), pa.int64()), "", "dotted name -> count"),
        column("files", pa.list_(STORED_FILE), "", "that were written for it"),
    ]
)

# every table of a run names its document by (part, row), because a record met twice has one id
_PLACE: Final = (
    column("part", pa.string(), "", "PART of the document, record or file"),
    column("row", pa.int64(), "rows", "in documents/PART (a record or file: its byte offset)"),
    column("id", pa.string(), "32 hex digits", "document, and key of its sample where it was kept"),
)
_WHY: Final = (
    column("stage", pa.string(), "", "that dropped it", null=True),
    column("reason", pa.string(), "", "it was dropped for, one of schemas/verdict.py", null=True),
    column("value", pa.float64(), "of the reason", "measured", null=True),
    column("limit", pa.float64(), "of the reason", "missed", null=True),
)

TABLE_DOCUMENTS: Final = pa.schema(
    [
        *_PLACE,
        column("url", pa.string(), "", "of the page"),
        column("domain", pa.string(), "", "registered domain"),
        column("date", pa.string(), "ISO 8601, UTC", "of the capture"),
        column("language", pa.string(), "ISO 639-1", "as in documents/"),
        column("title", pa.string(), "UTF-8", "of the page"),
        column("extractor", pa.string(), "", "that decided on main content: blocks or trafilatura"),
        column("outcome", pa.string(), "", "kept or dropped"),
        column("split", pa.string(), "", "train or heldout, of a kept document", null=True),
        *_WHY,
        column("texts", pa.int32(), "nodes", "text nodes of the page"),
        column("images", pa.int32(), "nodes", "image nodes of the page"),
        column("kept_texts", pa.int32(), "nodes", "0 for a dropped document"),
        column("kept_images", pa.int32(), "nodes", "0 for a dropped document"),
        column("words", pa.int64(), "words", "of the kept texts, split at white space"),
        column("bytes", pa.int64(), "bytes", "of the kept texts (UTF-8) and images"),
    ]
)

TABLE_IMAGES: Final = pa.schema(
    [
        *_PLACE,
        column("node", pa.int32(), "node", "position in the document"),
        column("url", pa.string(), "", "of the image"),
        column("alt", pa.string(), "UTF-8", "as the page gives it"),
        column("outcome", pa.string(), "", "kept or dropped (parent: with its document)"),
        *_WHY,
        column("sha256", pa.string(), "64 hex digits", "of a kept image's bytes", null=True),
        column("width", pa.int32(), "pixels", "of a kept image, as displayed", null=True),
        column("height", pa.int32(), "pixels", "of a kept image, as displayed", null=True),
        column("format", pa.string(), "", "of a kept image", null=True),
        column("bytes", pa.int64(), "bytes", "of a kept image's file", null=True),
    ]
)

TABLE_DROPS: Final = pa.schema(
    [
        *_PLACE,
        column("stage", pa.string(), "", "that dropped it"),
        column("kind", pa.string(), "", "record, file (of an image), document, text or image"),
        column("node", pa.int32(), "node", "null for a whole document or record", null=True),
        *_WHY[1:],
        column("url", pa.string(), "", "of the page, the image or the file", null=True),
        column("words", pa.int64(), "words", "of the dropped document or text", null=True),
        column(
            "excerpt", pa.string(), "UTF-8", "the text's beginning, or the image's alt", null=True
        ),
    ]
)
