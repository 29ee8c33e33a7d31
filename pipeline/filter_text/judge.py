"""filter_text: one part judged by its text, before and after what crosses documents is known.

In:   documents/PART, objections/PART, and the decisions of the groupings about its rows.
Out:  facts for the groupings; then verdicts/filter_text/PART, its counts, and the image URLs
      that its kept documents need.
A document is judged twice: alone, so that only good ones take part in the groupings, and again
with their decisions, because what is left of it must still pass. Both times by the same pure
function, from the same rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from filters.rules import Refusal, refuse_asking
from filters.text import TextJudgement, judge_text, normal
from pipeline.account.facts import (
    Decision,
    Place,
    TextFact,
    count_document,
    drops_of,
    key_of,
    read_documents,
    read_objections,
    verdict_row,
)
from pipeline.filter_text.dedup import refusal_of
from pipeline.filter_text.minhash import MinHash
from pipeline.job import Job
from pipeline.store import parquet
from pipeline.words.consent import opted_out
from schemas.document import Document, ImageNode, TextNode
from schemas.manifest import Ledger, PartResult
from schemas.tables import VERDICTS
from schemas.verdict import CONSENT, Reason


def read_facts(part: str, job: Job) -> Iterator[TextFact]:
    """The documents of a part that pass alone, as facts; and what objects to being used."""
    recipe = job.settings.recipe
    minhash = None if recipe.minhash is None else MinHash(**asdict(recipe.minhash))
    for row, document in read_documents(job, part):
        judged = judge_alone(document, job)
        if judged.refusal is None:
            yield fact_of(document, Place(part, row), judged, minhash)
        elif judged.refusal.reason in CONSENT:
            yield objection_of(document.id, document.url, document.date, Place(part, row))
    for number, objection in enumerate(read_objections(job, part), start=1):
        if refuse_asking(recipe.consent, objection) is not None:
            place = Place(part, -number)  # of no document
            name = f"{part} {-number}"
            yield objection_of(name, objection.url, objection.date, place)


def judge_alone(document: Document, job: Job) -> TextJudgement:
    """By who is on the run's opt-out list, whatever the recipe, and by its rules."""
    if document.url in opted_out(job):
        return TextJudgement(refusal=Refusal(reason=Reason.OPTED_OUT))
    return judge_text(document, job.settings.recipe)


def fact_of(
    document: Document, place: Place, judged: TextJudgement, minhash: MinHash | None
) -> TextFact:
    texts: list[str] = []
    paragraphs: list[tuple[int, bytes]] = []
    images: dict[str, tuple[int, bytes]] = {}
    copies = [
        position
        for position, why in judged.nodes.items()
        if why.reason is Reason.DUPLICATE_IN_DOCUMENT
    ]
    for position in sorted([*judged.kept, *copies]):  # each copy counts in its domain
        match document.nodes[position]:
            case TextNode(text=text):
                if position not in judged.nodes:
                    texts.append(text)
                paragraphs.append((position, key_of(document.domain, normal(text))))
            case ImageNode(url=url):
                images.setdefault(url, (position, key_of(url)))
    return TextFact(
        place=place,
        id=document.id,
        url=document.url,
        date=document.date,
        paragraphs=tuple(paragraphs),
        images=tuple(images.values()),
        bands=() if minhash is None else tuple(minhash.band_keys("\n".join(texts))),
    )


def objection_of(name: str, url: str, date: str, place: Place) -> TextFact:
    return TextFact(
        place=place, id=name, url=url, date=date, paragraphs=(), images=(), bands=(), objects=True
    )


def by_paragraph(fact: TextFact) -> Iterator[tuple[bytes, Place]]:
    for node, key in fact.paragraphs:
        yield key, fact.place._replace(node=node)


def by_image(fact: TextFact) -> Iterator[tuple[bytes, Place]]:
    for node, key in fact.images:
        yield key, fact.place._replace(node=node)


def settle(document: Document, decisions: Sequence[Decision], job: Job) -> TextJudgement:
    """The last word on a document: its own rules, then the groupings, then its rules again."""
    recipe = job.settings.recipe
    alone = judge_alone(document, job)
    if alone.refusal is not None or not decisions:
        return alone
    if (whole := refusal_of(decisions)) is not None:
        refusal = Refusal(reason=Reason(whole.reason), value=whole.value, limit=whole.limit)
        return TextJudgement(refusal=refusal, nodes={}, kept=())
    by_reason: dict[str, dict[int, int]] = defaultdict(dict)
    for decision in decisions:
        by_reason[decision.reason][decision.node] = int(decision.value)
    frequent = {  # the decision names the first node of a URL; it is about all of them
        document.nodes[node].url: count  # type: ignore[union-attr]
        for node, count in by_reason[Reason.IMAGE_URL_FREQUENT].items()
    }
    return judge_text(
        document,
        recipe,
        repeated=by_reason[Reason.REPEATED_IN_DOMAIN],
        frequent={
            position: frequent[node.url]
            for position, node in enumerate(document.nodes)
            if isinstance(node, ImageNode) and node.url in frequent
        },
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class TextPart:
    """What a part gave: its result for the manifest, and the image URLs that it needs."""

    result: PartResult
    # of each image its URL, then those of other sizes; and the date of the latest page with it
    urls: tuple[tuple[tuple[str, ...], str], ...]


def result_of(part: TextPart) -> PartResult:
    return part.result


def write_part(part: str, gathered: Mapping[str, Iterable[Decision]], job: Job) -> TextPart:
    """Judge a part for good and write its verdicts in row order."""
    by_row: dict[int, list[Decision]] = defaultdict(list)
    for decision in gathered["decided"]:
        by_row[decision.row].append(decision)
    ledger = Ledger()
    urls: dict[tuple[str, ...], str] = {}
    path = job.part(f"verdicts/{job.stage}", part)
    files = job.files()
    with parquet.Writer(path, VERDICTS, fingerprint=job.fingerprint, files=files) as verdicts:
        verdicts.counts = ledger
        for row, document in read_documents(job, part):
            judged = settle(document, by_row[row], job)
            for drop in drops_of(document, Place(part, row), judged.refusal, judged.nodes):
                verdicts.add(verdict_row(drop))
            count_document(ledger, document, judged.refusal, judged.nodes, judged.kept)
            if judged.refusal is None:
                for node in (document.nodes[position] for position in judged.kept):
                    if isinstance(node, ImageNode):
                        image = (node.url, *node.others)
                        urls[image] = max(urls.get(image, ""), document.date)
    result = PartResult(
        part=part, fingerprint=job.fingerprint, counts=dict(ledger), files=files.stored
    )
    return TextPart(result=result, urls=tuple(sorted(urls.items())))
