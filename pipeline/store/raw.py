"""Raw bytes: an input's name becomes a seekable stream that nobody has decompressed.

In:      a path, file://, s3://, gs://, http:// or https:// name.
Out:     a stream to read and seek; its size.
Refused: a scheme that nothing here reads, a web address that no server can have (no host, one that
         no name server can look up, no port, characters that no address has, a password), before
         anyone is asked: ValueError. What does not exist: OSError.

Beam's FileSystems open s3 and gs (they would inflate .gz unless told not to); Beam has no https,
so that reader is our own (web.py). Beam is imported where it is needed: it takes seconds.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, cast
from urllib.parse import unquote_to_bytes, urlsplit

import httpx

from pipeline.local.beam import one_session
from pipeline.store.web import RangedHttp

if TYPE_CHECKING:
    from apache_beam.io.filesystems import FileSystems

CLOUD = frozenset({"s3", "gs"})
WEB = frozenset({"http", "https"})
# as httpx would send it: an IPv6 address, or labels in ASCII
_HOST: Final = re.compile(
    r"(?P<ipv6>[0-9a-f.:][0-9a-f.]*+:[0-9a-f.:]*+(?:%25.+)?)|(?:[0-9a-z_-]{1,63}\.)*[0-9a-z_-]{1,63}\.?"
)
_SHOWN: Final = 200  # characters of an address in a message


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
        check_address(name)
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
        check_address(name)
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
    listed = file_systems().match([name])[0].metadata_list
    if not listed:
        raise FileNotFoundError(
            f"{name} does not exist, or may not be listed with your credentials"
        )
    return int(listed[0].size_in_bytes)


def check_address(url: str) -> None:
    """Refuse what cannot be asked for.

    Raises:
        ValueError: naming the address, without a password in it.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
        parsed = httpx.URL(url)
        host = parsed.host and parsed.raw_host.decode()  # the first of them undoes and checks IDNA
    except (ValueError, httpx.InvalidURL) as error:
        raise _refused(url, str(error)) from error
    if parts.username is not None:
        raise _refused(url, "a password in it would be stored with every document", download=True)
    if not host:
        raise _refused(url, "it names no host")
    if not _HOST.fullmatch(host):
        raise _refused(url, f"no host can be called {host}")
    if port == 0:
        raise _refused(url, "port 0 is none")


def _refused(url: str, wrong: str, *, download: bool = False) -> ValueError:
    remedy = (
        "download the file, and name it where it then lies"
        if download
        else "write it as http(s)://HOST[:PORT]/PATH, with a port from 1 to 65535"
    )
    before, mark, after = url.partition("://")
    netloc, slash, path = after.partition("/")
    _, password, host = netloc.rpartition("@")
    shown = before + mark + ("***@" if password else "") + host + slash + path
    if len(shown) > _SHOWN:
        shown = f"{shown[:_SHOWN]}... ({len(shown):,} characters)"
    return ValueError(f"{shown}: {wrong}; {remedy}")
