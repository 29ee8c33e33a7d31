"""Outcome: what one record becomes, held apart from the part's files and sums until it is complete.

In:       a record, and why it ended a process before, if it did.
Out:      rows of documents, images, objections or verdicts, and their counts.
Refused:  records that are neither a page nor an image, and those that cannot be read.
Counted:  records of every type; requests, metadata, revisits and the like are only counted.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final

from pipeline.extract.document import Tools, document_of
from pipeline.extract.page import Page, RefusedPage, head_signals, read_page
from pipeline.media.decode import ImageLook, sniff
from pipeline.media.look import Looked, Reencoded
from pipeline.problem import Fault, Problem, fault_of
from pipeline.read.parts import Part
from pipeline.read.records import Record
from pipeline.words.consent import header_signals
from pipeline.words.urls import normal_url
from schemas.document import PageSignals, TextNode, document_to_row
from schemas.manifest import Ledger, StageName
from schemas.tables import IMAGES
from schemas.verdict import CRAWLED, Reason

HTML: Final = frozenset({"text/html", "application/xhtml+xml"})
# records that say something about a response and carry no page or image of their own
ASIDE_TYPES: Final = frozenset(
    {"warcinfo", "request", "metadata", "revisit", "conversion", "continuation"}
)
VERDICT_ROWS: Final = f"verdicts/{StageName.EXTRACT}"  # the folder
NODE_BYTES: Final = 800  # memory that a node of a row takes, beside its text


def is_page(media_type: str, body: bytes) -> bool:
    """Whether a body is a page: by its media type, or without one by its first character."""
    if sniff(body) is not None:
        return False
    return media_type in HTML or (media_type == "" and body[:1024].lstrip()[:1] == b"<")


Row = dict[str, Any]


@dataclass(kw_only=True, slots=True)
class RecordOutcome:
    """What one record becomes. An image's row is complete when it is decoded (`finish`)."""

    record: Record
    ended: Reason | None  # why it ended the process that read it, or its image's decoder
    part: Part
    tools: Tools
    check: Callable[[str, Row], object]  # whether a row fits the table of a folder; raises
    # by folder
    rows: defaultdict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    ledger: Ledger = field(default_factory=Ledger)
    look: Future[Looked] | None = None  # of an image that is being decoded
    file: ImageLook | None = None  # the record's body is a picture for a pack
    faults: list[str] = field(default_factory=list)
    document_bytes: int = 0  # memory that its row takes

    @property
    def bytes(self) -> int:
        """Memory that it holds until it is written."""
        return len(self.record.body) + self.document_bytes

    def _add(self, folder: str, row: Row) -> None:
        self.check(folder, row)
        self.rows[folder].append(row)

    def judge(self) -> None:
        """Read the record; an image is only given to its decoder."""
        self._count_record()
        if self.record.type in ASIDE_TYPES:
            self._object(self._signals())
            return
        self.ledger.see("records")
        refusal = self._unread() or self._route()
        if refusal is None:
            self.ledger.keep("records")
            return
        self._object(refusal.signals if isinstance(refusal, RefusedPage) else self._signals())
        self._refuse(refusal)

    def give_up(self, problem: Problem) -> None:
        """The drop of a record at which our code raised, and what it asks for, if that is read."""
        try:
            self._object(self._signals())
        except BaseException as error:  # noqa: BLE001  # the record is dropped, or raised again
            fault_of(error)
        self._count_record()
        self.ledger.see("records")
        self._refuse(problem)

    def _count_record(self) -> None:
        self.ledger[f"records.type.{self.record.type}"] += 1
        if self.record.resumed:
            self.ledger["members.resumed"] += 1

    def _unread(self) -> Problem | None:
        """Why the record is not read: the reader's code raised at it, or it ended a process."""
        if isinstance(self.record.problem, Fault):
            return self.record.problem
        return Problem(reason=Reason.READER_DIED) if self._is_deadly() else None

    def _is_deadly(self) -> bool:
        return self.ended is Reason.READER_DIED

    def _route(self) -> Problem | None:
        """Make a document or an image file of the record, or say why it becomes neither."""
        record = self.record
        if record.status not in {None, 200}:
            return Problem(reason=Reason.HTTP_STATUS, value=record.status, limit=200)
        if record.media_type.startswith("image/") or sniff(record.body) is not None:
            self._add_image()
            return None
        if record.problem is not None:
            return record.problem
        if not is_page(record.media_type, record.body):
            return Problem(reason=Reason.OTHER_MEDIA)
        self.ledger["pages.read"] += 1
        started = time.perf_counter()
        page = read_page(record.body, url=record.url, headers=record.headers)
        spent = time.perf_counter() - started
        self.tools.seconds["reading_pages"] += spent
        if isinstance(page, Problem):
            return page
        if page.second_opinion:
            self.tools.seconds["reading_pages_with_second_opinion"] += spent
        self._add_document(page)
        return None

    def _signals(self) -> PageSignals:
        """What a record asks for that becomes no document: by its headers, and where it is a page
        that was not parsed, by its head."""
        record = self.record
        readable = record.type not in ASIDE_TYPES and not self._is_deadly()
        if readable and is_page(record.media_type, record.body):
            return head_signals(record.body, url=record.url, headers=record.headers)
        return header_signals(record.headers)

    def _object(self, asked: PageSignals) -> None:
        """Keep what a record asks that becomes no document: it binds older captures, too."""
        record = self.record
        if not record.url or not (asked.robots or asked.tdm_reservation):
            return
        row = {
            "url": record.url,
            "date": record.date,
            "offset": record.offset,
            "robots": list(asked.robots),
            "tdm_reservation": asked.tdm_reservation,
        }
        self._add("objections", row)
        self.ledger["objections"] += 1

    def _refuse(self, refusal: Problem) -> None:
        if isinstance(refusal, Fault):
            self.faults.append(refusal.raised)
        self.ledger.drop("records", refusal.reason)
        row = {
            "part": self.part.name,
            "row": self.record.offset,
            "id": "",
            "url": self.record.url or None,
            "node": None,
            "reason": str(refusal.reason),
            "value": refusal.value,
            "limit": refusal.limit,
        }
        self._add(VERDICT_ROWS, row)

    def _add_image(self) -> None:
        record, signals = self.record, self._signals()
        self._object(signals)
        self.ledger.see("files")
        row = dict.fromkeys(IMAGES.names) | {
            # in the form in which pages name their images, or the two would not meet
            "url": normal_url(record.url),
            "date": record.date,
            "status": "",  # until it has been looked at
            "input": self.part.input,
            "offset": record.offset,
            "robots": list(signals.robots),
            "tdm_reservation": signals.tdm_reservation,
            "decision": CRAWLED,
            "decided": record.date,
        }
        self._add("images", row)
        if record.problem is not None:
            self._see(record.problem)
        elif self.ended is not None:
            self._see(Problem(reason=self.ended))
        else:
            self.look = self.tools.decoder.look(record.body)

    def is_complete(self) -> bool:
        """Whether no image is still being decoded."""
        return self.look is None or self.look.done()

    def finish(self) -> Problem | None:
        """Wait for the decoder, where the record is an image; the problem that it met, if any."""
        if self.look is None:
            return None
        look = self.look.result()
        assert not isinstance(look, Reencoded), "images of the crawl stay as they came"
        self._see(look)
        return look if isinstance(look, Problem) else None

    def _see(self, look: ImageLook | Problem) -> None:
        (row,) = self.rows["images"]
        if isinstance(look, ImageLook):
            self.file = look
            row |= look.columns(size=len(self.record.body))  # its pack is known once it is written
            self.ledger.keep("files")
            self.ledger["bytes.files"] += len(self.record.body)
        else:
            row |= {"status": str(look.reason), "value": look.value, "limit": look.limit}
            self.ledger.drop("files", look.reason)

    def _add_document(self, page: Page) -> None:
        record, tools, ledger = self.record, self.tools, self.ledger
        ledger.see("documents")
        for node in page.nodes:
            ledger.see("texts" if isinstance(node, TextNode) else "images")
        document = document_of(page, record, source=self.part.input, lexicon=tools.lexicon,
                               identify=tools.identify)  # fmt: skip
        self._add("documents", document_to_row(document))
        self.document_bytes = sum(
            NODE_BYTES + (len(node.text) if isinstance(node, TextNode) else 0)
            for node in document.nodes
        )
        ledger.keep("documents")
        ledger.keep("texts", document.texts)
        ledger.keep("images", document.images)
        ledger["pages.second_opinion"] += int(page.second_opinion)
        for edit, count in page.edits.items():
            ledger[f"edits.{edit}"] += count
