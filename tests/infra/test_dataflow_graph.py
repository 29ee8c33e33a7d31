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
from filters.recipe import RECIPES

from pipeline.job import Crawl, Job, Settings
from pipeline.run import prepare, run_stage
from pipeline.stages import DATAFLOWS
from schemas.manifest import STAGES
from tests.infra.cloud import Cloud, local_cloud
from tests.infra.graph import local_only, local_paths, unlabelled

BUCKET: Final = "a-bucket-for-tests"  # two letters would make Beam look for one on the network
IMAGE: Final = "europe-west1-docker.pkg.dev/p-demo/interloom/worker:0.1.0"
MODEL: Final = "/opt/interloom/lid.176.ftz"  # in the image


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with local_cloud() as running:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", running.url)
        FileSystems.set_options(PipelineOptions(options(running)))
        yield running
        assert running.unknown == []
    FileSystems.set_options(PipelineOptions([]))


def options(cloud: Cloud, name: str = "job") -> list[str]:
    return [
        "--no_auth",
        "--project=p-demo",
        "--region=europe-west1",
        f"--job_name={name}",
        f"--temp_location=gs://{BUCKET}/tmp",
        f"--staging_location=gs://{BUCKET}/staging",
        "--sdk_location=container",
        f"--sdk_container_image={IMAGE}",
        f"--dataflow_endpoint={cloud.url}",
    ]


def job_of(inputs: int, *, run: str) -> Job:
    """A run whose inputs are named like Common Crawl's; run.json goes to the bucket."""
    names = tuple(
        f"https://data.commoncrawl.org/crawl-data/CC-MAIN-2025-05/segments/{n:012}/warc/"
        f"CC-MAIN-20250112050102-20250112080102-{n:05}.warc.gz"
        for n in range(inputs)
    )
    settings = Settings(recipe=RECIPES["obelics"], language_model=MODEL)
    return prepare(f"gs://{BUCKET}/{run}", Crawl(inputs=names), settings)


def submitted(cloud: Cloud, job: Job, stage: str) -> tuple[dict[str, Any], api.Pipeline]:
    """The job request that run_stage sends, and the graph that it has staged."""
    cloud.jobs.clear()
    name = f"j-{abs(hash((job.output, stage)))}"
    run_stage(job, stage, runner="DataflowRunner", options=options(cloud, name))
    (request,) = cloud.jobs
    (staged,) = [
        data
        for path, data in cloud.objects.items()
        if f"/staging/{name}." in path and path.endswith("pipeline.pb")
    ]
    return request, parsed(staged)


def parsed(staged: bytes) -> api.Pipeline:
    graph = api.Pipeline()
    graph.ParseFromString(staged)
    return graph


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_goes_to_dataflow_as_a_job_for_our_image(cloud: Cloud, stage: str) -> None:
    request, graph = submitted(cloud, job_of(10, run="ten"), stage)
    (pool,) = request["environment"]["workerPools"]
    assert {image["containerImage"] for image in pool["sdkHarnessContainerImages"]} == {IMAGE}
    assert graph.root_transform_ids
    assert len(graph.components.transforms) > 5


@pytest.mark.parametrize("stage", STAGES)
def test_no_path_of_a_stage_is_local_and_no_step_local_only(cloud: Cloud, stage: str) -> None:
    _, graph = submitted(cloud, job_of(10, run="ten"), stage)
    assert local_paths(graph) == []
    assert local_only(graph) == []


@pytest.mark.parametrize("stage", STAGES)
def test_a_graph_does_not_grow_with_its_inputs(cloud: Cloud, stage: str) -> None:
    few, many = job_of(10, run="few-00010"), job_of(90_000, run="many-90000")
    sizes = [submitted(cloud, job, stage)[1].ByteSize() for job in (few, many)]
    # names of runs and fingerprints differ, and with them how well they pack
    assert abs(sizes[1] - sizes[0]) < 1_000
    assert max(sizes) < 1_000_000  # of the 20 MB that a job request may have


@pytest.mark.parametrize("stage", STAGES)
def test_every_step_of_a_stage_has_its_label(cloud: Cloud, stage: str) -> None:
    pipeline = beam.Pipeline(runner="FnApiRunner")
    DATAFLOWS[stage](pipeline, job_of(10, run="ten"))
    assert unlabelled(pipeline) == []


@pytest.mark.parametrize("stage", STAGES)
def test_a_template_is_written_and_nothing_is_submitted_or_waited_for(
    cloud: Cloud, stage: str
) -> None:
    job, template = job_of(10, run="ten"), f"gs://{BUCKET}/template/{stage}"
    told = [*options(cloud), f"--template_location={template}"]
    run_stage(job, stage, runner="DataflowRunner", options=told)
    assert cloud.jobs == []
    assert json.loads(cloud.objects[template.removeprefix("gs://")])["environment"]


# The checks themselves can fail: each of these graphs has what one of them looks for.


def graph_of(pipeline: beam.Pipeline, cloud: Cloud) -> api.Pipeline:
    pipeline.run()
    staged = [data for path, data in cloud.objects.items() if path.endswith("pipeline.pb")]
    return parsed(staged[-1])


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
