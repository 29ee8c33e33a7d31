"""Inputs: what a user names becomes the ordered list of crawl files.

In:      files, folders, globs (local, s3, gs), URLs, lists of paths (*.paths, *.paths.gz), and
         Common Crawl's index as Parquet or CSV (index.py).
Out:     names, each once, ordered by their bytes as given; never a file of two orders.
Refused: what does not exist, a glob or list that names nothing, a scheme or compression that is
         not read: ValueError with the value and what to do, before anything else happens. What a
         list names is checked by its name only: it may be 90,000 lines long.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from pipeline.read.index import files_of, is_index
from pipeline.read.raw import (
    CLOUD,
    WEB,
    below,
    file_systems,
    local_path,
    open_raw,
    scheme_of,
    size_of,
)

_LISTS: Final = (".paths", ".paths.gz")
_CRAWL: Final = (".warc", ".arc")  # anywhere in a name: *.warc.gz, *.arc.zst, *.warc.wet.gz
_REFUSED: Final = (".lz4", ".bz2", ".xz", ".zip", ".7z")
_LONGEST_LIST: Final = 1 << 30


def expand(arguments: Sequence[str], *, base: str = "") -> tuple[str, ...]:
    """All inputs that the arguments name; relative lines of a list stand below `base`."""
    if not arguments:
        raise ValueError("no input: name a WARC or ARC file, a folder, a glob, a URL or a list")
    names = {name for argument in arguments for name in _expanded(argument, base)}
    return tuple(sorted(names, key=os.fsencode))


def _expanded(argument: str, base: str) -> Iterable[str]:
    scheme = scheme_of(argument)
    if scheme not in CLOUD | WEB | {"", "file"}:
        local_path(argument)  # says what is read instead
    if argument.endswith(_LISTS):
        return _listed(argument, base)
    if is_index(argument):
        _must_exist(argument)
        return files_of(argument, base=base)
    if scheme in WEB:
        return (_reachable(_readable(argument)),)
    return _cloud(argument) if scheme in CLOUD else _local(argument)


def _readable(name: str) -> str:
    if name.lower().endswith(_REFUSED):
        raise ValueError(
            f"{name}: {Path(name).suffix} is not read; compress each record with gzip or zstd, "
            "for instance by `fastwarc recompress`"
        )
    return name


def _reachable(url: str) -> str:
    try:
        size_of(url)
    except OSError as error:
        raise ValueError(f"{url} cannot be read: {error}") from error
    return url


def _is_crawl(name: str) -> bool:
    return any(mark in name.lower() for mark in _CRAWL)


def _local(argument: str) -> Iterator[str]:
    path = local_path(argument)
    if path.is_dir():
        found = [child for child in path.iterdir() if child.is_file() and _is_crawl(child.name)]
        wanted = "no file whose name has .warc or .arc in it"
    elif path.exists():
        found, wanted = [path], ""
    elif any(mark in argument for mark in "*?["):
        found = [child for child in _globbed(path) if child.is_file()]
        wanted = "the glob matches no file; quote it, and check the folder"
    else:
        found, wanted = [], "does not exist; check the spelling"
    if not found:
        raise ValueError(f"{argument}: {wanted}")
    if path in found:
        yield _readable(argument)
        return
    for child in found:
        yield _readable(str(child))


def _globbed(pattern: Path) -> Iterator[Path]:
    relative = pattern.relative_to(pattern.anchor) if pattern.anchor else pattern
    return Path(pattern.anchor or ".").glob(str(relative))


def _cloud(argument: str) -> Iterator[str]:
    from apache_beam.io.filesystem import BeamIOError  # noqa: PLC0415  # Beam takes seconds

    globbed = any(mark in argument for mark in "*?[")
    folder = argument.endswith("/")
    try:
        found = file_systems().match([argument + "*" if folder else argument])[0].metadata_list
    except (BeamIOError, ValueError) as error:
        raise ValueError(
            f"{argument}: cannot be listed ({error}); check the name and your credentials, "
            "and that interloom[s3] or interloom[gcp] is installed"
        ) from error
    names = [item.path for item in found if not folder or _is_crawl(item.path)]
    if not names:
        wanted = "the glob matches no object" if globbed or folder else "does not exist"
        raise ValueError(f"{argument}: {wanted}; check the name and what you may list")
    for name in names:
        yield _readable(name)


def _must_exist(name: str) -> None:
    if scheme_of(name) not in {"", "file"}:
        _reachable(name)
    elif not local_path(name).is_file():
        raise ValueError(f"{name}: does not exist; check the spelling")


def _listed(name: str, base: str) -> list[str]:
    """The lines of a list of paths; blank lines and those that begin with # are none."""
    _must_exist(name)
    with open_raw(name) as stream:
        text = stream.read(_LONGEST_LIST)
    try:
        plain = gzip.decompress(text) if text.startswith(b"\x1f\x8b") else text
        lines = [line.strip() for line in plain.decode("utf-8").splitlines()]
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"{name}: not a list of paths ({error}); get it again") from error
    names = [below(base, line) for line in lines if line and not line.startswith("#")]
    if not names:
        raise ValueError(f"{name}: the list names nothing; one path or URL a line")
    for found in names:
        scheme = scheme_of(_readable(found))
        if scheme not in CLOUD | WEB | {"", "file"}:
            local_path(found)
    first = names[0]
    if scheme_of(first) in {"", "file"} and not local_path(first).exists():
        raise ValueError(
            f"{name}: its first line, {first}, does not exist here; if the lines are relative, "
            "say to what with --base, for instance --base https://data.commoncrawl.org/"
        )
    return names
