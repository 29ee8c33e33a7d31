"""Fetching, images a second: ours beside img2dataset, the same images from one nginx, in one run.

    python -m tests.bench fetch [--images 6000] [--longest 418] [--at-once 64]
                                  [--img2dataset PYTHON] [--rounds 2]
    python -m tests.bench fetch --tail 1000

Needs nginx on PATH. PYTHON is that of an environment with img2dataset 1.47 in it (it wants older
packages than ours); without it ours is measured alone. Each run is a process of its own, with as
many requests at once, no resizing, and the same URLs, of photos whose longest side makes them some
29 kB. Ours is measured twice: fetched, guarded, hashed (sha256) and packed; and with the decoding
check and the perceptual hash on as well, which img2dataset has not. Shown are images a second of
the call's clock, without the imports; processor seconds an image of all processes, with the
imports; the most resident memory of all together.

With --tail ours alone, at its own defaults, in a world of so many hosts of five pictures each, one
in a hundred of which takes 30 s for every picture: the time to 99% of them all, and to the end.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from unittest import mock

ROOT: Final = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from pipeline.fetch.commits import rows_that_count  # noqa: E402
from pipeline.job import Fetching  # noqa: E402
from pipeline.media import look  # noqa: E402
from pipeline.media.decode import ImageLook  # noqa: E402
from tests.bench.photos import photos  # noqa: E402
from tests.bench.watch import watch  # noqa: E402
from tests.fetch.hostile import answer, picture  # noqa: E402
from tests.fetch.nginx import nginx  # noqa: E402
from tests.fetch.stage import CONTACT, fetch_partition, job_for, rows_brought  # noqa: E402
from tests.fetch.world import world  # noqa: E402

HOST: Final = "images.test"
THEIRS: Final = """
from img2dataset import download
import json, sys, time
urls, out, at_once = sys.argv[1:]
if __name__ == "__main__":
    started = time.perf_counter()
    download(url_list=urls, output_folder=out, processes_count=1, thread_count=int(at_once),
             output_format="webdataset", resize_mode="no", input_format="txt", retries=0,
             compute_hash="sha256", skip_reencode=True, disallowed_header_directives=[],
             enable_wandb=False)
    print(json.dumps({"seconds": time.perf_counter() - started}))
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    seconds: float
    processor: float
    peak: int  # MiB


def measured(command: list[str]) -> Cost:
    """A command in a process of its own, with all that it starts."""
    watched = watch(command)
    lines = watched.said.splitlines()
    (told,) = (json.loads(line) for line in lines if line.startswith('{"seconds"'))
    return Cost(seconds=told["seconds"], processor=watched.processor, peak=watched.peak >> 20)


def ours(folder: Path, urls: list[str], port: int, at_once: int, *, decoded: bool) -> None:
    """One partition's whole work, in this process; its time is printed, without the imports."""
    rates = f"requests = inf\nconnections = {at_once}\ndomain_requests = inf\n"
    rates += f"domain_connections = {at_once}\n"
    job = job_for(folder, urls, Fetching(on=True, contact=CONTACT, rates=rates, requests=at_once,
                  host_map=f"* 127.0.0.1:{port}"), partitions=1)  # fmt: skip
    started = time.perf_counter()
    if decoded:
        fetch_partition(0, job)
    else:
        with mock.patch.multiple(look.Lookers, look=_unseen, _pool=mock.DEFAULT):
            fetch_partition(0, job)
    spent = time.perf_counter() - started
    got = sum(status == "ok" for status in rows_brought(job, 0))
    assert got == len(urls), f"{got} of {len(urls)} came"
    print(json.dumps({"seconds": spent}))


