"""One part of the crawl: its records become documents, image files, or Drops with a reason.

In:       a Part (a range of whole records of one input).
Out:      packs/, images/, objections/, verdicts/extract/ and, last, documents/PART.parquet: that
          file's mark says that the part is whole, and which files it has, so a restart does not
          read the part again.
Images are decoded in a process of their own (look.py) while the records behind them are read; what
records become is written in their order all the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from pipeline.extract.document import Tools
from pipeline.extract.ended import RecordPlace, add_ended, add_note
from pipeline.extract.outcome import VERDICT_ROWS, RecordOutcome, Row
from pipeline.problem import fault_of
from pipeline.read.parts import Part
from pipeline.read.records import Limits, Record, given_up, read_part
from pipeline.store import parquet
from pipeline.store.packs import PackWriter
from schemas.manifest import Ledger, PartResult
from schemas.sample import EXTENSIONS
from schemas.tables import DOCUMENTS, IMAGES, OBJECTIONS, VERDICTS
from schemas.verdict import Reason

# what a part is, the file first that is written last
KINDS: Final = {
    "documents": DOCUMENTS,
    VERDICT_ROWS: VERDICTS,
    "images": IMAGES,
    "objections": OBJECTIONS,
}
AHEAD: Final = 256  # records that wait for an image before them
AHEAD_BYTES: Final = 32 << 20


def extract_part(
    part: Part, tools: Tools, *, ended: Mapping[RecordPlace, Reason] = MappingProxyType({})
) -> PartResult:
    """Read a part, unless it is whole already; either way, what it counted.

    `ended` are the records that have ended a process before: they are left out.
    """
    job = tools.job
    whole = parquet.read_whole(
        job.part("documents", part.name),
        part=part.name,
        fingerprint=job.fingerprint,
        output=job.output,
    )
    if whole is not None:
        return whole
    try:
        return _extract(part, tools, ended, careful=False)
    except parquet.UnfitRowError:
        return _extract(part, tools, ended, careful=True)


def _extract(
    part: Part, tools: Tools, ended: Mapping[RecordPlace, Reason], *, careful: bool
) -> PartResult:
    """Read a part. Rows are written in groups, so only a careful reading, which checks each row
    alone, finds out which record's row does not fit its table."""
    tools.load()
    job = tools.job
    fingerprint, files = job.fingerprint, job.files()
    ledger = Ledger()
    with ExitStack() as open_files:  # closed in reverse: documents, which say it is whole, last
        writers = {
            kind: open_files.enter_context(
                parquet.Writer(
                    job.part(kind, part.name), schema, fingerprint=fingerprint, files=files
                )
            )
            for kind, schema in KINDS.items()
        }
        packs = open_files.enter_context(PackWriter(job.path("packs"), part.name, files=files))
        writers["documents"].counts = ledger
        sink = _Sink(part=part, ledger=ledger, writers=writers, packs=packs, tools=tools,
                     ended=ended, careful=careful)  # fmt: skip
        for record in read_part(part, limits=Limits()):
            sink.take(record)
        sink.write(ahead=0)
        ledger["packs"] = packs.count
        add_note(job, part.name, files)
    return PartResult(
        part=part.name, fingerprint=fingerprint, counts=dict(ledger), files=files.stored
    )


@dataclass(kw_only=True, slots=True)
class _Sink:
    """Where the records of one part go."""

    part: Part
    ledger: Ledger
    writers: Mapping[str, parquet.Writer]  # by folder
    packs: PackWriter
    tools: Tools
    ended: Mapping[RecordPlace, Reason]
    careful: bool  # whether each row is checked before it is added
    waiting: deque[RecordOutcome] = field(default_factory=deque)
    waiting_bytes: int = 0

    def take(self, record: Record) -> None:
        """Read a record, and write all outcomes that are complete, in order.

        Where our code raises at a record, its outcome is its drop alone.
        """
        outcome, watch = self._outcome(record), self.tools.watch
        try:
            with watch(record.offset, record.place) if watch else nullcontext():
                outcome.judge()
        except BaseException as error:  # noqa: BLE001  # a Fault, or raised again
            problem = fault_of(error)
            outcome = self._outcome(given_up(record, problem))
            outcome.give_up(problem)
        self.waiting.append(outcome)
        self.waiting_bytes += outcome.bytes
        self.write(ahead=AHEAD)

    def _outcome(self, record: Record) -> RecordOutcome:
        return RecordOutcome(
            record=record,
            ended=self.ended.get((record.offset, record.place)),
            part=self.part,
            tools=self.tools,
            check=self._check,
        )

    def _check(self, folder: str, row: Row) -> None:
        if self.careful:
            self.writers[folder].check(row)

    def write(self, *, ahead: int) -> None:
        """Write complete outcomes, in the order of the records, until at most `ahead` wait."""
        while self.waiting and (
            self.waiting[0].is_complete()
            or len(self.waiting) > ahead
            or self.waiting_bytes > AHEAD_BYTES
        ):
            outcome = self.waiting.popleft()
            self.waiting_bytes -= outcome.bytes
            problem = outcome.finish()
            if problem is not None and problem.reason is Reason.DECODER_DIED:
                place = outcome.record.offset, outcome.record.place
                add_ended(self.tools.job, self.part.name, place, Reason.DECODER_DIED)
            self._add(outcome)

    def _add(self, outcome: RecordOutcome) -> None:
        """Add an outcome to the files: what raises here is about the machine, or an unfit row."""
        if (look := outcome.file) is not None:
            (row,) = outcome.rows["images"]
            row["pack"], row["pack_offset"] = self.packs.add(
                outcome.record.body,
                sha256=look.sha256,
                extension=EXTENSIONS.get(look.format, look.format),
            )
        for folder, rows in outcome.rows.items():
            for row in rows:
                self.writers[folder].add(row, size=outcome.document_bytes)
        self.writers[VERDICT_ROWS].faults += outcome.faults
        self.ledger.update(outcome.ledger)
