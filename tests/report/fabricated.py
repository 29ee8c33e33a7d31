"""A small run made by hand: two parts, every outcome, real tars; the report is made from it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image

from filters.recipe import OBELICS
from pipeline.account.facts import verdict_row
from pipeline.account.manifest import write_manifest
from pipeline.job import Crawl, Job, Settings
from pipeline.shard.plan import cut_group, group_parts, name_shards, weigh
from pipeline.shard.report.page import write_report
from pipeline.shard.report.part_tables import write_tables
from pipeline.shard.write import write_shard
from pipeline.stages import SHARD, make_job, versions_here
from pipeline.store import parquet
from pipeline.store.packs import PackWriter
from schemas.document import Document, ImageNode, Node, Role, TextNode, document_id, document_to_row
from schemas.manifest import Ledger, PartResult
from schemas.tables import DOCUMENTS, IMAGES, KEPT, OBJECTIONS, VERDICTS
from schemas.verdict import OK, Drop, Reason
from tests.pipeline.runs import STAGE

PARTS = ("000000-00000000000000", "000001-00000000000000")
Pages = dict[str, list["FabricatedPage"]]


def picture(number: int, *, image_format: str, size: tuple[int, int] = (300, 200)) -> bytes:
    """An image that is no other number's."""
    image = Image.new("RGB", size, (number * 37 % 256, number * 91 % 256, number * 53 % 256))
    image.paste((255, 255, 255), (number % 50, 10, number % 50 + 60, 70))
    out = io.BytesIO()
    image.save(out, image_format)
    return out.getvalue()


@dataclass(kw_only=True)
class FabricatedPage:
    """A page and what becomes of it: dropped whole, or some of its nodes."""

    nodes: tuple[Node, ...]
    title: str = "A page"
    domain: str = "example.org"
    refusal: tuple[str, Reason] | None = None  # stage, reason
    refused: dict[int, tuple[str, Reason]] = field(default_factory=dict)


