"""Every WARC and ARC of the shared data: what is read, by type and by problem, pinned.

The independent truth is warcio, which reads the same files record by record; where it cannot read
a file at all, the count stands on the file's own bytes, and the table says why.
"""

from __future__ import annotations

import collections
from collections.abc import Callable
from pathlib import Path

import pytest
from warcio.archiveiterator import ArchiveIterator

from schemas.verdict import Reason
from tests.read.crawls import read

SMALL = "ukwa-cc0/small-arcs-and-warcs/"
SOPA = "ukwa-cc0/wikipedia-sopa-blackout-2012/"
BLACKBOOK = SMALL + "IAH-20080430204825-00000-blackbook-truncated"
WHIRLWIND = {"warcinfo": 1, "request": 1, "response": 1, "metadata": 1}
EXAMPLE = {"warcinfo": 2, "response": 1, "request": 2, "revisit": 1}
WARCFILE = {"warcinfo": 1, "request": 17, "response": 16, "metadata": 16}
HERITRIX = {"warcinfo": 1, "response": 8, "request": 7, "metadata": 7}

# file, records by type, problems by (type, reason)
COUNTS: list[tuple[str, dict[str, int], dict[tuple[str, Reason], int]]] = [
    ("cc-whirlwind/whirlwind.warc", WHIRLWIND, {}),
    ("cc-whirlwind/whirlwind.warc.gz", WHIRLWIND, {}),
    ("cc-whirlwind/whirlwind.warc.wat", {"warcinfo": 1, "metadata": 1}, {}),
    ("cc-whirlwind/whirlwind.warc.wat.gz", {"warcinfo": 1, "metadata": 1}, {}),
    ("cc-whirlwind/whirlwind.warc.wet", {"warcinfo": 1, "conversion": 1}, {}),
    ("cc-whirlwind/whirlwind.warc.wet.gz", {"warcinfo": 1, "conversion": 1}, {}),
    ("resiliparse/block-sized-records.warc", {"unknown": 3}, {}),
    ("resiliparse/block-sized-records.warc.gz", {"unknown": 3}, {}),
    ("resiliparse/clueweb-quirk.warc.gz", {"warcinfo": 1, "response": 29}, {}),
    ("resiliparse/warcfile.warc", WARCFILE, {}),
    ("resiliparse/warcfile.warc.gz", WARCFILE, {}),
    # the robots of a dns: record, and the settings that wget keeps under metadata: addresses
    (BLACKBOOK + ".warc", HERITRIX, {("response", Reason.BAD_URL): 1}),
    (BLACKBOOK + ".warc.gz", HERITRIX, {("response", Reason.BAD_URL): 1}),
    (
        SMALL + "IAH-urls-wget.warc.gz",
        {"warcinfo": 1, "request": 16, "response": 16, "resource": 3},
        {("resource", Reason.BAD_URL): 3},
    ),
    (
        SOPA + "wikipedia-blackout/sopa-wikipedia-homepage.warc.gz",
        {"warcinfo": 1, "request": 86, "response": 74, "resource": 3},
        {("resource", Reason.BAD_URL): 3},
    ),
    (
        SOPA + "wikipedia-post-blackout/main-page.warc.gz",
        {"warcinfo": 1, "request": 77, "response": 70, "resource": 3},
        {("resource", Reason.BAD_URL): 3},
    ),
    (
        SOPA + "wikipedia-post-blackout/post-blackout.warc.gz",
        {"warcinfo": 1, "request": 62, "response": 51, "resource": 3},
        {("resource", Reason.BAD_URL): 3},
    ),
    ("warcio/example-digest.warc", {"request": 4}, {}),
    ("warcio/example-iana.org-chunked.warc", {"warcinfo": 1, "response": 1, "request": 1}, {}),
    ("warcio/example-resource.warc.gz", {"warcinfo": 2, "resource": 1}, {}),
    (
        "warcio/example-space-in-target-uri.warc.gz",
        {"warcinfo": 1, "resource": 1},
        {("resource", Reason.BAD_URL): 1},
    ),
    (  # two bytes of the body stand behind its told length
        "warcio/example-trunc.warc",
        {"warcinfo": 2, "response": 1, "request": 1},
        {("response", Reason.DAMAGED_RECORD): 1},
    ),
    (
        "warcio/example-wget-bad-target-uri.warc.gz",
        {"warcinfo": 1, "request": 1, "response": 1, "metadata": 1, "resource": 2},
        {("resource", Reason.BAD_URL): 2},
    ),
    ("warcio/example.warc", EXAMPLE, {}),
    ("warcio/example.warc.gz", EXAMPLE, {}),
    ("warcio/post-test.warc.gz", {"response": 3, "request": 3}, {}),
    # deflate breaks off at the end of the file
    ("resiliparse/clipped.warc.gz", {"damaged": 1}, {("damaged", Reason.DAMAGED_RECORD): 1}),
    (
        BLACKBOOK + ".arc",
        {"warcinfo": 1, "resource": 1, "response": 7},
        {("resource", Reason.BAD_URL): 1},
    ),
    (
        BLACKBOOK + ".arc.gz",
        {"warcinfo": 1, "resource": 1, "response": 7},
        {("resource", Reason.BAD_URL): 1},
    ),
    ("warcio/example.arc", {"warcinfo": 1, "response": 1}, {}),
    ("warcio/example.arc.gz", {"warcinfo": 1, "response": 1}, {}),
    (  # line ends were converted, so 1,579 bytes are left of 1,591
        "warcio/example-space-in-url.arc",
        {"warcinfo": 1, "response": 1},
        {("response", Reason.TRUNCATED_PAYLOAD): 1},
    ),
    (  # lengths of -1 and abc; the one sound record between them is kept
        "warcio/bad.arc",
        {"damaged": 2, "resource": 1},
        {("damaged", Reason.DAMAGED_RECORD): 2},
    ),
    # all records in one member
    ("warcio/example-bad-non-chunked.warc.gz", EXAMPLE, {}),
    (
        "warcio/example-bad.warc.gz.bad",
        {"warcinfo": 1, "response": 2, "request": 2, "revisit": 1},
        {},
    ),
    # one record cut over two members, and a third that begins with the second's blank lines
    ("warcio/example-wrong-chunks.warc.gz", {"response": 1, "request": 1}, {}),
]
NOT_READ_BY_WARCIO = {
    "resiliparse/clipped.warc.gz",
    "warcio/bad.arc",
    "warcio/example-bad-non-chunked.warc.gz",
    "warcio/example-bad.warc.gz.bad",
    "warcio/example-wrong-chunks.warc.gz",
}


