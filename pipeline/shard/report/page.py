"""report.html and the dataset card of a run, written just before the last manifest.

In:   the manifests of the stages before, the counts of the shard stage, tables/, shards/ through
      index/, packs/ for pictures of what was dropped.
Out:  report.html, one file that needs no other and no network, and README.md (card.py).
Safe: the crawl's text passes jinja's escaping, is never a link, and meets a Content-Security-
      Policy without script; pictures are decoded and encoded again.
Same: nothing of it depends on time, host, runner or the output's path.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from markupsafe import Markup

from pipeline.account.funnel import FunnelRow, Yield, funnel_of
from pipeline.account.manifest import read_manifest
from pipeline.job import Job
from pipeline.shard.report.card import HERE, environment, render_card
from pipeline.shard.report.figures import Dropped, Figures, charts, lines, read_figures
from pipeline.shard.report.samples import Thumbnail, find_pictures, read_samples, without_controls
from pipeline.store import store
from schemas.manifest import KINDS, Ledger, StageName, StoredFile

# in the order in which the report shows them: what comes out first
TITLES: Final[Mapping[str, str]] = {
    "documents": "Documents",
    "images": "Images in documents",
    "texts": "Paragraphs",
    "records": "Records of the crawl",
    "files": "Image files",
    "wanted": "Images to fetch",
}
# of a rule: what says() puts first, or another column shows
_SHOWN_ELSEWHERE: Final = frozenset({"rule", "signal", "limit", "reason", "source"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Peer:
    """A published set of documents, as table 1 of the OBELICS paper (arXiv 2306.16527) has it.

    None where nothing was published.
    """

    name: str
    images: float | None
    unique: float | None  # share of images that are no repetition, 0..1
    documents: float
    tokens: float | None


PEERS: Final = (
    Peer(name="KOSMOS-1", images=None, unique=None, documents=71e6, tokens=None),
    Peer(name="M3W", images=185e6, unique=None, documents=43e6, tokens=None),
    Peer(name="mmc4-ff", images=385e6, unique=0.606, documents=79e6, tokens=34e9),
    Peer(name="mmc4", images=585e6, unique=None, documents=103e6, tokens=43e9),
    Peer(name="OBELICS", images=353e6, unique=0.843, documents=141e6, tokens=115e9),
)


class ReasonLine(NamedTuple):
    name: str
    total: int
    share: float  # of what the stage saw
    measured: str
    limit: str


class StageLine(NamedTuple):
    """One kind at one stage; shares are of the kind's greatest `seen`, for its bar."""

    row: FunnelRow
    kept: float
    dropped: float
    reasons: list[ReasonLine]


@dataclass(frozen=True, kw_only=True, slots=True)
class KindFunnel:
    kind: str
    title: str
    meaning: str
    stages: list[StageLine]


class DropSample(NamedTuple):
    url: str
    excerpt: str
    measured: str
    picture: Thumbnail | None


@dataclass(frozen=True, kw_only=True, slots=True)
class DropGroup:
    """A reason with a few of those it dropped."""

    stage: str
    kind: str
    reason: str
    count: int
    measured: str
    limit: str
    samples: list[DropSample]


def write_report(job: Job, counts: Ledger, shards: Sequence[str]) -> list[StoredFile]:
    """Both files; counts and shards are those of a stage whose manifest is not written yet."""
    before = job.stages[: job.stages.index(job.stage)]
    ledgers = {stage: read_manifest(job, stage).ledger for stage in before} | {job.stage: counts}
    figures = read_figures(job)
    html, card = render_report(job, ledgers, figures, shards), render_card(job, ledgers, shards)
    files = job.files()
    store.write_bytes(job.path("report.html"), html.encode(), files)
    store.write_bytes(job.path("README.md"), card.encode(), files)
    return files.stored


def render_report(
    job: Job, ledgers: Mapping[str, Ledger], figures: Figures, shards: Sequence[str]
) -> str:
    recipe = read_manifest(job, StageName.FILTER_TEXT).settings["recipe"]
    style = (HERE / "report.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            style=Markup(style),  # noqa: S704  # a file of ours
            style_hash=digest,
            came=Yield.of(ledgers[StageName.SHARD]),
            read=ledgers[StageName.EXTRACT],
            shard=ledgers[StageName.SHARD],
            figures=figures,
            kinds=list(kind_funnels(ledgers, figures)),
            peers=PEERS,
            charts=charts(figures),
            domains=lines(figures.domains, most=12),
            languages=lines(figures.languages_read, most=12),
            edits=lines(below(ledgers[StageName.EXTRACT], "edits."), most=12),
            types=lines(below(ledgers[StageName.EXTRACT], "records.type."), most=12),
            comparisons=comparisons(ledgers),
            samples=read_samples(job, shards),
            dropped=list(drop_groups(job, figures)),
            rules=rules_of(recipe),
            parameters=parameters_of(recipe),
            lists=read_manifest(job, StageName.EXTRACT).settings.get("word_lists", []),
        )
    )


