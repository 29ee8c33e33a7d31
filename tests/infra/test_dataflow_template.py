"""The Flex Template: its description is what Dataflow takes, and says the options there are."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
from google.cloud.dataflow_v1beta3.types import ParameterType, TemplateMetadata

from pipeline.cli import app
from pipeline.stages import NAMES

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "infra/dataflow"
TEXT = (FOLDER / "metadata.json").read_text()
PARAMETERS: dict[str, dict[str, Any]] = {one["name"]: one for one in json.loads(TEXT)["parameters"]}


def options_of_run() -> dict[str, bool]:
    """Name with underscores -> whether it must be given."""
    run = typer.main.get_command(app).get_command(None, "run")  # type: ignore[attr-defined]
    return {
        max(one.opts, key=len).removeprefix("--").replace("-", "_"): one.required
        for one in run.params
        if one.param_type_name == "option" and one.name != "help"
    }


@pytest.fixture(scope="module")
def entry() -> ModuleType:
    """main.py, which no package holds: the launcher runs it as a file."""
    spec = importlib.util.spec_from_file_location("flex_entry", FOLDER / "main.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_description_is_one_that_the_api_knows_without_an_unknown_field() -> None:
    read = TemplateMetadata.from_json(TEXT, ignore_unknown_fields=False)
    assert [one.name for one in read.parameters] == list(PARAMETERS)
    with pytest.raises(Exception, match="no field named"):
        TemplateMetadata.from_json(TEXT.replace("helpText", "help"), ignore_unknown_fields=False)


def test_every_parameter_has_what_the_console_shows() -> None:
    read = TemplateMetadata.from_json(TEXT)
    for one in read.parameters:
        assert re.fullmatch(r"[a-z][a-z_]*[a-z]", one.name)
        assert one.label
        assert one.help_text
        assert one.param_type != ParameterType.DEFAULT
        assert (one.param_type == ParameterType.ENUM) == bool(one.enum_options)
        assert all(re.compile(pattern) for pattern in one.regexes)


def test_stage_offers_the_five_stages_in_their_order() -> None:
    assert tuple(option["value"] for option in PARAMETERS["stage"]["enumOptions"]) == NAMES


def test_a_parameter_is_an_option_of_run_and_an_option_a_parameter() -> None:
    ours = set(options_of_run()) - {"runner", "workers"}  # the template is for one runner
    assert set(PARAMETERS) - {"input", "sdk_container_image"} == ours
    assert not PARAMETERS["output"].get("isOptional")
    assert not PARAMETERS["stage"].get("isOptional")
    needed = {name for name, must in options_of_run().items() if must}
    assert needed == {"output"}


@pytest.mark.parametrize("path", ["gs://bucket/runs/first", "gs://b-1/r"])
def test_the_run_folder_lies_in_a_bucket(path: str) -> None:
    (pattern,) = PARAMETERS["output"]["regexes"]
    assert re.fullmatch(pattern, path)
    for other in ("runs/first", "/runs/first", "gs://bucket", "s3://bucket/run"):
        assert not re.fullmatch(pattern, other)


def test_parameters_become_the_command_a_user_would_type(entry: ModuleType) -> None:
    told = ["--input=gs://b/a.warc.gz gs://b/c.paths", "--stage=extract", "--part_size=8"]
    told += ["--output=gs://b/run", "--recipe=", "--runner=DataflowRunner", "--job_name=j"]
    assert entry.to_command(told, ours=entry.parameters()) == [
        "run", "gs://b/a.warc.gz", "gs://b/c.paths", "--stage=extract", "--part-size=8",
        "--output=gs://b/run", "--runner=DataflowRunner", "--job_name=j",
        "--sdk_location=container",
    ]  # fmt: skip


def test_what_is_no_option_is_refused_with_its_text(entry: ModuleType) -> None:
    with pytest.raises(ValueError, match="'stray' is no --name=value"):
        entry.to_command(["stray"], ours=frozenset())


def dockerfile() -> list[tuple[str, str]]:
    """(instruction, arguments) of the worker's image."""
    text = (FOLDER / "Dockerfile").read_text()
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    lines = (line.split(maxsplit=1) for line in text.splitlines() if line.strip())
    return [(line[0], " ".join(line[1].split())) for line in lines]


def test_the_image_has_the_beam_and_the_python_that_the_project_pins() -> None:
    pins = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    )
    bases = [arguments for name, arguments in dockerfile() if name == "FROM"]
    assert bases == [f"apache/beam_python3.11_sdk:{pins['apache-beam']}"]


def test_what_the_image_copies_is_in_the_project() -> None:
    copied = [arguments.split()[:-1] for name, arguments in dockerfile() if name == "COPY"]
    ours = [path for paths in copied for path in paths if not paths[0].startswith("--from")]
    assert "constraints.txt" in ours
    assert [path for path in ours if not (ROOT / path).exists()] == []


def test_the_image_holds_the_language_model_where_the_pipeline_looks_for_it() -> None:
    lines = dockerfile()
    cache = next(i for i, line in enumerate(lines) if line[1].startswith("XDG_CACHE_HOME=/opt/"))
    assert any("pipeline.words.language import find_model" in line[1] for line in lines[cache:])


def test_the_image_starts_as_a_beam_worker_and_holds_the_launcher() -> None:
    lines = dockerfile()
    assert ("ENTRYPOINT", '["/opt/apache/beam/boot"]') in lines
    env = dict(arguments.split("=", 1) for name, arguments in lines if name == "ENV")
    started = env["FLEX_TEMPLATE_PYTHON_PY_FILE"]
    assert started.endswith("infra/dataflow/main.py")
    launcher = "/opt/google/dataflow/python_template_launcher"
    assert any(name == "COPY" and launcher in arguments for name, arguments in lines)