@dataclass(kw_only=True)
class Fabricator:
    """Writes what the four stages before shard would have left, and their manifests."""

    job: Job
    pages: dict[str, list[FabricatedPage]]
    bytes_of: dict[str, tuple[bytes, str]]  # URL -> bytes, format; an image that is in the crawl
    ledgers: dict[str, Ledger] = field(default_factory=dict)

    def write(self) -> None:
        stages = ("extract", "filter_text", "fetch", "filter_images")
        results: dict[str, list[PartResult]] = {stage: [] for stage in stages}
        for part, pages in self.pages.items():
            self.ledgers = {stage: Ledger() for stage in stages}
            self._write_part(part, pages)
            for stage in stages:
                fingerprint = self.job.fingerprints[stage]
                counts = dict(self.ledgers[stage])
                results[stage].append(PartResult(part=part, fingerprint=fingerprint, counts=counts))
        for stage in stages:
            write_manifest(results[stage], self.job, STAGE[stage])

    def _write_part(self, part: str, pages: list[FabricatedPage]) -> None:
        documents = [self._document(part, row, page) for row, page in enumerate(pages)]
        self._rows("documents", part, DOCUMENTS, "extract", map(document_to_row, documents))
        self._rows("objections", part, OBJECTIONS, "extract", [])
        lost = Drop(part=part, row=77, id="", reason=Reason.HTTP_STATUS, value=404, limit=200)
        self._rows("verdicts/extract", part, VERDICTS, "extract", [verdict_row(lost)])
        stored = self._images(part)
        extract = self.ledgers["extract"]
        extract.see("records", len(pages) + 1)
        extract.keep("records", len(pages))
        extract.drop("records", Reason.HTTP_STATUS)
        for document in documents:
            for kind, count in (
                ("documents", 1), ("texts", document.texts), ("images", document.images)
            ):  # fmt: skip
                extract.see(kind, count)
                extract.keep(kind, count)
        extract["pages.read"] += len(pages)
        extract["edits.joined_lines"] += 3
        for stage in ("filter_text", "filter_images"):
            drops = self._drops(stage, part, pages, documents)
            self._rows(f"verdicts/{stage}", part, VERDICTS, stage, map(verdict_row, drops))
        self._rows("kept", part, KEPT, "filter_images", self._kept(part, pages, documents, stored))

    def _rows(
        self, kind: str, part: str, schema: pa.Schema, stage: str, rows: Iterable[Mapping[str, Any]]
    ) -> None:
        mark = self.job.fingerprints[stage]
        parquet.write_rows(self.job.part(kind, part), schema, rows, fingerprint=mark)

    def _document(self, part: str, row: int, page: FabricatedPage) -> Document:
        crawl = f"crawl-{'ab'[int(part[:6])]}-0"  # their ids decide what is held out
        url, date = f"https://{page.domain}/{crawl}/{row}", f"2024-05-0{row % 9 + 1}T00:00:00Z"
        return Document(
            id=document_id(url=url, date=date, payload_sha256=b"payload"),
            url=url, domain=page.domain, date=date, input=f"{crawl}.warc.gz", offset=100 * row,
            length=100, title=page.title, language="en", language_score=0.9, charset="utf-8",
            extractor="blocks", nodes=page.nodes,
        )  # fmt: skip

    def _images(self, part: str) -> dict[str, dict[str, Any]]:
        rows = []
        broken: dict[str, Any] = dict.fromkeys(IMAGES.names) | {
            "url": "https://example.org/broken.png", "date": "2024-05-01T00:00:00Z", "offset": 5,
            "status": str(Reason.UNDECODABLE), "robots": [], "tdm_reservation": False,
            "decision": "crawl", "decided": "",
        }  # fmt: skip
        with PackWriter(self.job.path("packs"), part) as packs:
            for url, (data, image_format) in self.bytes_of.items():
                digest = hashlib.sha256(data).hexdigest()
                pack, offset = packs.add(data, sha256=digest, extension="bin")
                width, height = Image.open(io.BytesIO(data)).size
                rows.append(broken | {
                    "url": url, "status": OK, "sha256": digest, "phash": 1, "width": width,
                    "height": height, "format": image_format, "bytes": len(data), "pack": pack,
                    "pack_offset": offset,
                })  # fmt: skip
        self._rows("images", part, IMAGES, "extract", [*rows, broken])
        extract = self.ledgers["extract"]
        extract.see("files", len(rows) + 1)
        extract.keep("files", len(rows))
        extract.drop("files", Reason.UNDECODABLE)
        return {row["url"]: row for row in rows}

    def _drops(
        self, stage: str, part: str, pages: list[FabricatedPage], documents: list[Document]
    ) -> Iterator[Drop]:
        ledger = self.ledgers[stage]
        earlier = "filter_text" if stage == "filter_images" else ""
        for row, (page, document) in enumerate(zip(pages, documents, strict=True)):
            if page.refusal is not None and page.refusal[0] == earlier:
                continue
            gone = {node for node, (at, _) in page.refused.items() if at == earlier}
            here = {node: why for node, (at, why) in page.refused.items() if at == stage}
            whole = page.refusal is not None and page.refusal[0] == stage
            ledger.see("documents")
            for position, node in enumerate(document.nodes):
                kind = "images" if isinstance(node, ImageNode) else "texts"
                if position in gone:
                    continue
                ledger.see(kind)
                if whole:
                    ledger.drop(kind, Reason.PARENT)
                elif position in here:
                    ledger.drop(kind, here[position])
                    yield Drop(part=part, row=row, id=document.id, node=position,
                               reason=here[position], value=position, limit=4)  # fmt: skip
                else:
                    ledger.keep(kind)
            if whole:
                assert page.refusal is not None
                ledger.drop("documents", page.refusal[1])
                yield Drop(part=part, row=row, id=document.id, reason=page.refusal[1],
                           value=0.25, limit=0.5)  # fmt: skip
            else:
                ledger.keep("documents")

    def _kept(
        self,
        part: str,
        pages: list[FabricatedPage],
        documents: list[Document],
        stored: dict[str, dict[str, Any]],
    ) -> Iterator[dict[str, Any]]:
        for row, (page, document) in enumerate(zip(pages, documents, strict=True)):
            if page.refusal is not None:
                continue
            left = [n for n in range(len(document.nodes)) if n not in page.refused]
            texts = [n for n in left if isinstance(document.nodes[n], TextNode)]
            images = []
            for position in left:
                node = document.nodes[position]
                if isinstance(node, ImageNode):
                    image = stored[node.url]
                    same = {name: image[name] for name in
                            ("url", "sha256", "pack", "width", "height", "format")}  # fmt: skip
                    images.append(same | {"node": position, "offset": image["pack_offset"],
                                          "length": image["bytes"]})  # fmt: skip
            size = sum(len(node.text.encode()) for node in document.nodes
                       if isinstance(node, TextNode))  # fmt: skip
            yield {
                "part": part, "row": row, "id": document.id, "domain": document.domain,
                "bytes": size + sum(image["length"] for image in images),
                "texts": texts, "images": images,
            }  # fmt: skip

    def shard(self) -> Ledger:
        """Tables, tars, report and manifest, by the functions that the stage calls."""
        job = self.job
        results = [write_tables(part, job) for part in self.pages]
        groups = group_parts((weigh(part, job) for part in self.pages), job.settings.shard_bytes)
        cuts = [cut_group(one, job) for one in groups]
        results += [write_shard(name, one, job) for name, one in name_shards(cuts)]
        write_manifest(results, job, SHARD, write_report)
        counts = Ledger()
        for result in results:
            counts.update(result.counts)
        return counts


