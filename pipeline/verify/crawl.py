"""Crawl: the raw inputs by warcio against what extract told, input by input.

In:   the inputs of run.json; records by type as the parts table tells them; rows at rest.
Out:  a check for each type of record over all inputs that warcio could count, one for the records
      that bring a payload against the rows they became, and one "not counted" for each other input.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from pipeline.extract.part import ASIDE_TYPES
from pipeline.verify.checks import Check, compare, named, not_counted
from pipeline.verify.folder import RunFolder
from pipeline.verify.records import CannotJudge, count_records
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


@dataclass(kw_only=True)
class _Sums:
    """Both sides over the inputs that were counted, and where they differ."""

    here: Ledger = field(default_factory=Ledger)
    there: Ledger = field(default_factory=Ledger)
    payloads: int = 0
    rows: int = 0
    differing: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


def check_inputs(folder: RunFolder, rows: Mapping[int, int], *, read: bool) -> Iterator[Check]:
    """`rows` is how many rows lie at rest of each input."""
    crawl = folder.run["crawl"]
    if not read:
        why = "asked to leave the raw inputs alone"
        yield not_counted(_STAGE, "records", why=why, counted_in="raw inputs")
        return
    told, sums = told_types(folder), _Sums()
    for place, name in enumerate(crawl["inputs"]):
        try:
            counted = _count(crawl, name, told.get(place, Ledger()))
        except CannotJudge as why:
            yield not_counted(_STAGE, f"records of {name}", why=str(why), counted_in=name)
            continue
        _add(sums, name, counted, told.get(place, Ledger()), rows.get(place, 0))
    yield from _checks(sums)


def _count(crawl: Mapping[str, object], name: str, told: Ledger) -> Ledger:
    if crawl.get("indexes"):
        raise CannotJudge("an index chose its records, and warcio reads all of them")
    limit = crawl["limit"]
    assert limit is None or isinstance(limit, int)
    counted = count_records(name, limit=limit)
    if damaged := told[DAMAGED]:
        records = sum(counted.values())
        raise CannotJudge(
            f"{damaged:,} damaged members were told, behind which warcio goes on otherwise: it "
            f"reads {records:,} records, and {sum(told.values()) - damaged:,} were told"
        )
    return counted


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
