"""Hub: what from_pretrained is given for a folder, a .gguf file or a name on the hub, and no code.

In:      the option that names it, and the source.
Out:     arguments for transformers, trust_remote_code=False among them: without it transformers
         asks on standard input, and a yes there runs the Python that lies in the folder.
Refused: a source whose settings name code of its own (auto_map), also where transformers would take
         its own instead: ValueError, before anything is loaded.

Of a name on the hub the settings are fetched first; where they cannot be, transformers says why.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

SETTINGS: Final = "*config*.json"  # config.json, tokenizer_config.json, adapter_config.json, ...
CODE: Final = "auto_map"  # key of the classes that a folder brings, and of the files they are in


def arguments(option: str, source: str) -> dict[str, Any]:
    """What from_pretrained is given, unless the source brings code."""
    path, named = Path(source), {"pretrained_model_name_or_path": source}
    check_settings(option, source)
    if path.suffix == ".gguf":
        named = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    return {**named, "trust_remote_code": False}


def check_settings(option: str, source: str) -> None:
    """Raises ValueError where a source brings code."""
    for path in settings_of(source):
        try:
            read = json.loads(path.read_bytes())
        except (ValueError, RecursionError):  # transformers cannot read it either
            continue
        if CODE in _keys(read):
            raise ValueError(
                f"{option} is {source}, but its {path.name} names code of its own ({CODE}), and "
                "interloom runs none (trust_remote_code=False): give a model that transformers "
                f"knows by itself; if it knows this one, take {CODE} out of the file"
            )


def settings_of(source: str) -> list[Path]:
    """The files of settings in a folder, beside a file, or under a name on the hub."""
    path = Path(source)
    if path.exists():
        return sorted((path if path.is_dir() else path.parent).glob(SETTINGS))
    try:
        return sorted(Path(snapshot_download(source, allow_patterns=[SETTINGS])).rglob(SETTINGS))
    except (HfHubHTTPError, HFValidationError, OSError):
        return []


def _keys(read: object) -> Iterator[str]:
    """Keys of every object at any depth, as far as they have a value."""
    left = [read]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            yield from (key for key, inner in value.items() if inner)
            left += value.values()
        elif isinstance(value, list):
            left += value
