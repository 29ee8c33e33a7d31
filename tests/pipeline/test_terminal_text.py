"""Nothing that a page, a name or a foreign folder holds reaches the terminal but as text."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
from pathlib import Path
from typing import Final

import pytest
from rich.progress import Progress, TextColumn
from rich.table import Table

from pipeline.fetch.progress import FetchedFigures, Urls, show_figures
from pipeline.job import Fetching
from pipeline.store import store
from schemas.terminal import PlainConsole, PlainStream, one_line, printable, printable_lines
from tests.fetch.stage import job_for
from tests.pipeline.bad_crawls import Ended, command, good, html_of, image_record, page_record
from tests.read.crawls import gzipped

CODES: Final = "\x1b]0;owned\x07\x1b]52;c;ZXZpbA==\x07\x1b[31m\x9b2J\x7f\x08\x08\r\u202e\u2066"
MARKUP: Final = "[bold red]x[/]:bug:"
HOSTILE: Final = CODES + MARKUP
READABLE: Final = "Grüße, 中文, ελληνικά, שלום, 👩\u200d💻"
OBEYED: Final = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)
NAME: Final = HOSTILE.replace("/", "|")  # of a file


def plain(text: str) -> str:
    """The text, which holds nothing that a terminal obeys but the end of a line."""
    assert OBEYED.findall(text) == []
    return text


def clean(*arguments: str | Path, code: int) -> Ended:
    ended = command(*arguments)
    assert ended.code == code, ended.out + ended.err
    assert plain(ended.err).count("\n") == (1 if ended.err else 0)
    plain(ended.out)
    return ended


def test_what_is_obeyed_is_escaped_and_what_is_read_stays() -> None:
    assert printable(READABLE) == READABLE
    assert printable("a\x1b\x9b\u202e\n\ud800") == "a\\x1b\\u009b\\u202e\\x0a\\ud800"
    assert printable_lines("a\r\nb") == "a\\x0d\nb"
    assert one_line("a\n  b\x85c\td") == "a b c\\x09d"
    whatever = "".join(map(chr, range(0x3000))) + "\udfff\ud800"
    plain(printable(whatever).encode().decode())
    text = json.dumps({whatever: [whatever]}, indent=1, ensure_ascii=False)
    assert json.loads(plain(printable_lines(text))) == {whatever: [whatever]}


@pytest.mark.parametrize("colours", ["", "1"])
def test_a_console_obeys_nothing_of_what_it_prints(
    colours: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if colours:
        monkeypatch.setenv("FORCE_COLOR", colours)
    monkeypatch.setenv("COLUMNS", "500")
    monkeypatch.setenv("TERM", "xterm")  # a dumb one has no colours
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        console = PlainConsole()
        table = Table(title=HOSTILE)
        table.add_column(HOSTILE)
        table.add_row(HOSTILE, style="green")
        for one in (HOSTILE, table):
            console.print(one)
        with Progress(TextColumn("{task.description}", markup=False), console=console) as progress:
            progress.add_task(HOSTILE)
            progress.console.print(READABLE)
    shown = re.sub(r"\x1b\[(\d+;)*\d*m|\x1b\[\?25[lh]|\x1b\[2K|\x1b\[1A|\r", "", out.getvalue())
    assert ("\x1b[" in out.getvalue()) == bool(colours)
    assert MARKUP in plain(shown)
    assert READABLE in shown


def test_a_stream_obeys_nothing_of_what_is_written_to_it() -> None:
    held = io.StringIO()
    print(f"a {HOSTILE}\n{READABLE}", file=PlainStream(held))
    assert plain(held.getvalue()).count("\n") == 2
    assert READABLE in held.getvalue()


def hostile_page() -> bytes:
    """With a hostile text in each place that explain tells of."""
    text = f"{HOSTILE} {READABLE}"
    head = (
        f'<title>{text}</title><link rel=canonical href="http://e.org/{HOSTILE}">'
        f'<link rel=license href="http://l.org/{HOSTILE}"><meta name=tdm-policy content="{text}">'
        f'<meta name=tdm-reservation content=1><meta name=robots content="{text},noai">'
        f'<meta name=dc.rights content="{text}"><meta charset="{HOSTILE}">'
    )
    figure = (
        f'<figure><img src="https://i.org/{HOSTILE}.jpg" alt="{text}" width="{HOSTILE}">'
        f"<figcaption>{text} is seen here.</figcaption></figure>"
    )
    body = html_of(1).decode().replace("<p>", f"{figure}<p>{text} ", 1)
    return body.replace("<title>", f"{head}<title>", 1).encode()


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / f"{NAME}.html"
    path.write_bytes(hostile_page())
    return path


@pytest.fixture(scope="module")
def crawled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    """A run whose folder, inputs, lists and pages are hostile, and how it ended."""
    folder = tmp_path_factory.mktemp("hostile") / NAME
    folder.mkdir()
    crawl = folder / f"{NAME}.warc.gz"
    kind = f"image/jpeg\r\nX-Robots-Tag: {HOSTILE}"
    image = image_record(f"https://i.org/{HOSTILE}.jpg", b"no image", kind)
    records = [*good(2, 3), page_record(1, html=hostile_page()), image]
    crawl.write_bytes(gzipped(records))
    recipe, opt_out = folder / f"{NAME}.toml", folder / f"{NAME}.txt"
    name = json.dumps(f"mine {HOSTILE}").replace("\x7f", "")
    recipe.write_text(f"base = 'obelics'\nname = {name}\nnoai = false\n")
    opt_out.write_text("nobody.example # " + HOSTILE.replace("\r", "") + "\n")
    words = folder / f"{NAME}.words"
    words.write_text("spam\n")
    run = ("run", crawl, "-o", folder / f"{NAME}.run", f"--recipe={recipe}", f"--opt-out={opt_out}",
           f"--spam-words={words}", "--no-fetch", "--workers=1")  # fmt: skip
    return folder / f"{NAME}.run", command(*run)


def test_a_whole_run_prints_text(crawled: tuple[Path, Ended], page: Path, tmp_path: Path) -> None:
    run, ended = crawled
    assert (ended.code, ended.err) == (0, "")
    assert f"{NAME}.run"[-12:] in plain(ended.out)
    assert f"{NAME}.run"[-12:] in clean("stats", run, code=0).out
    assert "balances" in clean("verify", run, code=0).out
    clean("run", "-o", run, "--workers=1", code=0)
    told = clean("explain", page, "--url=https://e.org/", "--run", run, code=0).out
    assert "mine \\x1b]0;owned" in told
    clean("refetch", run, code=2)
    clean("import-images", run, tmp_path / f"{NAME}.tar", code=2)


def test_explain_prints_text_in_every_place(page: Path) -> None:
    told = clean("explain", page, "--url", f"https://e.org/{HOSTILE}", code=0).out
    for line in ("title", "the page says", "alt:"):
        (shown, *_) = [one for one in told.splitlines() if line in one]
        assert MARKUP in shown
        assert READABLE in shown or line == "the page says"
    read = json.loads(clean("explain", page, "--url=https://e.org/", "--json", code=0).out)
    assert READABLE in read["document"]["title"]


def test_explain_prints_text_of_the_page_that_was_found(shared_data: object) -> None:
    path = shared_data("reports/hostile/terminal.html")  # type: ignore[operator]
    told = clean("explain", path, "--url=https://e.org/", code=0).out
    assert "\\x1b]52;c;ZXZpbA==" in told


WRONG: Final = [
    ("run", "none", f"-oX/{HOSTILE}"),
    ("run", HOSTILE, "-o", "{run}"),
    ("run", "{crawl}", "-o", "{run}", "--no-fetch", f"--recipe={HOSTILE}"),
    ("run", "{crawl}", "-o", "{run}", "--no-fetch", f"--stage={HOSTILE}"),
    ("run", "{crawl}", "-o", "{run}", "--no-fetch", f"--limit={HOSTILE}"),
    ("run", "{crawl}", "-o", "{run}", "--no-fetch", f"--{HOSTILE}"),
    ("run", "{crawl}", "-o", "{run}", "--no-fetch", "--recipe={file}.toml"),
    ("run", "{crawl}", "-o", "{run}", "--no-fetch", "--opt-out={file}.toml"),
    ("run", "{crawl}", "-o", "{run}", "--no-fetch", "--stop-words={file}.toml"),
    ("run", "{crawl}", "-o", "{run}", "--contact=me@e.org", "--rates={file}.toml"),
    ("run", "{crawl}", "-o", "{run}", "--contact=me@e.org", "--host-map={file}.toml"),
    ("run", "{file}.paths", "-o", "{run}", "--no-fetch"),
    ("run", "{file}.csv", "-o", "{run}", "--no-fetch"),
    ("stats", "{file}"),
    ("verify", "{file}"),
    ("explain", "{file}.html", "--url=https://e.org/"),
    (HOSTILE, "x"),
]


@pytest.mark.parametrize("arguments", WRONG, ids=lambda one: "-".join(one)[-12:].encode().hex())
def test_what_is_wrong_is_told_as_text(arguments: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / NAME
    for ending in (".toml", ".paths", ".csv"):
        file.with_name(NAME + ending).write_text(f"{HOSTILE} two words\n")
    crawl = tmp_path / "a.warc.gz"
    crawl.write_bytes(gzipped(good(2)))
    places = {"{run}": tmp_path / "run", "{crawl}": crawl, "{file}": file}
    named = []
    for one in arguments:
        for place, path in places.items():
            one = one.replace(place, str(path))  # noqa: PLW2901
        named.append(one)
    assert clean(*named, code=2).err.startswith("interloom: ")


def test_a_foreign_run_folder_is_told_as_text(crawled: tuple[Path, Ended], tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(crawled[0], run)
    file = run / "shard.manifest.json"
    told = json.loads(file.read_text())
    told["counts"] |= {
        "documents.dropped.\x1b[31m\nx": 10**9,
        f"documents.dropped.{HOSTILE}": 10**8,
    }
    file.write_text(json.dumps(told))
    assert "\\x1b[31m\\x0ax 1,000,000,000" in clean("stats", run, code=0).out
    (run / f"stray {NAME}").touch()
    assert "stray \\x1b" in clean("verify", run, code=1).out
    file.write_text(json.dumps(told | {HOSTILE: 1}))
    assert "is no key" in clean("stats", run, code=2).err
    path = run / "run.json"
    read = json.loads(path.read_text())
    for table, name in (("crawl", "inputs"), ("settings", "language"), ("settings", "lid_model"),
                        ("crawl", HOSTILE), ("settings", HOSTILE)):  # fmt: skip
        value = [HOSTILE] if name == "inputs" else HOSTILE
        path.write_text(json.dumps(read | {table: read[table] | {name: value}}))
        clean("run", "-o", run, "--no-fetch", code=2)


def test_news_of_hosts_are_told_as_text(tmp_path: Path) -> None:
    """And a lease that tells something else than a holder does is none."""
    job = job_for(tmp_path, ["http://a.test/a.jpg"], Fetching(on=True, contact="me@example.org"))
    meter = Urls(job)
    news = dict.fromkeys(("asked", "done", "ok", "bytes", "seconds", "hosts"), 1)
    told = {**news, "commits": "fetch-x", "slowest": {HOSTILE + "\n": 2.0}}
    path = job.path("leases", "00000.host.json")
    store.write_bytes(path, json.dumps({"until": 0, "news": told}).encode())
    assert MARKUP + "\\x0a 2.0 s" in plain(meter.look()[1])
    for name in told:
        others: tuple[object, ...] = (None, [HOSTILE], {}, HOSTILE)
        for other in others:
            if name != "commits" or other is not HOSTILE:
                wrong = {"until": 0, "news": told | {name: other}}
                store.write_bytes(path, json.dumps(wrong).encode())
                done, line = Urls(job).look()
                assert (done, plain(line).count("2.0 s")) in [(0, 0), (0, 1)]


def test_figures_of_hosts_are_told_as_text() -> None:
    figures = FetchedFigures(images=1, bytes=1)
    for table in (figures.by_host, figures.by_domain, figures.by_age):
        table[HOSTILE][f"{HOSTILE}\n"] += 1
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        show_figures(figures, PlainConsole())
    assert "owned" in plain(out.getvalue())
