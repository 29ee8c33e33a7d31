"""One part of the crawl: its records become documents, image files, or Drops with a reason.

In:       a Part (a range of whole records of one input).
Out:      packs/, images/, objections/, verdicts/extract/ and, last, documents/PART.parquet: that
          file's mark says that the part is whole, so a restart does not read the part again.
Refused:  records that are neither a page nor an image, and those that cannot be read.
Counted:  records of every type; requests, metadata, revisits and the like are only counted.
"""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from filters.signals import Lexicon
from pipeline import parquet, store
from pipeline.decode import ImageLook, look_at, sniff
from pipeline.extract.document import Identify, Origin, document_of
from pipeline.extract.page import Page, heard, read_page
from pipeline.extract.page_signals import header_signals
from pipeline.extract.urls import normal_url
from pipeline.job import Job
from pipeline.language import Identifier, find_model
from pipeline.lexicon import load_lexicon
from pipeline.packs import PackWriter, pack_name
from pipeline.problem import Fault, Problem, fault_of
from pipeline.read.parts import Part
from pipeline.read.records import Limits, Record, given_up, read_part
from schemas.document import PageSignals, TextNode
from schemas.manifest import Ledger, PartResult
from schemas.rows import document_to_row
from schemas.sample import EXTENSIONS
from schemas.tables import DOCUMENTS, IMAGES, OBJECTIONS, VERDICTS
from schemas.verdict import CRAWLED, Reason

# what a part is, the file first that is written last
KINDS: Final = {
    "documents": DOCUMENTS,
    "verdicts/extract": VERDICTS,
    "images": IMAGES,
    "objections": OBJECTIONS,
}
HTML: Final = frozenset({"text/html", "application/xhtml+xml"})
# records that say something about a response and carry no page or image of their own
ASIDE_TYPES: Final = frozenset(
    {"warcinfo", "request", "metadata", "revisit", "conversion", "continuation"}
)


def is_page(media_type: str, body: bytes) -> bool:
    """By what it is called, or where it is called nothing, by its first character."""
    if sniff(body) is not None:
        return False
    return media_type in HTML or (media_type == "" and body[:1024].lstrip()[:1] == b"<")


@dataclass(kw_only=True)
class Tools:
    """What a worker loads once: word lists, the language model."""

    job: Job
    seconds: dict[str, float] = field(  # spent, for *.host.json alone
        default_factory=lambda: defaultdict(float)
    )

    @cached_property
    def lexicon(self) -> Lexicon:
        settings = self.job.settings
        return load_lexicon(settings.language, **settings.word_files)

    @cached_property
    def identify(self) -> Identify:
        return Identifier(find_model(self.job.settings.lid_model or None)).identify


def extract_part(part: Part, tools: Tools) -> PartResult:
    """Read a part, unless it is whole already; either way, what it counted."""
    if (kept := _whole(part, tools.job)) is not None:
        return kept
    try:
        return _extract(part, tools, careful=False)
    except parquet.UnfitRowError:
        return _extract(part, tools, careful=True)


def _extract(part: Part, tools: Tools, *, careful: bool) -> PartResult:
    """Read a part. Its rows are written in groups, so whose row does not fit tells only a careful
    reading, which tries each row alone."""
    job = tools.job
    fingerprint = job.fingerprints["extract"]
    ledger = Ledger()
    with ExitStack() as files:  # closed in reverse: the documents, which say it is whole, last
        documents, verdicts, images, objections = (
            files.enter_context(
                parquet.Writer(job.part(kind, part.name), schema, fingerprint=fingerprint)
            )
            for kind, schema in KINDS.items()
        )
        packs = files.enter_context(PackWriter(job.path("packs"), part.name))
        documents.counts = ledger
        sink = _Sink(part=part, ledger=ledger, documents=documents, verdicts=verdicts,
                     images=images, objections=objections, packs=packs, tools=tools,
                     careful=careful)  # fmt: skip
        for record in read_part(part, limits=Limits()):
            sink.take(record)
        ledger["packs"] = packs.count
    return PartResult(part=part.name, fingerprint=fingerprint, counts=dict(ledger))


def _whole(part: Part, job: Job) -> PartResult | None:
    """What a part counted that needs nothing done: its last file is there, and those before it."""
    kept: PartResult | None = None
    for kind in KINDS:  # of a part that was never begun the first tells it
        mark = parquet.read_mark(job.part(kind, part.name), part=part.name)
        if mark is None or mark.fingerprint != job.fingerprints["extract"]:
            return None
        kept = kept or mark
    assert kept is not None, "a part has files"
    packs = (pack_name(part.name, number) for number in range(kept.counts.get("packs", 0)))
    return kept if all(store.exists(job.path("packs", one)) for one in packs) else None


@dataclass(kw_only=True, slots=True)
class _Sink:
    """Where the records of one part go."""

    part: Part
    ledger: Ledger
    documents: parquet.Writer
    verdicts: parquet.Writer
    images: parquet.Writer
    objections: parquet.Writer
    packs: PackWriter
    tools: Tools
    careful: bool = False  # whether each row is tried before it is added

    def take(self, record: Record) -> None:
        """Add all that a record becomes, or where our code raises at it, its drop alone."""
        outcome = self._outcome()
        try:
            outcome.judge(record)
        except BaseException as error:  # noqa: BLE001  # told, or raised again
            problem = fault_of(error)
            outcome = self._outcome()
            outcome.give_up(given_up(record, problem), problem)
        self._add(record, outcome)

    def _outcome(self) -> _Outcome:
        return _Outcome(
            part=self.part,
            documents=_Rows(self.documents, self.careful),
            verdicts=_Rows(self.verdicts, self.careful),
            images=_Rows(self.images, self.careful),
            objections=_Rows(self.objections, self.careful),
            tools=self.tools,
        )

    def _add(self, record: Record, outcome: _Outcome) -> None:
        """From here on what raises is about the machine, or a row that does not fit."""
        if (look := outcome.file) is not None:
            (row,) = outcome.images.rows
            row["pack"], row["pack_offset"] = self.packs.add(
                record.body,
                sha256=look.sha256,
                extension=EXTENSIONS.get(look.format, look.format),
            )
        for rows in (outcome.documents, outcome.verdicts, outcome.images, outcome.objections):
            for row in rows.rows:
                rows.writer.add(row)
        self.verdicts.faults += outcome.faults
        self.ledger.update(outcome.ledger)


