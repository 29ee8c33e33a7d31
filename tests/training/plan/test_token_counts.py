"""Counts are those of the real tokens, made once and kept where they can be written."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.shards import (
    Document,
    picture,
    prose,
    sample_of,
    small_tokenizer,
    word_tokenizer,
    write_run,
)
from training.data import counts
from training.data.counts import (
    VERSION_KEY,
    count_of,
    count_sources,
    find_counts,
    read_counts,
)
from training.data.sources import ShardFile, Source, open_source
from training.data.tokenizer import extended
from training.data.tokens import JOINT, Encoder, runs_of, sequence_of

DOCUMENTS: list[Document] = [[prose(30, seed=n), picture(8, 8), prose(9, seed=n)] for n in range(6)]
DIGEST = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("INTERLOOM_CACHE", str(folder))
    return folder


def count(source: Source) -> int:
    return count_sources([source], small_tokenizer().encoder, DIGEST)


def run(tmp_path: Path, *, shards: int = 1) -> Source:
    write_run(tmp_path / "run", DOCUMENTS, shards=shards)
    return open_source(str(tmp_path / "run"))


def test_counts_of_a_document_are_by_run_with_the_places_of_paragraphs_and_sentences() -> None:
    encoder = small_tokenizer().encoder
    sample, _ = sample_of(["The sea. Is wide.", "A ship.", picture(8, 8), picture(8, 8), "Red."])
    row = count_of(sample, encoder)
    first, second = row["runs"]
    tokens = encoder.ids([f"The sea. Is wide.{JOINT}A ship."])[0]
    assert (first["images"], first["tokens"]) == (0, len(tokens))
    assert (second["images"], second["tokens"]) == (2, len(encoder.ids(["Red."])[0]))
    assert (row["tokens"], row["images"], row["groups"]) == (
        first["tokens"] + second["tokens"], 2, 1
    )  # fmt: skip
    assert [decoded(encoder, tokens[at:]) for at in first["paragraphs"]] == ["A ship."]
    sentences = [decoded(encoder, tokens[at:]).strip() for at in first["sentences"]]
    assert sentences == [f"Is wide.{JOINT}A ship.", "A ship."]


def decoded(encoder: Encoder, tokens: Sequence[int]) -> str:
    return str(small_tokenizer().tokenizer.decode(list(tokens)))


def test_a_text_without_tokens_parts_no_images_in_counts_and_in_sequences() -> None:
    """Blanks are no word to a tokenizer of words."""
    encoder = extended(word_tokenizer("</s>", eos_token="</s>"), "words").encoder
    sample, _ = sample_of(["sea", picture(8, 8), "  ", picture(8, 8), "ship", picture(8, 8), " "])
    row = count_of(sample, encoder)
    assert [(one["images"], one["tokens"]) for one in row["runs"]] == [(0, 1), (2, 1), (1, 0)]
    assert (row["tokens"], row["images"], row["groups"]) == (2, 3, 2)
    assert len(sequence_of(sample, encoder, 5).tokens) == 2 + 2 + 3 * 6 + 2


TEXTS = st.lists(st.text(max_size=40), min_size=1, max_size=5)


@given(TEXTS)
def test_the_places_to_cut_lie_inside_the_run_in_order_and_once(texts: list[str]) -> None:
    sample, _ = sample_of([*texts])
    for one in count_of(sample, small_tokenizer().encoder)["runs"]:
        for places in (one["paragraphs"], one["sentences"]):
            assert places == sorted(set(places))
            assert all(0 < place < one["tokens"] for place in places)


@given(TEXTS)
def test_a_long_run_is_tokenised_in_parts_that_make_up_its_text(texts: list[str]) -> None:
    sample, _ = sample_of([picture(8, 8), *texts, picture(8, 8), *texts])
    whole, encoder = list(runs_of(sample)), small_tokenizer().encoder
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.data.tokens.LONGEST", 16)
        parts = list(runs_of(sample))
        row, sequence = count_of(sample, encoder), sequence_of(sample, encoder, 5)
    assert all(len(part.text) <= 16 for part in parts)
    assert "".join(part.text for part in parts) == "".join(run.text for run in whole)
    assert sum(part.images for part in parts) == row["images"] == len(sequence.images) == 2
    assert sum(len(part.paragraphs) for part in parts) == sum(len(run.paragraphs) for run in whole)
    assert len(sequence.tokens) == row["tokens"] + row["groups"] + 2 * 6 + 2


@given(TEXTS)
def test_a_paragraph_begins_in_the_token_at_its_place(texts: list[str]) -> None:
    sample, _ = sample_of([*texts])
    encoder = small_tokenizer().encoder
    for text, one in zip(runs_of(sample), count_of(sample, encoder)["runs"], strict=True):
        (encoded,) = encoder.encode([text.text])
        starts = {encoded.offsets[place] for place in one["paragraphs"]}
        for at in text.paragraphs[1:]:
            assert any(low <= at < high for low, high in starts)


def test_counts_are_made_once(tmp_path: Path) -> None:
    source = run(tmp_path, shards=2)
    assert count(source) == len(DOCUMENTS)
    assert count(source) == 0
    (tmp_path / "run" / "counts" / DIGEST / "train-00001.parquet").unlink()
    assert count(source) == source.shards[1].samples


def test_another_tokenizer_has_counts_of_its_own(tmp_path: Path) -> None:
    source = run(tmp_path)
    count(source)
    assert count_sources([source], small_tokenizer().encoder, DIGEST[::-1]) == len(DOCUMENTS)


def test_counts_of_other_samples_or_of_another_version_are_made_again(tmp_path: Path) -> None:
    source = run(tmp_path)
    count(source)
    (shard,) = source.shards
    place = find_counts(shard, DIGEST)
    assert place is not None
    table = pq.read_table(place)
    old = {**table.schema.metadata, VERSION_KEY: b"0"}
    pq.write_table(table.replace_schema_metadata(old), place)
    assert find_counts(shard, DIGEST) is None
    assert count(source) == len(DOCUMENTS)
    write_run(tmp_path / "run", DOCUMENTS[::-1])
    assert count(open_source(str(tmp_path / "run"))) == len(DOCUMENTS)


def test_a_file_of_counts_that_is_cut_short_is_made_again(tmp_path: Path) -> None:
    source = run(tmp_path)
    count(source)
    place = Path(str(find_counts(source.shards[0], DIGEST)))
    place.write_bytes(place.read_bytes()[:100])
    assert count(source) == len(DOCUMENTS)


def test_where_the_shards_cannot_be_written_counts_go_to_the_cache_folder(
    tmp_path: Path, own_cache: Path
) -> None:
    source = run(tmp_path)
    (tmp_path / "run" / "counts").write_text("a file where the folder would be")
    assert count(source) == len(DOCUMENTS)
    place = find_counts(source.shards[0], DIGEST)
    assert place is not None
    assert own_cache in Path(place).parents
    assert len(read_counts(source.shards[0], DIGEST)) == len(DOCUMENTS)


def test_counts_that_were_not_made_are_told_with_the_command(tmp_path: Path) -> None:
    source = run(tmp_path)
    with pytest.raises(ValueError, match=f"no counts of tokenizer {DIGEST}.*interloom-train index"):
        read_counts(source.shards[0], DIGEST)


def test_two_processes_count_what_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = run(tmp_path, shards=2)
    count(source)
    places = [Path(str(find_counts(shard, DIGEST))) for shard in source.shards]
    one = [place.read_bytes() for place in places]
    for place in places:
        place.unlink()
    monkeypatch.setattr(counts, "FEW", 0)
    told: list[tuple[int, int]] = []
    count_sources(
        [source],
        small_tokenizer().encoder,
        DIGEST,
        workers=2,
        progress=lambda done, todo: told.append((done, todo)),
    )
    assert [place.read_bytes() for place in places] == one
    assert told[-1] == (len(DOCUMENTS), len(DOCUMENTS))


def test_an_error_in_a_counting_process_names_the_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = run(tmp_path, shards=2)
    tar = Path(source.shards[1].tar)
    body = tar.read_bytes()
    tar.write_bytes(body.replace(b'"format_version":1', b'"format_version":7'))
    monkeypatch.setattr(counts, "FEW", 0)
    with pytest.raises(ValueError, match=r"train-00001\.tar, sample .*format version 7"):
        count_sources([source], small_tokenizer().encoder, DIGEST, workers=2)


def test_a_file_is_kept_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = ShardFile(root=str(tmp_path / "a"), name="counts/x.parquet", tar="t", tar_bytes=1)

    def fails(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(OSError, match="no space left"):
        kept.write(b"data")
    assert kept.existing() == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_other_texts_under_the_same_keys_are_counted_again(tmp_path: Path) -> None:
    source = run(tmp_path)
    count(source)
    tar = Path(source.shards[0].tar)
    with tarfile.open(tar) as opened:
        members = [(info.name, opened.extractfile(info).read()) for info in opened]  # type: ignore[union-attr]
    with tarfile.open(tar, "w") as opened:
        for name, body in members:
            other = body.replace(b'"text":"the sea', b'"text":"the wide sea')
            info = tarfile.TarInfo(name)
            info.size = len(other)
            opened.addfile(info, io.BytesIO(other))
    Path(source.shards[0].index).unlink()
    again = open_source(str(tmp_path / "run"))
    keys = [pq.read_table(one.shards[0].index)["key"].to_pylist() for one in (again,)]
    assert keys == [[name.removesuffix(".json") for name, _ in members if name.endswith(".json")]]
    assert count(again) == len(DOCUMENTS)
