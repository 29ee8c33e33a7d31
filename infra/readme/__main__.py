"""The pictures of the README, made from a run of the demo and the tokenizer of its model.

    make pictures                                 python -m infra.readme demo/run demo/model

In:   a run folder with its WARC where run.json names it, a model's folder, chromium on the PATH.
Out:  flow.svg, what went through each stage; document.png, a page beside the document that was made
      of it and beside what the model sees of it; report.png, the head of report.html.
"""

from __future__ import annotations

import base64
import html
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import jinja2
from PIL import Image
from transformers import PreTrainedTokenizerBase
from warcio.archiveiterator import ArchiveIterator

from pipeline.job import Job, read_crawl
from pipeline.options.launch import job_of
from pipeline.run.execute import manifests
from schemas.manifest import Manifest
from schemas.sample import Sample, SampleImage, SampleText, decode
from training.data.tokenizer import load
from training.data.tokens import Special, sequence_of

HERE: Final = Path(__file__).resolve().parent
SHOWN: Final = "gimp-filter-cartoon.html"  # two pictures, and text before and behind them
IMAGE_TOKENS: Final = 64  # of `small` and idefics2-8b
ROW: Final = 1_024  # tokens of a row of `small`
SHOT: Final = (
    "--headless=new", "--no-sandbox", "--hide-scrollbars", "--disable-gpu",
    "--force-color-profile=srgb", "--allow-file-access-from-files",
)  # fmt: skip


def main(run: str = "demo/run", model: str = "demo/model") -> None:
    job = job_of(run)
    (HERE / "flow.svg").write_text(flow(manifests(job)))
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder)
        unpack(read_crawl(run).inputs[0], site)
        sample, images = find_sample(job)
        panes = site / "panes.html"
        panes.write_text(document(sample, images, site, model))
        screenshot(panes, HERE / "document.png", width=1500, height=1000)
        screenshot(Path(job.path("report.html")), HERE / "report.png", width=1200, height=1180)


def screenshot(page: Path, picture: Path, *, width: int, height: int) -> None:
    """Raises ValueError where there is no browser."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise ValueError("no browser: install chromium, which takes the pictures")
    size = f"--window-size={width},{height}"
    command = [browser, *SHOT, size, f"--screenshot={picture}", page.resolve().as_uri()]
    subprocess.run(  # noqa: S603  # the browser that was found
        command, check=True, capture_output=True, timeout=120
    )
    with Image.open(picture) as image:  # flat colours: a palette takes a third
        image.convert("RGB").quantize(256, method=Image.Quantize.MEDIANCUT).save(
            picture, optimize=True
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class StageBox:
    """A stage in the picture of the flow."""

    name: str
    does: str
    came: str


def flow(made: dict[str, Manifest]) -> str:
    """The stages from left to right, with what left each of them."""
    pages = made["extract"].ledger
    texts, images, shards = (
        made[name].ledger for name in ("filter_text", "filter_images", "shard")
    )
    boxes = [
        StageBox(name="WARC", does="a web crawl", came=f"{pages['records.seen']:,} records"),
        StageBox(name="extract", does="pages to documents",
            came=f"{pages['documents.kept']:,} documents"),
        StageBox(name="filter_text", does="rules, URLs, near-duplicates",
            came=f"{texts['documents.kept']:,} documents"),
        StageBox(name="fetch", does="images the crawl lacks",
            came=f"{made['fetch'].ledger['wanted.kept']:,} images fetched"),
        StageBox(name="filter_images", does="sides, perceptual duplicates",
            came=f"{images['documents.kept']:,} documents, {images['images.kept']:,} images"),
        StageBox(name="shard", does="tars, index, report",
            came=f"{shards['shards']:,} tars, {shards['bytes.kept'] / 1e6:.0f} MB"),
        StageBox(name="train", does="packed, 64 tokens an image", came="checkpoint, held-out loss"),
    ]  # fmt: skip
    wide, gap = 204, 30
    parts = []
    for place, box in enumerate(boxes):
        left = place * (wide + gap) + 4
        fill = "#dcefe9" if box.name == "train" else "#f6f2e8"
        parts.append(
            f'<rect x="{left}" y="8" width="{wide}" height="92" rx="10" fill="{fill}" '
            'stroke="#1c2024"/>'
        )
        for text, low, style in (
            (box.name, 36, 'font-size="19" font-weight="600"'),
            (box.does, 60, 'font-size="12" fill="#6a7178"'),
            (box.came, 83, 'font-size="13"'),
        ):
            parts.append(f'<text x="{left + wide / 2}" y="{low}" text-anchor="middle" {style}>'
                         f"{html.escape(text)}</text>")  # fmt: skip
        if place + 1 < len(boxes):
            start = left + wide + 4
            parts.append(f'<path d="M{start} 54 h{gap - 16} l-6 -5 m6 5 l-6 5" fill="none" '
                         'stroke="#1c2024" stroke-width="2"/>')  # fmt: skip
    width = len(boxes) * (wide + gap)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} 108" '
        f'font-family="system-ui, sans-serif"><rect width="100%" height="100%" fill="#fff"/>'
        f"{''.join(parts)}</svg>\n"
    )


def unpack(warc: str, folder: Path) -> None:
    """The crawl's answers as files, so that a browser finds a page's pictures and styles."""
    with Path(warc).open("rb") as stream:
        for record in ArchiveIterator(stream):
            if record.rec_type == "response":
                url = urlsplit(record.rec_headers.get_header("WARC-Target-URI"))
                path = folder / url.netloc / unquote(url.path).lstrip("/")
                if not path.name or path.is_dir():
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(record.content_stream().read())


def find_sample(job: Job) -> tuple[Sample, dict[str, bytes]]:
    """The sample that is shown, and its images by their members' names."""
    for path in sorted(Path(job.path("shards")).glob("*.tar")):
        with tarfile.open(path) as tar:
            for key, group in groupby(tar, key=lambda member: member.name.partition(".")[0]):
                files = {member.name.removeprefix(f"{key}."): tar.extractfile(member).read()  # type: ignore[union-attr]
                         for member in group}  # fmt: skip
                if json.loads(files["json"])["url"].endswith(f"/{SHOWN}"):
                    return decode(files.pop("json")), files
    raise ValueError(f"no sample of {job.output} is of a page {SHOWN}: make demo")


