"""Planted accidents of a crawl against what became of them: every combination, and why it is right.

    ../shared/tools/web-crawl CRAWL && interloom run CRAWL/*.warc.gz -o RUN --no-fetch
    python tests/bench/truth_table.py RUN CRAWL/truth.jsonl

In:   a run folder with its tables, the crawl files that it names, and what the crawl's maker says
      that it planted: a line for each record, with url, kind, planted, of, bits.
Out:  four tables on standard output: pages, image files, image nodes of all pages, and those of
      kept pages alone. Each row is a planted kind, an outcome, how often, and the explanation.
      What nothing explains is listed; status 1 where there is any.
How:  an explanation is checked, not looked up: an older capture needs a later one that passed, a
      duplicate picture needs a twin before it in its document, within the recipe's distance by
      the hashes in images/, a side is measured against its limit.
Not:  whether a rule is a good one. A page without an accident may be dropped for any rule.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq
from warcio.archiveiterator import ArchiveIterator

from pipeline.words.urls import absolute_url

KEPT: Final = "kept"
HELP: Final = argparse.RawDescriptionHelpFormatter
GROUPED: Final = frozenset({"same_record", "older_capture", "near_duplicate_text"})
AS_IT_IS: Final = "(nothing)"
NOT_ASKED: Final = "(not in the crawl)"  # pages name more images than the crawl's maker answers
LEAST_JACCARD: Final = 0.5  # MinHash finds one pair in twenty that is no more alike than this

# what the page alone decides about an image, before anything is known of its pixels
BY_PAGE: Final = {
    "parent": "its page went",
    "image_url_word": "named as furniture in its URL",
    "image_url_frequent": "its URL is in too many pages",
    "image_declared_side": "the page shows it too small",
    "image_declared_aspect": "the page shows it too long",
    "noimageai": "the page asks not to use its images",
}
BY_FILE: Final = {
    "not_fetched": {
        "absent": "never answered",
        "gone": "answered by 404",
        NOT_ASKED: "never asked for",
    },
    "not_an_image": {"html": "a page called an image"},
    "truncated_image": {"cut": "half a file"},
}
BY_RECORD: Final = {"gone": "http_status", "other": "other_media", "truncated": "truncated_payload"}
STATUS: Final = {"html": "not_an_image", "cut": "truncated_image", "gone": "", "absent": ""}


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A line of truth.jsonl."""

    url: str
    kind: str
    planted: str
    of: str
    bits: int | None

    @property
    def name(self) -> str:
        if self.planted == "near":
            return "near, 0 to 4 bits" if (self.bits or 0) <= 4 else "near, 6 bits and more"
        return self.planted or AS_IT_IS


@dataclass(frozen=True, kw_only=True, slots=True)
class Capture:
    """What became of one record of a page."""

    part: str
    row: int
    offset: int
    outcome: str  # kept, or the reason
    stage: str

    @property
    def passed_alone(self) -> bool:
        """Whether it took part in the groupings: kept there, dropped there, or dropped later."""
        return self.stage in {"", "filter_images"} or self.outcome in GROUPED

    @property
    def shown(self) -> str:
        return self.outcome if not self.stage else f"{self.stage}: {self.outcome}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """One row of a table: a planted kind, its outcome, why; and where, for what is unexplained."""

    planted: str
    outcome: str
    why: str  # empty: nothing explains it
    where: str


class Run:
    """The tables of a run, read once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        run = json.loads((folder / "run.json").read_text())
        self.inputs: list[str] = run["crawl"]["inputs"]
        self.distance: int = run["settings"]["recipe"]["phash_distance"] or 0
        self.documents = rows(folder / "tables" / "documents")
        self.files = {row["url"]: row for row in rows(folder / "images")}
        self.uses = [use | {"url": self._asked(use)} for use in rows(folder / "tables" / "images")]

    def _asked(self, use: Mapping[str, Any]) -> str:
        """The URL that counts for an image: of its sizes the best that is usable, or known of."""
        node = self._nodes(use["part"])[use["row"]][use["node"]]

        def order(place: int) -> tuple[bool, bool, int]:
            file = self.files.get(urls[place])
            return file is None or file["status"] != "ok", file is None, place

        urls: list[str] = [node["url"], *node["others"]]
        return urls[min(range(len(urls)), key=order)]

    @cache  # noqa: B019  # one run, to the end of the process
    def _nodes(self, part: str) -> list[list[dict[str, Any]]]:
        table = pq.read_table(self.folder / "documents" / f"{part}.parquet", columns=["nodes"])
        return [row["nodes"] for row in table.to_pylist()]

    @cached_property
    def captures(self) -> Mapping[str, Sequence[Capture]]:
        """By URL, in the order of the crawl."""
        found: dict[str, list[Capture]] = defaultdict(list)
        offsets: dict[str, list[int]] = {}
        for row in self.documents:
            part = row["part"]
            if part not in offsets:
                path = self.folder / "documents" / f"{part}.parquet"
                offsets[part] = pq.read_table(path, columns=["offset"])["offset"].to_pylist()
            found[row["url"]].append(_capture(row, offset=offsets[part][row["row"]]))
        for row in rows(self.folder / "tables" / "drops"):
            if row["kind"] == "record":
                url = self._url_at(int(row["part"].partition("-")[0]), row["row"])
                found[url].append(_capture({**row, "outcome": "dropped"}, offset=row["row"]))
        for captures in found.values():
            captures.sort(key=lambda capture: (capture.part, capture.offset))
        return found

    def _url_at(self, number: int, offset: int) -> str:
        with Path(self.inputs[number]).open("rb") as file:
            file.seek(offset)
            record = next(iter(ArchiveIterator(file)))
            return str(record.rec_headers.get_header("WARC-Target-URI"))

    @cached_property
    def shingles(self) -> Mapping[tuple[str, int], frozenset[tuple[str, ...]]]:
        """The runs of five words of every document, by place."""
        found = {}
        for path in sorted((self.folder / "documents").glob("*.parquet")):
            for number, row in enumerate(pq.read_table(path, columns=["nodes"]).to_pylist()):
                text = " ".join(node["text"] or "" for node in row["nodes"])
                words = re.findall(r"\w+", text.lower())
                runs = zip(*(words[at:] for at in range(5)), strict=False)
                found[path.stem, number] = frozenset(runs)
        return found

    def alike(self, one: Capture, other: Capture) -> float:
        """Jaccard similarity of all their text."""
        a, b = self.shingles[one.part, one.row], self.shingles[other.part, other.row]
        return len(a & b) / len(a | b) if a or b else 0.0


