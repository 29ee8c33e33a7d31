"""What a Beam graph would do elsewhere: its labels, its paths, its steps, told without running it.

In:   a pipeline before it is run, and the graph as it was staged for a service.
Out:  lists of what is wrong; empty where the graph can run away from here.
"""

from __future__ import annotations

import base64
import bz2
import re
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import apache_beam as beam
from apache_beam.pipeline import AppliedPTransform, PipelineVisitor
from apache_beam.portability import common_urns, python_urns
from apache_beam.portability.api import beam_runner_api_pb2 as api
from google.protobuf.wrappers_pb2 import BytesValue

# what a service executes itself, test streams left out; all else must be a ParDo in the image
PRIMITIVES: Final = frozenset(
    {
        common_urns.primitives.IMPULSE.urn,
        common_urns.primitives.PAR_DO.urn,
        common_urns.primitives.GROUP_BY_KEY.urn,
        common_urns.primitives.FLATTEN.urn,
        common_urns.primitives.ASSIGN_WINDOWS.urn,
    }
    | {
        member.urn
        for group in (common_urns.combine_components, common_urns.sdf_components)
        for member in vars(group).values()
        if hasattr(member, "urn")
    }
)
COMBINES: Final = frozenset(
    member.urn for member in vars(common_urns.combine_components).values() if hasattr(member, "urn")
) | {common_urns.composites.COMBINE_PER_KEY.urn, common_urns.composites.COMBINE_GLOBALLY.urn}
PICKLED: Final = frozenset({python_urns.PICKLED_DOFN_INFO, python_urns.PICKLED_COMBINE_FN})
ABSOLUTE: Final = re.compile(rb"(?<![\w:/.-])(/(?:[\w.@+-]+/)+[\w.@+-]*)")
FILE_URL: Final = re.compile(rb"file://[\w./@+-]+")


class _Labels(PipelineVisitor):
    """Collects steps of ours whose label is the one that Beam makes up."""

    def __init__(self) -> None:
        self.unlabelled: list[str] = []
        self.seen = 0

    def visit_transform(self, node: AppliedPTransform) -> None:
        self._look(node)

    def enter_composite_transform(self, node: AppliedPTransform) -> None:
        self._look(node)

    def _look(self, node: AppliedPTransform) -> None:
        if node.transform is None or node.parent is None or not _ours(node.parent):
            return
        self.seen += 1
        # a label given by >> is the application's; the transform's own stays what Beam made up
        if node.full_label.rsplit("/", 1)[-1] == node.transform.label:
            self.unlabelled.append(node.full_label)


def _ours(node: AppliedPTransform) -> bool:
    """Whether steps inside it are named by us: the root, and composites outside of Beam."""
    return node.transform is None or not type(node.transform).__module__.startswith("apache_beam")


def unlabelled(pipeline: beam.Pipeline) -> list[str]:
    """Full names of steps that have no label of their own."""
    labels = _Labels()
    pipeline.visit(labels)
    assert labels.seen, "the pipeline has no step to look at"
    return labels.unlabelled


def local_only(graph: api.Pipeline) -> list[str]:
    """Steps that only a runner on this machine could do."""
    environments = graph.components.environments
    wrong = [
        f"{name}: environment {one.urn}"
        for name, one in environments.items()
        if one.urn != common_urns.environments.DOCKER.urn
    ]
    for step in graph.components.transforms.values():
        if step.subtransforms or not step.spec.urn:
            continue  # a composite is what it holds; without a URN it only passes its input on
        if step.spec.urn not in PRIMITIVES:
            wrong.append(f"{step.unique_name}: {step.spec.urn}")
    return wrong


def local_paths(graph: api.Pipeline, *, image: str = "/opt/") -> list[str]:
    """Paths of this machine in what the steps carry; `image` is where workers' files lie."""
    roots = (
        str(Path.home()),
        str(Path.cwd()),
        tempfile.gettempdir(),
        "/home",
        "/usr",
        "/var",
        "/mnt",
    )
    found = set()
    for name, data in _payloads(graph):
        for path in ABSOLUTE.findall(data):
            text = path.decode(errors="replace")
            if not text.startswith(image) and text.startswith(roots):
                found.add(f"{name}: {text}")
        found |= {f"{name}: {url.decode(errors='replace')}" for url in FILE_URL.findall(data)}
    return sorted(found)


def _payloads(graph: api.Pipeline) -> Iterator[tuple[str, bytes]]:
    """(step, bytes) of what is pickled into a step, opened: Beam packs it by base64 and zlib."""
    for step in graph.components.transforms.values():
        yield step.unique_name, step.spec.payload
        if step.spec.urn == common_urns.primitives.PAR_DO.urn:
            pardo = api.ParDoPayload()
            pardo.ParseFromString(step.spec.payload)
            yield step.unique_name, _opened(pardo.do_fn)
        elif step.spec.urn in COMBINES:
            combine = api.CombinePayload()
            combine.ParseFromString(step.spec.payload)
            yield step.unique_name, _opened(combine.combine_fn)


def _opened(function: api.FunctionSpec) -> bytes:
    """The pickle inside; what is packed in another way would hide paths, so that is an error."""
    if function.urn not in PICKLED:
        return bytes(function.payload)
    payload = function.payload
    if function.urn == python_urns.PICKLED_COMBINE_FN:  # wrapped once more
        payload = BytesValue.FromString(payload).value
    packed = base64.b64decode(payload, validate=True)
    return bz2.decompress(packed) if packed.startswith(b"BZ") else zlib.decompress(packed)
