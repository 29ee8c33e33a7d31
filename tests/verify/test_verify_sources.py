"""Each file is held against what it was made from, and what differs is named by stage and place."""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from warcio.warcwriter import WARCWriter

from pipeline.store import parquet
from pipeline.verify import Verification, verify
from pipeline.verify.pictures import DECODED, is_drawn
from pipeline.verify.printed import remedy
from pipeline.verify.records import count_records
from tests.verify.damage import edit_manifest, parts, rewrite

Rows = list[dict[str, Any]]


def verified(run: Path) -> Verification:
    return verify(str(run), inputs=False)


def change(run: Path, folder: str, lie: Callable[[Rows], object], *, having: str = "") -> str:
    """Change the rows of the first part that tells of `having` (a reason, a URL); its name."""
    for path in parts(run, folder):
        if having in repr(list(parquet.read_rows(str(path)))):
            rewrite(path, folder, lie)
            return path.stem
    pytest.fail(f"{folder} holds nothing with {having}")


def blamed(found: Verification, stage: str, *words: str) -> None:
    """The stage alone failed, and one of its checks names the place in these words."""
    told = [(c.kind, c.counted_in, c.note) for c in found.failed]
    assert found.stages == (stage,), told
    assert any(all(word in " ".join(one) for word in words) for one in told), told


def set_to(name: str, value: object) -> Callable[[Rows], None]:
    def lie(rows: Rows) -> None:
        rows[0][name] = value

    return lie


def test_a_kept_image_that_lies_elsewhere_than_images_says_names_filter_images(run: Path) -> None:
    part = change(run, "kept", lambda rows: rows[0]["images"][0].update(offset=512_000))
    blamed(verified(run), "filter_images", "kept/", "images/", part)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sha256", "0" * 64), ("length", 3), ("width", 999), ("format", "webp"),
        ("pack", "000000-00000000000000-7.tar"),
    ],
)  # fmt: skip
def test_a_kept_image_other_than_its_file_names_filter_images(
    run: Path, name: str, value: object
) -> None:
    part = change(run, "kept", lambda rows: rows[0]["images"][0].update({name: value}))
    blamed(verified(run), "filter_images", "kept/", part)


def test_a_kept_image_of_another_node_is_found_by_its_url(run: Path) -> None:
    part = change(run, "kept", lambda rows: rows[0]["images"][0].update(url="https://x.org/a.jpg"))
    blamed(verified(run), "filter_images", "https://x.org/a.jpg is not of that image", part)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("phash", 7, "phash 7, but it shows"),
        ("width", 7, "width 7, but it shows"),
        ("height", 7, "height 7, but it shows"),
        ("format", "gif", "format gif, but it shows"),
        ("pack_offset", 512_000, "512000"),
        ("sha256", "0" * 64, "-0.tar at"),
        ("date", "1999-01-01T00:00:00Z", "found 1999-01-01"),
        ("pack", "000009-00000000000000-0.tar", "of another part"),
        ("value", 3.0, "ok, and yet value"),
    ],
)
def test_a_changed_row_of_images_names_extract(
    run: Path, name: str, value: object, said: str
) -> None:
    part = change(run, "images", set_to(name, value))
    blamed(verified(run), "extract", said, part.split("-")[0])


def test_an_image_url_that_its_sample_contradicts_names_extract_without_the_crawl(
    run: Path,
) -> None:
    kept = next(parts(run, "kept"))
    url = next(parquet.read_rows(str(kept)))["images"][0]["url"]

    def lie(rows: Rows) -> None:
        next(row for row in rows if row["url"] == url)["url"] = "https://x.org/other.jpg"

    change(run, "images", lie, having=url)
    found = verified(run)
    assert found.stages[0] == "extract"
    assert any("image files other than kept/ and shards/ say" in c.kind for c in found.failed)


@pytest.mark.parametrize("name", ["url", "date"])
@pytest.mark.parametrize("folder", ["images", "documents"])
def test_a_url_or_date_that_the_crawl_does_not_hold_names_extract(
    run: Path, folder: str, name: str
) -> None:
    value = {"url": "https://gardens.example.org/x", "date": "1999-01-01T00:00:00Z"}[name]

    def lie(rows: Rows) -> None:
        rows[0] |= {name: value, "decided": value} if "decided" in rows[0] else {name: value}

    change(run, folder, lie)
    found = verify(str(run))
    assert "extract" in found.stages
    (check,) = [c for c in found.failed if c.kind == "rows as their records"]
    assert "at byte" in check.note


@pytest.mark.parametrize("folder", ["tables/documents", "tables/images"])
@pytest.mark.parametrize("name", ["outcome", "reason", "stage"])
def test_another_fate_in_a_table_names_shard(run: Path, folder: str, name: str) -> None:
    part = change(run, folder, set_to(name, "fetch"))
    blamed(verified(run), "shard", f"{folder}/", part, name)


def test_a_document_in_the_other_split_names_shard(run: Path) -> None:
    def lie(rows: Rows) -> None:
        row = next(row for row in rows if row["split"])
        row["split"] = "train" if row["split"] == "heldout" else "heldout"

    change(run, "tables/documents", lie, having="'split': 't")
    blamed(verified(run), "shard", "other split")


