"""Told: report.html and the dataset card, read as a reader reads them, against the ledgers.

In:   both files as they lie there; the ledgers of all stages, as the manifests tell them and as the
      parts tables add up: where these differ, the report is not to blame for agreeing with one.
Out:  which numbers of the ledgers they lack, or say otherwise, and whether they end where they
      should. Not one byte of them is made again: their tables are read.
Not:  excerpts in the report, which are copies for people of what tables/ and shards/ hold; whether
      a picture is the right one; what the card says in words.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
from collections.abc import Iterator, Mapping
from typing import Final

from PIL import Image
from selectolax.lexbor import LexborHTMLParser, LexborNode

from pipeline.stages import NAMES
from pipeline.store import store
from pipeline.verify.folder import RunFolder
from schemas.manifest import KINDS, Ledger

REPORT: Final = "report.html"
CARD: Final = "README.md"
Ledgers = Mapping[str, Ledger]  # by stage
Told = Mapping[tuple[str, str, str], int]  # stage, kind, seen or kept or dropped (a reason)
# what the report calls a kind
_TITLES: Final = {
    "Documents": "documents",
    "Images in documents": "images",
    "Paragraphs": "texts",
    "Records of the crawl": "records",
    "Image files": "files",
    "Images to fetch": "wanted",
}
_SUMS: Final = ("seen", "kept", "dropped")
_CARD_LINE: Final = re.compile(
    r"(?P<stage>\w++)?+ ++(?P<kind>\w++) ++(?P<seen>[\d,]++) ++(?P<kept>[\d,]++)"
    r" ++(?P<dropped>[\d,]++)( .*)?"
)
_SPLIT_LINE: Final = re.compile(r"\| (\w+) \| ([\d,]+) \| `shards/\1-\*\.tar` \|")
_PICTURE: Final = re.compile(r"data:image/\w+;base64,")


def wrong_in(name: str, folder: RunFolder) -> list[str]:
    """What is wrong with REPORT or CARD, which is there."""
    text = store.read_bytes(folder.path(name)).decode("utf-8", "replace")
    check = {REPORT: _check_report, CARD: _check_card}[name]
    told = folder.told
    wrong = list(check(text, {stage: told[stage].manifest.ledger for stage in NAMES}))
    if wrong and not list(check(text, {stage: told[stage].sums() for stage in NAMES})):
        return []
    return wrong


def _check_report(text: str, ledgers: Ledgers) -> Iterator[str]:
    if not text.rstrip().endswith("</html>"):
        yield f"{REPORT} has {len(text):,} characters and no end"
        return
    page = LexborHTMLParser(text)
    yield from _differing(_of_ledgers(ledgers), dict(_of_report(page)), REPORT)
    yield from _figures(page, ledgers)
    for number, picture in enumerate(page.css("img")):
        if why := _broken(picture.attributes.get("src") or ""):
            yield f"{REPORT}: picture {number + 1} {why}"


def _check_card(text: str, ledgers: Ledgers) -> Iterator[str]:
    if not text.startswith("---\n") or not text.endswith("\n"):
        yield f"{CARD} has {len(text):,} characters, and not the beginning or end of a card"
    said = dict(_of_card(text))
    told = {where: n for where, n in _of_ledgers(ledgers).items() if where[2] in _SUMS}
    yield from _differing(told, said, CARD)
    samples = {split: _number(count) for split, count in _SPLIT_LINE.findall(text)}
    for split in ("train", "heldout"):
        if samples.get(split, 0) != ledgers["shard"][f"samples.{split}"]:
            yield f"{CARD} tells {samples.get(split, 0):,} documents of {split}"


def _number(text: str) -> int:
    """-1 for what is no number, which no ledger holds."""
    digits = text.strip().replace(",", "")
    return int(digits) if digits.isascii() and digits.isdecimal() else -1


def _of_ledgers(ledgers: Ledgers) -> Told:
    """The numbers that a reader must find: sums of what was seen, and each reason."""
    told: dict[tuple[str, str, str], int] = {}
    for stage, ledger in ledgers.items():
        for kind in KINDS:
            seen, dropped = ledger[f"{kind}.seen"], ledger.dropped(kind)
            if seen:
                sums = (seen, ledger[f"{kind}.kept"], sum(dropped.values()))
                told |= {(stage, kind, name): n for name, n in zip(_SUMS, sums, strict=True)}
                told |= {(stage, kind, reason): n for reason, n in dropped.items()}
    return told


def _of_report(page: LexborHTMLParser) -> Iterator[tuple[tuple[str, str, str], int]]:
    for card in page.css("section.card"):
        stages, head = card.css_first("table.stages"), card.css_first("h3")
        if stages is None or head is None:
            continue
        title = head.text(deep=False).strip()
        kind = _TITLES.get(title, title)
        for row in stages.css("tbody tr"):
            stage, _, *sums = map(_cell, row.css("th, td"))
            for name, number in zip(_SUMS, sums, strict=False):
                yield (stage, kind, name), _number(number)
        for row in card.css("table.reasons tbody tr"):
            reason, stage, _, dropped, *_ = map(_cell, row.css("th, td"))
            yield (stage, kind, reason), _number(dropped)


def _cell(cell: LexborNode) -> str:
    """What a cell says; names of stages and reasons are written with spaces."""
    return cell.text().strip().replace(" ", "_")


def _of_card(text: str) -> Iterator[tuple[tuple[str, str, str], int]]:
    stage = ""
    for line in text.partition("## Funnel")[2].partition("##")[0].splitlines():
        found = _CARD_LINE.fullmatch(line)
        if found is None:
            continue
        stage = found["stage"] or stage
        for name in _SUMS:
            yield (stage, found["kind"], name), _number(found[name])


def _differing(told: Told, said: Told, name: str) -> Iterator[str]:
    for where in sorted({*told, *said}):
        if told.get(where) != said.get(where):
            yield (
                f"{name} says {_shown(said.get(where))} for {' '.join(where)}, "
                f"the ledger {_shown(told.get(where))}"
            )


def _shown(number: int | None) -> str:
    return "nothing" if number is None else f"{number:,}"


def _figures(page: LexborHTMLParser, ledgers: Ledgers) -> Iterator[str]:
    """The numbers at the top of the report."""
    shard, read = ledgers["shard"], ledgers["extract"]
    said = {
        _text(one, "dt"): [_number(n) for n in re.findall(r"[\d,]+", _text(one, "dd"))]
        for one in page.css("dl.figures div")
    }
    for name, numbers in {
        "documents": [shard["documents.kept"], read["documents.seen"]],
        "images": [shard["images.kept"], read["images.seen"]],
        "words": [shard["words.kept"]],
        "shards": [shard["shards"]],
        "train, held out": [shard["samples.train"], shard["samples.heldout"]],
    }.items():
        if said.get(name, [])[: len(numbers)] != numbers:
            yield f"{REPORT} says {said.get(name)} {name}, the ledgers {numbers}"


def _text(figure: LexborNode, name: str) -> str:
    told = figure.css_first(name)
    return "" if told is None else told.text().strip()


def _broken(source: str) -> str:
    """Why a picture of the report cannot be shown."""
    if not (head := _PICTURE.match(source)):
        return "has no data"
    try:
        with Image.open(io.BytesIO(base64.b64decode(source[head.end() :], validate=True))) as image:
            image.load()
    except (binascii.Error, OSError, ValueError, SyntaxError) as error:
        return f"is broken: {error}"
    return ""
