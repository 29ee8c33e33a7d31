"""Same input, same bytes: whatever the workers, bundles, runner, order of inputs, or part size."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.job import Job
from pipeline.options.launch import launch
from pipeline.options.run_options import RunOptions
from pipeline.run.execute import execute
from pipeline.stage import Stage
from tests.pipeline.runs import SMALL, counts, interloom, rows, run, tree


def test_the_reference_keeps_and_drops_at_every_stage(reference: Path) -> None:
    """Otherwise the comparisons below would compare little."""
    text, images = counts(reference, "filter_text"), counts(reference, "filter_images")
    assert text["documents.dropped.same_record"] == 2  # in two of three files once more
    for reason in ("older_capture", "near_duplicate_text", "language"):
        assert text[f"documents.dropped.{reason}"] == 1
    assert text["texts.dropped.repeated_in_domain"] > 10
    assert images["images.dropped.duplicate_in_document"] == 1
    assert images["documents.dropped.same_image_set"] == 1
    assert images["images.dropped.truncated_image"] == 1
    assert images["comparisons"] >= 1
    assert counts(reference, "shard")["documents.kept"] > 15
    for folder, least in (("documents", 4), ("shards", 4), ("packs", 4)):
        assert len(list((reference / folder).iterdir())) >= least


def test_two_workers_give_the_bytes_of_one(
    crawl: list[Path], reference: Path, tmp_path: Path
) -> None:
    assert tree(run(crawl, tmp_path / "run", "--workers=2")) == tree(reference)


def test_inputs_in_another_order_and_twice_give_the_same_bytes(
    crawl: list[Path], reference: Path, tmp_path: Path
) -> None:
    shuffled = [crawl[2], crawl[0], crawl[2], crawl[1]]
    assert tree(run(shuffled, tmp_path / "run", "--workers=1")) == tree(reference)


def test_bundles_that_run_twice_give_the_same_bytes(
    crawl: list[Path], reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import apache_beam as beam  # noqa: PLC0415
    from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner  # noqa: PLC0415

    from pipeline.run import execute as running  # noqa: PLC0415

    def repeating(job: Job, stage: Stage, **_: object) -> dict[str, float]:
        pipeline = beam.Pipeline(runner=FnApiRunner(bundle_repeat=1))
        stage.dataflow(pipeline, job.doing(stage.name))
        pipeline.run().wait_until_finish()
        return {}

    monkeypatch.setattr(running, "run_stage", repeating)
    options = RunOptions(part_size=0.0625, shard_size=0.125, heldout=0.2, partitions=4, workers=1,
                  fetch=False)  # fmt: skip
    chosen = launch([str(path) for path in crawl], str(tmp_path / "run"), options)
    execute(chosen.job)
    assert tree(tmp_path / "run") == tree(reference)


def test_another_part_size_gives_the_same_documents_reasons_and_images_in_the_same_order(
    crawl: list[Path], reference: Path, tmp_path: Path
) -> None:
    interloom("run", *crawl, "-o", tmp_path / "run", *SMALL[1:], "--part-size=0.2", "--workers=1")
    other = tmp_path / "run"
    assert len(list((other / "documents").iterdir())) < len(
        list((reference / "documents").iterdir())
    )
    assert rows(other, "documents") == rows(reference, "documents")
    for stage in ("extract", "filter_text", "filter_images"):
        assert _verdicts(other, stage) == _verdicts(reference, stage)
    assert _kept_images(other) == _kept_images(reference)


def _verdicts(output: Path, stage: str) -> list[tuple[object, ...]]:
    columns = ("id", "node", "reason", "value", "limit")
    return [tuple(row[name] for name in columns) for row in rows(output, f"verdicts/{stage}")]


def _kept_images(output: Path) -> list[tuple[str, list[str]]]:
    kept = rows(output, "kept")
    return [(row["id"], [image["sha256"] for image in row["images"]]) for row in kept]


def test_a_planted_difference_of_one_byte_is_seen(reference: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(reference, tmp_path / "run"))
    path = sorted((copy / "shards").iterdir())[0]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert tree(copy) != tree(reference)


@pytest.fixture
def job_server() -> Iterator[str]:
    """A local job server of the portable protocol."""
    import socket  # noqa: PLC0415
    import subprocess  # noqa: PLC0415
    import sys  # noqa: PLC0415
    import time  # noqa: PLC0415

    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    module = "apache_beam.runners.portability.local_job_service_main"
    server = subprocess.Popen([sys.executable, "-m", module, "-p", str(port)])
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("localhost", port)) == 0:
                    break
            time.sleep(0.1)
        else:
            pytest.fail("the job server did not listen within 30 seconds")
        yield f"localhost:{port}"
    finally:
        server.kill()
        server.wait()


def test_the_portable_protocol_gives_the_bytes_of_the_local_default(
    crawl: list[Path], reference: Path, tmp_path: Path, job_server: str
) -> None:
    options = ("--runner=PortableRunner", f"--job_endpoint={job_server}",
               "--environment_type=LOOPBACK")  # fmt: skip
    assert tree(run(crawl, tmp_path / "run", *options)) == tree(reference)
