"""The page of a step: every token and picture of it, marked as it is trained, and safe to open."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.training.shards import picture, prose, small_tokenizer, write_run
from tests.training.stream.feeds import IMAGE_TOKENS, RULE, documents, feed
from training.data.images import patches_of, places, resized
from training.data.tokens import IGNORED
from training.look.page import Meaning, picture_of, render, shown_row

LENGTH = 96


def meaning(folder: Path) -> Meaning:
    loaded = small_tokenizer()
    return Meaning(
        decode=lambda ids: str(loaded.tokenizer.decode(ids)),
        special=loaded.special,
        image_tokens=IMAGE_TOKENS,
        table=RULE.table,
        sequence_length=LENGTH,
        sources=[str(folder)],
    )


def test_a_page_shows_every_token_and_picture_of_its_rows(tmp_path: Path) -> None:
    write_run(tmp_path, documents(20))
    plan, reader = feed(str(tmp_path))
    rows, broken = reader.read(plan.next_batch())
    page = render(rows, meaning(tmp_path), title="Step 0", broken=broken)
    assert page.count("<img ") == sum(len(row.patch_lengths) for row in rows) > 0
    for row in rows:
        for one in shown_row(row, meaning(tmp_path)).pieces:
            assert one.piece.key in page
            trained = "".join(token.text for token in one.shown if token.kind == "trained")
            labels = row.labels[: row.lengths[0]] if one.piece == row.pieces[0] else None
            if labels is not None:
                words = meaning(tmp_path).decode([n for n in labels.tolist() if n != IGNORED])
                assert trained.replace("⟨end⟩", "</s>") == words
    assert f"{sum(len(row.tokens) for row in rows):,} tokens" in page


def test_a_later_piece_begins_with_its_context(tmp_path: Path) -> None:
    write_run(tmp_path, [[prose(400)]])
    plan, reader = feed(str(tmp_path))
    rows, _ = reader.read(plan.next_batch())
    pieces = [one for row in rows for one in shown_row(row, meaning(tmp_path)).pieces]
    later = [one for one in pieces if one.piece.start]
    assert later
    for one in pieces:
        kinds = [token.kind for token in one.shown]
        assert kinds[0] == ("context" if one.piece.start else "unlabelled")
        assert set(kinds[1:]) == {"trained"}


def test_what_others_wrote_is_escaped_and_nothing_is_fetched(tmp_path: Path) -> None:
    attack = "</span><script>alert(1)</script><img src=https://example.org/x> \u202eabc"
    write_run(tmp_path, [[attack, picture(), attack]])
    plan, reader = feed(str(tmp_path))
    rows, _ = reader.read(plan.next_batch())
    page = render(rows, meaning(tmp_path), title="<b>Step</b>")
    assert "<script" not in page
    assert "<b>" not in page
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    shown = html.unescape(re.sub(r"<[^>]*>", "", page.partition("<main>")[2]))
    assert "<script>alert(1)</script>" in shown
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in page
    assert "default-src 'none'" in page


def test_text_of_many_bytes_a_character_is_readable(tmp_path: Path) -> None:
    text = "Grüße, 世界! 🙂👩‍👩‍👧 नमस्ते"
    write_run(tmp_path, [[text]])
    plan, reader = feed(str(tmp_path))
    rows, _ = reader.read(plan.next_batch())
    (piece, *_) = shown_row(rows[0], meaning(tmp_path)).pieces
    assert "".join(one.text for one in piece.shown) == f"⟨start⟩{text}⟨end⟩"


def test_a_broken_image_is_named_with_its_reason(tmp_path: Path) -> None:
    write_run(tmp_path, [[prose(5), bytes(90), prose(5)]])
    plan, reader = feed(str(tmp_path))
    rows, broken = reader.read(plan.next_batch())
    page = render(rows, meaning(tmp_path), title="Step 0", broken=broken)
    assert "does not decode" in page
    assert "1 broken image left out" in page


def test_no_more_rows_are_shown_than_asked_for_and_the_page_says_so(tmp_path: Path) -> None:
    write_run(tmp_path, documents(20))
    plan, reader = feed(str(tmp_path))
    rows, _ = reader.read(plan.next_batch())
    page = render(rows, meaning(tmp_path), title="Step 0", most=2)
    assert "The first 2 rows are shown." in page
    assert page.count("<section>") == 2


@pytest.mark.parametrize("sides", [(300, 20), (20, 300), (70, 70), (1, 1)])
def test_a_picture_is_put_together_as_it_was_resized(sides: tuple[int, int]) -> None:
    data = picture(*sides)
    patches, at = patches_of(data, longest=70, shortest=42, table=5)
    wide, high = resized(*sides, longest=70, shortest=42)
    with Image.open(io.BytesIO(data)) as image:
        whole = np.asarray(image.resize((wide, high), Image.Resampling.BILINEAR))
    seen = picture_of(patches, at, table=5)
    assert np.array_equal(seen, whole[: high // 14 * 14, : wide // 14 * 14])


@given(st.integers(1, 70), st.data())
def test_the_sides_of_a_picture_are_told_by_the_places_of_its_patches(
    table: int, data: st.DataObject
) -> None:
    rows, columns = data.draw(st.integers(1, table)), data.draw(st.integers(1, table))
    patches = np.zeros((rows * columns, 588), np.uint8)
    seen = picture_of(patches, places(rows, columns, table=table), table=table)
    assert seen.shape == (rows * 14, columns * 14, 3)
