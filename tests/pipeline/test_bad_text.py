"""Pages in wrong charsets, and naughty strings in titles, alts, texts and addresses, in whole runs.

Documents must come out, tables and shards must hold the same text, and what is shown of it
(report.html, README.md) must be text and nothing else.
"""

from __future__ import annotations

import html
import json
import random
import tarfile
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import pytest
import yaml
from selectolax.lexbor import LexborHTMLParser

from tests.pipeline.bad_crawls import Fates, image_of, image_record, run_here, texts_of, write
from tests.pipeline.runs import counts, rows
from tests.read.crawls import gzipped, http, warc

WEST: Final = "Café, naïve, “so” they say: about 50 € each, in all the towns of the old Zürich."
EAST: Final = "日本語のページです。これは古い庭と川の話で、誰も家に帰りたがりませんでした。"
NORTH: Final = "Старый сад летом был полон людей, и никто не хотел уходить домой до вечера."
SOUTH: Final = "Un café crème coûte déjà plus qu'en été, hélas, là où naïvement on espérait mieux."
FAR: Final = "这是一个关于河边老花园的故事。夏天的时候那里总是坐满了人。"


class Coded(NamedTuple):
    """A page: its text and what it is encoded in; what header and meta say, if anything."""

    name: str
    text: str
    encoding: str
    header: str = ""
    meta: str = ""
    charset: str = ""  # what it must be read by


CODED: Final = (
    Coded("nothing-said", WEST, "utf-8", charset="utf-8"),
    Coded("latin1-is-windows", WEST, "cp1252", header="iso-8859-1", charset="cp1252"),
    Coded("said-utf8-but-is-not", SOUTH, "cp1252", header="utf-8", charset="cp1252"),
    Coded("marked", WEST, "utf-16", header="utf-8", charset="utf-16-le"),
    Coded("wide-without-a-mark", WEST, "utf-16-be", charset="utf-16-be"),
    Coded("in-meta", EAST, "cp932", meta="shift_jis", charset="cp932"),
    Coded("japanese", EAST, "euc_jp", charset="euc_jp"),
    Coded("more-than-gb2312", FAR, "gb18030", header="gb2312", charset="gb18030"),
    Coded("russian", NORTH, "koi8-r", charset="koi8-r"),
    Coded("header-wins", NORTH, "cp1251", header="windows-1251", meta="utf-8", charset="cp1251"),
    Coded("no-such-label", WEST, "utf-8", header="x-nonsense", charset="utf-8"),
    Coded("meta-cannot-be-wide", WEST, "utf-8", meta="utf-16", charset="utf-8"),
)
NOISE: Final = {
    "noise": random.Random(8).randbytes(5_000),
    "zeros": bytes(3_000),
    "half-an-image": image_of(1)[100:3_000],
}


def _shown_with_picture(site: str, number: int, markup: str) -> str:
    return f"{markup}<p>{texts_of(number)[0]}</p><img src='https://{site}/{number}.jpg' alt='it'>"


@pytest.fixture(scope="module")
def coded_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    records = []
    for number, one in enumerate(CODED):
        head = f"<meta charset={one.meta}>" if one.meta else ""
        body = _shown_with_picture("coded.example.org", number, f"<p>{one.text}</p>")
        page = f"<!doctype html><html><head>{head}<title>{one.name}</title><body>{body}"
        told = f"text/html; charset={one.header}" if one.header else "text/html"
        response = http(page.encode(one.encoding, "replace"))
        response = response.replace(b"text/html; charset=utf-8", told.encode(), 1)
        records.append(warc(response, url=f"https://coded.example.org/{one.name}"))
        picture = f"https://coded.example.org/{number}.jpg"
        records.append(image_record(picture, image_of(number)))
    records += [warc(http(body), url=f"https://coded.example.org/{name}")
                for name, body in NOISE.items()]  # fmt: skip
    folder = tmp_path_factory.mktemp("coded")
    crawl = write(folder / "coded.warc.gz", gzipped(records))
    run_here(folder / "run", crawl, "--recipe=off")
    return folder / "run"


def test_pages_are_read_by_their_charset_whatever_they_say(coded_run: Path) -> None:
    found = {row["title"]: (row["charset"], row["nodes"]) for row in rows(coded_run, "documents")}
    assert {name: charset for name, (charset, _) in found.items()} == {
        one.name: one.charset for one in CODED
    }
    for one in CODED:
        assert one.text in [node["text"] for node in found[one.name][1]], one.name
    assert len(Fates(coded_run).kept) == len(CODED)


def test_bytes_that_are_no_text_are_bad_encoding(coded_run: Path) -> None:
    assert list(Fates(coded_run).lost().values()) == [{"bad_encoding": len(NOISE)}]


NAUGHTY: Final = "https://naughty.example.org/"
NOWHERE: Final = "https://raw.example.org/"


@pytest.fixture(scope="module")
def strings(shared_data: Callable[[str], Path]) -> list[str]:
    found: list[str] = json.loads(shared_data("bad/blns/blns.json").read_text())
    assert len(found) == 515
    return [string for string in found if string]


