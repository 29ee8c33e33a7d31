"""Archive: a tar read member by member, and every byte between the members looked at.

In:   a tar as tarfile and webdataset write it: one header block a member, the last record padded.
Out:  members with their bytes; in `odd` what tarfile would not have written: a header that does not
      come out the same again (its own checksum covers only numbers), padding that is not zero,
      an end that is not there, too short, too long or not empty.
tarfile itself stops without a word at the first header that it cannot read.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from typing import BinaryIO, Final

from pipeline import store

BLOCK: Final = tarfile.BLOCKSIZE
_END: Final = 2 * BLOCK  # of zeros, before the record is filled
_PIECE: Final = 1 << 20


def members(path: str, odd: list[str]) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """Each member and its bytes, one in memory at a time; what is odd is added to `odd`.

    Raises:
        OSError, tarfile.TarError: where the file is not there, or is no tar at its start.
    """
    end = 0
    with store.open_input(path) as handle, tarfile.open(fileobj=handle, mode="r:") as tar:
        for info in tar:
            stream = tar.extractfile(info)
            data = b"" if stream is None else stream.read()
            handle.seek(info.offset)
            header = handle.read(BLOCK)
            if info.offset_data != info.offset + BLOCK or info.tobuf() != header:
                odd.append(f"the header of {info.name} at {info.offset}")
            end = info.offset_data + _filled(info.size)
            handle.seek(info.offset_data + info.size)
            if handle.read(end - info.offset_data - info.size).strip(b"\0"):
                odd.append(f"padding behind {info.name}")
            yield info, data
        odd += _odd_end(handle, end)


def _filled(size: int, unit: int = BLOCK) -> int:
    return -(-size // unit) * unit


def _odd_end(handle: BinaryIO, end: int) -> Iterator[str]:
    """What follows the last member: two blocks of zeros, and zeros to the end of the record."""
    size = handle.seek(0, os.SEEK_END)
    expected = _filled(end + _END, tarfile.RECORDSIZE)
    if size != expected:
        yield f"{size - end:,} bytes behind the last member, where {expected - end:,} should be"
    handle.seek(end)
    while piece := handle.read(_PIECE):
        if piece.strip(b"\0"):
            yield f"other bytes than zeros behind the last member, which ends at {end:,}"
            return