def _with(rows: Rows, **wanted: object) -> dict[str, Any]:
    return next(row for row in rows if all(row[name] == value for name, value in wanted.items()))


@pytest.mark.parametrize(
    ("stage", "reason", "value"),
    [
        ("filter_text", "special_characters", 0.31),  # above its limit, and not what was measured
        ("filter_text", "special_characters", 0.29),
        ("filter_text", "special_characters", None),
        ("filter_text", "too_few_words", 10.0),
        ("filter_text", "image_url_word", 0.0),
        ("filter_images", "image_side_short", 79.0),  # below it, and not the file's
        ("filter_images", "image_side_short", 150.0),
        ("filter_images", "no_image", 1.0),
        ("extract", "http_status", 200.0),
        ("extract", "other_media", 1.0),
    ],
)
def test_a_value_that_misses_no_limit_or_was_not_measured_names_its_stage(
    run: Path, stage: str, reason: str, value: float | None
) -> None:
    folder = f"verdicts/{stage}"
    part = change(
        run, folder, lambda rows: _with(rows, reason=reason).update(value=value),
        having=f"'{reason}'",
    )  # fmt: skip
    blamed(verified(run), stage, part, reason)


def test_a_limit_that_the_recipe_does_not_have_names_its_stage(run: Path) -> None:
    folder = "verdicts/filter_images"
    change(run, folder, lambda rows: _with(rows, reason="image_side_short").update(limit=120.0),
           having="image_side_short")  # fmt: skip
    blamed(verified(run), "filter_images", "80.0 against 120.0")


@pytest.mark.parametrize("url", ["https://other.example.net/q.jpg", "https://gone.example/a.jpg"])
def test_another_url_in_wanted_names_filter_text(run: Path, url: str) -> None:
    change(run, "wanted", set_to("url", url))
    blamed(verified(run), "filter_text", "wanted/", f"{url} has another sha256")


def test_a_kept_document_that_asks_not_to_be_learnt_from_is_found(run: Path) -> None:
    kept = {row["id"] for path in parts(run, "kept") for row in parquet.read_rows(str(path))}

    def lie(rows: Rows) -> None:
        next(row for row in rows if row["id"] in kept)["robots"] = ["noai"]

    change(run, "documents", lie, having=min(kept))
    blamed(verified(run), "filter_text", "let pass", "noai")


def test_a_recipe_that_is_not_the_one_of_the_fingerprint_is_asked_nothing(run: Path) -> None:
    def lie(manifest: dict[str, Any]) -> None:
        manifest["settings"]["recipe"]["paragraph"][0]["rule"] = "AtNoon"

    edit_manifest(run, "filter_text", lie)
    found = verified(run)
    assert found.stages[0] == "filter_text"
    assert any("the recipe of filter_text" in check.note for check in found.not_counted)


REMEDIED = {
    "verdicts/extract": "extract", "kept": "filter_images", "tables/drops": "shard",
    "index": "shard", "wanted": "filter_text",
}  # fmt: skip


@pytest.mark.parametrize(("folder", "stage"), REMEDIED.items())
def test_what_it_says_to_remove_brings_all_back(
    run: Path, whole_run: Path, folder: str, stage: str, rerun: Callable[[Path], object]
) -> None:
    rewrite(next(parts(run, folder)), folder, lambda rows: rows.pop())
    said = remedy(verified(run))
    named = said.partition("remove ")[2].partition(", run the same")[0].split(", ")
    assert f"{stage}.manifest.json" in named
    for name in named:
        for path in [run / name] if (run / name).is_file() else sorted((run / name).rglob("*")):
            path.unlink() if path.is_file() else None
    rerun(run)
    assert verified(run).ok
    for path in whole_run.rglob("*"):
        if path.is_file() and not path.name.endswith(".host.json"):
            assert (run / path.relative_to(whole_run)).read_bytes() == path.read_bytes(), path


def test_all_pictures_are_drawn_of_few_and_a_fair_share_of_many() -> None:
    hashes = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(20_000)]
    assert all(is_drawn(one, files=DECODED) for one in ["f" * 64, *hashes[:100]])
    drawn = sum(is_drawn(one, files=20_000) for one in hashes)
    assert DECODED * 0.9 < drawn < DECODED * 1.1


def test_urls_with_spaces_are_no_news(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "odd.warc"
    with path.open("wb") as handle:
        writer = WARCWriter(handle, gzip=False)
        record = writer.create_warc_record(
            "https://example.org/a", "resource", payload=io.BytesIO(b"x"), length=1
        )
        record.rec_headers.replace_header("WARC-Target-URI", "https://example.org/a b c")
        writer.write_record(record)
    with caplog.at_level(logging.DEBUG):
        caplog.clear()
        assert count_records(str(path)) == {"records.type.resource": 1}
    assert not caplog.records
    logging.getLogger("warcio.recordloader").warning("heard again")
    assert [record.message for record in caplog.records] == ["heard again"]
