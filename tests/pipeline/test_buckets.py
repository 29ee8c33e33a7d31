"""A run whose crawl and folder lie in a bucket: the same bytes as on a local disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from pipeline import store
from tests.crawl import write_crawl
from tests.pipeline.runs import interloom, tree

OPTIONS = ("--workers=1", "--partitions=1", "--shard-size=0.125", "--heldout=0.2", "--no-fetch")


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
