"""Window: the raw bytes of a stream by offset, with one block held.

In:   a seekable stream of raw bytes, and where the reader means to stop.
Out:  `at(offset, size)`: exactly these bytes, fewer only at the end of the stream.
Why:  reading on is what nearly always happens, and looking a little back or ahead happens behind
      damage. Whoever means to stop at `end` does not fetch beyond it, but may look there.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from io import SEEK_END
from typing import BinaryIO, Final

BLOCK: Final = 1 << 20


class Window:
    """One block of a stream; `end` is where reading ahead stops, `exact` makes it the last byte."""

    def __init__(self, stream: BinaryIO, *, end: int | None = None, exact: bool = False) -> None:
        self._stream = stream
        self._end = end
        self._last = end if exact else None
        self._block = b""
        self._start = 0
        self._place = -1  # where the stream stands; -1 is unknown
        self.failed = False  # the stream raised: a disk's or a network's fault, not the bytes'

    def at(self, offset: int, size: int) -> bytes:
        """The bytes [offset, offset + size), as far as there are any."""
        if self._last is not None:
            size = max(0, min(size, self._last - offset))
        low = offset - self._start
        if low < 0 or low + size > len(self._block):
            if not self._fill(offset, size):
                return b""
            low = 0
        return self._block[low : low + size]

    def some(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes, at least one; not across the end where reading means to stop."""
        if self._end is not None and offset < self._end:
            size = min(size, self._end - offset)
        return self.at(offset, size)

    def size(self) -> int:
        if self._last is not None:
            return self._last
        self._place = -1
        with self._watched():
            return self._stream.seek(0, SEEK_END)

    def ended(self, offset: int) -> bool:
        return not self.at(offset, 1)

    def _fill(self, offset: int, size: int) -> bool:
        """Hold the bytes from `offset` on, if there are any."""
        wanted = size
        if self._end is None or offset < self._end:
            ahead = BLOCK if self._end is None else min(BLOCK, self._end - offset)
            wanted = max(size, ahead)
        low = offset - self._start
        kept = self._block[low:] if 0 <= low < len(self._block) else b""
        block = kept + self._read(offset + len(kept), wanted - len(kept))
        if block:  # a look behind the end of the stream costs nothing of what is held
            self._block, self._start = block, offset
        return bool(block)

    def _read(self, offset: int, size: int) -> bytes:
        with self._watched():
            if self._place != offset:
                try:
                    self._stream.seek(offset)
                except OSError as error:
                    if error.errno != errno.EINVAL:
                        raise
                    return b""  # farther than a file reaches on this file system
                self._place = offset
            pieces = []
            while size > 0:
                piece = self._stream.read(size)
                if not piece:
                    break
                pieces.append(piece)
                size -= len(piece)
                self._place += len(piece)
            return b"".join(pieces)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.failed = True
            raise
