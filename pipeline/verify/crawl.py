"""Crawl: the raw inputs by warcio against what extract told and left, input by input.

In:   the inputs of run.json; records by type as the parts table tells them; rows at rest.
Out:  a check for each type of record over all inputs that warcio could count; one for the records
      that bring a payload against the rows they became, one for what these rows say of where their
      record lies, its URL and its date; and one "not counted" for each other input.
Cost: 16 bytes a row, and as much for its date and, of a page, its length.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.extract.outcome import ASIDE_TYPES
from pipeline.extract.page import heard
from pipeline.read.payload import Http, decode, parse_http
from pipeline.verify.checks import Check, compare, named, not_counted
from pipeline.verify.folder import Row, RunFolder
from pipeline.verify.records import WHOLE, CannotJudge, Met, count_records
from pipeline.words.page_signals import header_signals
from pipeline.words.urls import normal_url
from schemas.document import PageSignals
from schemas.manifest import Ledger

TYPE: Final = "records.type."
DAMAGED: Final = f"{TYPE}damaged"
_STAGE: Final = "extract"
_AT_REST: Final = "documents/, images/, verdicts/extract/"


def input_of(part: str) -> int:
    """The place among the inputs of the one that a part is of."""
    return int(part.partition("-")[0])


def told_types(folder: RunFolder) -> dict[int, Ledger]:
    """Records by type of each input, as the parts table of extract tells them."""
    types: dict[int, Ledger] = defaultdict(Ledger)
    told = folder.told[_STAGE]
    for part in told.parts:
        counts = told.counts(part)
        types[input_of(part)].update({name: n for name, n in counts.items() if TYPE in name})
    return types


_SAID: Final = np.dtype([("offset", "<i8"), ("digest", "V8")])


class Records:
    """Where the records of one input lie and what they say, as hashes."""

    def __init__(self) -> None:
        self._said: dict[str, bytearray] = defaultdict(bytearray)
        self.expected: set[int] = set()  # places of which more is looked at

    def add(self, offset: int | None, url: str, **more: object) -> None:
        """A record's place and URL, and whatever else is told of it, each apart."""
        lies = -1 if offset is None else offset
        for about, told in {"URL": "", **more}.items():
            text = f"{_normal(url)}\0{told}"
            digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()
            self._said[about] += lies.to_bytes(8, "little", signed=True) + digest

    def expect(self, others: Records) -> None:
        """Where objections lie at rest."""
        self.expected = set(others.of("URL")["offset"].tolist())

    def of(self, about: str) -> npt.NDArray[np.void]:
        return np.frombuffer(bytes(self._said[about]), dtype=_SAID)

    def not_as(self, crawl: Records) -> Iterator[str]:
        """What rows say otherwise than the records of the crawl: by offset, once each."""
        here, there = (np.unique(side.of("URL"), return_counts=True) for side in (self, crawl))
        counted = dict(zip(there[0].tolist(), there[1].tolist(), strict=True))
        for said, count in zip(here[0].tolist(), here[1].tolist(), strict=True):
            if count > counted.get(said, 0):
                yield f"no such URL at byte {said[0]}"
        for about in ("date", "length", "asked"):
            if len(told := crawl.of(about)):
                for said in np.setdiff1d(self.of(about), told).tolist():
                    yield f"another {about} at byte {said[0]}"


def _normal(url: str) -> str:
    """One spelling of a URL: rows of documents/ hold the crawl's, those of images/ a browser's."""
    url = url.replace("\t", "").strip().removeprefix("<").removesuffix(">").replace(" ", "%20")
    return normal_url(url)


class AtRest:
    """What the rows that extract left say of their records, by input."""

    def __init__(self) -> None:
        self.rows: Counter[int] = Counter()
        self._of: dict[int, Records] = defaultdict(Records)
        self._objections: dict[int, Records] = defaultdict(Records)

    def document(self, part: str, row: Row) -> None:
        more = {"date": row["date"], "length": row["length"]}
        self._add(part, row["offset"], row["url"], **more)

    def image(self, part: str, row: Row) -> None:
        asked = asked_by(row["robots"], row["tdm_reservation"])
        self._add(part, row["offset"], row["url"], date=row["date"], asked=asked)

    def objection(self, part: str, row: Row) -> None:
        """Beside the row of a refused record, or of a revisit, which has none."""
        asked = asked_by(row["robots"], row["tdm_reservation"])
        records = self._objections[input_of(part)]
        records.add(row["offset"], row["url"], date=row["date"], asked=asked)

    def refused(self, part: str, row: Row) -> None:
        self._add(part, row["row"], row["url"] or "")

    def _add(self, part: str, offset: int | None, url: str, **more: object) -> None:
        place = input_of(part)
        self.rows[place] += 1
        self._of[place].add(offset, url, **more)

    def of(self, place: int) -> Records:
        return self._of[place]

    def objections(self, place: int) -> Records:
        return self._objections[place]


