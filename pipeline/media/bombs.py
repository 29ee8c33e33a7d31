"""What makes a small image file cost much: told from its bytes, before or while it is opened.

In:   the bytes of a file whose format is known.
Out:  what it asks for against a limit, where that is more than any honest file asks for.
Why:  pixels are bounded elsewhere; each rule here stands for a file that was built and timed with
      Pillow 12.3, all of at most 16 MiB:

      JPEG, the last scan (20 bytes) repeated     each costs as much as the picture: hours
      GIF, 3 million comments                     410 s, quadratic
      TIFF, 3 million strips of a few bytes       34 s and 800 MB
      JPEG, 1.3 million EXIF segments             over 30 s, quadratic
      PNG, 15,000 colour profiles                 39 s, each inflates to 1 MB
      BMP, run-length encoded                     decoded in Python; 6 bytes can ask for 255 rows

      With them the slowest takes some 8 s (64 scans of 88 million pixels, or 2.5 million comments
      in a JPEG).
"""

from __future__ import annotations

import io
from typing import Final

from pipeline.media.containers import count_scans

JPEG_SCANS: Final = 64  # progressive encoders write about 10
JPEG_EXIFS: Final = 256  # one is usual; so many full segments are 16 MiB
PNG_PROFILES: Final = 8  # one is allowed; four given bytes are in 16 MiB of noise by chance of .004
HEADER_BYTES: Final = 1 << 19  # of a GIF or TIFF: what is read before the first pixel

BMP_RUN_LENGTHS: Final = frozenset({1, 2})


class HeaderError(Exception):
    """More is read to open a file than a header may hold."""

    def __init__(self, value: int) -> None:
        super().__init__(f"{value} bytes read before the first pixel, {HEADER_BYTES} may be")
        self.value = value


class Metered(io.BytesIO):
    """A file that stops its reader behind HEADER_BYTES, until it is `opened`.

    It counts what the decoder reads, since a walk of our own could be led another way than
    Pillow's by a file that is not quite to the standard.
    """

    opened = False
    spent = 0

    def read(self, size: int | None = -1, /) -> bytes:
        block = super().read(size)
        if not self.opened:
            self.spent += len(block)
            if self.spent > HEADER_BYTES:
                raise HeaderError(self.spent)
        return block


def excess(name: str, data: bytes) -> tuple[float, float] | None:
    """Value and limit of what the bytes alone tell to be too much; None where nothing is."""
    value, limit = 0, 0
    if name == "jpeg":
        value, limit = data.count(b"Exif\0\0"), JPEG_EXIFS
        if value <= limit:
            value, limit = count_scans(data, enough=JPEG_SCANS + 1), JPEG_SCANS
    elif name == "png":
        value, limit = data.count(b"iCCP"), PNG_PROFILES
    elif name == "bmp":
        value, limit = int(int.from_bytes(data[30:34], "little") in BMP_RUN_LENGTHS), 0
    return (value, limit) if value > limit else None
