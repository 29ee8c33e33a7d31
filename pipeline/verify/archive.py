"""Archive: a tar read member by member, and every byte between the members looked at.

In:   a tar as tarfile and webdataset write it: one header block a member, the last record padded.
Out:  members with their bytes; in `odd` what tarfile would not have written: a header that does not
      come out the same again (its own checksum covers only numbers), padding that is not zero,
      an end that is not there, too short, too long or not empty.
Members are found by schemas/tar.py, which checks their sizes; tarfile would never end at some.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from typing import BinaryIO, Final

from pipeline.store import store
from schemas import tar

BLOCK: Final = tar.BLOCK
_END: Final = 2 * BLOCK  # of zeros, before the record is filled
_PIECE: Final = 1 << 20


def members(path: str, odd: list[str]) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """Each member and its bytes, one in memory at a time; what is odd is added to `odd`.

    Raises:
        OSError, tarfile.TarError: where the file is not there, or is no tar at its start.
    """
    end = 0
    with store.open_input(path) as handle:
        try:
            for member in tar.members(handle, size=handle.seek(0, os.SEEK_END)):
                handle.seek(member.header)
                header, data = handle.read(BLOCK), handle.read(member.size)
                info = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
                info.name, info.offset_data = member.name, member.offset
                if member.header != end or info.tobuf() != header:
                    odd.append(f"the header of {info.name} at {member.header}")
                end = member.end
                if handle.read(end - member.offset - member.size).strip(b"\0"):
                    odd.append(f"padding behind {info.name}")
                yield info, data
        except tar.BrokenTarError as error:
            if not end:
                raise tarfile.ReadError(str(error)) from error
            odd.append(str(error))
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
