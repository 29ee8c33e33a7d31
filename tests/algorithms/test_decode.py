"""Every image file has one outcome: a look at it, or a reason. None hangs, crashes or warns."""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import AvifImagePlugin, Image, ImageFile, PngImagePlugin

from pipeline.media.bombs import HEADER_BYTES, JPEG_EXIFS, JPEG_SCANS, PNG_PROFILES
from pipeline.media.decode import DECODERS, ImageLimits, ImageLook, look_at, sniff
from pipeline.problem import Problem
from schemas.verdict import Reason

OUTCOMES = Path(__file__).with_name("image_outcomes.txt")
FORMATS = sorted(DECODERS)
DEFAULTS = ImageLimits()


def photo(width: int = 48, height: int = 32) -> Image.Image:
    """Something with detail in every corner, and no symmetry."""
    ramp = bytes((x * y + 7 * x * x + 3 * y) % 256 for y in range(height) for x in range(width * 3))
    return Image.frombytes("RGB", (width, height), ramp)


def encoded(name: str, image: Image.Image | None = None, **options: object) -> bytes:
    out = io.BytesIO()
    (image or photo()).save(out, DECODERS[name], **options)
    return out.getvalue()


def reason(data: bytes, limits: ImageLimits = DEFAULTS) -> Reason | None:
    look = look_at(data, limits=limits)
    return look.reason if isinstance(look, Problem) else None


def summary(data: bytes) -> str:
    look = look_at(data)
    if isinstance(look, Problem):
        return look.reason.value
    moves = " animated" if look.animated else ""
    return f"{look.format} {look.width}x{look.height}{moves} {look.phash:016x}"


def test_every_broken_and_every_real_image_has_its_outcome(
    shared_data: Callable[[str], Path],
) -> None:
    folders = [shared_data("bad/pillow"), shared_data("images")]
    seen = {
        str(file.relative_to(folders[1].parent)): summary(file.read_bytes())
        for folder in folders
        for file in folder.rglob("*")
        if file.is_file()
    }
    pinned = dict(line.split(": ", 1) for line in OUTCOMES.read_text().splitlines())
    assert len(pinned) > 120
    assert seen == pinned


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_told_by_its_content(name: str) -> None:
    data = encoded(name)
    look = look_at(data)
    assert sniff(data) == name
    assert isinstance(look, ImageLook)
    assert (look.format, look.width, look.height, look.animated) == (name, 48, 32, False)
    assert look.sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89PNG",
        b"<!doctype html><html><body>Please log in.</body></html>",
        b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%touch /tmp/x) (w) file\n",
        b"%PDF-1.4\n",
        b"BMW is a maker of cars, and this is prose about it",
        b"P6 2 2 255 " + bytes(12),
        b"RIFF\x24\0\0\0WAVEfmt " + bytes(32),
        b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(32),
    ],
)
def test_what_is_no_image_is_called_so(data: bytes) -> None:
    assert sniff(data) is None
    assert look_at(data) == Problem(reason=Reason.NOT_AN_IMAGE)


@pytest.mark.parametrize(
    ("magic", "name"),
    [
        (b"8BPS\0\1", "psd"),
        (b"\0\0\1\0\1\0", "ico"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "jp2"),
        (b"\xff\x4f\xff\x51", "jp2"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "jxl"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "heif"),
    ],
)
def test_a_known_format_without_a_decoder_here_is_not_opened(
    monkeypatch: pytest.MonkeyPatch, magic: bytes, name: str
) -> None:
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("opened"))
    assert sniff(magic + bytes(64)) == name
    assert reason(magic + bytes(64)) == Reason.UNDECODABLE


def test_one_decoder_only_sees_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    opened = Image.open

    def watched(file: io.BytesIO, formats: list[str]) -> ImageFile.ImageFile:
        asked.append(formats)
        return opened(file, formats=formats)

    monkeypatch.setattr(Image, "open", watched)
    for name in FORMATS:
        look_at(encoded(name))
    assert asked == [[DECODERS[name]] for name in FORMATS]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_half_a_file_is_truncated_in_every_format(name: str, share: float) -> None:
    data = encoded(name, photo(200, 150))
    assert reason(data) is None
    assert reason(data[: int(len(data) * share)]) == Reason.TRUNCATED_IMAGE


@pytest.mark.parametrize(("spare", "refused"), [(0, None), (-1, Reason.IMAGE_BYTES)])
def test_the_byte_limit_itself_passes(spare: int, refused: Reason | None) -> None:
    data = encoded("png")
    limits = ImageLimits(bytes=len(data) + spare)
    assert reason(data, limits) == refused
    if refused:
        assert look_at(data, limits=limits) == Problem(
            reason=refused, value=len(data), limit=len(data) - 1
        )


