"""Front: what the dataset card declares to `datasets`, against what lies in shards/.

In:   README.md's YAML front matter; which splits and image members were met in the tars.
Out:  what it declares otherwise: splits and their files, the columns of the JSON (SAMPLE_JSON), the
      members. The loader fails on, or leaves out, what is not declared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import pyarrow as pa
import yaml

from schemas.sample_json import SAMPLE_JSON

_KEYS: Final = ("__key__", "__url__")  # that webdataset adds
Columns = dict[str, str]  # dotted name -> type


def wrong_in_front(card: str, *, splits: set[str], members: set[str]) -> Iterator[str]:
    """What the front matter of a card says otherwise; `members` are those of images."""
    _, _, rest = card.partition("---\n")
    text, end, _ = rest.partition("\n---\n")
    try:
        front = yaml.safe_load(text)
        if not end or not isinstance(front, dict):
            raise TypeError("it has no end, or is no mapping")
        files, columns = _files(front), dict(_declared(front))
    except (yaml.YAMLError, TypeError, KeyError, AttributeError) as error:
        yield f"front matter that cannot be read: {' '.join(str(error).split())}"
        return
    if files != {split: f"shards/{split}-*.tar" for split in splits}:
        yield f"splits {files}, but shards/ holds {', '.join(sorted(splits)) or 'none'}"
    expected = _expected(members) if splits else {}
    for name in sorted({*columns, *expected}):
        if columns.get(name) != expected.get(name):
            yield f"{name} is {columns.get(name)}, where {expected.get(name)} lies in shards/"


def _files(front: Mapping[str, Any]) -> dict[str, str]:
    configs = front.get("configs", [])
    return {one["split"]: one["path"] for config in configs for one in config["data_files"]}


def _declared(front: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for one in front.get("dataset_info", {}).get("features", []):
        yield from _flat(one, one["name"])


def _flat(feature: Mapping[str, Any], name: str) -> Iterator[tuple[str, str]]:
    """A feature as `datasets` writes it: a type, a struct, or a list of either."""
    inner = feature.get("struct", feature.get("list"))
    if inner is None:
        yield name, str(feature["dtype"])
    elif isinstance(inner, str):
        yield f"{name}[]", inner
    else:
        start = f"{name}." if "struct" in feature else f"{name}[]."
        for one in inner:
            yield from _flat(one, f"{start}{one['name']}")


def _expected(members: set[str]) -> Columns:
    columns = {name: kind for field in SAMPLE_JSON for name, kind in _of(field.type, field.name)}
    expected = {f"json.{name}": kind for name, kind in columns.items()}
    return expected | dict.fromkeys(members, "image") | dict.fromkeys(_KEYS, "string")


def _of(kind: pa.DataType, name: str) -> Iterator[tuple[str, str]]:
    if pa.types.is_list(kind):
        yield from _of(kind.value_type, f"{name}[]")
    elif pa.types.is_struct(kind):
        for child in kind:
            yield from _of(child.type, f"{name}.{child.name}")
    else:
        yield name, str(kind)
