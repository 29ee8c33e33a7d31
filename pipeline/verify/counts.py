"""Counts: the rows of every part, grouped in Arrow, against what its stage wrote down of it.

In:   documents/, images/, objections/, verdicts/STAGE/, wanted/, kept/, tables/.
Out:  a check for each count that rows can tell. Seen, dropped and kept are counted
      independently: rows that the stage had to read, verdicts, and what is there after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.account.manifest import HANDED
from pipeline.job import Job
from pipeline.stage import Stage
from pipeline.stages import EXTRACT, FETCH, FILTER_IMAGES, FILTER_TEXT, SHARD
from pipeline.store import parquet
from pipeline.verify.at_rest import RunAtRest, StageAtRest
from pipeline.verify.checks import Check, Tally, compare, not_counted
from schemas.manifest import Ledger
from schemas.verdict import OK, Reason

Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]
_NODES: Final = ("documents.", "texts.", "images.")
# what filter_text kept is what filter_images has seen: `check_handed`
_UNTIL_KEPT: Final = tuple(f"{kind}{side}" for kind in _NODES for side in ("seen", "dropped."))


@dataclass(frozen=True, kw_only=True, slots=True)
class Nodes:
    """The nodes of a part, those of one document behind those of the one before."""

    is_image: Mask
    starts: Rows  # first node of each document, then the number of nodes

    @property
    def documents(self) -> int:
        return len(self.starts) - 1

    @property
    def document_of(self) -> Rows:
        return np.repeat(np.arange(self.documents), np.diff(self.starts))

    def see(self, ledger: Ledger, nodes: Mask) -> None:
        ledger.see("texts", int(np.sum(nodes & ~self.is_image)))
        ledger.see("images", int(np.sum(nodes & self.is_image)))


def read_nodes(job: Job, part: str) -> Nodes:
    table = parquet.read_table(job.part("documents", part), ["nodes.list.element.kind"])
    column = table["nodes"].combine_chunks()
    kinds = column.flatten().field("kind")
    lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False)
    return Nodes(
        is_image=pc.equal(kinds, "image").to_numpy(zero_copy_only=False).astype(bool),
        starts=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class StageDrops:
    """The verdicts of a deciding stage about a part, and what they left of what it saw."""

    ledger: Ledger  # documents, texts and images dropped, by reason
    documents: Mask  # that are left
    nodes: Mask  # that are left


def read_dropped(job: Job, stage: Stage, part: str, nodes: Nodes, seen: Mask) -> StageDrops:
    """`seen` are the nodes that the stage had to decide about.

    Raises:
        DamagedFileError: for a verdict about what is not there.
    """
    path = job.part(f"verdicts/{stage.name}", part)
    table = parquet.read_table(path, ["row", "node", "reason"])
    row = table["row"].to_numpy()
    node = pc.fill_null(table["node"], -1).to_numpy()
    reason = table["reason"].combine_chunks()
    if len(row) and not 0 <= row.min() <= row.max() < nodes.documents:
        raise parquet.DamagedFileError(path, f"it names row {row.max()} of {nodes.documents}")
    if np.any(node >= np.diff(nodes.starts)[row]):
        raise parquet.DamagedFileError(path, "it names a node that its document lacks")
    ledger, whole = Ledger(), node < 0
    _drop(ledger, "documents", reason, whole)
    left = np.ones(nodes.documents, bool)
    left[row[whole]] = False
    at = nodes.starts[row[~whole]] + node[~whole]
    on_image = np.zeros(len(row), bool)
    on_image[~whole] = nodes.is_image[at]
    _drop(ledger, "images", reason, on_image)
    _drop(ledger, "texts", reason, ~whole & ~on_image)
    of_left = left[nodes.document_of]
    went = seen & ~of_left
    ledger.drop("images", Reason.PARENT, int(np.sum(went & nodes.is_image)))
    ledger.drop("texts", Reason.PARENT, int(np.sum(went & ~nodes.is_image)))
    remains = seen & of_left
    remains[at] = False
    return StageDrops(ledger=ledger, documents=left, nodes=remains)


def _drop(ledger: Ledger, kind: str, reasons: pa.Array, chosen: Mask) -> None:
    for count in reasons.filter(pa.array(chosen)).value_counts().to_pylist():
        ledger.drop(kind, count["values"], count["counts"])


def kept_of(job: Job, part: str) -> Ledger:
    table = parquet.read_table(
        job.part("kept", part), ["bytes", "texts", "images.list.element.node"]
    )
    ledger = Ledger()
    ledger.keep("documents", table.num_rows)
    for kind in ("texts", "images"):
        ledger.keep(kind, pc.sum(pc.list_value_length(table[kind])).as_py() or 0)
    ledger["bytes.kept"] += pc.sum(table["bytes"]).as_py() or 0
    return ledger


def check_handed(run: RunAtRest, at_rest: StageAtRest) -> Iterator[Check]:
    """What a stage has seen is what the one before it kept."""
    if before := at_rest.stage.sees:
        kept, seen = run.stages[before].sums(), at_rest.sums()
        for kind in HANDED:
            name = f"{kind} of {before}"
            yield compare(at_rest.name, name, seen[f"{kind}.seen"], kept[f"{kind}.kept"])


def count_extract(run: RunAtRest, at_rest: StageAtRest) -> Iterator[tuple[str, Ledger]]:
    for part in at_rest.named_parts:
        ledger, nodes = Ledger(), read_nodes(run.job, part)
        images = parquet.read_table(run.job.part("images", part), ["status", "bytes"])
        refused = parquet.read_table(run.job.part(f"verdicts/{at_rest.name}", part), ["reason"])
        ledger.see("records", nodes.documents + images.num_rows + refused.num_rows)
        ledger.keep("records", nodes.documents + images.num_rows)
        _drop(ledger, "records", refused["reason"].combine_chunks(), np.ones(len(refused), bool))
        _count_files(ledger, "files", images)
        ledger.see("documents", nodes.documents)
        nodes.see(ledger, np.ones(len(nodes.is_image), bool))
        for kind in HANDED:  # nothing is dropped: edits are counted apart
            ledger.keep(kind, ledger[f"{kind}.seen"])
        ledger["objections"] = parquet.row_count(run.job.part("objections", part))
        ledger["packs"] = sum(file.path.startswith("packs/") for file in at_rest.parts[part].files)
        yield part, ledger


def _count_files(ledger: Ledger, kind: str, images: pa.Table) -> None:
    """Rows of images/: usable files, and others by the reason why they are not."""
    ledger.see(kind, images.num_rows)
    usable = pc.equal(images["status"], OK)
    ledger.keep(kind, pc.sum(usable).as_py() or 0)
    ledger[f"bytes.{kind}"] += pc.sum(images.filter(usable)["bytes"]).as_py() or 0
    broken = pc.invert(usable).combine_chunks().to_numpy(zero_copy_only=False)
    _drop(ledger, kind, images["status"].combine_chunks(), broken)


def count_filter_text(run: RunAtRest, at_rest: StageAtRest) -> Iterator[tuple[str, Ledger]]:
    for part in at_rest.named_parts:
        nodes = read_nodes(run.job, part)
        every = np.ones(len(nodes.is_image), bool)
        dropped = read_dropped(run.job, FILTER_TEXT, part, nodes, every)
        ledger = Ledger(dropped.ledger)
        ledger.see("documents", nodes.documents)
        nodes.see(ledger, every)
        yield part, ledger
    urls = sum(parquet.row_count(run.job.path(file.path)) for file in at_rest.parts[""].files)
    yield "", Ledger({"urls.wanted": urls})


def count_fetch(run: RunAtRest, at_rest: StageAtRest) -> Iterator[tuple[str, Ledger]]:
    for part in at_rest.named_parts:
        partition = part.split("-")[1]
        wanted = parquet.read_table(run.job.part("wanted", partition), ["url"])
        rows = parquet.read_table(run.job.part("images", part), ["url", "status", "bytes"])
        rows = rows.filter(pc.is_in(rows["url"], wanted["url"].combine_chunks()))
        ledger = Ledger()
        _count_files(ledger, "wanted", rows)
        ledger["wanted.seen"] = wanted.num_rows
        without_row = pc.invert(pc.is_in(wanted["url"], rows["url"].combine_chunks()))
        ledger.drop("wanted", Reason.NOT_FETCHED, pc.sum(without_row).as_py() or 0)
        yield part, ledger


def count_filter_images(run: RunAtRest, at_rest: StageAtRest) -> Iterator[tuple[str, Ledger]]:
    for part in at_rest.named_parts:
        nodes = read_nodes(run.job, part)
        every = np.ones(len(nodes.is_image), bool)
        left = read_dropped(run.job, FILTER_TEXT, part, nodes, every)
        dropped = read_dropped(run.job, FILTER_IMAGES, part, nodes, left.nodes)
        ledger = Ledger(dropped.ledger + kept_of(run.job, part))
        ledger.see("documents", int(np.sum(left.documents)))
        nodes.see(ledger, left.nodes)
        yield part, ledger


def count_tables(run: RunAtRest, at_rest: StageAtRest) -> Iterator[tuple[str, Ledger]]:
    """Of shard the rows of its tables; its samples are counted in their tars (links.py)."""
    ledger = Ledger()
    for file in at_rest.parts[""].files:
        if file.path.startswith("tables/"):
            name = file.path.split("/")[1]
            ledger[f"rows.{name}"] += parquet.row_count(run.job.path(file.path))
    yield "", ledger


# counted by crawl.py, by links.py, and made again by replay.py
ELSEWHERE: Final = (
    "records.type.", "samples.", "shards", "words.kept", "bytes.kept", "comparisons", *_NODES,
)  # fmt: skip
Counter = Callable[[RunAtRest, StageAtRest], Iterator[tuple[str, Ledger]]]
COUNTED: Final[Mapping[Stage, tuple[Counter, tuple[str, ...]]]] = {
    EXTRACT: (
        count_extract,
        (*_NODES, "files.", "bytes.", "records.seen", "records.kept", "records.dropped.",
         "objections", "packs"),
    ),
    FILTER_TEXT: (count_filter_text, (*_UNTIL_KEPT, "urls.")),
    FETCH: (count_fetch, ("wanted.", "bytes.")),
    FILTER_IMAGES: (count_filter_images, (*_NODES, "bytes.")),
    SHARD: (count_tables, ("rows.",)),
}  # fmt: skip


def check_counts(run: RunAtRest, at_rest: StageAtRest) -> Iterator[Check]:
    """Raises DamagedFileError for rows that name what is not there."""
    if at_rest.stage not in COUNTED:
        yield not_counted(
            at_rest.name,
            "counts",
            "no row counter is registered for this stage (COUNTED in verify/counts.py)",
        )
        return
    counter, names = COUNTED[at_rest.stage]
    tally = Tally(at_rest.name, names)
    for part, ledger in counter(run, at_rest):
        tally.add(part, ledger, at_rest.counts(part))
    yield from tally.checks()
    others = {name for name in at_rest.sums() if not name.startswith((*names, *ELSEWHERE))}
    if left := sorted({name.partition(".")[0] for name in others}):
        yield not_counted(
            at_rest.name, ", ".join(left), "there are no stored rows to count them from"
        )
