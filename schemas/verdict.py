"""Verdicts: why something was dropped, in a closed vocabulary that can be summed and trusted.

In:   whatever a stage refuses: a record, a document, one of its nodes, an image file.
Out:  one `Drop` with a `Reason`, the measured value and the limit it missed.
Law:  nothing vanishes; what is seen is kept or carries exactly one Drop (a dropped document's
      nodes are counted as PARENT from the document's node counts, without a Drop each).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Reason(StrEnum):
    """Every reason there is. A new one is a change of the format: add it here, with a test."""

    # records of the crawl (extract)
    DAMAGED_RECORD = "damaged_record"  # compressed member or record header that cannot be read
    UNREADABLE_RECORD = "unreadable_record"  # a fault of interloom's; tables/drops tells which
    RECORD_TOO_LARGE = "record_too_large"  # bytes of the record against the reader's limit
    TRUNCATED_PAYLOAD = "truncated_payload"  # shorter than told, or WARC-Truncated
    BAD_HTTP = "bad_http"  # a response without readable HTTP headers
    BAD_ENCODING = "bad_encoding"  # chunking or content encoding that does not decode
    HTTP_STATUS = "http_status"  # value is the status; only 200 is read
    BAD_URL = "bad_url"  # no target URI, or not an http(s) one
    OTHER_MEDIA = "other_media"  # neither HTML nor an image
    EMPTY_PAYLOAD = "empty_payload"
    PAGE_TOO_LARGE = "page_too_large"  # bytes of HTML
    TOO_MANY_ELEMENTS = "too_many_elements"  # elements of the parsed page
    READER_DIED = "reader_died"  # the process that read the page, by a fault or its limits
    NO_CONTENT = "no_content"  # neither text nor image found by the extractor
    # image files
    NOT_AN_IMAGE = "not_an_image"  # called an image, but the bytes are none
    UNDECODABLE = "undecodable"
    TRUNCATED_IMAGE = "truncated_image"
    TOO_MANY_PIXELS = "too_many_pixels"
    SIDE_TOO_LONG = "side_too_long"  # pixels of the longer side
    IMAGE_BYTES = "image_bytes"  # bytes of the file
    DECODER_DIED = "decoder_died"  # the process that decoded it, by a fault or its limits
    # what a host answers, or we do not ask it (fetch)
    DEFERRED = "deferred"  # not this time: the deadline, a host's share, or a host in need of rest
    ROBOTS_TXT = "robots_txt"  # forbids it
    AI_TXT = "ai_txt"  # forbids it
    RULES_UNREACHABLE = "rules_unreachable"  # robots.txt or ai.txt failed; value is the HTTP status
    OPTED_OUT = "opted_out"  # on a list of the user's, or by a service
    NO_SUCH_HOST = "no_such_host"
    FORBIDDEN_ADDRESS = "forbidden_address"  # not globally routable
    FORBIDDEN_PORT = "forbidden_port"  # value is the port
    CONNECTION_FAILED = "connection_failed"
    CONNECTION_LOST = "connection_lost"
    TLS_FAILED = "tls_failed"
    TIMED_OUT = "timed_out"
    TOO_MANY_REDIRECTS = "too_many_redirects"
    # what the text alone decides (filter_text)
    SAME_RECORD = "same_record"
    OLDER_CAPTURE = "older_capture"
    NEAR_DUPLICATE_TEXT = "near_duplicate_text"
    REPEATED_IN_DOMAIN = "repeated_in_domain"
    TOO_FEW_WORDS = "too_few_words"
    TOO_MANY_WORDS = "too_many_words"
    CHARACTER_REPETITION = "character_repetition"
    WORD_REPETITION = "word_repetition"
    SPECIAL_CHARACTERS = "special_characters"
    FEW_STOP_WORDS = "few_stop_words"
    FLAGGED_WORDS = "flagged_words"
    LITTLE_PUNCTUATION = "little_punctuation"
    FEW_COMMON_WORDS = "few_common_words"
    SPAM_WORDS = "spam_words"
    LANGUAGE = "language"
    NO_TEXT = "no_text"
    NO_IMAGE = "no_image"
    NOAI = "noai"
    NOIMAGEAI = "noimageai"
    TDM_RESERVED = "tdm_reserved"
    IMAGE_URL_SCHEME = "image_url_scheme"  # data:, blob: and the like: nothing to fetch or keep
    IMAGE_URL_WORD = "image_url_word"
    IMAGE_URL_FREQUENT = "image_url_frequent"
    IMAGE_DECLARED_SIDE = "image_declared_side"
    IMAGE_DECLARED_ASPECT = "image_declared_aspect"
    # what the pixels decide (filter_images)
    NOT_FETCHED = "not_fetched"
    IMAGE_FORMAT = "image_format"
    IMAGE_SIDE_SHORT = "image_side_short"
    IMAGE_SIDE_LONG = "image_side_long"
    IMAGE_ASPECT = "image_aspect"
    DUPLICATE_IN_DOCUMENT = "duplicate_in_document"
    FREQUENT_IMAGE = "frequent_image"
    TOO_MANY_IMAGES = "too_many_images"
    SAME_IMAGE_SET = "same_image_set"
    # the sum of a dropped document's nodes; counted, never a row
    PARENT = "parent"


CONSENT: Final = (Reason.NOAI, Reason.NOIMAGEAI, Reason.TDM_RESERVED)  # what a page itself asks for
# why an image may be used, or who forbids to ask for it (then the Reason is the decision)
CRAWLED: Final = "crawl"
ALLOWED: Final = "allowed"
UNDECIDED: Final = "undecided"  # it was put off, or could not be asked for, before anybody was
IMPORTED: Final = "imported"  # another fetcher has brought it
FORBIDDING: Final = frozenset(
    {Reason.ROBOTS_TXT, Reason.AI_TXT, Reason.RULES_UNREACHABLE, Reason.OPTED_OUT}
)
# what an answer, or no answer, may leave in images/; and what a later try may change
WORTH_AGAIN: Final = frozenset(
    {Reason.DEFERRED, Reason.RULES_UNREACHABLE, Reason.NO_SUCH_HOST, Reason.CONNECTION_FAILED,
     Reason.CONNECTION_LOST, Reason.TLS_FAILED, Reason.TIMED_OUT, Reason.TRUNCATED_PAYLOAD,
     Reason.HTTP_STATUS, Reason.BAD_HTTP, Reason.DECODER_DIED}
)  # fmt: skip
FETCH_REASONS: Final = WORTH_AGAIN | FORBIDDING | frozenset(
    {Reason.FORBIDDEN_ADDRESS, Reason.FORBIDDEN_PORT, Reason.TOO_MANY_REDIRECTS, Reason.BAD_URL,
     Reason.BAD_ENCODING, Reason.EMPTY_PAYLOAD, Reason.IMAGE_BYTES, Reason.NOT_AN_IMAGE,
     Reason.UNDECODABLE, Reason.TRUNCATED_IMAGE, Reason.TOO_MANY_PIXELS,
     Reason.SIDE_TOO_LONG, *CONSENT}
)  # fmt: skip
OK: Final = "ok"  # the status of an image file that has bytes in a pack; otherwise a Reason


@dataclass(frozen=True, kw_only=True, slots=True)
class Drop:
    """One thing that was refused.

    `part` and `row` say where: the row of `documents/PART`, or in extract the record's byte
    offset in its input. `node` is the position in the document's nodes, None for the whole.
    `value` and `limit` are in the unit of the reason's rule; None where nothing is measured.
    """

    part: str
    row: int
    id: str  # document id; "" where the record never became a document
    url: str | None = None  # of such a record, if it could be read
    node: int | None = None
    reason: Reason
    value: float | None = None
    limit: float | None = None