@pytest.mark.parametrize("name", FORMATS)
def test_the_pixel_limit_itself_passes_and_is_read_before_decoding(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    data = encoded(name)
    assert reason(data, ImageLimits(pixels=48 * 32)) is None
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("decoded"))
    for limit in (48 * 32 - 1, 1):  # under and over twice the limit Pillow has two classes
        assert look_at(data, limits=ImageLimits(pixels=limit)) == Problem(
            reason=Reason.TOO_MANY_PIXELS, value=48 * 32, limit=limit
        )


@pytest.mark.parametrize("name", ["bytes", "pixels"])
def test_a_limit_of_nothing_is_refused(name: str) -> None:
    assert getattr(ImageLimits(**{name: 1}), name) == 1
    with pytest.raises(ValueError, match=f"image {name} limit is 0: choose 1 or more"):
        ImageLimits(**{name: 0})


def test_a_gif_that_claims_four_billion_pixels_costs_nothing() -> None:
    claim = b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0)
    disposal = b"\x21\xf9\x04\x08\0\0\0\0"  # Pillow would fill the whole canvas when opening
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x02\x02\x44\x01\0;"
    look = look_at(claim + disposal + frame)
    assert look == Problem(reason=Reason.TOO_MANY_PIXELS, value=65535**2, limit=DEFAULTS.pixels)


def with_scans(count: int) -> bytes:
    data = encoded("jpeg", photo(), progressive=True)
    first = data.index(b"\xff\xda")
    last = data.rindex(b"\xff\xda")
    here = data.count(b"\xff\xda", first)
    return data[:-2] + data[last:-2] * (count - here) + data[-2:]


def test_a_jpeg_has_at_most_64_scans() -> None:
    assert reason(with_scans(JPEG_SCANS)) is None
    assert look_at(with_scans(JPEG_SCANS + 1)) == Problem(
        reason=Reason.UNDECODABLE, value=JPEG_SCANS + 1, limit=JPEG_SCANS
    )


def test_what_only_looks_like_scans_does_not_count() -> None:
    data = encoded("jpeg")
    comment = b"\xff\xfe" + struct.pack(">H", 2 + 2 * 1000) + b"\xff\xda" * 1000
    assert reason(data[:2] + comment + data[2:] + b"\xff\xda\0\2" * 1000) is None


def test_a_jpeg_has_at_most_256_segments_of_exif() -> None:
    data = encoded("jpeg")
    segment = b"\xff\xe1\0\x09Exif\0\0x"
    assert reason(data[:2] + segment * JPEG_EXIFS + data[2:]) is None
    assert look_at(data[:2] + segment * (JPEG_EXIFS + 1) + data[2:]) == Problem(
        reason=Reason.UNDECODABLE, value=JPEG_EXIFS + 1, limit=JPEG_EXIFS
    )


def png_with(chunks: bytes) -> bytes:
    data = encoded("png")
    return data[:33] + chunks + data[33:]


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def test_a_png_has_at_most_eight_profiles() -> None:
    profile = chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(1000)))
    assert reason(png_with(profile * PNG_PROFILES)) is None
    assert look_at(png_with(profile * (PNG_PROFILES + 1))) == Problem(
        reason=Reason.UNDECODABLE, value=PNG_PROFILES + 1, limit=PNG_PROFILES
    )


def gif_with(extensions: bytes) -> bytes:
    data = encoded("gif", photo().quantize(4))
    start = 13 + (3 << (data[10] & 7) + 1)
    return data[:start] + extensions + data[start:]


