"""Tar to model-ready patches, images a second of one process: ours against webdataset and Idefics2.

    python -m tests.bench images [--shards FOLDER] [--longest 384] [--shortest 378] [--rounds 3]

The same tars in one run. Ours reads a sample's members by the index, decodes them and cuts patches
(uint8, which the model normalises; a line shows them normalised here too). The other reads the tars
with webdataset, decodes with Pillow and calls transformers' Idefics2ImageProcessorPil, the images
of a document at a time, as it is meant to be used: its output is padded float32 pixels. That both
show the same pixels is checked on the first images.

Without --shards: the photos of ../shared/data (pictures of noise where it is absent) as JPEGs of
512 pixels, 1 to 3 a document. Processor seconds are counted, not those of the clock, so other work
on the machine distorts little; rounds alternate and the best counts. Only ratios mean something.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Final

import torch
import webdataset
from PIL import Image
from transformers.models.idefics2.image_processing_pil_idefics2 import Idefics2ImageProcessorPil

ROOT: Final = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.bench.photos import photos  # noqa: E402
from tests.training.shards import write_run  # noqa: E402
from training.data.images import (  # noqa: E402
    PATCH,
    Bytes,
    assembled,
    patch_grid,
    patches_of,
)
from training.data.index import JSON, read_index, read_sample  # noqa: E402
from training.data.members import Members, Range  # noqa: E402
from training.data.sources import Shard, open_source  # noqa: E402
from training.model.idefics2 import normalised  # noqa: E402

IMAGES: Final = 240  # of the made shards
CHECKED: Final = 40  # images
TABLE: Final = 70


@dataclass(frozen=True, kw_only=True, slots=True)
class Sides:
    longest: int
    shortest: int


def make(folder: Path) -> None:
    """Documents of a paragraph and 1, 2 or 3 images."""
    source = cycle(photos())
    write_run(folder, [
        ["A paragraph.", *islice(source, number % 3 + 1)] for number in range(IMAGES // 2)
    ])  # fmt: skip


def ours(shard: Shard, sides: Sides) -> Iterator[Bytes]:
    members = Members()
    for row in read_index(shard.index, ["key", "members"], tar_bytes=shard.tar_bytes).to_pylist():
        ranges = {
            one["name"]: Range(url=shard.tar, offset=one["offset"], length=one["length"])
            for one in row["members"]
        }
        bodies = dict(zip(ranges, members.read(list(ranges.values())), strict=True))
        read_sample(bodies.pop(JSON), row["key"], shard.tar)
        for data in bodies.values():
            patches, _ = patches_of(
                data, longest=sides.longest, shortest=sides.shortest, table=TABLE
            )
            yield patches
    members.close()


def ours_normalised(shard: Shard, sides: Sides) -> Iterator[torch.Tensor]:
    for patches in ours(shard, sides):
        yield normalised(torch.from_numpy(patches), torch.float32)


def theirs(shard: Shard, sides: Sides, *, scaled: bool = True) -> Iterator[torch.Tensor]:
    size = {"longest_edge": sides.longest, "shortest_edge": sides.shortest}
    processor: Any = Idefics2ImageProcessorPil(size=size, do_rescale=scaled, do_normalize=scaled)
    for sample in webdataset.WebDataset(shard.tar, shardshuffle=False).decode(opened):
        images = images_of(sample)
        pixels = processor(images=[images], return_tensors="pt")["pixel_values"][0]
        yield from pixels


def opened(name: str, data: bytes) -> Image.Image | None:
    """webdataset's own "pil" lays nothing under what is transparent; the processor lays white."""
    return None if name.endswith("json") else Image.open(io.BytesIO(data))


def images_of(sample: Mapping[str, Any]) -> list[Image.Image]:
    return [sample[name] for name in sorted(sample) if isinstance(sample[name], Image.Image)]


def check(shard: Shard, sides: Sides) -> int:
    """Images whose patches are the processor's pixels; it raises at the first that are not."""
    raw = theirs(shard, sides, scaled=False)
    equal = 0
    for patches, pixels, (rows, columns) in islice(
        zip(ours(shard, sides), raw, grids(shard, sides), strict=True), CHECKED
    ):
        seen = torch.from_numpy(assembled(patches, rows=rows, columns=columns).copy())
        shown = pixels[:, : rows * PATCH, : columns * PATCH].permute(1, 2, 0)
        assert torch.equal(seen.double(), shown.double())
        equal += 1
    return equal


def grids(shard: Shard, sides: Sides) -> Iterator[tuple[int, int]]:
    """Rows and columns of patches of every image, by the index."""
    nodes = read_index(shard.index, ["nodes"], tar_bytes=shard.tar_bytes)["nodes"].to_pylist()
    for node in (node for of_one in nodes for node in of_one if node["kind"] == "image"):
        yield patch_grid(
            node["width"], node["height"], longest=sides.longest, shortest=sides.shortest
        )


def rate(work: Callable[[], Iterator[object]]) -> float:
    """Images a processor second."""
    start = time.process_time()
    done = sum(1 for _ in work())
    return done / (time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description="Tar to patches: ours against transformers'.")
    parser.add_argument("--shards", help="a run's folder; else one is made")
    parser.add_argument("--longest", type=int, default=384)
    parser.add_argument("--shortest", type=int, default=378)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    sides = Sides(longest=asked.longest, shortest=asked.shortest)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        if asked.shards is None:
            make(Path(folder))
        (shard, *_) = open_source(asked.shards or folder).shards
        equal = check(shard, sides)
        ways: dict[str, Callable[[], Iterator[object]]] = {
            "webdataset + Idefics2ImageProcessorPil": lambda: theirs(shard, sides),
            "ours, uint8 patches": lambda: ours(shard, sides),
            "ours, normalised to float32": lambda: ours_normalised(shard, sides),
        }
        best = dict.fromkeys(ways, 0.0)
        for _ in range(asked.rounds):
            for name, work in ways.items():
                best[name] = max(best[name], rate(work))
    base = best["webdataset + Idefics2ImageProcessorPil"]
    print(f"\ntar to patches at {sides.longest}/{sides.shortest} pixels, images a second a process")
    print(f"({equal} images compared: equal pixels)")
    for name, speed in best.items():
        print(f"  {name:40} {speed:8.0f}  {speed / base:5.2f}x")


if __name__ == "__main__":
    main()
