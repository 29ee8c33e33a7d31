"""Choose fetching: options of the command line that concern the stage fetch in, a Fetching out.

What was given at the first start is remembered; files are read now, and travel as their text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pipeline.job import Fetching
from pipeline.media.pixels import Encoding
from pipeline.options.run_options import RunOptions
from pipeline.store import store

# options, and what they are of an encoding
ENCODING: Final = {
    "image_format": "format",
    "longest_side": "longest_side",
    "image_quality": "quality",
}


# the others, and what Fetching calls them
OPTIONS: Final = {
    "fetch": "on",
    "contact": "contact",
    "rates": "rates",
    "opt_out_service": "opt_out_service",
    "host_map": "host_map",
    "ports": "ports",
    "requests": "requests",
    "fetch_deadline": "deadline",
    "host_images": "host_images",
}


def choose_fetching(chosen: RunOptions, old: dict[str, Any] | None) -> Fetching:
    """Fetching needs a contact, from the first start on; what was given then is remembered."""
    values = _given(chosen, OPTIONS)
    for name in ("rates", "host_map"):
        if name in values:
            values[name] = text_of(name, values[name])
    if "ports" in values:
        values["ports"] = tuple(_port(port) for port in values["ports"].split(","))
    if encoding := _given(chosen, ENCODING):
        values["encoding"] = {**((old or {}).get("encoding") or {}), **encoding}
    if "contact" in values:
        values.setdefault("on", True)  # who gives one wants to fetch, whatever the last start said
    fetching = fetching_of({"on": True, **(old or {}), **values})
    if fetching.on:
        # with aiohttp, which takes half a second to import
        from pipeline.fetch.hosts.guard import HostMap  # noqa: PLC0415
        from pipeline.fetch.hosts.pace import Rates  # noqa: PLC0415

        Rates.parse(fetching.rates)
        HostMap.parse(fetching.host_map)
    return fetching


def _given(chosen: RunOptions, names: Mapping[str, str]) -> dict[str, Any]:
    values = {field: getattr(chosen, option) for option, field in names.items()}
    return {field: value for field, value in values.items() if value is not None}


def fetching_of(read: Mapping[str, Any]) -> Fetching:
    """As run.json holds it."""
    lists = {name: tuple(read[name]) for name in ("ports", "again") if name in read}
    encoding = read.get("encoding")
    made = {"encoding": Encoding(**encoding)} if isinstance(encoding, Mapping) else {}
    return Fetching(**{**read, **lists, **made})


def text_of(name: str, path: str) -> str:
    try:
        return store.read_bytes(path).decode()
    except (OSError, UnicodeDecodeError) as error:
        option = name.replace("_", "-")
        raise ValueError(f"{option} is {path!r}, which cannot be read ({error}): name a text file"
                         ) from error  # fmt: skip


def _port(text: str) -> int:
    if not text.strip().isdecimal():
        raise ValueError(f"ports has {text!r}: write numbers with commas, as in 80,443,8080")
    return int(text)
