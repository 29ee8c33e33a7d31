"""Index: where each sample of a tar lies; read, or made of the tar where there is none.

In:      an index/SHARD.parquet of schemas/index.py, or a tar of samples as schemas/sample.py has
         them, members of one sample together (as webdataset needs them too).
Out:     a table, or the bytes of a Parquet file of the same columns.
Refused: a file that is no index, a tar that is cut short, a sample without its JSON or of another
         FORMAT_VERSION: ValueError naming the tar and the remedy.

An image member that is missing is no error here: its document is trained without it, and counted.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any, Final

import fsspec  # type: ignore[import-untyped]
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.index import INDEX, Place, index_row
from schemas.sample import Sample, decode

JSON: Final = "json"
CLOSING: Final = 2 * tarfile.BLOCKSIZE  # POSIX pax: two blocks of zeros end an archive


def read_index(url: str, columns: list[str] | None = None) -> pa.Table:
    """Rows of an index.

    Raises:
        ValueError: for a file that is none.
    """
    wanted = columns or INDEX.names
    remedy = "remove it, and it is made anew from its tar"
    system, path = fsspec.core.url_to_fs(url)
    with system.open(path, "rb") as stream:
        try:
            opened = pq.ParquetFile(stream)
            missing = set(wanted) - set(opened.schema_arrow.names)
            if missing:
                raise ValueError(
                    f"{url} is no index: it lacks {', '.join(sorted(missing))}; {remedy}"
                )
            return opened.read(columns=wanted)
        except pa.ArrowException as error:
            raise ValueError(f"{url} is no index ({error}): {remedy}") from error


def make_index(tar: str, size: int) -> bytes:
    """The index of a tar, by reading its headers and its JSON members once.

    Raises:
        ValueError: for a tar that is cut short or holds something else than samples.
    """
    system, path = fsspec.core.url_to_fs(tar)
    try:
        with system.open(path, "rb") as stream, tarfile.open(fileobj=stream, mode="r:") as opened:
            rows = list(_rows(opened, tar))
            ending = opened.offset
            stream.seek(ending)
            closed = stream.read(CLOSING)
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(
            f"{tar} of {size:,} bytes is no whole tar ({error}): copy it again"
        ) from error
    if closed.strip(b"\0") or len(closed) < CLOSING:
        raise ValueError(
            f"{tar} is cut short: it ends at byte {size:,} without the two empty blocks that end a "
            "tar; copy it again"
        )
    held = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, INDEX), held, compression="zstd")
    return held.getvalue()


def _rows(opened: tarfile.TarFile, tar: str) -> Iterator[Mapping[str, Any]]:
    files = (info for info in opened if info.isfile())
    for key, members in groupby(files, lambda info: _split(info.name)[0]):
        places: dict[str, Place] = {}
        sample: Sample | None = None
        for info in members:
            name = _split(info.name)[1]
            places[name] = (name, info.offset_data, info.size)
            if name == JSON:
                stream = opened.extractfile(info)
                assert stream is not None, "a file has contents"
                sample = read_sample(stream.read(), key, tar)
        if sample is None:
            raise ValueError(
                f"{tar}: sample {key} has 0 members {key}.{JSON}, and 1 is needed: give tars that "
                "interloom made, or write them as schemas/README.md tells"
            )
        yield index_row(sample, [places.pop(JSON), *places.values()])


def _split(name: str) -> tuple[str, str]:
    """KEY and the rest, at the first dot of the last part, as webdataset has it."""
    folder, _, last = name.rpartition("/")
    key, _, rest = last.partition(".")
    return f"{folder}/{key}" if folder else key, rest


def read_sample(body: bytes, key: str, tar: str) -> Sample:
    """A sample's JSON member, which must be that of `key`.

    Raises:
        ValueError: for what is no sample of this format version.
    """
    try:
        sample = decode(body)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{tar}, sample {key}: what stands where its JSON should is none ({error}): copy the "
            "tar again, or shard again"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{tar}, sample {key}: {error or 'no sample'}") from error
    if sample.key != key:
        raise ValueError(
            f"{tar}: the sample at {key} has id {sample.key}: remove its index, which is then made "
            "anew, or write the tar again with the id as KEY"
        )
    return sample
