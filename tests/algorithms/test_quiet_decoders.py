"""A broken image says nothing on the terminal: its reason is in the ledger."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from pipeline.media.decode import look_at
from pipeline.problem import Problem
from pipeline.shard.report.samples import thumbnail

COMPRESSIONS = (None, "tiff_lzw", "tiff_deflate", "jpeg", "group4")
KINDS = [
    *(("TIFF", compression) for compression in COMPRESSIONS),
    *((kind, None) for kind in ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP")),
]


def intact(kind: str, compression: str | None) -> bytes:
    noise = Image.effect_noise((64, 48), 60).convert("1" if compression == "group4" else "RGB")
    file = io.BytesIO()
    noise.save(file, kind, compression=compression)
    return file.getvalue()


@pytest.mark.parametrize(("kind", "compression"), KINDS)
def test_no_decoder_prints(
    kind: str, compression: str | None, capfd: pytest.CaptureFixture[str]
) -> None:
    dice, data, problems = random.Random(kind), intact(kind, compression), 0
    for _ in range(60):
        broken = bytearray(data)
        for _ in range(dice.choice((1, 2, 8, 30))):
            broken[dice.randrange(dice.choice((200, len(data))))] = dice.randrange(256)
        problems += isinstance(look_at(bytes(broken)), Problem)
        thumbnail(bytes(broken))
    assert problems > 0
    assert capfd.readouterr() == ("", "")


def test_hostile_images_print_nothing(
    shared_data: Callable[[str], Path], capfd: pytest.CaptureFixture[str]
) -> None:
    files = [path for path in shared_data("bad/pillow/images").rglob("*") if path.is_file()]
    assert len(files) > 30
    for path in files:
        look_at(path.read_bytes())
    assert capfd.readouterr() == ("", "")