def kind_funnels(ledgers: Mapping[str, Ledger], figures: Figures) -> Iterator[KindFunnel]:
    for kind in TITLES:
        rows = [
            row
            for stage in ledgers
            for row in funnel_of(stage, ledgers[stage])
            if row.kind == kind and row.seen
        ]
        most = max((row.seen for row in rows), default=0)
        if most:
            yield KindFunnel(
                kind=kind,
                title=TITLES[kind],
                meaning=KINDS[kind],
                stages=[_stage_line(row, most, figures) for row in rows],
            )


def _stage_line(row: FunnelRow, most: int, figures: Figures) -> StageLine:
    reasons = []
    for name, count in row.reasons.items():
        dropped = figures.dropped.get((row.stage, row.kind.removesuffix("s"), name), Dropped())
        reasons.append(ReasonLine(name, count, count / row.seen, measured(dropped), limit(dropped)))
    return StageLine(row, row.kept / most, row.dropped / most, reasons)


def measured(dropped: Dropped) -> str:
    return span(dropped.lowest, dropped.highest)


def limit(dropped: Dropped) -> str:
    return span(*(dropped.limits or (None, None)))


def span(low: float | None, high: float | None) -> str:
    """3 to 12, or one number where both are the same, or nothing."""
    if low is None or high is None:
        return ""
    first, last = (
        f"{value:,.0f}" if abs(value) >= 1_000 or float(value).is_integer() else f"{value:.4g}"
        for value in (low, high)
    )
    return first if first == last else f"{first} to {last}"


def below(ledger: Ledger, start: str) -> Counter[str]:
    """The counts whose names begin so, by what follows."""
    return Counter({
        name.removeprefix(start).replace("_", " "): count
        for name, count in ledger.items()
        if name.startswith(start) and count
    })  # fmt: skip


def comparisons(ledgers: Mapping[str, Ledger]) -> int:
    return sum(ledger["comparisons"] for ledger in ledgers.values())


def drop_groups(job: Job, figures: Figures) -> Iterator[DropGroup]:
    """In the order of the stages, then of what counts most, then the most frequent first."""
    order = {kind.removesuffix("s"): place for place, kind in enumerate(TITLES)}
    causes = sorted(
        figures.dropped.items(),
        key=lambda item: (job.stages.index(item[0][0]), order[item[0][1]], -item[1].count, item[0]),
    )
    wanted = {
        row["url"] for (_, kind, _), dropped in causes if kind == "image" for row in dropped.samples
    }
    pictures = find_pictures(job, wanted, parts=figures.parts_chosen)
    for (stage, kind, reason), dropped in causes:
        yield DropGroup(
            stage=stage,
            kind=kind,
            reason=reason,
            count=dropped.count,
            measured=measured(dropped),
            limit=limit(dropped),
            samples=[_sample(row, pictures) for row in dropped.samples],
        )


def _sample(row: Mapping[str, Any], pictures: Mapping[str, Thumbnail]) -> DropSample:
    value = span(row["value"], row["value"])
    if row["limit"] is not None:
        value += f", limit {span(row['limit'], row['limit'])}"
    place = f"{row['part']}, byte {row['row']:,}" if row["url"] is None else row["url"]
    return DropSample(
        url=without_controls(place),
        excerpt=without_controls(row["excerpt"] or ""),
        measured=value,
        picture=pictures.get(row["url"]) if row["kind"] == "image" else None,
    )


class RuleLine(NamedTuple):
    about: str  # paragraph, document, image, ...
    reason: str
    says: str  # at least 4 words
    source: str


def rules_of(recipe: Mapping[str, Any]) -> list[RuleLine]:
    return [
        RuleLine(about, rule["reason"], says(rule), rule["source"])
        for about, value in recipe.items()
        for rule in _rules_in(value)
    ]


def parameters_of(recipe: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is no rule: a number, a name, or a few of them."""
    return [
        (name, _plain(value))
        for name, value in recipe.items()
        if not any(_rules_in(value)) and value not in ([], {})
    ]


def says(rule: Mapping[str, Any]) -> str:
    """words at least 4; no word in path: logo, icon; in the words of its own settings."""
    kind = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", rule["rule"]).lower()
    begin, end = kind, ": "
    if "signal" in rule:
        begin, end = f"{rule['signal']} {kind} {_plain(rule['limit'])}".replace("_", " "), ", "
    settings = [
        _setting(name.replace("_", " "), value)
        for name, value in rule.items()
        if name not in _SHOWN_ELSEWHERE and value is not False
    ]
    return begin + end + ", ".join(settings) if settings else begin


def _setting(name: str, value: object) -> str:
    if value is True:
        return name
    return _plain(value) if isinstance(value, list) else f"{name} {_plain(value)}"


def _rules_in(value: object) -> Iterator[Mapping[str, Any]]:
    for rule in value if isinstance(value, list) else [value]:
        if isinstance(rule, dict) and "rule" in rule:
            yield rule


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)
