"""Inputs: what a user names becomes the ordered list of crawl files.

In:      files, folders, globs (local, s3, gs), URLs, lists of paths (*.paths, *.paths.gz), and
         Common Crawl's index as Parquet or CSV (index.py).
Out:     names, each once, ordered by their bytes, so that the order never depends on a locale.
Refused: what does not exist or is no file, a glob or list that names nothing, a scheme or
         compression that is not read, a name that is not UTF-8 or an address that none can have:
         ValueError with the value and what to do, before anything else happens. What a list or
         index names is checked by its name only: it may be 90,000 lines long.
"""

from __future__ import annotations

import gzip
import os
import re
import stat
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from pipeline.read.index import files_of, is_index
from pipeline.store.raw import (
    CLOUD,
    WEB,
    below,
    check_address,
    file_systems,
    local_path,
    open_raw,
    scheme_of,
    size_of,
)

_LISTS: Final = (".paths", ".paths.gz")
_CRAWL: Final = re.compile(r"\.w?arc", re.IGNORECASE)  # *.warc.gz, *.arc.zst, *.warc.wet.gz
_GLOB: Final = re.compile(r"[*?[]")
_REFUSED: Final = (".lz4", ".bz2", ".xz", ".zip", ".7z")
_LONGEST_LIST: Final = 1 << 30
_SHOWN: Final = 200  # bytes of a line in a message


def expand(arguments: Sequence[str], *, base: str = "") -> tuple[str, ...]:
    """All inputs that the arguments name; relative lines of a list stand below `base`."""
    if not arguments:
        raise ValueError("no input: name a WARC or ARC file, a folder, a glob, a URL or a list")
    names = {_readable(name) for argument in arguments for name in _expanded(argument, base)}
    return tuple(sorted(names, key=os.fsencode))


def _expanded(argument: str, base: str) -> Iterable[str]:
    _check_name(argument)
    if argument.endswith(_LISTS):
        return _listed(argument, base)
    if is_index(argument):
        _must_exist(argument)
        return files_of(argument, base=base)
    scheme = scheme_of(argument)
    if scheme in WEB:
        return (_reachable(_readable(argument)),)
    return _cloud(argument) if scheme in CLOUD else _local(argument)


def _check_name(name: str) -> None:
    """Refuse what no file that is read can be called; no disk and no server is asked."""
    if not name.strip() or "\0" in name:
        raise ValueError(f"{name!r}: no file and no address is called so; leave it out")
    scheme = scheme_of(name)
    try:
        name.encode()
    except UnicodeEncodeError as error:
        other = "" if scheme else f", or name it {Path(os.path.abspath(name)).as_uri()}"  # noqa: PTH100
        raise ValueError(
            f"{os.fsencode(name)!r}: a name is stored with each document, and must be UTF-8; "
            f"rename the file{other}"
        ) from error
    if scheme in WEB:
        check_address(name)
    elif scheme not in CLOUD | {"", "file"}:
        local_path(name)  # says what is read instead


def _readable(name: str) -> str:
    _check_name(name)
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
        reason = str(error).removeprefix(f"{url}: ")
        raise ValueError(f"{url} cannot be read: {reason}") from error
    return url


def _local(argument: str) -> list[str]:
    path = local_path(argument)
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        kind = 0
    except OSError as error:
        raise ValueError(f"{argument}: cannot be read ({error.strerror})") from error
    matches: Iterable[Path] = ()
    if kind == stat.S_IFREG:
        return [argument]
    if kind == stat.S_IFDIR:
        matches = (child for child in path.iterdir() if _CRAWL.search(child.name))
        wanted = "no file whose name has .warc or .arc in it"
    elif kind:
        wanted = "is no regular file, and cannot be read twice; save what it gives as a file first"
    elif _GLOB.search(argument):
        matches = Path(path.anchor or ".").glob(str(path.relative_to(path.anchor)))
        wanted = "the glob matches no file; quote it, and check the folder"
    else:
        wanted = "does not exist; check the spelling"
    names = [str(child) for child in matches if child.is_file()]
    if not names:
        raise ValueError(f"{argument}: {wanted}")
    return names


def _cloud(argument: str) -> list[str]:
    from apache_beam.io.filesystem import BeamIOError  # noqa: PLC0415  # Beam takes seconds

    folder = argument.endswith("/")
    many = folder or _GLOB.search(argument)
    try:
        pattern = argument + "*" if folder else argument
        objects = file_systems().match([pattern])[0].metadata_list
    except (BeamIOError, ValueError) as error:
        raise ValueError(
            f"{argument}: cannot be listed ({error}); check the name and your credentials, "
            "and that interloom[s3] or interloom[gcp] is installed"
        ) from error
    names = [item.path for item in objects if not folder or _CRAWL.search(item.path)]
    if not names:
        wanted = "the glob matches no object" if many else "does not exist"
        raise ValueError(f"{argument}: {wanted}; check the name and what you may list")
    return names


def _must_exist(name: str) -> None:
    if scheme_of(name) not in {"", "file"}:
        _reachable(name)
    elif not local_path(name).is_file():
        raise ValueError(f"{name}: does not exist; check the spelling")


def _listed(name: str, base: str) -> list[str]:
    """The lines of a list of paths, without blank lines and those that begin with #."""
    _must_exist(name)
    with open_raw(name) as stream:
        text = stream.read(_LONGEST_LIST)
    try:
        plain = gzip.decompress(text) if text.startswith(b"\x1f\x8b") else text
        lines = [line.strip() for line in plain.decode("utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        line = plain.count(b"\n", 0, error.start)
        text = plain.split(b"\n")[line][:_SHOWN]
        raise ValueError(
            f"{name}: line {line + 1:,} is not UTF-8 ({text!r}); name such a file by a file:// "
            "URL, with %XX for each byte"
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{name}: not a list of paths ({error}); get it again") from error
    names = [below(base, line) for line in lines if line and not line.startswith("#")]
    if not names:
        raise ValueError(f"{name}: the list names nothing; one path or URL a line")
    first = names[0]
    if scheme_of(first) in {"", "file"} and not local_path(first).exists():
        raise ValueError(
            f"{name}: its first line, {first}, does not exist here; if the lines are relative, "
            "say to what with --base, for instance --base https://data.commoncrawl.org/"
        )
    return names
