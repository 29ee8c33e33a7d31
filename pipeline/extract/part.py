"""One part of the crawl: its records become documents, image files, or Drops with a reason.

In:       a Part (a range of whole records of one input).
Out:      packs/, images/, objections/, verdicts/extract/ and, last, documents/PART.parquet: that
          file's mark says that the part is whole, so a restart does not read the part again.
Refused:  records that are neither a page nor an image, and those that cannot be read.
Counted:  records of every type; requests, metadata, revisits and the like are only counted.
Images are decoded in a process of their own (look.py) while pages are read here; their rows are
written in the order of the records all the same.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Final, Protocol

from filters.signals import Lexicon
from pipeline import parquet, store
from pipeline.decode import ImageLook, sniff
from pipeline.extract.document import Identify, Origin, document_of
from pipeline.extract.ended import Place, add_ended
from pipeline.extract.page import Page, heard, read_page
from pipeline.extract.page_signals import header_signals
from pipeline.extract.urls import normal_url
from pipeline.job import Job
from pipeline.language import Identifier, find_model
from pipeline.lexicon import load_lexicon
from pipeline.look import AheadLookers, Looked, Reencoded
from pipeline.packs import PackWriter, pack_name
from pipeline.problem import Problem
from pipeline.read.parts import Part
from pipeline.read.records import Limits, Record, read_part
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


AHEAD: Final = 256  # images that are being decoded, or wait for one before them
AHEAD_BYTES: Final = 32 << 20


class Watcher(Protocol):
    """Is told which record's page is being read (reader.py)."""

    def over(self, offset: int, place: int) -> AbstractContextManager[None]: ...


@dataclass(kw_only=True)
class Tools:
    """What a worker loads once: word lists, the language model, a decoding process."""

    job: Job
    watch: Watcher | None = None
    seconds: dict[str, float] = field(  # spent, for *.host.json alone
        default_factory=lambda: defaultdict(float)
    )

    @cached_property
    def decoder(self) -> AheadLookers:
        return AheadLookers()

    @cached_property
    def lexicon(self) -> Lexicon:
        settings = self.job.settings
        return load_lexicon(settings.language, **settings.word_files)

    @cached_property
    def identify(self) -> Identify:
        return Identifier(find_model(self.job.settings.lid_model or None)).identify


def extract_part(
    part: Part, tools: Tools, *, ended: Mapping[Place, Reason] = MappingProxyType({})
) -> PartResult:
    """Read a part, unless it is whole already; either way, what it counted.

    `ended` are the records that have ended a process before: they are dropped unread.
    """
    job = tools.job
    fingerprint = job.fingerprints["extract"]
    if (kept := _whole(part, job)) is not None:
        return kept
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
                     ended=ended)  # fmt: skip
        for record in read_part(part, limits=Limits()):
            sink.take(record)
            sink.write_images(ahead=AHEAD)
        sink.write_images(ahead=0)
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


@dataclass(frozen=True, kw_only=True, slots=True)
class _Image:
    """An image's record, what its answer asks for, and what is seen of it, now or soon."""

    record: Record
    asked: PageSignals
    look: Problem | Future[Looked]

    def is_seen(self) -> bool:
        return isinstance(self.look, Problem) or self.look.done()

    def seen(self) -> ImageLook | Problem:
        """Waits for the decoder."""
        look = self.look if isinstance(self.look, Problem) else self.look.result()
        assert not isinstance(look, Reencoded), "images of the crawl stay as they came"
        return look


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
    ended: Mapping[Place, Reason]
    waiting: deque[_Image] = field(default_factory=deque)
    waiting_bytes: int = 0

    def take(self, record: Record) -> None:
        self.ledger[f"records.type.{record.type}"] += 1
        if record.type in ASIDE_TYPES:
            self._hear(record)
            return
        self.ledger.see("records")
        watch = self.tools.watch
        with watch.over(record.offset, record.place) if watch else nullcontext():
            refusal = self._dead(record) or self._route(record)
            if refusal is None:
                self.ledger.keep("records")
            else:
                self._refuse(record, refusal)

    def _dead(self, record: Record) -> Problem | None:
        """A record that ended a reader before is not read again."""
        if self._why_ended(record) is not Reason.READER_DIED:
            return None
        return Problem(reason=Reason.READER_DIED)

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
        is_read = record.type not in ASIDE_TYPES and self._dead(record) is None
        if is_read and is_page(record.media_type, record.body):
            asked = heard(record.body, url=record.url, headers=record.headers)
        if not record.url or not (asked.robots or asked.tdm_reservation):
            return asked
        self.ledger["objections"] += 1
        self.objections.add(
            {
                "url": record.url,
                "date": record.date,
                "offset": record.offset,
                "robots": list(asked.robots),
                "tdm_reservation": asked.tdm_reservation,
            }
        )
        return asked

    def _refuse(self, record: Record, refusal: Problem) -> None:
        self._hear(record)
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

    def _why_ended(self, record: Record) -> Reason | None:
        return self.ended.get((record.offset, record.place))

    def _add_image(self, record: Record) -> None:
        """Its row waits for what the decoder sees; what the answer asks for is heard at once."""
        image = _Image(record=record, asked=self._hear(record), look=self._look_at(record))
        self.waiting.append(image)
        self.waiting_bytes += len(record.body)

    def _look_at(self, record: Record) -> Problem | Future[Looked]:
        if record.problem is not None:
            return record.problem
        if (reason := self._why_ended(record)) is not None:
            return Problem(reason=reason)
        return self.tools.decoder.look(record.body)

    def write_images(self, *, ahead: int) -> None:
        """Write the rows whose images are decoded, in order, until at most `ahead` wait."""
        while self.waiting and (
            len(self.waiting) > ahead
            or self.waiting_bytes > AHEAD_BYTES
            or self.waiting[0].is_seen()
        ):
            image = self.waiting.popleft()
            self.waiting_bytes -= len(image.record.body)
            self._write_image(image)

    def _write_image(self, image: _Image) -> None:
        record, asked, look = image.record, image.asked, image.seen()
        if isinstance(look, Problem) and look.reason is Reason.DECODER_DIED:
            add_ended(self.tools.job, self.part.name, (record.offset, record.place), look.reason)
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
            pack, offset = self.packs.add(
                record.body,
                sha256=look.sha256,
                extension=EXTENSIONS.get(look.format, look.format),
            )
            row |= look.columns(size=len(record.body)) | {"pack": pack, "pack_offset": offset}
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
