"""Look: what is seen in a process of its own is what decode.py sees; a file kills only itself."""

from __future__ import annotations

import asyncio
import io
import os
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image

from pipeline.media import look as look_module
from pipeline.media.decode import BYTES_A_PIXEL, ImageLook, look_at
from pipeline.media.look import BATCH, BATCH_BYTES, Looked, Lookers
from pipeline.problem import Problem
from schemas.verdict import Reason
from tests.algorithms import deadly

DIED = Problem(reason=Reason.DECODER_DIED)
ROOT = Path(__file__).resolve().parents[2]
LONG = 240.0  # seconds after which a test has failed


def picture(number: int, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.effect_mandelbrot((40 + number, 30), (-3, -2.5, 2, 2.5), 9 + number).save(out, kind)
    return out.getvalue()


GOOD = [picture(number) for number in range(3)]


def looks(files: Sequence[bytes], processes: int = 1) -> list[Looked]:
    """All of them asked for at once."""

    async def run() -> list[Looked]:
        async with asyncio.timeout(LONG), Lookers(processes=processes) as lookers:
            return await asyncio.gather(*map(lookers.look, files))

    return asyncio.run(run())


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Deadly decoders; what they were given is written here."""
    monkeypatch.setattr(look_module, "_look_at_all", deadly.logged(tmp_path / "log"))
    return tmp_path / "log"


def batches(log: Path) -> list[tuple[int, int, int]]:
    """Process, files, bytes."""
    lines = (line.split() for line in log.read_text().splitlines())
    return [(int(process), int(files), int(size)) for process, files, size in lines]


def test_what_is_seen_is_what_decode_sees_in_the_order_of_asking() -> None:
    kinds = ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP")
    files = [picture(number, kind) for number, kind in enumerate(kinds)] * 5
    files += [b"", b"no image", GOOD[0][:-30], b"8BPS" + bytes(99)]
    seen = looks(files, processes=2)
    assert seen == [look_at(data) for data in files]
    assert sum(isinstance(one, ImageLook) for one in seen) == 30
    assert {one.reason for one in seen if isinstance(one, Problem)} == {
        Reason.NOT_AN_IMAGE, Reason.TRUNCATED_IMAGE, Reason.UNDECODABLE
    }  # fmt: skip


def test_one_after_the_other_is_looked_at_by_the_same_process(log: Path) -> None:
    async def run() -> list[Looked]:
        async with asyncio.timeout(LONG), Lookers() as lookers:
            return [await lookers.look(data) for data in GOOD]

    assert asyncio.run(run()) == [look_at(data) for data in GOOD]
    assert [files for _, files, _ in batches(log)] == [1] * len(GOOD)
    assert len({process for process, _, _ in batches(log)}) == 1


def test_files_that_wait_are_sent_together_up_to_a_bound(log: Path) -> None:
    many = [GOOD[0]] * (3 * BATCH)
    large = [b"no image".ljust(BATCH_BYTES // 2, b"!")] * 6
    assert len(looks(many + large)) == len(many + large)
    sent = batches(log)
    assert sum(files for _, files, _ in sent) == len(many + large)
    assert max(files for _, files, _ in sent) == BATCH
    assert max(size for _, _, size in sent) <= 1.5 * BATCH_BYTES
    assert len(sent) < len(many)


@pytest.mark.parametrize("deadly_file", [b"DIE", b"BURN"])
def test_a_file_that_kills_its_decoder_costs_only_itself(log: Path, deadly_file: bytes) -> None:
    files = [GOOD[0], GOOD[1], deadly_file, GOOD[2], b"no image"]
    expected = [DIED if data == deadly_file else look_at(data) for data in files]
    assert looks(files) == expected
    alone = [process for process, count, _ in batches(log) if count == 1]
    assert max(Counter(alone).values()) == 1  # each of those that were with it had a process


def test_after_a_death_the_next_ones_are_looked_at_as_before(log: Path) -> None:
    async def run() -> list[Looked]:
        async with asyncio.timeout(LONG), Lookers(processes=2) as lookers:
            first = await asyncio.gather(lookers.look(b"DIE 1"), lookers.look(GOOD[0]))
            second = await asyncio.gather(lookers.look(GOOD[1]), lookers.look(b"DIE 2"))
            return [*first, *second, await lookers.look(GOOD[2])]

    good = [look_at(data) for data in GOOD]
    assert asyncio.run(run()) == [DIED, good[0], good[1], DIED, good[2]]


def test_the_limit_is_of_cpu_and_a_file_and_not_of_the_clock_or_a_batch(log: Path) -> None:
    files = [b"HALF 1", b"HALF 2", b"HALF 3", b"WAIT", GOOD[0]]
    assert looks(files) == [Problem(reason=Reason.NOT_AN_IMAGE)] * 4 + [look_at(GOOD[0])]
    assert {count for _, count, _ in batches(log)} != {1}  # some were in one batch


def test_a_decoder_gets_no_more_memory_than_its_limit(log: Path) -> None:
    seen = looks([b"EAT", GOOD[1]])
    assert seen == [Problem(reason=Reason.UNDECODABLE), look_at(GOOD[1])]


HARD = """
import asyncio, resource, sys
from pipeline.media.look import Lookers

async def run(data):
    async with Lookers() as lookers:
        return await lookers.look(data)

if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (5 << 29, 5 << 29))
    print(asyncio.run(run(open(sys.argv[1], "rb").read())))
