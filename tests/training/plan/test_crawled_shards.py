"""The pipeline's own shards: what is counted, indexed and planned is what their tars hold."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.crawl import write_crawl
from tests.pipeline.runs import run
from tests.training.shards import small_tokenizer
from training.data.counts import count_sources, read_counts, samples_of
from training.data.plan import Order, Totals, one_epoch
from training.data.sources import Source, open_source
from training.data.tokens import assemble, sequence_of

DIGEST = "f" * 32
IMAGE_TOKENS = 5
ORDER = Order(sequence_length=96, image_tokens=IMAGE_TOKENS, rows=4, window=7)


@pytest.fixture(scope="module")
def crawled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over a generated crawl; its tests only write counts/ into it."""
    crawl = write_crawl(tmp_path_factory.mktemp("crawl"), pages=20, warcs=1)
    return run(crawl, tmp_path_factory.mktemp("crawled") / "run", "--workers=1")


@pytest.fixture(scope="module")
def sources(crawled: Path) -> list[Source]:
    sources = [open_source(str(crawled)), open_source(str(crawled), split="heldout")]
    count_sources(sources, small_tokenizer().encoder, DIGEST)
    return sources


def test_counts_are_those_of_every_sample(
    sources: list[Source], say: Callable[[str], None]
) -> None:
    encoder, seen, shown = small_tokenizer().encoder, 0, 0
    for shard in (shard for source in sources for shard in source.shards):
        counts = read_counts(shard, DIGEST)
        tokens, images = counts.tokens.tolist(), counts.images.tolist()
        for row, sample in enumerate(samples_of(shard)):
            made = sequence_of(sample, encoder, IMAGE_TOKENS)
            blocks = images[row] * (IMAGE_TOKENS + 1) + int(counts.groups[row])
            assert len(made.tokens) == 1 + tokens[row] + blocks + 1
            assert len(made.images) == images[row]
            seen, shown = seen + 1, shown + images[row]
    assert seen == sum(source.samples for source in sources) > 10
    assert shown > seen
    say(f"counts agree with the tokens of all {seen} crawled samples and their {shown} images")


def test_every_target_of_every_sample_is_planned_once(sources: list[Source]) -> None:
    encoder = small_tokenizer().encoder
    made = {
        (number, shard, row): sequence_of(sample, encoder, IMAGE_TOKENS)
        for number, source in enumerate(sources)
        for shard, one in enumerate(source.shards)
        for row, sample in enumerate(samples_of(one))
    }
    trained: Counter[tuple[int, int, int, int]] = Counter()
    totals = Totals()
    for window in one_epoch(sources, DIGEST, ORDER):
        totals.add(window.totals)
        for piece in (piece for row in window.rows for piece in row):
            sequence = made[piece[:3]]
            own = sequence.trained[piece.start : piece.end].nonzero()[0] + piece.start
            trained.update((*piece[:3], int(place)) for place in own)
            assert len(assemble(sequence, piece.start, piece.end).tokens) == piece.size
            shown = sequence.shown(piece.start, piece.end).tolist()
            assert shown == list(range(piece.image, piece.image + piece.images))
    expected = {
        (*name, int(place)) for name, one in made.items() for place in one.trained.nonzero()[0]
    }
    assert set(trained) == expected
    assert set(trained.values()) == {1}
    assert totals.targets == len(expected)
    assert totals.samples == len(made)
    assert totals.images + totals.dropped_images == sum(len(one.images) for one in made.values())
    assert totals.pieces > len(made), "some documents must be longer than a row"


def test_the_index_made_of_a_bare_tar_is_the_pipeline_s(crawled: Path, tmp_path: Path) -> None:
    for tar in (crawled / "shards").iterdir():
        shutil.copy(tar, tmp_path / tar.name)
    source = open_source(str(tmp_path))
    assert source.shards
    for shard in source.shards:
        own = pq.read_table(crawled / "index" / f"{shard.name}.parquet")
        assert Path(shard.index).parent == tmp_path / "index"
        assert pq.read_table(shard.index).equals(own)
