"""The hash is imagehash's, of the picture as a page shows it."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import imagehash
import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from pipeline.media.pixels import phash
from schemas.orientation import orientation


def as_integer(image: Image.Image) -> int:
    return int(str(imagehash.phash(image)), 16)


def photos(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.rglob("*")) if file.suffix in {".png", ".jpg", ".gif"}]


@pytest.mark.filterwarnings("ignore:Palette images with Transparency:UserWarning")
def test_the_hash_of_every_real_photo_is_that_of_imagehash(
    shared_data: Callable[[str], Path],
) -> None:
    compared = 0
    for file in photos(shared_data("images")):
        try:
            with Image.open(file) as image:
                image.load()
                if image.has_transparency_data:
                    continue  # imagehash hashes the colours under what is transparent
                assert phash(image) == as_integer(ImageOps.exif_transpose(image)), file
                compared += 1
        except OSError:  # the broken ones are test_decode's
            continue
    assert compared > 70


def test_a_resized_photo_is_near_and_another_is_far(shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("images/imagededup/tests/data/mixed_images")
    hashes = {
        name: phash(Image.open(folder / f"{name}.jpg"))
        for name in ("ukbench00120", "ukbench00120_resize", "ukbench00120_hflip", "ukbench09268")
    }
    first = hashes["ukbench00120"]
    assert (first ^ hashes["ukbench00120_resize"]).bit_count() <= 4
    assert (first ^ hashes["ukbench00120_hflip"]).bit_count() > 12
    assert (first ^ hashes["ukbench09268"]).bit_count() > 12


def test_half_of_the_bits_of_a_photo_are_set(shared_data: Callable[[str], Path]) -> None:
    files = photos(shared_data("images/kodak"))
    assert len(files) == 24
    assert {phash(Image.open(file)).bit_count() for file in files} == {32}


def test_the_first_bit_is_the_highest() -> None:
    flat = Image.new("RGB", (64, 64), "grey")  # only the constant term is above the median
    assert phash(flat) == 1 << 63


def grey_ramp() -> Image.Image:
    values = np.add.outer(np.arange(96) ** 2 // 40, np.arange(128)) % 256
    return Image.fromarray(values.astype(np.uint8))


def test_what_lies_under_transparency_does_not_count() -> None:
    shown = grey_ramp().convert("RGB")
    left = Image.new("L", shown.size, 0)
    left.paste(255, (0, 0, 64, 96))
    hashes = set()
    for hidden in ("red", "black", "white"):
        image = Image.new("RGB", shown.size, hidden)
        image.paste(shown, mask=left)
        image.putalpha(left)
        hashes.add(phash(image))
    over_white = Image.new("RGB", shown.size, "white")
    over_white.paste(shown, mask=left)
    assert hashes == {as_integer(over_white)}


def test_half_transparent_pixels_are_mixed_with_white() -> None:
    grey = grey_ramp()
    image = Image.merge("LA", (grey, Image.new("L", grey.size, 128)))
    mixed = (np.asarray(grey) * (128 / 255) + 255 * (127 / 255)).round().astype(np.uint8)
    assert (phash(image) ^ as_integer(Image.fromarray(mixed))).bit_count() <= 2


@pytest.mark.parametrize("mode", ["1", "P", "CMYK", "YCbCr", "HSV", "RGBX"])
def test_every_mode_is_hashed_by_way_of_rgb(mode: str) -> None:
    image = grey_ramp().convert("RGB").convert(mode)
    assert phash(image) == as_integer(image.convert("RGB"))


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I;16L"])
def test_a_grey_of_16_bits_is_hashed_by_its_high_byte(mode: str) -> None:
    high = np.asarray(grey_ramp()).astype(np.uint16)
    values = (high << 8 | high[::-1, ::-1]).astype(">u2" if mode.endswith("B") else "<u2")
    image = Image.frombytes(mode, (128, 96), values.tobytes())
    assert phash(image) == as_integer(grey_ramp())


def test_a_palette_with_a_transparent_colour_is_laid_over_white() -> None:
    image = grey_ramp().quantize(8)
    image.info["transparency"] = 0
    rgba = image.convert("RGBA")
    paper = Image.new("RGBA", rgba.size, "white")
    paper.alpha_composite(rgba)
    assert phash(image) == as_integer(paper.convert("RGB"))
    assert phash(image) != as_integer(image.convert("RGB"))


@pytest.mark.parametrize("value", [0, 9, 1 << 15])
def test_nonsense_in_exif_turns_nothing(value: int) -> None:
    image = grey_ramp()
    image.getexif()[0x0112] = value
    assert orientation(image) == 1
    assert phash(image) == as_integer(grey_ramp())


def with_exif(exif: str) -> Image.Image:
    """A PNG with EXIF as ImageMagick writes it: hexadecimal text."""
    told = PngInfo()
    told.add_text("Raw profile type exif", f"\nexif\n{len(exif) // 2}\n{exif}\n")
    file = io.BytesIO()
    grey_ramp().save(file, "PNG", pnginfo=told)
    image = Image.open(file)
    image.load()
    return image


SIDEWAYS_EXIF = "49492a0008000000010012010300010000000600000000000000"
BROKEN_EXIF = {"no TIFF header": "58" * 8, "not hexadecimal": "zz", "cut short": "49492a00"}


@pytest.mark.parametrize("exif", BROKEN_EXIF.values(), ids=BROKEN_EXIF)
def test_broken_exif_turns_nothing(exif: str) -> None:
    assert orientation(with_exif(SIDEWAYS_EXIF)) == 6
    assert orientation(with_exif(exif)) == 1


def test_no_memory_is_not_taken_for_broken_exif(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Image.Image) -> Image.Exif:
        raise MemoryError

    monkeypatch.setattr(Image.Image, "getexif", full)
    with pytest.raises(MemoryError):
        orientation(grey_ramp())