def asked_by(robots: Sequence[str], tdm_reservation: bool) -> str:  # noqa: FBT001  # a column
    return f"{' '.join(robots)} {tdm_reservation}"


@dataclass(kw_only=True)
class _Sums:
    """Both sides over the inputs that were counted, and where they differ."""

    here: Ledger = field(default_factory=Ledger)
    there: Ledger = field(default_factory=Ledger)
    payloads: int = 0
    rows: int = 0
    other: list[str] = field(default_factory=list)  # rows that say something else
    objections: list[str] = field(default_factory=list)  # that nobody made
    differing: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


def check_inputs(folder: RunFolder, rest: AtRest, *, read: bool) -> Iterator[Check]:
    """Each raw input against the rows that lie at rest of it."""
    crawl = folder.run["crawl"]
    if not read:
        why = "asked to leave the raw inputs alone"
        yield not_counted(_STAGE, "records", why=why, counted_in="raw inputs")
        return
    told, sums = told_types(folder), _Sums()
    for place, name in enumerate(crawl["inputs"]):
        records, asking = Records(), Records()
        try:
            asking.expect(rest.objections(place))
            counted = _count(crawl, name, told.get(place, Ledger()), records, asking)
        except CannotJudge as why:
            yield not_counted(_STAGE, f"records of {name}", why=str(why), counted_in=name)
            continue
        _add(sums, name, counted, told.get(place, Ledger()), rest.rows[place])
        sums.other += (f"{name}: {one}" for one in rest.of(place).not_as(records))
        sums.objections += (f"{name}: {one}" for one in rest.objections(place).not_as(asking))
    yield from _checks(sums)


def _count(
    crawl: Mapping[str, object], name: str, told: Ledger, records: Records, asking: Records
) -> Ledger:
    def meet(met: Met) -> None:
        said = header_signals(met.headers)
        asked = asked_by(said.robots, said.tdm_reservation)
        for one in (said, _heard(met)) if met.offset in asking.expected else (said,):
            if one.robots or one.tdm_reservation:
                asking.add(met.offset, met.url, date=met.date,
                           asked=asked_by(one.robots, one.tdm_reservation))  # fmt: skip
        if met.type not in ASIDE_TYPES:
            more = {} if met.length is None else {"length": met.length}
            records.add(met.offset, met.url, date=met.date, asked=asked, **more)

    if crawl.get("indexes"):
        raise CannotJudge("an index chose its records, and warcio reads all of them")
    limit = crawl["limit"]
    assert limit is None or isinstance(limit, int)
    counted = count_records(name, limit=limit, met=meet)
    if damaged := told[DAMAGED]:
        read = sum(counted.values())
        raise CannotJudge(
            f"{damaged:,} damaged members were told, behind which warcio goes on otherwise: it "
            f"reads {read:,} records, and {sum(told.values()) - damaged:,} were told"
        )
    return counted


def _heard(met: Met) -> PageSignals:
    """What a page asks for in its head, whose body extract may have read or not."""
    http, body = parse_http(met.block), met.block
    if isinstance(http, Http):
        body, _ = decode(http, limit=WHOLE)
    return heard(body, url=met.url, headers=met.headers)


def _add(sums: _Sums, name: str, counted: Ledger, told: Ledger, rows: int) -> None:
    payloads = sum(n for type_, n in counted.items() if type_.removeprefix(TYPE) not in ASIDE_TYPES)
    sums.here.update(counted)
    sums.there.update(told)
    sums.payloads += payloads
    sums.rows += rows
    if payloads != rows:
        sums.differing["payloads"].append(f"{name} ({payloads:,} records, {rows:,} rows)")
    for type_ in {*counted, *told}:
        if counted[type_] != told[type_]:
            sums.differing[type_].append(f"{name} ({counted[type_]:,}, told {told[type_]:,})")


def _checks(sums: _Sums) -> Iterator[Check]:
    for type_ in sorted({*sums.here, *sums.there}):
        differing = named(sums.differing[type_])
        yield compare(_STAGE, type_, sums.here[type_], sums.there[type_],
                      counted_in="raw inputs, by warcio", held_against="extract.parts.parquet",
                      note=f"differs in {differing}" if differing else "")  # fmt: skip
    differing = named(sums.differing["payloads"])
    yield compare(_STAGE, "records with a payload", sums.payloads, sums.rows,
                  counted_in="raw inputs, by warcio", held_against=_AT_REST,
                  note=f"differs in {differing}" if differing else "")  # fmt: skip
    other = len(sums.other)
    yield compare(_STAGE, "rows as their records", sums.rows - other, sums.rows,
                  counted_in=_AT_REST, held_against="raw inputs, by warcio",
                  note=named(sums.other))  # fmt: skip
    yield compare(_STAGE, "objections that no answer makes", len(sums.objections), 0,
                  counted_in="objections/", held_against="raw inputs, by warcio",
                  note=named(sums.objections))  # fmt: skip
