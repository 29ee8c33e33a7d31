"""Rows: what one row of documents/, images/ or verdicts/extract/ must say to agree with itself.

In:   the rows of a part in their order, the name of its input, its place in it.
Out:  for each row that contradicts itself, what it contradicts.
Not:  what a row was made from. Its pixels are pictures.py's, its bytes packs.py's, its record
      crawl.py's affair.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from pipeline.verify.folder import Row
from pipeline.verify.limits import FETCHED, RECORDS, Bound, why_no_record
from pipeline.words.domain import registered_domain
from schemas.document import Role
from schemas.verdict import (
    ALLOWED,
    CRAWLED,
    FETCH_REASONS,
    FORBIDDING,
    IMPORTED,
    OK,
    UNDECIDED,
    Reason,
)

_ID: Final = re.compile(r"[0-9a-f]{32}")
# of a usable file, and of no other
_OF_FILE: Final = ("sha256", "phash", "width", "height", "format", "bytes", "pack", "pack_offset")
_WHY: Final = ("value", "limit")
_OF_FETCH: Final = ("final_url", "http_status", "attempt")
# what may end a URL before anybody is asked whether it may be
_UNASKED: Final = frozenset(
    {Reason.DEFERRED, Reason.BAD_URL, Reason.FORBIDDEN_PORT, Reason.FORBIDDEN_ADDRESS}
)
_ROLES: Final = frozenset(map(str, Role))
# no count is larger than the one that it is a part of
_PARTS: Final = {
    "special_characters": "characters",
    "stop_words": "words",
    "flagged_words": "words",
    "common_words": "words",
    "spam_words": "words",
    "punctuation": "tokens",
    "words": "tokens",
    "character_ngrams": "characters",
    "character_ngrams_repeated": "character_ngrams",
    "word_ngrams": "words",
    "word_ngrams_repeated": "word_ngrams",
}


class RowsOfPart:
    """Looks at the rows of one part. A file's rows stand in the order of their records."""

    def __init__(self, part: str, *, input_: str) -> None:
        self._part = part
        self._input = input_
        self._start = int(part.partition("-")[2])
        self._offsets: dict[str, int] = {}

    def document(self, number: int, row: Row) -> Iterator[str]:
        where = f"{self._part} row {number}"
        yield from self._record("documents", row, row["offset"], where)
        if not _ID.fullmatch(row["id"]) or row["length"] <= 0:
            yield f"{where}: id {row['id']!r}, {row['length']} bytes"
        if row["domain"] != registered_domain(row["url"]):
            yield f"{where}: {row['url']} is not of {row['domain']}"
        if not 0 <= row["language_score"] <= 1:
            yield f"{where}: language score {row['language_score']}"
        nodes = row["nodes"]
        for position, node in enumerate(nodes):
            if not (_is_image(node) if node["kind"] == "image" else _is_text(node, nodes)):
                yield f"{where}: node {position} is no {node['kind']} as measured"

    def image(self, row: Row) -> Iterator[str]:
        where = f"{self._part} {row['url']}"
        yield from self._record("images", row, row["offset"], where)
        yield from image_row(row, where)
        if told := [name for name in _OF_FETCH if row[name] is not None]:
            yield f"{where}: found in the crawl, and yet {', '.join(told)}"
        if (row["decision"], row["decided"]) != (CRAWLED, row["date"]):
            yield f"{where}: {row['decision']} of {row['decided']}, found {row['date']}"
        if row["pack"] is not None and row["pack"].rpartition("-")[0] != self._part:
            yield f"{where}: in the pack {row['pack']} of another part"

    def objection(self, row: Row) -> Iterator[str]:
        where = f"{self._part} objection at {row['offset']}"
        yield from self._order("objections", row["offset"], where)
        if not (row["robots"] or row["tdm_reservation"]):
            yield f"{where}: asks for nothing"

    def refused(self, row: Row) -> Iterator[str]:
        """A row of verdicts/extract: a record that became nothing."""
        where = f"{self._part} record at {row['row']}"
        yield from self._order("verdicts", row["row"], where)
        if (row["part"], row["id"], row["node"]) != (self._part, "", None):
            yield f"{where}: of part {row['part']}, document {row['id']}, node {row['node']}"
        if why := why_no_record(row, row["reason"]):
            yield f"{where}: {why}"

    def _record(self, kind: str, row: Row, offset: int | None, where: str) -> Iterator[str]:
        if row["input"] != self._input:
            yield f"{where}: of {row['input']}, but the part is of {self._input}"
        yield from self._order(kind, offset, where)

    def _order(self, kind: str, offset: int | None, where: str) -> Iterator[str]:
        """Behind the part's start, and not before the row above it; a member may hold several."""
        least = self._offsets.get(kind, self._start)
        if offset is None or offset < least:
            yield f"{where}: at byte {offset}, where {least} or more was expected"
        else:
            self._offsets[kind] = offset


