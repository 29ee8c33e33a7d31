"""Each stage as Dataflow would get it: its job request caught on localhost, its graph looked at.

No network is used: Cloud Storage and Dataflow are those of cloud.py.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import apache_beam as beam
import pytest
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2 as api
from apache_beam.pvalue import PCollection

from pipeline.job import Job, read_crawl
from pipeline.options.launch import launch
from pipeline.options.run_options import RunOptions
from pipeline.read.parts import FEW_INPUTS
from pipeline.run.execute import run_stage
from pipeline.stage import Stage
from pipeline.stages import EXTRACT, STAGES
from tests.infra.cloud import Cloud, local_cloud
from tests.infra.graph import local_only, local_paths, unlabelled

BUCKET: Final = "a-bucket-for-tests"  # two letters would make Beam look for one on the network
IMAGE: Final = "europe-west1-docker.pkg.dev/p-demo/interloom/worker:0.1.0"
MODEL: Final = "/opt/interloom/lid.176.ftz"  # in the image


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    model = tmp_path_factory.mktemp("model") / "lid.176.ftz"
    model.write_bytes(b"a model")
    with local_cloud() as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", running.url)
        # else Beam looks for this machine's own, for 17 s
        patch.setattr("apache_beam.internal.gcp.auth.get_service_credentials", lambda _: None)
        patch.setattr(
            "pipeline.options.launch.find_model", lambda _: model
        )  # none is needed to submit
        FileSystems.set_options(PipelineOptions(options(running)))
        yield running
        FileSystems.set_options(PipelineOptions([]))
    assert running.unknown == []


@pytest.fixture(scope="module")
def few(cloud: Cloud) -> Job:
    return job_of(cloud, 10)


@pytest.fixture(scope="module")
def many(cloud: Cloud) -> Job:
    return job_of(cloud, 90_000)


def options(cloud: Cloud) -> list[str]:
    return [
        "--no_auth",
        "--project=p-demo",
        "--region=europe-west1",
        "--job_name=j",
        f"--temp_location=gs://{BUCKET}/tmp",
        f"--staging_location=gs://{BUCKET}/staging",
        "--sdk_location=container",
        f"--sdk_container_image={IMAGE}",
        f"--dataflow_endpoint={cloud.url}",
    ]


def job_of(cloud: Cloud, inputs: int) -> Job:
    """A run in the bucket, over a list of so many inputs in the bucket."""
    named = f"crawl-{inputs:05}"
    names = [
        f"{BUCKET}/CC-MAIN-2025-05/segments/{n:012}/warc/{n:05}.warc.gz" for n in range(inputs)
    ]
    cloud.objects[f"{BUCKET}/{named}.paths"] = "".join(f"gs://{n}\n" for n in names).encode()
    if inputs < FEW_INPUTS:  # these are asked for their sizes, and found empty
        cloud.objects |= dict.fromkeys(names, b"")
    return launch(
        [f"gs://{BUCKET}/{named}.paths"],
        f"gs://{BUCKET}/runs/{named}",
        RunOptions(contact="a@example.org", runner="DataflowRunner"),
    ).job


def submitted(cloud: Cloud, job: Job, stage: Stage) -> tuple[dict[str, Any], api.Pipeline]:
    """The job request that run_stage sends, and the graph that it has staged."""
    cloud.jobs.clear()
    before = set(cloud.objects)
    run_stage(job, stage, runner="DataflowRunner", options=options(cloud))
    (request,) = cloud.jobs
    (staged,) = (path for path in set(cloud.objects) - before if path.endswith("pipeline.pb"))
    return request, parsed(cloud.objects[staged])


def parsed(staged: bytes) -> api.Pipeline:
    graph = api.Pipeline()
    graph.ParseFromString(staged)
    return graph


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_stage_goes_to_dataflow_as_a_job_for_our_image_with_nothing_local(
    cloud: Cloud, few: Job, stage: Stage
) -> None:
    request, graph = submitted(cloud, few, stage)
    (pool,) = request["environment"]["workerPools"]
    assert {image["containerImage"] for image in pool["sdkHarnessContainerImages"]} == {IMAGE}
    assert len(graph.components.transforms) > 5
    assert local_paths(graph) == []
    assert local_only(graph) == []


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_graph_does_not_grow_with_its_inputs(
    cloud: Cloud, few: Job, many: Job, stage: Stage
) -> None:
    assert len(read_crawl(many.output).inputs) == 9_000 * len(read_crawl(few.output).inputs)
    sizes = [submitted(cloud, job, stage)[1].ByteSize() for job in (few, many)]
    # names of runs and fingerprints differ, and with them how well they pack
    assert abs(sizes[1] - sizes[0]) < 1_000
    assert max(sizes) < 1_000_000  # of the 20 MB that a job request may have


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_every_step_of_a_stage_has_its_label(few: Job, stage: Stage) -> None:
    pipeline = beam.Pipeline(runner="FnApiRunner")
    stage.dataflow(pipeline, few.doing(stage.name))
    assert unlabelled(pipeline) == []


def test_a_template_is_written_and_nothing_is_submitted_or_waited_for(
    cloud: Cloud, few: Job
) -> None:
    cloud.jobs.clear()
    template = f"gs://{BUCKET}/template/extract"
    told = [*options(cloud), f"--template_location={template}"]
    run_stage(few, EXTRACT, runner="DataflowRunner", options=told)
    assert cloud.jobs == []
    assert json.loads(cloud.objects[template.removeprefix("gs://")])["environment"]


# The checks themselves can fail: each of these graphs has what one of them looks for.


def graph_of(pipeline: beam.Pipeline, cloud: Cloud) -> api.Pipeline:
    before = set(cloud.objects)
    pipeline.run()
    (staged,) = (path for path in set(cloud.objects) - before if path.endswith("pipeline.pb"))
    return parsed(cloud.objects[staged])


def planted(cloud: Cloud) -> beam.Pipeline:
    return beam.Pipeline(runner="DataflowRunner", options=PipelineOptions(options(cloud)))


class Verb(beam.PTransform[PCollection[int], PCollection[str]]):
    """One step with a label, one without."""

    def expand(self, numbers: PCollection[int]) -> PCollection[str]:
        texts: PCollection[str] = numbers | "Named" >> beam.Map(str) | beam.Map(str)
        return texts


def test_a_step_without_a_label_is_found_also_inside_a_composite_of_ours(cloud: Cloud) -> None:
    pipeline = planted(cloud)
    start = pipeline | "Start" >> beam.Create([1])
    _ = start | beam.Map(lambda number: number)
    _ = start | "Labelled" >> Verb()
    _ = start | Verb()
    found = unlabelled(pipeline)
    assert found[0].startswith("Map(<lambda at ")
    assert found[1:] == ["Labelled/Map(str)", "Verb", "Verb/Map(str)"]


def test_a_local_path_is_found_in_a_step_that_carries_it(cloud: Cloud) -> None:
    pipeline = planted(cloud)
    path = str(Path(tempfile.gettempdir()) / "words" / "list.txt")
    _ = pipeline | "Start" >> beam.Create(["x"]) | "Read" >> beam.Map(_read, path=path)
    graph = graph_of(pipeline, cloud)
    assert [found.rsplit(": ", 1)[1] for found in local_paths(graph)] == [path]


def test_a_local_path_is_found_among_the_elements_of_a_create(cloud: Cloud) -> None:
    pipeline = planted(cloud)
    _ = pipeline | "Start" >> beam.Create(["/home/me/crawl/list.paths"])
    assert local_paths(graph_of(pipeline, cloud)) != []


def test_a_path_in_the_image_or_in_a_bucket_is_not_local(cloud: Cloud) -> None:
    pipeline = planted(cloud)
    paths = [MODEL, "gs://bucket/home/me/run", "s3://bucket/tmp/run", "https://host/var/a.warc.gz"]
    start = pipeline | "Start" >> beam.Create(paths)
    _ = start | "Read" >> beam.Map(_read, path=",".join(paths))
    assert local_paths(graph_of(pipeline, cloud)) == []


def test_a_step_that_only_a_local_runner_knows_is_found(cloud: Cloud) -> None:
    pipeline = planted(cloud)
    _ = pipeline | "Start" >> beam.Create(["x"]) | "Read" >> beam.Map(_read, path="")
    graph = graph_of(pipeline, cloud)
    assert local_only(graph) == []
    step = next(
        step
        for step in graph.components.transforms.values()
        if step.unique_name.startswith("Read") and not step.subtransforms
    )
    step.spec.urn = "beam:transform:pickled_python:v1"
    assert [found.split(": ")[0] for found in local_only(graph)] == [step.unique_name]
    for environment in graph.components.environments.values():
        environment.urn = "beam:env:process:v1"
    assert len(local_only(graph)) > 1


def test_inputs_put_into_the_graph_make_it_grow(cloud: Cloud) -> None:
    sizes = []
    for inputs in (10, 90_000):
        pipeline = planted(cloud)
        _ = pipeline | "Start" >> beam.Create([f"https://host/{n:090}" for n in range(inputs)])
        sizes.append(graph_of(pipeline, cloud).ByteSize())
    assert sizes[1] - sizes[0] > 1_000


def _read(element: str, *, path: str) -> str:
    return element + path
