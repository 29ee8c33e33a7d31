"""A run whose crawl and folder lie in a bucket: the same bytes as on a local disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from pipeline.job import Crawl, Fetching
from pipeline.options.launch import choose_settings
from pipeline.options.run_options import RunOptions
from pipeline.run import layout
from pipeline.run.execute import sweep
from pipeline.run.layout import prepare
from pipeline.stages import STAGES
from pipeline.store import parquet, store
from schemas.tables import WANTED
from tests.crawl import write_crawl
from tests.pipeline.runs import interloom, tree

OPTIONS = ("--workers=1", "--partitions=1", "--shard-size=0.125", "--heldout=0.2", "--no-fetch")
TABLES = ("documents", "images", "objections", "verdicts/extract", "verdicts/filter_text",
          "verdicts/filter_images", "kept", "tables/documents", "tables/images",
          "tables/drops")  # fmt: skip


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An S3 server on this machine, which the environment names to every process below."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in (
        ("AWS_ENDPOINT_URL", f"http://{host}:{port}"),
        ("AWS_ACCESS_KEY_ID", "of-the-test"),
        ("AWS_SECRET_ACCESS_KEY", "of-the-test"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket="crawls")
    yield "crawls"
    server.stop()


def test_a_run_in_a_bucket_gives_the_bytes_of_a_local_one_and_resumes(
    bucket: str, tmp_path: Path
) -> None:
    (crawl,) = write_crawl(tmp_path / "crawl", pages=5, warcs=1)
    s3 = boto3.client("s3")
    s3.upload_file(str(crawl), bucket, "crawl.warc.gz")
    interloom("run", f"s3://{bucket}/crawl.warc.gz", "-o", f"s3://{bucket}/run", *OPTIONS)
    again = interloom("run", "-o", f"s3://{bucket}/run")
    assert again.stdout.count("whole, nothing to do") == 5
    brought = download(s3, bucket, "run/", tmp_path / "brought")
    # documents name their input, so the local run reads the same one
    local = tmp_path / "local"
    interloom("run", f"s3://{bucket}/crawl.warc.gz", "-o", local, *OPTIONS)
    assert len(tree(local)) > 20
    assert tree(brought) == tree(local)


def test_keys_that_are_not_of_a_run_s_form_stay_in_a_bucket(bucket: str) -> None:
    """Of each stage its own keys are swept, one of each table; what else is there is told."""
    run = f"s3://{bucket}/swept"
    settings = choose_settings(RunOptions(), None, Fetching())
    job = prepare(run, Crawl(inputs=("none.warc.gz",), partitions=1), settings)
    own = [job.part(table, "000000-00000000000000") for table in TABLES]
    own += [job.part("wanted", "00000"), job.part("index", "train-00000")]
    for path in own:
        parquet.write_rows(path, WANTED, [], fingerprint="of another run")
    own += [job.path("packs", "000000-00000000000000-0.tar"), job.path("shards", "train-00000.tar"),
            job.path("packs", "fetch-00000-1-0123abcd-0-0.tar")]  # fmt: skip
    aside = f"000000-00000000000000.parquet{store.ASIDE}"  # in a bucket nothing is written aside
    foreign = ["notes.txt", "opt-out-mine.txt", f"my{store.ASIDE}folder/run.json", "mine/a/b",
               *(f"{table}/{name}" for table in ("shards", "packs", "documents", "images")
                 for name in ("MY_NOTES.txt", "mine/x.txt", "mine/train-00000.tar", f"{aside}xyz",
                              "train-00000.tar.bak", "mine/000000-00000000000000.parquet",
                              "fetch-foo.parquet"))]  # fmt: skip
    foreign += [f"tables/{aside}mine", "tables/mine.parquet", "leases/mine.host.json"]
    for path in (*own[-3:], *(job.path(name) for name in foreign)):
        store.write_bytes(path, path.encode())
    prepare(run, Crawl(inputs=("none.warc.gz",), partitions=1), settings)
    assert sorted(layout.foreign(run)) == sorted(foreign)
    for stage in STAGES:
        sweep(job, stage)
    assert {*store.listing(run)} == {job.path(name) for name in (*foreign, "run.json")}
    assert all(store.read_bytes(job.path(name)) == job.path(name).encode() for name in foreign)


def test_a_step_that_fails_while_it_writes_leaves_no_object(bucket: str) -> None:
    path = f"s3://{bucket}/half"

    def fail() -> None:
        with store.create(path) as handle:
            handle.write(b"x" * 100_000)
            raise RuntimeError("in the midst of it")

    with pytest.raises(RuntimeError, match="in the midst"):
        fail()
    assert not store.exists(path)
    store.write_bytes(path, b"whole")
    assert store.read_bytes(path) == b"whole"


def download(s3: object, bucket: str, prefix: str, folder: Path) -> Path:
    """Every object below a prefix, as files."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)  # type: ignore[attr-defined]
    for page in pages:
        for found in page["Contents"]:
            path = folder / found["Key"].removeprefix(prefix)
            path.parent.mkdir(parents=True, exist_ok=True)
            s3.download_file(bucket, found["Key"], str(path))  # type: ignore[attr-defined]
    return folder