def test_a_gif_of_comments_is_refused_before_they_add_up() -> None:
    comment = b"\x21\xfe\x01a\0"
    look = look_at(gif_with(comment * (HEADER_BYTES // len(comment) + 1)))
    assert isinstance(look, Problem)
    assert (look.reason, look.limit) == (Reason.UNDECODABLE, HEADER_BYTES)
    assert look.value is not None
    assert HEADER_BYTES < look.value < HEADER_BYTES + 1000
    assert reason(gif_with(comment * 100)) is None


def test_the_bytes_of_pixels_are_no_header() -> None:
    noise = Image.effect_noise((1200, 1200), 90).convert("P")
    data = encoded("gif", noise)
    assert len(data) > HEADER_BYTES
    assert reason(data) is None


def test_a_tiff_of_a_million_strips_is_refused_at_its_header() -> None:
    count = 1_000_000
    tags = [(256, 4, 1, 8), (257, 4, 1, 8), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    tags += [(273, 4, count, 14 + 12 * 7), (278, 4, 1, 1)]
    directory = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    data = b"II*\0\x08\0\0\0\x07\0" + directory + bytes(4) + b"\x08\0\0\0" * count
    look = look_at(data)
    assert isinstance(look, Problem)
    assert (look.reason, look.limit) == (Reason.UNDECODABLE, HEADER_BYTES)


def test_a_run_length_bmp_is_not_decoded() -> None:
    data = bytearray(encoded("bmp"))
    data[30:34] = struct.pack("<I", 1)
    assert reason(bytes(data)) == Reason.UNDECODABLE


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["jpeg", "png", "webp", "tiff"])
def test_sides_and_hash_are_those_of_the_picture_as_displayed(name: str, orientation: int) -> None:
    stored = {
        1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]  # fmt: skip
    shown = photo(64, 32)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, dict[str, object]] = {
        "jpeg": {"quality": 100, "subsampling": 0},
        "webp": {"lossless": True},
    }
    data = encoded(
        name,
        shown if stored is None else shown.transpose(stored),
        exif=exif,
        **options.get(name, {}),
    )
    look, plain = look_at(data), look_at(encoded("png", shown))
    assert isinstance(look, ImageLook)
    assert isinstance(plain, ImageLook)
    assert (look.width, look.height) == (64, 32)
    assert (look.phash ^ plain.phash).bit_count() <= (2 if name == "jpeg" else 0)


def test_broken_exif_shows_the_picture_as_it_is() -> None:
    data = encoded("jpeg", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01\x12broken")
    look = look_at(data)
    assert isinstance(look, ImageLook)
    assert (look.width, look.height) == (48, 32)


@pytest.mark.parametrize("name", ["gif", "webp", "png", "avif"])
def test_more_than_one_frame_is_animated_and_the_first_is_hashed(name: str) -> None:
    frames = [photo(), photo().transpose(Image.Transpose.FLIP_LEFT_RIGHT), photo().rotate(90)]
    options = {} if name in {"png", "gif"} else {"quality": 100}
    look = look_at(encoded(name, frames[0], save_all=True, append_images=frames[1:], **options))
    still = look_at(encoded(name, frames[0], **options))
    assert isinstance(look, ImageLook)
    assert isinstance(still, ImageLook)
    assert (look.animated, still.animated) == (True, False)
    assert (look.phash ^ still.phash).bit_count() <= 4


@pytest.mark.parametrize(("name", "kind"), [("tiff", "TIFF"), ("jpeg", "MPO")])
def test_pages_and_views_are_no_animation(name: str, kind: str) -> None:
    out = io.BytesIO()
    photo().save(out, kind, save_all=True, append_images=[photo(20, 20)])
    look = look_at(out.getvalue())
    assert isinstance(look, ImageLook)
    assert (look.format, look.animated, look.width) == (name, False, 48)


def test_an_image_without_a_pixel_is_undecodable() -> None:
    data = bytearray(encoded("bmp"))
    data[18:22] = bytes(4)
    assert reason(bytes(data)) == Reason.UNDECODABLE


def test_the_globals_of_pillow_and_the_warning_filters_are_as_before() -> None:
    def found() -> tuple[object, ...]:
        return (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES,
                AvifImagePlugin.DEFAULT_MAX_THREADS, list(warnings.filters))  # fmt: skip

    before = found()
    for data in (encoded("png"), encoded("png")[:-40], b"\xff\xd8\xff", b"II*\0" + bytes(9)):
        look_at(data, limits=ImageLimits(pixels=5))
    assert found() == before


def test_a_lenient_pillow_elsewhere_changes_nothing_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    data = encoded("jpeg", photo(200, 150))
    assert reason(data[: len(data) // 2]) == Reason.TRUNCATED_IMAGE
    assert reason(data, ImageLimits(pixels=100)) == Reason.TOO_MANY_PIXELS
    assert ImageFile.LOAD_TRUNCATED_IMAGES


def test_threads_with_other_limits_do_not_meet() -> None:
    data = encoded("png", photo(64, 64))
    limits = [ImageLimits(pixels=64 * 64 - odd) for odd in (0, 1)] * 40
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda each: reason(data, each), limits))
    assert outcomes == [None, Reason.TOO_MANY_PIXELS] * 40


def test_a_text_chunk_that_inflates_without_end_is_undecodable() -> None:
    bomb = zlib.compress(bytes(PngImagePlugin.MAX_TEXT_CHUNK + 1))
    assert reason(png_with(chunk(b"zTXt", b"k\0\0" + bomb))) == Reason.UNDECODABLE


@cache
def small(name: str) -> bytes:
    return encoded(name, photo(9, 7))


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(FORMATS),
    st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=12),
    st.integers(0, 40),
)
def test_any_damage_gives_a_look_or_a_reason_and_twice_the_same(
    name: str, damage: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(small(name))
    for place, value in damage:
        data[place % len(data)] = value
    harmed = bytes(data[: len(data) - cut])
    look = look_at(harmed, limits=ImageLimits(pixels=1 << 20))
    assert isinstance(look, (ImageLook, Problem))
    assert look_at(harmed, limits=ImageLimits(pixels=1 << 20)) == look
