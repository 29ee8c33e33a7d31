"""Choose fetching: options of the command line that concern the stage fetch in, a Fetching out.

What was given at the first start is remembered; files are read now, and travel as their text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pipeline.fetching import Fetching
from pipeline.media.pixels import Encoding
from pipeline.store import store

# options, and what they are of an encoding
ENCODING: Final = {
    "image_format": "format",
    "longest_side": "longest_side",
    "image_quality": "quality",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class AskedFetching:
    """Options of fetch as given; None where nothing was said. Files by their paths."""

    on: bool | None = None
    contact: str | None = None
    rates: str | None = None
    opt_out_service: str | None = None
    host_map: str | None = None
    ports: str | None = None
    requests: int | None = None
    deadline: float | None = None
    host_images: int | None = None
    image_format: str | None = None
    longest_side: int | None = None
    image_quality: int | None = None


def choose_fetching(asked: AskedFetching, old: dict[str, Any] | None) -> Fetching:
    """Fetching needs a contact, from the first start on; what was given then is remembered."""
    given = {name: getattr(asked, name) for name in asked.__slots__}
    given = {name: value for name, value in given.items() if value is not None}
    for name in ("rates", "host_map"):
        if name in given:
            given[name] = text_of(name, given[name])
    if "ports" in given:
        given["ports"] = tuple(_port(port) for port in given["ports"].split(","))
    asked_for = {field: given.pop(name) for name, field in ENCODING.items() if name in given}
    if asked_for:
        before = (old or {}).get("encoding") or {}
        given["encoding"] = {**before, **asked_for}
    if "contact" in given:
        given.setdefault("on", True)  # who gives one wants to fetch, whatever the last start said
    fetching = fetching_of({"on": True, **(old or {}), **given})
    if fetching.on:
        from pipeline.fetch.hosts.texts import read_texts  # noqa: PLC0415  # with aiohttp, half a second

        read_texts(fetching)
    return fetching


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
