from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pipeline.account.funnel import (
    WIDTH,
    Yield,
    as_text,
    funnel,
    funnel_of,
    in_units,
    render,
    show_funnel,
)
from pipeline.account.manifest import read_manifest
from pipeline.ending import show_places
from pipeline.stages import NAMES
from schemas.manifest import KINDS, Ledger, Manifest
from schemas.verdict import Reason
from tests.report.fabricated import Fabricate, Pages


def manifest_of(stage: str, **counts: int) -> Manifest:
    named = {name.replace("__", "."): n for name, n in counts.items()}
    return Manifest(
        stage=stage, fingerprint="", settings={}, versions={}, parts=1, parts_sha256="",
        counts=named,
    )  # fmt: skip


def test_rows_come_in_the_order_of_stages_and_kinds() -> None:
    manifests = {
        "extract": manifest_of(
            "extract", texts__seen=2, texts__kept=2, records__seen=1, records__kept=1
        ),
        "shard": manifest_of("shard", documents__seen=1, documents__kept=1),
    }
    assert [(row.stage, row.kind) for row in funnel(manifests)] == [
        ("extract", "records"), ("extract", "texts"), ("shard", "documents"),
    ]  # fmt: skip


def test_a_kind_of_which_nothing_was_seen_has_no_row() -> None:
    assert funnel({"fetch": manifest_of("fetch", images__seen=0)}) == []


def test_the_plain_table_is_aligned_and_names_the_stage_once() -> None:
    ledger = Ledger()
    for kind in ("documents", "images"):
        ledger.see(kind, 1_234)
        ledger.keep(kind, 1_000)
        ledger.drop(kind, Reason.LANGUAGE, 200)
        ledger.drop(kind, Reason.NO_IMAGE, 34)
    lines = as_text(list(funnel_of("filter_text", ledger))).splitlines()
    assert lines == [
        "stage        kind        seen   kept  dropped  most frequent reasons",
        "filter_text  documents  1,234  1,000      234  language 200, no_image 34",
        "             images     1,234  1,000      234  language 200, no_image 34",
    ]


LEDGERS = st.dictionaries(
    st.tuples(st.sampled_from(sorted(KINDS)), st.sampled_from(Reason)), st.integers(1, 10**12)
)


@given(LEDGERS)
def test_no_line_is_wider_than_a_readme(drops: dict[tuple[str, Reason], int]) -> None:
    ledger = Ledger()
    for (kind, reason), count in drops.items():
        ledger.see(kind, count)
        ledger.drop(kind, reason, count)
    rows = list(funnel_of("filter_images", ledger))
    assert sum(row.dropped for row in rows) == sum(drops.values())
    assert all(len(line) <= WIDTH for line in as_text(rows).splitlines())


def test_outside_a_terminal_the_plain_table_is_printed() -> None:
    rows = funnel({"extract": manifest_of("extract", documents__seen=3, documents__kept=3)})
    out = io.StringIO()
    render(rows, Console(file=out, width=40))
    assert out.getvalue() == as_text(rows) + "\n"


def test_on_a_terminal_every_count_is_in_the_table() -> None:
    counts = {
        "documents__seen": 3_210,
        "documents__kept": 3_000,
        "documents__dropped__language": 210,
    }
    out = io.StringIO()
    console = Console(file=out, width=100, force_terminal=True, color_system=None)
    render(funnel({"filter_text": manifest_of("filter_text", **counts)}), console)
    for text in ("filter_text", "3,210", "3,000", "210", "language 210"):
        assert text in out.getvalue()


def test_stats_say_what_came_out_and_what_lies_where(
    fabricate: Fabricate, every_outcome: Pages
) -> None:
    run = fabricate(every_outcome)
    run.shard()
    manifests = {stage: read_manifest(run.job, stage) for stage in NAMES}
    out = io.StringIO()
    console = Console(file=out, width=200)
    show_funnel(manifests, console)
    show_places(run.job, console)
    text = out.getvalue()
    assert "6 documents, 12 images (2.0 a document), 126 words" in text
    for name in ("documents", "packs", "shards", "tables", "report.html", "README.md"):
        assert run.job.path(name) in text
    assert "wanted" not in text.split("most frequent reasons")[1].split("report.html")[0]


def test_what_came_out_is_only_said_when_the_shards_are_whole() -> None:
    out = io.StringIO()
    show_funnel(
        {"extract": manifest_of("extract", documents__seen=1, documents__kept=1)}, Console(file=out)
    )
    assert "shard" not in out.getvalue()
    assert "0 documents" in str(Yield.of(Ledger()))


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1_000, "1 kB"), (999_499, "999 kB"), (999_500, "1 MB"),
     (13_700_000, "13.7 MB"), (2 * 10**15, "2e+03 TB")],
)  # fmt: skip
def test_bytes_are_written_with_three_digits(size: int, text: str) -> None:
    assert in_units(size) == text
