"""A file behind http(s) as a seekable stream: ranges over one kept client, with read-ahead.

In:      a URL.
Out:     a stream of the stored bytes; http_range.py asks for them, again and again where it helps.
Refused: an address that none can have, before anyone is asked: ValueError. A file that changes
         while it is read (length or ETag), and all that http_range.py refuses: OSError.
A server that knows no ranges is read once from its start into a temporary file.
"""

from __future__ import annotations

import io
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, Final

from pipeline.store.http_range import PATIENT, Answer, Patience, ask
from pipeline.store.web_address import check_address

AHEAD: Final = 4 << 20  # bytes of the piece that is fetched while the one before it is used
_HELD: Final = 3  # pieces: the one in use, and two for small steps back


class RangedHttp(io.RawIOBase):
    """A readable, seekable stream over a URL; nothing is asked for before it is needed.

    Behind `until` nothing is fetched ahead.
    """

    def __init__(
        self, url: str, *, until: int | None = None, patience: Patience | None = None
    ) -> None:
        super().__init__()
        check_address(url)
        self._url = url
        self._until = until
        self._patience = patience or PATIENT
        self._place = 0
        self._known: Answer | None = None
        self._held: deque[tuple[int, bytes]] = deque(maxlen=_HELD)
        self._ahead: tuple[int, int, Future[bytes]] | None = None
        self._pool: ThreadPoolExecutor | None = None

    @property
    def size(self) -> int:
        if self._known is None:
            self._fetch(0, 1)
        assert self._known is not None
        return self._known.total

    @property
    def ranged(self) -> bool:
        return self.size >= 0 and self._spool is None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        bases = {io.SEEK_SET: 0, io.SEEK_CUR: self._place}
        place = offset + (self.size if whence == io.SEEK_END else bases[whence])
        if place < 0:
            raise ValueError(f"seek to {place} in {self._url}: before its start")
        self._place = place
        return place

    def read(self, size: int | None = -1) -> bytes:
        """`size` bytes, fewer only at the end of the file."""
        wanted = self.size - self._place if size is None or size < 0 else size
        pieces = []
        while wanted > 0:
            piece = self._some(self._place, wanted)
            if not piece:
                break
            pieces.append(piece)
            wanted -= len(piece)
            self._place += len(piece)
        return b"".join(pieces)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed: Buffer
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            if self._pool is not None:
                self._pool.shutdown(wait=False, cancel_futures=True)
            self._held.clear()
            if self._spool is not None:
                self._spool.close()
        super().close()

    @property
    def _spool(self) -> IO[bytes] | None:
        return None if self._known is None else self._known.spool

    def _some(self, place: int, wanted: int) -> bytes:
        """Bytes from `place` on, at least one before the end of the file."""
        for start, piece in reversed(self._held):
            if start <= place < start + len(piece):
                return piece[place - start : place - start + wanted]
        if self._known is not None and place >= self._known.total:
            return b""
        if self._spool is None:
            start, piece = self._next(place, wanted)
        if self._spool is not None:  # known only now, or since the first request
            self._spool.seek(place)
            return self._spool.read(wanted)
        going_on = any(before + len(held) == start for before, held in self._held)
        self._held.append((start, piece))
        if going_on:
            self._look_ahead(start + len(piece))
        return piece[place - start : place - start + wanted]

    def _next(self, place: int, wanted: int) -> tuple[int, bytes]:
        if self._ahead is not None:
            start, end, coming = self._ahead
            self._ahead = None
            # a server may give less than it was asked for
            if start <= place < end and place < start + len(piece := coming.result()):
                return start, piece
        return place, self._fetch(place, min(wanted, AHEAD))

    def _look_ahead(self, start: int) -> None:
        end = min(start + AHEAD, self.size if self._until is None else self._until)
        if start < end:
            self._pool = self._pool or ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
            self._ahead = start, end, self._pool.submit(self._fetch, start, end - start)

    def _fetch(self, start: int, size: int) -> bytes:
        answer = ask(self._url, start, size, self._patience)
        known = self._known = self._known or answer
        if (answer.total, answer.version) != (known.total, known.version):
            raise OSError(
                f"{self._url} changed while it was read ({known.total:,} bytes, now "
                f"{answer.total:,}): download it first, or start again"
            )
        if answer.spool is not None and known.spool is None:
            self._known = answer  # all of it at once, from a server that gave ranges before
        return answer.data
