"""Broken, hostile and mislabelled images that good pages show, in one whole run.

Each page shows its own good picture and one bad one: the page must come out with the first, and
the second must be refused with its reason, as a file where it cannot be read and as a node of its
page in any case.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.crawl import encoded, picture
from tests.pipeline.bad_crawls import (
    Fates,
    good,
    image_record,
    page_record,
    pages_of,
    run_here,
    write,
)
from tests.pipeline.runs import counts, rows
from tests.read.crawls import gzipped

BAD: Final = "https://bad.example.net/"
PINNED: Final = Path(__file__).parents[1] / "algorithms" / "image_outcomes.txt"

# those of shared/data/bad that can be decoded after all, and what the rules then say of them
DECODED: Final = {
    "baddens1.bmp": "image_format",
    "badfilesize.bmp": "image_format",
    "pal8badindex.bmp": "image_format",
    "broken_exif_dpi.jpg": "image_side_short",
    "cross_scan_line.png": "image_side_short",
    "hopper_bad_exif.jpg": "kept",
    "invalid-exif.jpg": "kept",
    "sugarshack_no_data.mpo": "kept",
}
WHOLE: Final = encoded(picture(1))
# (name, body, media type, what becomes of the node)
LABELS: Final = [
    ("page.jpg", b"<!doctype html><p>Sorry, this picture has moved.", "image/jpeg", "not_an_image"),
    (
        "drawing.svg",
        b"<svg xmlns='http://www.w3.org/2000/svg'></svg>",
        "image/svg+xml",
        "not_an_image",
    ),
    ("empty.jpg", b"", "image/jpeg", "empty_payload"),
    ("half.jpg", WHOLE[: len(WHOLE) // 2], "image/jpeg", "truncated_image"),
    ("zeros.png", bytes(4096), "image/png", "not_an_image"),
    ("called-html.jpg", WHOLE, "text/html", "kept"),  # the content tells, not the header
    ("called-gif.png", encoded(picture(2), "PNG"), "image/gif", "kept"),
    ("called-nothing.webp", encoded(picture(3), "WEBP"), "", "kept"),
    ("icon.ico", encoded(picture(4, width=64, height=64), "ICO"), "image/jpeg", "image_url_word"),
    ("favourite.ico", encoded(picture(5, width=64, height=64), "ICO"), "image/jpeg", "undecodable"),
    ("moving.gif", encoded(picture(6), "GIF"), "image/gif", "image_format"),
    ("gone.jpg", b"", "image/jpeg", "not_fetched"),  # asked for, and answered with 404
    ("never-crawled.jpg", b"", "", "not_fetched"),
]


@pytest.fixture(scope="module")
def bad_files(shared_data: Callable[[str], Path]) -> list[Path]:
    folder = shared_data("bad/pillow/images")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    assert len(files) == 45
    return files


@pytest.fixture(scope="module")
def expected(bad_files: list[Path]) -> dict[str, str]:
    """Name -> what becomes of the node: what decoding says (pinned in its tests), or a rule."""
    said = dict(line.split(": ", 1) for line in PINNED.read_text().splitlines() if ": " in line)
    outcomes = {Path(name).name: outcome.split()[0] for name, outcome in said.items()}
    found = {path.name: DECODED.get(path.name, outcomes[path.name]) for path in bad_files}
    return found | {name: outcome for name, _, _, outcome in LABELS}


@pytest.fixture(scope="module")
def run(bad_files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    shown = [(path.name, path.read_bytes(), "image/png") for path in bad_files]
    shown += [(name, body, media) for name, body, media, _ in LABELS]
    records = []
    for number, (name, body, media) in enumerate(shown):
        records += [page_record(number, BAD + name), good(number)[1]]
        if name != "never-crawled.jpg":
            status = "404 Not Found" if name == "gone.jpg" else "200 OK"
            records.append(image_record(BAD + name, body, media, status=status))
    short = image_record(BAD + "short.jpg", WHOLE)[:-2000]
    records += [page_record(900, BAD + "short.jpg"), good(900)[1]]
    folder = tmp_path_factory.mktemp("images")
    write(folder / "bad.warc.gz", gzipped(records) + gzipped([short]))
    run_here(folder / "run", folder / "bad.warc.gz")
    return folder / "run"


def test_every_bad_image_is_refused_with_its_reason(run: Path, expected: dict[str, str]) -> None:
    found = Fates(run).nodes(BAD)
    assert found == expected | {"short.jpg": "not_fetched"}
    assert Counter(found.values()) >= Counter(
        not_an_image=21, undecodable=17, truncated_image=4, empty_payload=1, kept=6
    )


def test_the_pages_that_show_them_come_out_with_their_own_pictures(run: Path) -> None:
    fates = Fates(run)
    numbers = [*range(45 + len(LABELS)), 900]
    assert fates.kept == pages_of(numbers)
    own = [row for row in fates.images if row["url"].endswith("/own.jpg")]
    assert len(own) == len(numbers)
    assert {row["outcome"] for row in own} == {"kept"}


def test_files_that_cannot_be_used_are_counted_by_reason(
    run: Path, expected: dict[str, str]
) -> None:
    """Those that only a rule refuses, or that no record holds, are no losses of extract."""
    unusable = ("not_an_image", "undecodable", "truncated_image", "empty_payload")
    lost = Counter(reason for reason in expected.values() if reason in unusable)
    lost["undecodable"] += 1  # icon.ico, whose node went for a word in its address
    told = counts(run, "extract")
    assert {reason: told[f"files.dropped.{reason}"] for reason in unusable} == lost
    assert told["files.seen"] == told["files.kept"] + lost.total()
    assert told["records.dropped.http_status"] == 1
    assert told["records.dropped.truncated_payload"] == 1


def test_what_the_crawl_does_not_hold_whole_is_wanted(run: Path) -> None:
    wanted = {row["url"] for row in rows(run, "wanted")}
    assert wanted == {BAD + name for name in ("gone.jpg", "never-crawled.jpg", "short.jpg")}