"""


def test_a_machine_may_allow_less_memory_than_that(tmp_path: Path) -> None:
    (tmp_path / "picture").write_bytes(GOOD[0])
    (tmp_path / "hard.py").write_text(HARD)
    done = subprocess.run([sys.executable, tmp_path / "hard.py", tmp_path / "picture"],
                          capture_output=True, text=True, timeout=LONG, check=False,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})  # fmt: skip
    assert done.stdout == f"{look_at(GOOD[0])}\n", done.stderr


def test_a_machine_that_starts_no_decoder_blames_no_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(look_module, "_bound", deadly.not_bound)
    monkeypatch.setattr(look_module, "_pools", {})
    with pytest.raises(RuntimeError, match="no decoding process can be started here"):
        looks([GOOD[0]])


def test_an_error_that_nobody_foresaw_ends_the_waiting_of_all_that_were_in_its_batch(
    log: Path,
) -> None:
    async def run() -> list[Looked | BaseException]:
        async with Lookers() as lookers:
            asked = [asyncio.create_task(lookers.look(data)) for data in (b"RAISE", GOOD[0])]
            await asyncio.wait(asked, timeout=30)
            assert [task.done() for task in asked] == [True, True]
            return await asyncio.gather(*asked, return_exceptions=True)

    failed, seen = asyncio.run(run())
    assert failed == DIED or isinstance(failed, RecursionError)
    assert seen == look_at(GOOD[0]) or isinstance(seen, RecursionError)


PEAK = """
import sys
from pipeline.media.decode import look_at
from tests.fuzz.rounds import peak

small, large = (open(path, "rb").read() for path in sys.argv[1:])
look_at(small)
before = peak()
print(look_at(large).width, peak() - before)
"""
KINDS = [  # what is saved, and how
    ("RGB", "JPEG", {"progressive": True, "subsampling": 0}),
    ("CMYK", "JPEG", {"progressive": True, "subsampling": 0}),
    ("RGBA", "PNG", {"compress_level": 1}),
    ("RGBA", "WEBP", {"quality": 10, "method": 0}),
    ("RGB", "AVIF", {"quality": 10, "speed": 10}),
    ("I;16", "PNG", {"compress_level": 1}),
]


@pytest.mark.parametrize(("mode", "kind", "options"), KINDS)
def test_the_memory_of_a_picture_is_what_its_header_tells(
    tmp_path: Path, mode: str, kind: str, options: dict[str, object]
) -> None:
    width, height = 3_000, 2_000
    shown = Image.effect_noise((60, 40), 90).resize((width, height))
    (tmp_path / "small").write_bytes(GOOD[0])
    shown.convert(mode).save(tmp_path / "large", kind, **options)
    command = [sys.executable, "-c", PEAK, str(tmp_path / "small"), str(tmp_path / "large")]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=LONG, check=True, cwd=ROOT
    )
    seen, peak = map(int, done.stdout.split())
    assert seen == width
    read = (tmp_path / "large").stat().st_size
    cost = BYTES_A_PIXEL.get((kind.lower(), mode), 11)
    assert peak <= cost * width * height + 3 * read


def lying_avif() -> bytes:
    """16 million pixels that are said to be 100 by 100."""
    out = io.BytesIO()
    Image.new("RGB", (4_000, 4_000)).save(out, "AVIF", quality=10, speed=10)
    before, size, after = out.getvalue().partition(b"ispe" + bytes(4))
    return before + size + struct.pack(">II", 100, 100) + after[8:]


def sharing_exif() -> bytes:
    """A thousand EXIF fields, all of them the same 50,000 bytes."""
    fields = b"".join(struct.pack("<HHII", 1_000 + tag, 7, 50_000, 8) for tag in range(1_000))
    out = io.BytesIO()
    exif = b"Exif\0\0II*\0\x08\0\0\0\xe8\x03" + fields + bytes(48_000)
    Image.new("RGB", (9, 9)).save(out, "JPEG", exif=exif)
    return out.getvalue()


BOUND = """
import os
import sys
from pipeline.media import look
from tests.fuzz.rounds import peak

small, large = (open(path, "rb").read() for path in sys.argv[1:])
look._bound(os.getppid())
assert "scipy.fftpack" in sys.modules  # else loaded beside a large picture, where it may hang
seen = look._timed(small, None)
look.DATA = 20_000_000
before = peak()
print(look._timed(large, None).reason, peak() - before < 4 * look.DATA // 3)  # code is held too
assert look._timed(small, None) == seen
"""


@pytest.mark.parametrize("large", [lying_avif, sharing_exif])
def test_a_picture_takes_no_more_memory_than_it_may_whatever_its_header_tells(
    tmp_path: Path, large: Callable[[], bytes]
) -> None:
    (tmp_path / "small").write_bytes(GOOD[0])
    (tmp_path / "large").write_bytes(large())
    command = [sys.executable, "-c", BOUND, str(tmp_path / "small"), str(tmp_path / "large")]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=LONG, check=False, cwd=ROOT
    )
    assert (done.returncode, done.stdout) == (0, "undecodable True\n"), done.stderr
