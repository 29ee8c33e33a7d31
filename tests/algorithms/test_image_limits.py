"""What a picture may ask for beside bytes and pixels: its sides, and the memory of its format."""

from __future__ import annotations

import struct
import zlib

import pytest

from pipeline.media import pixels
from pipeline.media.decode import ImageLimits, ImageLook, look_at
from pipeline.problem import Problem
from schemas.verdict import Reason
from tests.algorithms.test_decode import DEFAULTS, encoded, photo


def tall(width: int, height: int) -> bytes:
    """A PNG of one bit a pixel, all black: a few KB whatever its sides."""
    row = b"\0" * (1 + (width + 7) // 8)
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


@pytest.mark.parametrize("order", [1, -1])
def test_a_side_has_a_limit_beside_the_product(order: int) -> None:
    most = DEFAULTS.side
    sides = [(1, most), (1, most + 1)]
    passes, too_long = (tall(*pair[::order]) for pair in sides)
    assert isinstance(look_at(passes), ImageLook)
    assert look_at(too_long) == Problem(reason=Reason.SIDE_TOO_LONG, value=most + 1, limit=most)


def test_a_format_that_needs_much_memory_may_have_fewer_pixels() -> None:
    for name, pixel in (("webp", 17), ("jpeg", 13)):
        shown = photo() if name == "webp" else photo().convert("CMYK")
        data, pixels = encoded(name, shown), 48 * 32
        enough = ImageLimits(memory=pixels * pixel)
        assert isinstance(look_at(data, limits=enough), ImageLook)
        problem = look_at(data, limits=ImageLimits(memory=pixels * pixel - 1))
        assert problem == Problem(reason=Reason.TOO_MANY_PIXELS, value=pixels, limit=pixels - 1)


def tiled(side: int) -> bytes:
    """A grey TIFF of 64 by 64 pixels, in one tile of this side."""
    tile = zlib.compress(bytes(side * side))
    tags = ((256, 64), (257, 64), (258, 8), (259, 8), (262, 1), (322, side), (323, side),
            (324, 10 + 12 * 9 + 4), (325, len(tile)))  # fmt: skip
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0\x08\0\0\0\x09\0" + directory + bytes(4) + tile


def test_a_tile_has_no_more_pixels_than_a_picture_may_have() -> None:
    limits = ImageLimits(pixels=320 * 320)
    assert isinstance(look_at(tiled(320), limits=limits), ImageLook)
    assert look_at(tiled(336), limits=limits) == Problem(
        reason=Reason.TOO_MANY_PIXELS, value=336 * 336, limit=320 * 320
    )


def test_grey_in_strips_is_grey_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    clear = photo(90, 70).convert("RGBA")
    clear.putalpha(photo(90, 70).convert("L"))
    pictures = [photo(90, 70), photo(90, 70).convert("P"), clear, photo(90, 70).convert("CMYK"),
                photo(90, 70).convert("I;16")]  # fmt: skip
    whole = [pixels.phash(picture) for picture in pictures]
    monkeypatch.setattr(pixels, "STRIP", 90 * 7 + 1)
    assert [pixels.phash(picture) for picture in pictures] == whole