def page_of(number: int, *, images: int = 1, text: str = "") -> FabricatedPage:
    """A heading, a paragraph before each image, and one behind the last."""
    nodes: list[Node] = [TextNode(text=f"Page {number}", role=Role.HEADING)]
    for image in range(images):
        nodes.append(TextNode(text=text or f"Paragraph {image} of page {number}, of seven words."))
        nodes.append(ImageNode(url=url_of(number, image), alt=f"picture {image} of {number}"))
    nodes.append(TextNode(text="A last word."))
    return FabricatedPage(nodes=tuple(nodes), title=f"Page {number}")


def url_of(number: int, image: int) -> str:
    return f"https://example.org/{number}/{image}.img"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fabricate:
    """Makes a run of the pages given by part; every image URL in them is in the crawl."""

    folder: Path

    def __call__(
        self, pages: Pages, *, name: str = "run", heldout: float = 0.01, heldout_by: str = "id"
    ) -> Fabricator:
        # the stages whose settings these are do not run here
        chosen: dict[str, Any] = {
            one.name: ""
            for one in fields(Settings)
            if one.default is MISSING and one.default_factory is MISSING
        }
        chosen |= {
            "versions": versions_here(),
            "recipe": OBELICS,
            "heldout": heldout,
            "heldout_by": heldout_by,
        }
        job = make_job(str(self.folder / name), Crawl(inputs=PARTS), Settings(**chosen))
        job = job.doing(SHARD.name)
        nodes = [node for of_part in pages.values() for page in of_part for node in page.nodes]
        urls = sorted({node.url for node in nodes if isinstance(node, ImageNode)})
        formats = ("JPEG", "PNG", "WEBP")
        bytes_of = {
            url: (picture(place, image_format=formats[place % 3]), formats[place % 3].lower())
            for place, url in enumerate(urls)
        }
        made = Fabricator(job=job, pages=pages, bytes_of=bytes_of)
        made.write()
        return made


def pages_of_every_outcome() -> Pages:
    """Kept with one to four images, dropped by either stage, nodes dropped, an empty part."""
    first = [page_of(number, images=number % 4 + 1) for number in range(8)]
    first[2].refusal = ("filter_text", Reason.LANGUAGE)
    first[3].refusal = ("filter_images", Reason.NO_IMAGE)
    first[3].refused = {2: ("filter_text", Reason.IMAGE_URL_WORD)}
    first[5].refused = {
        1: ("filter_text", Reason.TOO_FEW_WORDS),
        2: ("filter_images", Reason.IMAGE_SIDE_SHORT),
    }
    return {PARTS[0]: first, PARTS[1]: []}