@dataclass(slots=True)
class _Rows:
    """Rows of one table that a record becomes."""

    writer: parquet.Writer
    careful: bool
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, row: dict[str, Any]) -> None:
        if self.careful:
            self.writer.check(row)
        self.rows.append(row)


@dataclass(kw_only=True, slots=True)
class _Outcome:
    """What one record becomes. Nothing of it is in the part's files or sums before it is whole."""

    part: Part
    documents: _Rows
    verdicts: _Rows
    images: _Rows
    objections: _Rows
    tools: Tools
    ledger: Ledger = field(default_factory=Ledger)
    file: ImageLook | None = None  # the record's body is a picture for a pack
    faults: list[str] = field(default_factory=list)

    def judge(self, record: Record) -> None:
        self.ledger[f"records.type.{record.type}"] += 1
        if record.type in ASIDE_TYPES:
            self._hear(record)
            return
        self.ledger.see("records")
        unread = isinstance(record.problem, Fault)  # by the reader
        refusal = record.problem if unread else self._route(record)
        if refusal is None:
            self.ledger.keep("records")
        else:
            self._hear(record)
            self._refuse(record, refusal)

    def give_up(self, record: Record, problem: Problem) -> None:
        """The drop of a record at which our code raised, and what it asks for, if that is heard."""
        try:
            self._hear(record)
        except BaseException as error:  # noqa: BLE001  # told, or raised again
            fault_of(error)
        self.ledger[f"records.type.{record.type}"] += 1
        self.ledger.see("records")
        self._refuse(record, problem)

    def _route(self, record: Record) -> Problem | None:
        """Make a document or an image file of a record, or say why it becomes neither."""
        if record.status not in {None, 200}:
            return Problem(reason=Reason.HTTP_STATUS, value=record.status, limit=200)
        if record.media_type.startswith("image/") or sniff(record.body) is not None:
            self._add_image(record)
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
        self._add_document(record, page)
        return None

    def _hear(self, record: Record) -> PageSignals:
        """An answer that becomes no document may still ask something, of older captures too: by
        its headers, and where it is a page, by its head."""
        asked = header_signals(record.headers)
        if record.type not in ASIDE_TYPES and is_page(record.media_type, record.body):
            asked = heard(record.body, url=record.url, headers=record.headers)
        if not record.url or not (asked.robots or asked.tdm_reservation):
            return asked
        self.objections.add(
            {
                "url": record.url,
                "date": record.date,
                "offset": record.offset,
                "robots": list(asked.robots),
                "tdm_reservation": asked.tdm_reservation,
            }
        )
        self.ledger["objections"] += 1
        return asked

    def _refuse(self, record: Record, refusal: Problem) -> None:
        self.faults += [refusal.raised] if isinstance(refusal, Fault) else []
        self.ledger.drop("records", refusal.reason)
        self.verdicts.add(
            {
                "part": self.part.name,
                "row": record.offset,
                "id": "",
                "url": record.url or None,
                "node": None,
                "reason": str(refusal.reason),
                "value": refusal.value,
                "limit": refusal.limit,
            }
        )

    def _add_image(self, record: Record) -> None:
        look, asked = record.problem or look_at(record.body), self._hear(record)
        row = dict.fromkeys(IMAGES.names) | {
            # in the form in which pages name their images, or the two would not meet
            "url": normal_url(record.url),
            "date": record.date,
            "input": self.part.input,
            "offset": record.offset,
            "robots": list(asked.robots),
            "tdm_reservation": asked.tdm_reservation,
            "decision": CRAWLED,
            "decided": record.date,
        }
        self.ledger.see("files")
        if isinstance(look, ImageLook):
            self.file = look
            row |= look.columns(size=len(record.body))  # where it lies is known when it does
            self.ledger.keep("files")
            self.ledger["bytes.files"] += len(record.body)
        else:
            row |= {"status": str(look.reason), "value": look.value, "limit": look.limit}
            self.ledger.drop("files", look.reason)
        self.images.add(row)

    def _add_document(self, record: Record, page: Page) -> None:
        tools, ledger = self.tools, self.ledger
        origin = Origin(
            url=record.url,
            date=record.date,
            input=self.part.input,
            offset=record.offset,
            length=record.length,
            payload_sha256=record.payload_sha256,
        )
        ledger.see("documents")
        for node in page.nodes:
            ledger.see("texts" if isinstance(node, TextNode) else "images")
        document = document_of(page, origin, lexicon=tools.lexicon, identify=tools.identify)
        self.documents.add(document_to_row(document))
        ledger.keep("documents")
        ledger.keep("texts", document.texts)
        ledger.keep("images", document.images)
        ledger["pages.second_opinion"] += page.second_opinion
        for edit, count in page.edits.items():
            ledger[f"edits.{edit}"] += count
