"""Patches, grids and places against transformers' own processor and position embeddings."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from transformers import Idefics2VisionConfig
from transformers.image_utils import SizeDict
from transformers.models.idefics2.image_processing_pil_idefics2 import (
    Idefics2ImageProcessorPil,
    get_resize_output_image_size,
)
from transformers.models.idefics2.modeling_idefics2 import Idefics2VisionEmbeddings

from training.data import images
from training.data.images import (
    FORMATS,
    assembled,
    decoded,
    patch_grid,
    patches_of,
    patchified,
    places,
    resized,
)

STAGES = [(980, 378), (384, 378), (112, 70)]
SIDES = st.integers(1, 6000)


def theirs(image: Image.Image, longest: int, shortest: int) -> torch.Tensor:
    """Pixels C x H x W of transformers' processor, before they are scaled."""
    processor = Idefics2ImageProcessorPil(
        size={"longest_edge": longest, "shortest_edge": shortest},
        do_rescale=False,
        do_normalize=False,
    )
    seen = processor(images=image, return_tensors="pt")
    assert bool(seen["pixel_attention_mask"].all())
    pixels: torch.Tensor = seen["pixel_values"][0, 0]
    return pixels


def their_patches(pixels: torch.Tensor) -> torch.Tensor:
    """K x C in the order of a convolution's weight, as torch itself unfolds."""
    whole = pixels[:, : pixels.shape[1] // 14 * 14, : pixels.shape[2] // 14 * 14].double()
    return torch.nn.functional.unfold(whole[None], 14, stride=14)[0].T


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(width: int, height: int, mode: str = "RGB", seed: int = 0) -> Image.Image:
    bands = len(Image.new(mode, (1, 1)).getbands())
    values = np.random.default_rng(seed).integers(0, 256, (height, width, bands), np.uint8)
    return Image.fromarray(values.squeeze(-1) if bands == 1 else values, mode)


@given(SIDES, SIDES, st.sampled_from(STAGES))
@example(1, 1, (980, 378))
@example(980, 979, (980, 378))
@example(981, 980, (980, 378))
@example(980, 981, (980, 378))
@example(6000, 1, (980, 378))
def test_an_image_is_resized_to_the_sides_that_transformers_gives(
    width: int, height: int, stage: tuple[int, int]
) -> None:
    longest, shortest = stage
    size = SizeDict(longest_edge=longest, shortest_edge=shortest)
    image = np.broadcast_to(np.uint8(0), (3, height, width))
    high, wide = get_resize_output_image_size(image, size)
    assert resized(width, height, longest=longest, shortest=shortest) == (wide, high)
    assert patch_grid(width, height, longest=longest, shortest=shortest) == (high // 14, wide // 14)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 700), st.integers(1, 700), st.sampled_from(STAGES[1:]))
@example(1, 700, (384, 378))
@example(384, 378, (384, 378))
def test_patches_of_any_size_are_the_pixels_of_transformers_processor(
    width: int, height: int, stage: tuple[int, int]
) -> None:
    image = noise(width, height)
    patches, at = patches_of(encoded(image), longest=stage[0], shortest=stage[1], table=70)
    expected = their_patches(theirs(image, *stage))
    assert torch.equal(torch.from_numpy(patches).double(), expected)
    rows, columns = patch_grid(width, height, longest=stage[0], shortest=stage[1])
    assert len(at) == len(patches) == rows * columns


def photos(shared_data: Callable[[str], Path]) -> list[Path]:
    """Real files of the formats that shards hold, that Pillow decodes."""
    found = []
    for path in sorted(shared_data("images").rglob("*")):
        if path.suffix.lower() in {".jpg", ".jpeg", ".png", ".gif", ".webp"}:
            try:
                with Image.open(path, formats=FORMATS) as image:
                    image.load()
            except OSError:
                continue  # broken ones have a test of their own
            found.append(path)
    return found


def test_real_photos_give_the_pixels_of_transformers_processor(
    shared_data: Callable[[str], Path], say: Callable[[str], None]
) -> None:
    paths = photos(shared_data)
    assert len(paths) > 30
    jpegs = 0
    for number, path in enumerate(paths):
        data = path.read_bytes()
        stage = STAGES[1 if number % 8 else 0]  # the large stage costs most: one of eight
        patches, _ = patches_of(data, longest=stage[0], shortest=stage[1], table=70)
        with Image.open(io.BytesIO(data)) as image:
            jpegs += image.format == "JPEG"
            expected = their_patches(theirs(ImageOps.exif_transpose(image), *stage))
        assert torch.equal(torch.from_numpy(patches).double(), expected), path.name
    assert jpegs > 10
    say(f"patches of {len(paths)} real pictures, {jpegs} JPEGs, equal to transformers' processor")


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_has_the_pixels_that_pillow_gives(mode: str, subsampling: int) -> None:
    for progressive in (False, True):
        image = noise(123, 77, mode).resize((246, 154))
        data = encoded(image, "JPEG", subsampling=subsampling, progressive=progressive)
        with Image.open(io.BytesIO(data)) as opened:
            expected = np.asarray(opened.convert("RGB"))
        assert np.array_equal(np.asarray(decoded(data)), expected)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "1", "I;16"])
