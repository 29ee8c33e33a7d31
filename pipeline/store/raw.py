"""Raw bytes: an input's name becomes a seekable stream that nobody has decompressed.

In:      a path, file://, s3://, gs://, http:// or https:// name.
Out:     a stream to read and seek; its size.
Refused: a scheme that nothing here reads: ValueError; what does not exist: OSError.

Beam's FileSystems open s3 and gs (they would inflate .gz unless told not to); Beam has no https,
so that reader is our own (ranged_http.py). Beam is imported where it is needed: it takes seconds.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast
from urllib.parse import unquote_to_bytes, urlsplit

from pipeline.local.beam_once import one_session
from pipeline.store.ranged_http import RangedHttp

if TYPE_CHECKING:
    from apache_beam.io.filesystems import FileSystems

CLOUD = frozenset({"s3", "gs"})
WEB = frozenset({"http", "https"})


def scheme_of(name: str) -> str:
    """The scheme in lower case, "" for a local path."""
    scheme, mark, _ = name.partition("://")
    return scheme.lower() if mark else ""


def below(base: str, name: str) -> str:
    """A name of a list or index: absolute as it is, relative below `base`."""
    if not base or scheme_of(name) or Path(name).is_absolute():
        return name
    return f"{base.rstrip('/')}/{name}"


def open_raw(name: str, *, until: int | None = None) -> BinaryIO:
    """Open an input for reading its stored bytes, as a rule up to `until`; nothing is inflated."""
    scheme = scheme_of(name)
    if scheme in WEB:
        return cast("BinaryIO", RangedHttp(name, until=until))  # a raw stream without write
    if scheme in CLOUD:
        return open_cloud(name)
    return open_local(local_path(name))


def open_local(path: Path) -> BinaryIO:
    """Raises OSError for a pipe, on which one would wait, and a device, which need not end."""
    if stat.S_IFMT(path.stat().st_mode) not in {stat.S_IFREG, stat.S_IFDIR}:
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return path.open("rb")


def size_of(name: str) -> int:
    """Bytes of an input as stored."""
    scheme = scheme_of(name)
    if scheme in WEB:
        with RangedHttp(name) as stream:
            return stream.size
    if scheme in CLOUD:
        return _cloud_size(name)
    return local_path(name).stat().st_size


def is_ranged(stream: BinaryIO) -> bool:
    """Whether bytes in the middle can be had without the bytes before them."""
    return not isinstance(stream, RangedHttp) or stream.ranged


def local_path(name: str) -> Path:
    scheme = scheme_of(name)
    if scheme == "file":
        return Path(os.fsdecode(unquote_to_bytes(urlsplit(name).path)))
    if scheme:
        raise ValueError(
            f"{name}: {scheme}:// is not read; use a local path, s3://, gs:// or http(s)://"
        )
    return Path(name)


def file_systems() -> type[FileSystems]:
    """Beam's file systems, with default options where no pipeline has given any (s3 needs some)."""
    from apache_beam.io.filesystems import FileSystems  # noqa: PLC0415
    from apache_beam.options.pipeline_options import PipelineOptions  # noqa: PLC0415

    one_session()
    if FileSystems._pipeline_options is None:
        FileSystems.set_options(PipelineOptions([]))
    return FileSystems


def open_cloud(name: str) -> BinaryIO:
    """A reader of an object's stored bytes: Beam inflates by the name unless told."""
    stream: BinaryIO = file_systems().open(name, compression_type=_stored_bytes())
    return stream


def create_cloud(name: str) -> BinaryIO:
    """A writer of an object, which is whole when the writer is closed."""
    stream: BinaryIO = file_systems().create(name, compression_type=_stored_bytes())
    return stream


def _stored_bytes() -> str:
    from apache_beam.io.filesystem import CompressionTypes  # noqa: PLC0415

    stored: str = CompressionTypes.UNCOMPRESSED
    return stored


def _cloud_size(name: str) -> int:
    found = file_systems().match([name])[0].metadata_list
    if not found:
        raise FileNotFoundError(
            f"{name} does not exist, or may not be listed with your credentials"
        )
    return int(found[0].size_in_bytes)
