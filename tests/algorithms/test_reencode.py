"""Reencode: smaller pictures look as their originals, and what is small already is left alone."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.media.decode import ImageLook, look_at, reencode
from pipeline.media.pixels import Encoding

RED, CLEAR = (200, 30, 30, 255), (0, 0, 0, 0)


def file(image: Image.Image, kind: str, **options: Any) -> bytes:  # noqa: ANN401  # Pillow's
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def halves(mode: str, size: tuple[int, int] = (300, 200)) -> Image.Image:
    """Red on the left; on the right nothing."""
    image = Image.new("RGBA", size, CLEAR)
    image.paste(RED, (0, 0, size[0] // 2, size[1]))
    return image.convert(mode)


def made(data: bytes, encoding: Encoding) -> Image.Image | None:
    look = look_at(data)
    assert isinstance(look, ImageLook)
    body = reencode(data, look, encoding)
    return None if body is None else Image.open(io.BytesIO(body))


@pytest.mark.parametrize("format_", ["jpeg", "png", "webp"])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB", "L"])
def test_colours_and_transparency_stay_as_far_as_the_format_holds_them(
    mode: str, format_: str
) -> None:
    image = made(file(halves(mode), "PNG"), Encoding(format=format_, longest_side=150))
    assert image is not None
    assert (image.format or "").lower() == format_
    assert image.size == (150, 100)
    seen = Image.new("RGBA", image.size, "white")
    seen.alpha_composite(image.convert("RGBA"))
    clear = mode in {"RGBA", "LA", "P"} and halves(mode).has_transparency_data
    original = Image.new("RGBA", (300, 200), "white")
    original.alpha_composite(halves(mode).convert("RGBA"))
    for place in ((20, 50), (130, 50)):
        there = np.asarray(original)[2 * place[1], 2 * place[0]]
        here = np.asarray(seen)[place[1], place[0]]
        assert np.allclose(here, there, atol=12), (mode, format_, place)
    if clear and format_ != "jpeg":
        assert image.convert("RGBA").getpixel((130, 50))[3] == 0  # type: ignore[index]


def test_what_is_as_wanted_keeps_its_bytes() -> None:
    data = file(halves("RGB"), "JPEG")
    assert made(data, Encoding(format="jpeg", longest_side=300)) is None
    assert made(data, Encoding(longest_side=300)) is None
    assert made(file(Image.new("I;16", (400, 300)), "PNG"), Encoding(longest_side=30)) is None
    small = made(data, Encoding(longest_side=30))
    assert small is not None
    assert (small.format, small.size) == ("JPEG", (30, 20))


def test_a_picture_is_upright_and_has_one_frame_and_no_metadata() -> None:
    exif = Image.Exif()
    exif[274] = 6  # turned by a quarter
    turned = made(file(halves("RGB"), "JPEG", exif=exif), Encoding(format="jpeg", longest_side=150))
    assert turned is not None
    assert turned.size == (100, 150)
    assert not turned.getexif()
    frames = [Image.new("RGB", (90, 60), colour) for colour in ("red", "blue")]
    moving = file(frames[0], "GIF", save_all=True, append_images=frames[1:])
    still = made(moving, Encoding(longest_side=30))
    assert still is not None
    assert (still.format, getattr(still, "n_frames", 1), still.convert("RGB").getpixel((5, 5))) == (
        "PNG", 1, (255, 0, 0))  # fmt: skip


def test_what_cannot_be_written_so_keeps_its_bytes() -> None:
    """webp ends at 16,383 pixels; the side of a picture is cut before that is asked."""
    long = file(Image.new("RGB", (20_000, 20)), "PNG")
    assert made(long, Encoding(format="webp")) is None
    short = made(long, Encoding(format="webp", longest_side=2_000))
    assert short is not None
    assert short.size == (2_000, 2)


def test_comments_and_colours_that_stand_for_nothing_are_understood() -> None:
    told = made(file(halves("P"), "GIF", comment=b"c" * 70_000), Encoding(format="jpeg"))
    assert told is not None
    assert "comment" not in told.info
    red = Image.new("RGB", (80, 80), (200, 30, 30))
    for format_ in ("jpeg", "png", "webp"):
        seen = made(file(red, "PNG", transparency=(200, 30, 30)),
                    Encoding(format=format_, longest_side=40))  # fmt: skip
        assert seen is not None
        whole = Image.new("RGBA", seen.size, "white")
        whole.alpha_composite(seen.convert("RGBA"))
        assert np.allclose(np.asarray(whole)[20, 20], 255, atol=3), format_


@pytest.mark.parametrize(
    ("wrong", "told"),
    [({"format": "gif"}, "choose jpeg, png, webp"), ({"longest_side": 0}, "1 or more"),
     ({"quality": 0}, "choose 1 to 100"), ({"quality": 101}, "choose 1 to 100")],
)  # fmt: skip
def test_what_cannot_be_is_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Encoding(**wrong)