def rows(folder: Path) -> list[dict[str, Any]]:
    paths = sorted(folder.glob("*.parquet"))
    if not paths:
        raise SystemExit(f"{folder} holds no parquet file: name a run folder that is whole")
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def _capture(row: Mapping[str, Any], *, offset: int) -> Capture:
    kept = row["outcome"] == KEPT
    return Capture(
        part=row["part"],
        row=row["row"],
        offset=offset,
        outcome=KEPT if kept else row["reason"],
        stage="" if kept else row["stage"],
    )


def pages(run: Run, truth: Iterable[Line]) -> Iterator[Found]:
    """What became of every page that was planted, and of every other."""
    by_url: dict[str, list[Line]] = defaultdict(list)
    for line in truth:
        if line.kind == "page" and line.planted != "revisit":
            by_url[line.url].append(line)
        elif line.kind == "page":
            yield Found(planted="revisit", outcome="counted aside", why="no page", where=line.url)
    for url, lines in by_url.items():
        left = list(run.captures.get(url, ()))
        for line in lines:
            many = 2 if line.planted == "twice" else 1
            own, left = left[:many], left[many:]
            yield _page(run, line, own, later=left)
        for capture in left:
            yield Found(planted="(not planted)", outcome=capture.shown, why="", where=url)


def _page(run: Run, line: Line, own: Sequence[Capture], *, later: Sequence[Capture]) -> Found:
    shown = " + ".join(sorted(capture.shown for capture in own)) or "vanished"
    why = ""
    if line.planted == "twice":
        why = _twice(own)
    elif own and line.planted in BY_RECORD:
        why = "as planted" if own[0].outcome == BY_RECORD[line.planted] else ""
    elif own and line.planted == "mirror":
        why = _mirror(own[0], run.captures[line.of][-1])
    elif own:
        why = _plain(run, own[0], later)
    return Found(planted=line.name, outcome=shown, why=why, where=line.url)


def _twice(own: Sequence[Capture]) -> str:
    if len(own) != 2:
        return ""
    outcomes = [capture.outcome for capture in own]
    if outcomes[0] == outcomes[1] and not own[0].passed_alone:
        return "the same refusal twice"
    return "once is enough" if outcomes.count("same_record") == 1 else ""


def _mirror(mirror: Capture, original: Capture) -> str:
    if mirror.outcome == "near_duplicate_text" and original.passed_alone:
        return "its original came first"
    if mirror.outcome == "near_duplicate_text" and original.outcome in {"too_few_words", "no_text"}:
        return "its original came first, of which repeats left too little"
    if mirror.passed_alone or original.passed_alone:
        return ""  # both are good and not told apart, or the same text was judged in two ways
    if mirror.outcome == original.outcome:
        return "refused alone, as its original"
    # planted capitals change what repeats, letter by letter, and no other signal
    return "both refused alone" if original.outcome == "character_repetition" else ""


def _plain(run: Run, own: Capture, later: Sequence[Capture]) -> str:
    match own.outcome:
        case "older_capture":
            return "a later capture passes" if any(c.passed_alone for c in later) else ""
        case "same_record":
            return ""
        case "near_duplicate_text":
            others = (c for captures in run.captures.values() for c in captures)
            alike = max(
                run.alike(own, other)
                for other in others
                if other != own and other.passed_alone and other.stage != "extract"
            )
            return "another page says the same" if alike >= LEAST_JACCARD else ""
    if own.passed_alone and any(capture.passed_alone for capture in later):
        return ""  # a later capture passes, and this one stayed
    return "judged as any page"