def fetched_row(row: Row, where: str) -> Iterator[str]:
    """A row of fetch: where and when it was asked for, and what forbade it if anything did."""
    yield from image_row(row, where, FETCHED)
    decision = row["decision"]
    if row["status"] in FORBIDDING:
        decided = decision == row["status"]
    elif decision == UNDECIDED:
        decided = row["status"] in _UNASKED
    elif decision == Reason.RULES_UNREACHABLE:
        decided = row["status"] in FETCH_REASONS
    else:
        decided = decision == ALLOWED or (decision == IMPORTED and row["http_status"] is None)
    if not decided or row["decided"] != row["date"]:
        yield f"{where}: {row['status']} of {row['date']}, but {row['decision']} {row['decided']}"
    if not row["final_url"] or not row["attempt"] or row["input"] is not None:
        yield f"{where}: not fetched"
    if row["status"] == OK and row["http_status"] != 200 and decision != IMPORTED:
        yield f"{where}: ok, with HTTP status {row['http_status']}"
    if row["status"] == Reason.HTTP_STATUS and row["http_status"] != row["value"]:
        yield f"{where}: HTTP status {row['http_status']}, with the value {row['value']}"


def image_row(row: Row, where: str, bounds: Mapping[str, Bound] = RECORDS) -> Iterator[str]:
    """A file is usable and has all that is known of one, or has a reason and nothing else."""
    empty = _WHY if row["status"] == OK else _OF_FILE
    full = _OF_FILE if row["status"] == OK else ()
    wrong = [name for name in empty if row[name] is not None]
    wrong += [name for name in full if row[name] is None]
    if wrong:
        yield f"{where}: {row['status']}, and yet {', '.join(wrong)}"
    elif row["status"] != OK and (why := why_no_record(row, row["status"], bounds)):
        yield f"{where}: {why}"


def _is_image(node: Row) -> bool:
    # an image without a URL is one that a page names by what is no URL: it is judged as such
    nothing = [node[name] for name in ("role", "text", "caption_of", "counts")]
    said = [node[name] for name in ("url", "others", "alt")]
    return nothing == [None] * len(nothing) and None not in said


def _is_text(node: Row, nodes: list[Row]) -> bool:
    if node["kind"] != "text" or node["role"] not in _ROLES or not node["text"]:
        return False
    if any(node[name] is not None for name in ("url", "others", "alt", "width", "height")):
        return False
    of = node["caption_of"]
    if of is not None and not (0 <= of < len(nodes) and nodes[of]["kind"] == "image"):
        return False
    return node["counts"] is not None and _adds_up(node["counts"], len(node["text"]))


def _adds_up(counts: Row, characters: int) -> bool:
    return (
        counts["characters"] == characters
        and counts["tokens"] == counts["words"] + counts["punctuation"]
        and all(0 <= counts[part] <= counts[whole] for part, whole in _PARTS.items())
    )
