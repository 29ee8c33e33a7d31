"""The dataset card: README.md of a run folder, by which `datasets` and people read the shards.

In:   the ledgers of all stages, index/ (which image members occur).
Out:  YAML front matter that declares the splits and every column's type, and a page in Markdown.
Why declared: the webdataset loader of `datasets` infers columns from the first five samples of a
      tar and refuses it when their members differ, as they do with one to thirty images. With
      declared columns an image that a sample lacks is None.
Not:  any text of the crawl.
Beside it: what the templates of this folder share, the environment and how numbers are written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import jinja2
import pyarrow as pa
import yaml
from markupsafe import Markup

from pipeline.account.funnel import Yield, as_text, funnel_of, in_units
from pipeline.job import Job
from pipeline.shard.report.samples import without_controls
from pipeline.store import parquet
from schemas.manifest import Ledger, StageName
from schemas.sample import SAMPLE_JSON
from schemas.verdict import CONSENT

HERE: Final = Path(__file__).parent  # of the templates
SPLITS: Final = ("train", "heldout")
SIZES: Final = (  # the Hub's size categories
    (10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"), (10**8, "10M<n<100M"), (10**9, "100M<n<1B"),
)  # fmt: skip
_NAME: Final = "members.list.element.name"


def render_card(job: Job, ledgers: Mapping[str, Ledger], shards: Sequence[str]) -> str:
    splits = [split for split in SPLITS if any(name.startswith(f"{split}-") for name in shards)]
    shard = ledgers[StageName.SHARD]
    front = front_matter(splits, image_members(shards, job), documents=shard["documents.kept"])
    pages, files = ledgers[StageName.FILTER_TEXT], ledgers[StageName.FILTER_IMAGES]
    funnel = [row for stage in ledgers for row in funnel_of(stage, ledgers[stage])]
    return (
        environment()
        .get_template("card.md.j2")
        .render(
            front=Markup(yaml.safe_dump(front, sort_keys=False, allow_unicode=True)),  # noqa: S704
            came=Yield.of(shard),
            samples={split: shard[f"samples.{split}"] for split in splits},
            funnel=Markup(as_text(funnel)),  # noqa: S704  # names of stages and reasons, and numbers
            consent=[
                (reason, pages[f"documents.dropped.{reason}"], files[f"images.dropped.{reason}"])
                for reason in map(str, CONSENT)
            ],
        )
    )


def front_matter(splits: list[str], members: list[str], *, documents: int) -> dict[str, Any]:
    """What the Hub and `datasets` read; without a shard there is nothing to load."""
    size = next((name for bound, name in SIZES if documents < bound), "n>1B")
    front: dict[str, Any] = {
        "pretty_name": "Interleaved image-text documents",
        "license": "other",
        "license_name": "per-document",
        "tags": ["interleaved", "image-text", "webdataset"],
        "size_categories": [size],
    }
    if not splits:
        return front
    files = [{"split": split, "path": f"shards/{split}-*.tar"} for split in splits]
    features = [
        {"name": "json", "struct": [feature(field.name, field.type) for field in SAMPLE_JSON]},
        *({"name": name, "dtype": "image"} for name in members),
        {"name": "__key__", "dtype": "string"},
        {"name": "__url__", "dtype": "string"},
    ]
    front["configs"] = [{"config_name": "default", "data_files": files}]
    front["dataset_info"] = {"config_name": "default", "features": features}
    return front


def feature(name: str, kind: pa.DataType) -> dict[str, Any]:
    """An Arrow type as `datasets` writes its features in YAML."""
    if pa.types.is_struct(kind):
        return {"name": name, "struct": [feature(child.name, child.type) for child in kind]}
    if pa.types.is_list(kind):
        inner = feature("", kind.value_type)
        return {"name": name, "list": inner.get("struct", inner.get("dtype"))}
    return {"name": name, "dtype": str(kind)}


def image_members(shards: Sequence[str], job: Job) -> list[str]:
    """The names of the image members that occur in any sample: 000.jpg, 000.png, 001.jpg, ..."""
    return sorted(set(_members(shards, job)) - {"json"})


def _members(shards: Iterable[str], job: Job) -> Iterator[str]:
    for shard in shards:
        for row in parquet.read_rows(job.part("index", shard), [_NAME]):
            yield from (member["name"] for member in row["members"])


def environment() -> jinja2.Environment:
    """Escapes in every template; a name that is not given is an error, not a blank."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {
        "count": "{:,}".format,
        "percent": percent,
        "big": big,
        "short": short,
        "units": in_units,
        "printable": without_controls,
        "words": lambda name: name.replace("_", " "),
    }
    return made


def percent(share: float) -> str:
    """Whole percents, or two digits of what is smaller, so that a little is not 0%."""
    return f"{share:.0%}" if share >= 0.1 or share == 0 else f"{100 * share:.2g}%"


def big(number: float) -> str:
    """353M, 115B: as papers write them."""
    for unit, size in (("B", 1e9), ("M", 1e6)):
        if number >= size:
            return f"{number / size:.4g}{unit}"
    return f"{number:,.0f}"


def short(number: int) -> str:
    """12k over a column that is no wider than that."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if number >= 10 * size:
            return f"{number / size:.0f}{unit}"
    return f"{number:,}"