def files(run: Run, truth: Iterable[Line]) -> Iterator[Found]:
    """What was found of every image that was planted."""
    for line in truth:
        if line.kind != "image":
            continue
        row = run.files.get(line.url)
        status = row["status"] if row else ""
        right = status == STATUS.get(line.planted, "ok")
        shown = {"": "no file", "ok": "read"}.get(status, status)
        yield Found(
            planted=line.name, outcome=shown, why="as planted" if right else "", where=line.url
        )


def nodes(run: Run, truth: Iterable[Line]) -> Iterator[tuple[bool, Found]]:
    """What became of every image node; whether its page was kept."""
    planted = {line.url: line.name for line in truth if line.kind == "image"}
    good = {(row["part"], row["row"]) for row in run.documents if row["outcome"] == KEPT}
    by_page: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for use in run.uses:
        by_page[use["part"], use["row"]].append(use)
    for page, uses in by_page.items():
        for use in uses:
            name = planted.get(use["url"], NOT_ASKED)
            outcome = KEPT if use["outcome"] == KEPT else use["reason"]
            where = f"{use['url']} (node {use['node']} of {use['id']})"
            why = _node(run, use, name, uses)
            yield page in good, Found(planted=name, outcome=outcome, why=why, where=where)


def _node(run: Run, use: Mapping[str, Any], name: str, uses: Sequence[Mapping[str, Any]]) -> str:
    before = [u for u in uses if u["node"] < use["node"] and u["outcome"] == KEPT]
    file = run.files.get(use["url"])
    if use["outcome"] == KEPT:
        if any(_twin(run, use["url"], other["url"]) for other in before):
            return ""
        return "a picture" if file and name not in {"tiny", "html", "cut"} else ""
    reason = use["reason"]
    if reason in BY_PAGE:
        return BY_PAGE[reason]
    if reason in BY_FILE:
        return BY_FILE[reason].get(name, "")
    return _pixels(run, reason, use, file, before) if file and file["status"] == "ok" else ""


def _pixels(
    run: Run,
    reason: str,
    use: Mapping[str, Any],
    file: Mapping[str, Any],
    before: Sequence[Mapping[str, Any]],
) -> str:
    match reason:
        case "image_format":
            return f"a {file['format']}" if file["format"] not in {"jpeg", "png", "webp"} else ""
        case "image_side_short":
            side = min(file["width"], file["height"])
            return f"a side under {use['limit']:g}" if side < use["limit"] else ""
        case "image_aspect":
            aspect = file["width"] / file["height"]
            return "long or tall" if aspect > use["limit"] or aspect < use["limit"] < 1 else ""
        case "duplicate_in_document":
            found = (_twin(run, use["url"], other["url"]) for other in before)
            return next(filter(None, found), "")
    return ""


def _twin(run: Run, one: str, other: str) -> str:
    """What makes two images one; empty where nothing does."""
    if one == other:
        return "the same URL before it"
    a, b = run.files[one], run.files[other]
    if a["sha256"] == b["sha256"]:
        return "the same bytes before it"
    near = (a["phash"] ^ b["phash"]).bit_count() <= run.distance
    return f"within {run.distance} bits of one before it" if near else ""


def show(title: str, found: Sequence[Found]) -> None:
    """A table; the rows of each planted kind by number."""
    counts = Counter((one.planted, one.outcome, one.why or "NOT EXPLAINED") for one in found)
    kinds = Counter(one.planted for one in found)
    print(f"\n{title}: {len(found):,}")
    print(f"{'planted':24}{'all':>7}  {'outcome':48}{'n':>7}  why")
    last = ""
    for (planted, outcome, why), count in sorted(
        counts.items(), key=lambda item: (item[0][0], -item[1], item[0])
    ):
        head = f"{planted:24}{kinds[planted]:>7,}" if planted != last else " " * 31
        print(f"{head}  {outcome:48}{count:>7,}  {why}")
        last = planted


def read_truth(path: Path) -> list[Line]:
    with path.open(encoding="utf-8") as lines:
        found = [Line(**json.loads(line)) for line in lines]
    # images lie under the form in which pages name them
    return [
        replace(line, url=absolute_url(line.url, base=line.url)) if line.kind == "image" else line
        for line in found
    ]


def main() -> int:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=HELP)
    ask.add_argument("run", type=Path)
    ask.add_argument("truth", type=Path)
    say = ask.parse_args()
    run, truth = Run(say.run), read_truth(say.truth)
    of_nodes = list(nodes(run, truth))
    tables = {
        "Pages": list(pages(run, truth)),
        "Image files": list(files(run, truth)),
        "Image nodes of all pages": [found for _, found in of_nodes],
        "Image nodes of kept pages": [found for kept, found in of_nodes if kept],
    }
    for title, found in tables.items():
        show(title, found)
    open_ends = [(title, one) for title, found in tables.items() for one in found if not one.why]
    print(f"\nNot explained: {len(open_ends)}")
    for title, one in open_ends:
        print(f"  {title}: {one.planted} -> {one.outcome}: {one.where}")
    return 1 if open_ends else 0


if __name__ == "__main__":
    sys.exit(main())
