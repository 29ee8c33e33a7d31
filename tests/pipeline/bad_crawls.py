"""Crawls with something wrong in them, the command in this process, and what became of each page.

A good page here has three paragraphs that the recipe lets pass and a picture of its own, so that
whatever is wrong around it, it must come out; `Fates` says what did.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final
from unittest import mock

from pipeline.cli import main
from tests.crawl import encoded, page, paragraphs, picture
from tests.pipeline.runs import rows
from tests.read.crawls import http, warc

SITE: Final = "https://good-{}.example.org"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


def command(*arguments: str | Path) -> Ended:
    """`interloom ARGUMENTS` in this process: Beam is imported once for all tests."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, COLUMNS="1000"),
        mock.patch.object(sys, "argv", ["interloom", *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as left:
            code = left.code
    assert code is None or isinstance(code, int)
    return Ended(code=code or 0, out=out.getvalue(), err=err.getvalue())


def run_here(output: Path, *arguments: str | Path, code: int = 0) -> Ended:
    """A whole run with one worker that must end so; what it leaves must balance."""
    ended = command("run", *arguments, "-o", output, "--workers=1", "--no-fetch")
    assert (ended.code, ended.err) == (code, ""), ended.out[-2000:] + ended.err[-4000:]
    counted = command("verify", output)
    wrong = [line for line in counted.out.splitlines() if "FAILED" in line or "DIFFERS" in line]
    assert counted.code == 0, "\n".join(wrong) or counted.out[-4000:] + counted.err
    return ended


def url_of(number: int) -> str:
    return SITE.format(number) + "/page"


def texts_of(number: int) -> list[str]:
    return paragraphs(random.Random(f"good/{number}"))


@cache
def image_of(number: int) -> bytes:
    return encoded(picture(7_000_000 + number))


def html_of(number: int, *others: str) -> bytes:
    """A good page that shows its own picture, and `others` beside it."""
    return page(
        f"Good page {number}", texts_of(number), [f"{SITE.format(number)}/own.jpg", *others]
    )


def page_record(number: int, *others: str, html: bytes | None = None) -> bytes:
    return warc(http(html or html_of(number, *others)), url=url_of(number))


def image_record(
    url: str,
    body: bytes,
    media: str = "image/jpeg",
    *,
    status: str = "200 OK",
    date: str = "2020-01-02T03:04:05Z",
) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {media}\r\n\r\n".encode()
    return warc(head + body, url=url, date=date)


def good(*numbers: int) -> list[bytes]:
    """Records of good pages, each followed by its picture."""
    return [record for number in numbers for record in _pair(number)]


def _pair(number: int) -> tuple[bytes, bytes]:
    return page_record(number), image_record(f"{SITE.format(number)}/own.jpg", image_of(number))


def pages_of(numbers: Iterable[int]) -> set[str]:
    return {url_of(number) for number in numbers}


class Fates:
    """What a run says of its pages, records and image files, from its tables."""

    def __init__(self, output: Path) -> None:
        self.documents = rows(output, "tables/documents")
        self.images = rows(output, "tables/images")
        self.drops = rows(output, "tables/drops")
        self._inputs = json.loads((output / "run.json").read_text())["crawl"]["inputs"]

    @property
    def kept(self) -> set[str]:
        return {row["url"] for row in self.documents if row["outcome"] == "kept"}

    @property
    def dropped(self) -> dict[str, str]:
        """URL -> reason of the dropped documents."""
        return {row["url"]: row["reason"] for row in self.documents if row["outcome"] == "dropped"}

    def lost(self) -> dict[str, dict[str, int]]:
        """Input (its last two names) -> reason -> records, image files too, that are of no use."""
        found: dict[str, Counter[str]] = defaultdict(Counter)
        for row in self.drops:
            if row["kind"] in {"record", "file"}:
                found[self._input_of(row["part"])][row["reason"]] += 1
        return {name: dict(reasons) for name, reasons in found.items()}

    def pages(self) -> dict[str, set[str]]:
        """Input (its last two names) -> URLs of the pages read from it, kept or not."""
        found: dict[str, set[str]] = defaultdict(set)
        for row in self.documents:
            found[self._input_of(row["part"])].add(row["url"])
        return dict(found)

    def _input_of(self, part: str) -> str:
        """PART begins with the input's number."""
        number = int(part.partition("-")[0])
        return "/".join(Path(self._inputs[number]).parts[-2:])

    def nodes(self, start: str) -> dict[str, str]:
        """Name of an image below a URL -> reason, or kept, where its node came to be judged."""
        return {
            row["url"].removeprefix(start): row["reason"] or row["outcome"]
            for row in self.images
            if row["url"].startswith(start)
        }


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path