def test_pictures_of_every_mode_are_shown_as_transformers_shows_them(mode: str) -> None:
    image = (
        noise(40, 30, "RGBA").convert(mode) if mode != "I;16" else Image.new(mode, (40, 30), 900)
    )
    data = encoded(image, transparency=3) if mode == "P" else encoded(image)
    with Image.open(io.BytesIO(data)) as opened:
        expected = their_patches(theirs(opened, 112, 70))
    patches, _ = patches_of(data, longest=112, shortest=70, table=8)
    assert torch.equal(torch.from_numpy(patches).double(), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_is_seen_as_it_is_displayed(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(noise(30, 20).resize((90, 60)), kind, exif=exif)
    with Image.open(io.BytesIO(data)) as opened:
        expected = ImageOps.exif_transpose(opened).convert("RGB")
    assert np.array_equal(np.asarray(decoded(data)), np.asarray(expected))
    assert decoded(data).size == ((90, 60) if orientation < 5 else (60, 90))


def test_a_picture_whose_exif_is_broken_is_shown_as_it_lies() -> None:
    whole = noise(30, 20).resize((90, 60))
    data = encoded(whole, "JPEG", exif=b"Exif\0\0II*\0" + b"\xff" * 9)
    with Image.open(io.BytesIO(encoded(whole, "JPEG"))) as opened:
        expected = np.asarray(opened)
    assert np.array_equal(np.asarray(decoded(data)), expected)


def their_places(rows: int, columns: int, table: int) -> torch.Tensor:
    config = Idefics2VisionConfig(
        image_size=table * 14, patch_size=14, hidden_size=1, num_attention_heads=1
    )
    embeddings = Idefics2VisionEmbeddings(config)
    asked: list[torch.Tensor] = []

    def note(ids: torch.Tensor) -> torch.Tensor:
        asked.append(ids)
        return torch.zeros(*ids.shape, 1)

    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(embeddings.position_embedding, "forward", note)
    pixels = torch.zeros(1, 3, rows * 14, columns * 14)
    embeddings(pixels, torch.ones(1, rows, columns, dtype=torch.bool))
    return asked[0][0]


def test_places_are_those_of_transformers_for_every_number_of_patches() -> None:
    for patches in range(1, 71):
        ours = torch.from_numpy(places(patches, 71 - patches, table=70).copy())
        assert torch.equal(ours, their_places(patches, 71 - patches, 70)), patches


@settings(deadline=None)
@given(st.integers(1, 70), st.data())
def test_places_are_those_of_transformers_for_every_table(table: int, data: st.DataObject) -> None:
    rows, columns = data.draw(st.integers(1, table)), data.draw(st.integers(1, table))
    ours = torch.from_numpy(places(rows, columns, table=table).copy())
    assert torch.equal(ours, their_places(rows, columns, table))


def test_integer_bins_would_be_others_where_they_are_known_to_differ() -> None:
    differ = [
        n
        for n in range(1, 71)
        if not np.array_equal(places(n, 1, table=70) // 70, 70 * np.arange(n) // n)
    ]
    assert differ == [25, 49, 50, 55]


@given(st.integers(1, 6), st.integers(1, 6))
def test_patches_put_together_again_are_the_picture(rows: int, columns: int) -> None:
    pixels = np.asarray(noise(columns * 14, rows * 14))
    assert np.array_equal(assembled(patchified(pixels), rows=rows, columns=columns), pixels)


def bomb(width: int, height: int) -> bytes:
    """A PNG that claims sides and holds nothing of them."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


@pytest.mark.parametrize(("width", "limit"), [(50, None), (51, "51 x 40 pixels, over the limit")])
def test_the_limit_of_pixels_is_known_before_decoding(width: int, limit: str | None) -> None:
    data = encoded(noise(width, 40))
    if limit is None:
        assert decoded(data, pixels=2000).size == (width, 40)
    else:
        with pytest.raises(ValueError, match=limit):
            decoded(data, pixels=2000)


def test_a_bomb_is_refused_without_being_decoded() -> None:
    for sides in ((20_000, 20_000), (2**31 - 1, 2**31 - 1)):
        with pytest.raises(ValueError, match="does not decode"):
            patches_of(bomb(*sides), longest=980, shortest=378, table=70)


@pytest.mark.parametrize("sides", [(1, 65_536), (65_536, 1), (1, 89_000_000), (89_000_000, 1)])
def test_the_limit_of_a_side_is_known_before_decoding(sides: tuple[int, int]) -> None:
    """Pillow needs 8 bytes a row beside its pixels."""
    with pytest.raises(ValueError, match=f"a side has {max(sides):,} pixels, over 65,535"):
        patches_of(bomb(*sides), longest=980, shortest=378, table=70)
    assert decoded(encoded(Image.new("L", (65_535, 1)))).size == (65_535, 1)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_a_transparent_picture_is_put_on_white_in_strips_as_at_once(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = noise(40, 37, "RGBA").convert(mode)
    data = encoded(image, transparency=3) if mode == "P" else encoded(image)
    whole = decoded(data)
    monkeypatch.setattr(images, "STRIP", 5)
    assert np.array_equal(np.asarray(decoded(data)), np.asarray(whole))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["JPEG", "PNG", "GIF", "WEBP"]), st.floats(0, 0.9))
def test_a_cut_image_is_broken_as_pillow_says(kind: str, share: float) -> None:
    whole = encoded(noise(64, 48), kind)
    data = whole[: int(len(whole) * share)]
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            image.load()
    except Exception:  # noqa: BLE001  # whatever a decoder raises
        with pytest.raises(ValueError, match="does not decode"):
            decoded(data)
    else:
        assume(kind == "GIF")  # a GIF cut behind its first frame is whole
        decoded(data)


def test_hostile_files_are_refused_or_shown_and_never_raise_another_error(
    shared_data: Callable[[str], Path],
) -> None:
    paths = [path for path in sorted(shared_data("bad/pillow/images").rglob("*")) if path.is_file()]
    outcomes = []
    for path in paths:
        try:
            decoded(path.read_bytes())
        except ValueError:
            outcomes.append(False)
        else:
            outcomes.append(True)
    assert outcomes.count(False) > 10


@pytest.mark.parametrize(("longest", "shortest"), [(384, 13), (377, 378)])
def test_limits_that_no_image_can_have_are_refused(longest: int, shortest: int) -> None:
    with pytest.raises(ValueError, match="choose shortest from 14"):
        patch_grid(100, 100, longest=longest, shortest=shortest)