def document(sample: Sample, images: dict[str, bytes], site: Path, model: str) -> str:
    """Three columns: the page, the document, the model's view of it."""
    url = urlsplit(sample.url)
    pictures = {name: _data_url(data) for name, data in images.items()}
    loaded = load(f"{model}/tokenizer")
    sequence = sequence_of(sample, loaded.encoder, IMAGE_TOKENS)
    tokens = sequence.tokens.tolist()
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string((HERE / "document.html.j2").read_text()).render(
        page=(site / url.netloc / unquote(url.path).lstrip("/")).as_uri(),
        url=sample.url,
        nodes=[_node(node, pictures) for node in sample.nodes],
        units=list(units(tokens, loaded.special, loaded.tokenizer, list(pictures.values()))),
        tokens=len(tokens),
        row=ROW,
        text=len(tokens) - IMAGE_TOKENS * len(pictures),
        images=len(pictures),
    )


def _data_url(data: bytes) -> str:
    return f"data:image;base64,{base64.b64encode(data).decode()}"


def _node(node: SampleText | SampleImage, pictures: dict[str, str]) -> dict[str, Any]:
    if isinstance(node, SampleText):
        return {"role": node.role, "text": node.text}
    return {"role": "image", "picture": pictures[node.member],
            "text": f"{node.width} x {node.height}, {node.member}"}  # fmt: skip


def units(
    tokens: Sequence[int],
    special: Special,
    tokenizer: PreTrainedTokenizerBase,
    pictures: list[str],
) -> Iterator[dict[str, str]]:
    """A token each, and the 64 of an image as one picture."""
    names = {special.bos: "<s>", special.eos: "</s>", special.fake: "<fake>"}
    waiting = iter(pictures)
    for is_image, group in groupby(tokens, key=lambda token: token == special.image):
        if is_image:
            yield {"picture": next(waiting)}
            continue
        for token in group:
            kind = "special" if token in names else "token"
            yield {"kind": kind, "text": names.get(token) or str(tokenizer.decode([token]))}


if __name__ == "__main__":
    main(*sys.argv[1:3])