@pytest.fixture(scope="module")
def naughty_run(strings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each string twice: escaped, as a page means it, and as it is, whatever that makes of it."""
    records = []
    for number, string in enumerate(strings):
        told = html.escape(string)
        address = quote(string, safe="")
        for site, text, path in ((NAUGHTY, told, address), (NOWHERE, string, string)):
            picture = f"{site}{number}.jpg?{address}"
            page = (
                f"<!doctype html><meta charset=utf-8><title>{text}</title><p>{texts_of(number)[1]}"
                f'<p>They say: {text}</p><p>{text}</p><img src="{picture}" alt="{text}">'
            )
            records.append(warc(http(page.encode()), url=f"{site}{number}/{path}"))
            records.append(image_record(picture, image_of(number)))
    folder = tmp_path_factory.mktemp("naughty")
    run_here(folder / "run", write(folder / "n.warc.gz", gzipped(records)), "--recipe=off")
    return folder / "run"


def seen(text: str) -> str:
    """What can be seen of a text: not its controls, formats and spaces."""
    return "".join(c for c in text if unicodedata.category(c) not in {"Cc", "Cf", "Zl", "Zp", "Zs"})


def of_site(output: Path, folder: str, site: str) -> dict[int, dict[str, Any]]:
    """Number of the string -> row of its page."""
    found = [row for row in rows(output, folder) if row["url"].startswith(site)]
    return {int(row["url"].removeprefix(site).split("/")[0]): row for row in found}


def test_every_naughty_string_comes_out_as_title_text_alt_and_address(
    naughty_run: Path, strings: list[str]
) -> None:
    documents = of_site(naughty_run, "documents", NAUGHTY)
    assert sorted(documents) == list(range(len(strings)))
    for number, string in enumerate(strings):
        row, address = documents[number], quote(string, safe="")
        texts = [seen(node["text"]) for node in row["nodes"] if node["kind"] == "text"]
        images = [node for node in row["nodes"] if node["kind"] == "image"]
        assert seen(row["title"]) == seen(string)
        assert seen(f"They say: {string}") in texts
        assert [seen(image["alt"]) for image in images] == [seen(string)]
        assert [image["url"] for image in images] == [f"{NAUGHTY}{number}.jpg?{address}"]
        assert row["url"] == f"{NAUGHTY}{number}/{address}"


def test_what_breaks_its_page_loses_at_most_that_page(
    naughty_run: Path, strings: list[str]
) -> None:
    assert sorted(of_site(naughty_run, "documents", NOWHERE)) == list(range(len(strings)))
    fates = Fates(naughty_run)
    assert fates.lost() == {}
    assert set(fates.dropped.values()) <= {"no_image", "no_text"}
    assert all(url.startswith(NOWHERE) for url in fates.dropped)
    assert len(fates.dropped) < 20


def samples(output: Path) -> Iterator[dict[str, Any]]:
    for path in sorted((output / "shards").iterdir()):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(".json"):
                    handle = tar.extractfile(member)
                    assert handle is not None
                    yield json.load(handle)


def test_tables_and_shards_hold_the_text_of_the_documents(naughty_run: Path) -> None:
    documents = {row["id"]: row for row in rows(naughty_run, "documents")}
    table = {row["id"]: row for row in Fates(naughty_run).documents}
    images = {(row["id"], row["node"]): row for row in Fates(naughty_run).images}
    assert table.keys() == documents.keys()
    for id_, row in documents.items():
        assert (table[id_]["url"], table[id_]["title"]) == (row["url"], row["title"])
        for place, node in enumerate(row["nodes"]):
            if node["kind"] == "image":
                told = images[id_, place]
                assert (told["url"], told["alt"]) == (node["url"], node["alt"])
    found = {sample["id"]: sample for sample in samples(naughty_run)}
    assert len(found) == counts(naughty_run, "shard")["documents.kept"] > 1_000
    for id_, sample in found.items():
        row = documents[id_]
        assert (sample["url"], sample["title"]) == (row["url"], row["title"])
        kept, every = ([(node["text"], node["alt"], node["url"]) for node in of["nodes"]]
                       for of in (sample, row))  # fmt: skip
        assert set(kept) <= set(every)


ACTIVE: Final = (
    "script, iframe, object, embed, link, base, form, input, math, video, audio, marquee, "
    "meta[http-equiv=refresh], foreignobject, svg image, svg style"
)


def test_the_report_shows_naughty_strings_as_text(naughty_run: Path) -> None:
    page = LexborHTMLParser((naughty_run / "report.html").read_text())
    assert page.css(ACTIVE) == []
    for element in page.css("*"):
        for name, value in element.attributes.items():
            assert not name.startswith("on")
            assert name not in {"href", "src"} or (value or "").startswith(("#", "data:image/"))
    assert page.body is not None
    text = page.body.text()
    titles = {row["title"] for row in rows(naughty_run, "documents")}
    shown = [title for title in titles if len(title) > 8 and title in text]
    assert len(shown) >= 6
    assert any("<" in title for title in shown)


def test_the_card_holds_none_of_them_and_its_front_matter_can_be_read(naughty_run: Path) -> None:
    card = (naughty_run / "README.md").read_text()
    _, front, body = card.split("---\n", 2)
    assert "dataset_info" in yaml.safe_load(front)
    assert "naughty" not in card
    assert LexborHTMLParser(body).css(ACTIVE) == []