@pytest.mark.parametrize(("name", "types", "problems"), COUNTS, ids=[row[0] for row in COUNTS])
def test_every_record_of_every_shared_file_is_counted_by_type_and_by_problem(
    shared_data: Callable[[str], Path],
    name: str,
    types: dict[str, int],
    problems: dict[tuple[str, Reason], int],
) -> None:
    records = read(shared_data("warc/" + name))

    assert collections.Counter(record.type for record in records) == types
    found = collections.Counter(
        (record.type, record.problem.reason) for record in records if record.problem
    )
    assert found == problems


@pytest.mark.parametrize("name", [row[0] for row in COUNTS if row[0] not in NOT_READ_BY_WARCIO])
def test_warcio_counts_the_same_records_with_the_same_addresses(
    shared_data: Callable[[str], Path], name: str
) -> None:
    path = shared_data("warc/" + name)
    with path.open("rb") as stream:
        theirs = [
            (record.rec_headers.get_header("WARC-Target-URI") or "").strip("<>").replace(" ", "%20")
            for record in ArchiveIterator(stream, arc2warc=True)
        ]

    ours = [record.url for record in read(path)]

    assert theirs
    assert [url for url in ours if not url.startswith("filedesc:")] == [
        url for url, kept in zip(theirs, ours, strict=True) if not kept.startswith("filedesc:")
    ]


def test_no_file_of_the_shared_data_is_left_out(shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("warc")
    crawls = {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and (".warc" in path.name or ".arc" in path.name)
    }

    refused = {name for name in crawls if name.endswith(".lz4")}

    assert crawls - refused == {row[0] for row in COUNTS}
    assert len(refused) == 2


def test_lz4_is_refused_by_its_bytes_with_a_remedy(shared_data: Callable[[str], Path]) -> None:
    with pytest.raises(ValueError, match=r"lz4 compression is not read.*fastwarc recompress"):
        read(shared_data("warc/resiliparse/warcfile.warc.lz4"))


def test_bodies_are_those_that_warcio_decodes(shared_data: Callable[[str], Path]) -> None:
    path = shared_data("warc/ukwa-cc0/wikipedia-sopa-blackout-2012/wikipedia-blackout")
    path /= "sopa-wikipedia-homepage.warc.gz"
    with path.open("rb") as stream:
        theirs = [
            record.content_stream().read()
            for record in ArchiveIterator(stream)
            if record.rec_type == "response"
        ]

    ours = [record.body for record in read(path) if record.type == "response"]

    assert len(ours) == 74
    assert ours == theirs
