from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import datasets
import duckdb
import pytest
import webdataset
import yaml

from pipeline.shard.report.card import feature, front_matter
from schemas.sample import SAMPLE_JSON, SampleImage, SampleText, decode
from tests.report.fabricated import Fabricate, Fabricator, Pages


@pytest.fixture
def run(fabricate: Fabricate, every_outcome: Pages) -> Fabricator:
    made = fabricate(every_outcome, heldout=0.3, heldout_by="id")
    made.shard()
    return made


def front_of(run: Fabricator) -> dict[str, Any]:
    text = Path(run.job.path("README.md")).read_text(encoding="utf-8")
    read: dict[str, Any] = yaml.safe_load(text.split("---\n")[1])
    return read


def load(run: Fabricator, cache: Path) -> datasets.DatasetDict:
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    return datasets.load_dataset(run.job.output, cache_dir=str(cache))


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def test_datasets_reads_every_sample_though_their_images_differ(
    run: Fabricator, tmp_path: Path
) -> None:
    loaded = load(run, tmp_path / "cache")
    assert set(loaded) == {"train"}
    rows = {row["__key__"]: row for row in loaded["train"]}
    assert len(rows) == 6
    numbers = set()
    for row in rows.values():
        nodes = row["json"]["nodes"]
        named = {node["member"]: node for node in nodes if node["kind"] == "image"}
        present = {name for name, value in row.items() if name[:1].isdigit() and value is not None}
        assert present == set(named)
        for name, node in named.items():
            assert row[name].size == (node["width"], node["height"])
        numbers.add(len(named))
    assert numbers == {1, 2, 3, 4}


def test_datasets_refuses_the_same_tars_without_the_card(run: Fabricator, tmp_path: Path) -> None:
    """What the card is for: if the loader learns to infer uneven samples, this says so."""
    Path(run.job.path("README.md")).unlink()
    with pytest.raises(Exception, match="same prefix or the same types"):
        datasets.load_dataset(
            "webdataset",
            data_files={"train": f"{run.job.output}/shards/train-*.tar"},
            cache_dir=str(tmp_path / "cache"),
        )


# webdataset leaves the tar to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_text_that_datasets_gives_is_that_of_the_tar(run: Fabricator, tmp_path: Path) -> None:
    rows = {row["__key__"]: row for row in load(run, tmp_path / "cache")["train"]}
    samples = list(webdataset.WebDataset(
        f"{run.job.output}/shards/train-00000.tar", shardshuffle=False
    ))  # fmt: skip
    assert len(samples) == len(rows) == 6
    for sample in samples:
        assert rows[sample["__key__"]]["json"] == json.loads(sample["json"])
        for node in decode(sample["json"]).nodes:
            assert isinstance(node, SampleText | SampleImage)
            if isinstance(node, SampleImage):
                assert sample[node.member]


def test_held_out_documents_are_a_split_of_their_own(
    fabricate: Fabricate, every_outcome: Pages, tmp_path: Path
) -> None:
    run = fabricate(every_outcome, name="held", heldout=0.9)
    run.shard()
    splits = [one["split"] for one in front_of(run)["configs"][0]["data_files"]]
    loaded = load(run, tmp_path / "cache")
    assert "heldout" in splits
    assert list(loaded) == splits
    assert sum(len(loaded[split]) for split in splits) == 6


def test_the_question_in_the_card_is_answered_by_duckdb(
    run: Fabricator, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = Path(run.job.path("README.md")).read_text(encoding="utf-8")
    sql = text.split("```sql\n")[1].split("```")[0]
    monkeypatch.chdir(run.job.output)
    answer = duckdb.sql(sql)
    assert answer is not None
    assert answer.columns == ["domain", "stage", "reason", "documents"]
    assert answer.fetchall() == [
        ("example.org", "filter_images", "no_image", 1),
        ("example.org", "filter_text", "language", 1),
    ]


def test_only_members_that_occur_are_columns(run: Fabricator) -> None:
    columns = [one["name"] for one in front_of(run)["dataset_info"]["features"]]
    assert columns == [
        "json", "000.jpg", "000.png", "001.webp", "002.jpg", "003.png", "__key__", "__url__",
    ]  # fmt: skip


def test_a_run_that_keeps_nothing_has_a_card_without_splits(
    fabricate: Fabricate, every_outcome: Pages
) -> None:
    pages = {part: pages[2:4] for part, pages in every_outcome.items()}
    run = fabricate(pages)
    run.shard()
    front = front_of(run)
    assert "configs" not in front
    assert "Nothing was kept" in Path(run.job.path("README.md")).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("documents", "size"), [(999, "n<1K"), (1_000, "1K<n<10K"), (10**9, "n>1B")]
)
def test_the_size_category_is_that_of_the_hub(documents: int, size: str) -> None:
    assert front_matter([], [], documents=documents)["size_categories"] == [size]


def test_features_are_written_as_datasets_writes_them() -> None:
    ours = [feature(field.name, field.type) for field in SAMPLE_JSON]
    theirs = datasets.Features.from_arrow_schema(SAMPLE_JSON.remove_metadata())
    assert ours == theirs._to_yaml_list()