async def _unseen(_lookers: look.Lookers, data: bytes) -> ImageLook:
    """In place of decoding, where the network's part alone is measured."""
    sha256 = hashlib.sha256(data).hexdigest()
    return ImageLook(format="jpeg", width=1, height=1, animated=False, sha256=sha256, phash=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=6_000)
    parser.add_argument("--longest", type=int, default=418)
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--tail", type=int, default=0)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--img2dataset", default="")
    parser.add_argument("--ours", default="")  # a folder: this is the measured process
    parser.add_argument("--decoded", action="store_true")
    asked = parser.parse_args()
    if asked.tail:
        return long_tail(asked.tail)
    names = [f"{number:06d}.jpg" for number in range(asked.images)]
    if asked.ours:
        urls = [f"http://{HOST}/{name}" for name in names]
        return ours(Path(asked.ours), urls, asked.port, asked.at_once, decoded=asked.decoded)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        pictures = photos(asked.longest)
        files = {name: pictures[number % len(pictures)] + number.to_bytes(4)
                 for number, name in enumerate(names)}  # fmt: skip  # no two of the same bytes
        size = sum(map(len, files.values())) / asked.images
        print(f"{asked.images:,} JPEGs of {size / 1000:.0f} kB, {asked.at_once} at once")
        with nginx({HOST: files}, folder, log=False) as server:
            (folder / "files" / "127.0.0.1").symlink_to(HOST)
            asked.port = server.plain
            lists = folder / "urls.txt"
            lists.write_text("".join(f"http://127.0.0.1:{asked.port}/{name}\n" for name in names))
            show(compare(folder, lists, asked), asked.images)
    return None


def long_tail(count: int) -> None:
    plan: dict[str, dict[str, Any]] = {}
    for host in range(count):
        how = "slow" if host % 100 == 50 else ""
        files = {f"/{place}.jpg": answer(picture(5 * host + place), how=how) for place in range(5)}
        plan[f"h{host}.site{host}.test"] = {**files, "/robots.txt": {"status": 404},
                                            "/ai.txt": {"status": 404}}  # fmt: skip
    urls = [f"http://{host}{path}" for host, paths in plan.items() for path in paths
            if path.endswith(".jpg")]  # fmt: skip
    with tempfile.TemporaryDirectory() as temporary, world(plan, Path(temporary)) as servers:
        told = Fetching(on=True, contact=CONTACT, host_map=f"* 127.0.0.1:{servers.plain}")
        job = job_for(Path(temporary), urls, told, partitions=1)
        started = time.time()
        fetch_partition(0, job)
        spent = time.time() - started
        done = sorted(row["date"] for row in rows_that_count(job, 0) if row["status"] == "ok")
    nearly = datetime.fromisoformat(done[math.ceil(0.99 * len(urls)) - 1]).timestamp() - started
    print(f"{len(done):,} of {len(urls):,} pictures of {count:,} hosts: 99% in {nearly:.0f} s, all "
          f"in {spent:.0f} s")  # fmt: skip


def compare(folder: Path, lists: Path, asked: argparse.Namespace) -> dict[str, Cost]:
    """The best of each; rounds alternate."""
    best: dict[str, Cost] = {}
    for number in range(asked.rounds):
        for name in ("img2dataset", "ours, packed", "ours, decoded and hashed"):
            here = folder / f"{name.replace(', ', '-').replace(' ', '-')}-{number}"
            mine = [sys.executable, "-m", "tests.bench", "fetch", "--ours", str(here), "--images",
                    str(asked.images), "--at-once", str(asked.at_once), "--port", str(asked.port),
                    *(["--decoded"] if "decoded" in name else [])]  # fmt: skip
            theirs = [asked.img2dataset, "-c", THEIRS, str(lists), str(here), str(asked.at_once)]
            if name == "img2dataset" and not asked.img2dataset:
                continue
            here.mkdir()
            cost = measured(theirs if name == "img2dataset" else mine)
            if name not in best or cost.seconds < best[name].seconds:
                best[name] = cost
    return best


def show(best: dict[str, Cost], images: int) -> None:
    base = best.get("img2dataset")
    for name, cost in best.items():
        ratio = f"{base.seconds / cost.seconds:.2f}x" if base else ""
        spent = f"{1000 * cost.processor / images:6.2f} ms of processor an image"
        print(f"{name:26} {images / cost.seconds:7.0f} images/s {ratio:>6}  {spent}  "
              f"{cost.peak:,} MiB")  # fmt: skip


if __name__ == "__main__":
    main()
