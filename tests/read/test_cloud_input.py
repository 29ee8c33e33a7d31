"""s3 input through a local server: found by globs, opened raw, read like a file on disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.read.inputs import expand
from pipeline.read.parts import cut
from pipeline.store.raw import open_raw, size_of
from tests.read.crawls import gzipped, pages, read

boto3 = pytest.importorskip("boto3", reason="needs interloom[s3]")
server = pytest.importorskip("moto.server", reason="needs moto[server]")

CRAWL = gzipped(pages(20, size=2000))


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    client = boto3.client("s3")
    client.create_bucket(Bucket="crawls")
    for name in ("a/1.warc.gz", "a/2.warc.gz", "a/notes.txt"):
        client.put_object(Bucket="crawls", Key=name, Body=CRAWL)
    yield "s3://crawls/"
    client.close()
    running.stop()
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


def test_a_glob_and_a_folder_name_the_crawl_files_below_them(bucket: str) -> None:
    both = (bucket + "a/1.warc.gz", bucket + "a/2.warc.gz")

    assert expand([bucket + "a/*.warc.gz"]) == both
    assert expand([bucket + "a/"]) == both


@pytest.mark.parametrize("name", ["a/none-*.warc.gz", "a/3.warc.gz", "b/"])
def test_what_is_not_there_is_refused_at_once(bucket: str, name: str) -> None:
    with pytest.raises(ValueError, match=name.replace("*", r"\*")):
        expand([bucket + name])


def test_an_object_is_opened_raw(bucket: str) -> None:
    with open_raw(bucket + "a/1.warc.gz") as stream:
        assert stream.read() == CRAWL
        stream.seek(10)
        assert stream.read(5) == CRAWL[10:15]
    assert size_of(bucket + "a/1.warc.gz") == len(CRAWL)


def test_an_object_gives_the_records_of_the_same_file_on_disk(bucket: str, tmp_path: Path) -> None:
    path = tmp_path / "1.warc.gz"
    path.write_bytes(CRAWL)

    parts = list(cut(bucket + "a/1.warc.gz", 0, part_size=5000))

    assert len(parts) > 3
    assert read(path, parts) == read(path)
