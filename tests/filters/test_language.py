"""Language: what the model says, and where the model comes from."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import pytest

from pipeline.words import language
from pipeline.words.language import Identifier, file_sha256, find_model


@pytest.fixture(scope="module")
def model() -> Path:
    try:
        return find_model()
    except ValueError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("The painter mixes a little blue\ninto the white,\r\n\tand waits.", "en"),
        ("Der Maler mischt ein wenig Blau in das Weiß und wartet.", "de"),
        ("画家は白に少し青を混ぜて、それが乾くのを待ちます。", "ja"),
    ],
)
def test_a_language_is_told_by_its_code_over_line_breaks(text: str, code: str, model: Path) -> None:
    found, score = Identifier(model).identify(text)
    assert found == code
    assert 0.8 <= score <= 1.0


@pytest.mark.parametrize("text", ["", " \n\t ", "\u3000"])
def test_a_text_of_nothing_has_no_language(text: str, model: Path) -> None:
    assert Identifier(model).identify(text) == ("", 0.0)


@pytest.mark.parametrize("text", ["\ud800", "\0", "__label__de", "😀", "a" * 100_000])
def test_a_score_is_never_above_1_whatever_the_text(text: str, model: Path) -> None:
    _, score = Identifier(model).identify(text)
    assert 0.0 <= score <= 1.0


def test_loading_and_asking_says_nothing_on_the_terminal(
    model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    Identifier(model).identify("A text.")
    assert capfd.readouterr() == ("", "")


def test_an_identifier_travels_to_workers_without_its_model(model: Path) -> None:
    identifier = Identifier(model)
    before = identifier.identify("Ein kurzer Text.")
    assert len(pickle.dumps(identifier)) < 1_000
    assert pickle.loads(pickle.dumps(identifier)).identify("Ein kurzer Text.") == before


def test_the_model_has_the_pinned_digest(model: Path) -> None:
    assert file_sha256(model) == language.MODEL_SHA256
    assert model.stat().st_size == 938_013


def test_a_file_that_is_no_model_is_refused_with_the_remedy(tmp_path: Path) -> None:
    broken = tmp_path / "broken.ftz"
    broken.write_bytes(b"not a model")
    with pytest.raises(ValueError, match=r"broken\.ftz cannot be loaded .*--lid-model PATH"):
        Identifier(broken).identify("A text.")


def test_the_users_model_is_taken_as_it_is(tmp_path: Path) -> None:
    mine = tmp_path / "mine.bin"
    mine.touch()
    assert find_model(mine) == mine
    with pytest.raises(ValueError, match=r"none\.bin is no file: give --lid-model PATH"):
        find_model(tmp_path / "none.bin")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "interloom"


def pin(monkeypatch: pytest.MonkeyPatch, source: Path, content: bytes) -> None:
    """Make pip bring a wheel whose model is `content`, and pin that wheel."""
    wheel = source / "fake.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(language.MEMBER, content)
    monkeypatch.setattr(language, "_download_wheel", lambda _folder: wheel)
    monkeypatch.setattr(language, "WHEEL_SHA256", file_sha256(wheel))


def test_a_model_is_downloaded_once_and_nothing_else_is_left(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin(monkeypatch, tmp_path, b"model")
    (tmp_path / "model").write_bytes(b"model")
    monkeypatch.setattr(language, "MODEL_SHA256", file_sha256(tmp_path / "model"))
    found = find_model()
    assert found.read_bytes() == b"model"
    assert list(cache.iterdir()) == [found]
    monkeypatch.setattr(language, "_download_wheel", lambda _folder: pytest.fail("asked again"))
    assert find_model() == found


def test_a_cached_model_that_was_damaged_is_brought_again(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin(monkeypatch, tmp_path, b"model")
    (tmp_path / "model").write_bytes(b"model")
    monkeypatch.setattr(language, "MODEL_SHA256", file_sha256(tmp_path / "model"))
    find_model().write_bytes(b"mod")
    assert find_model().read_bytes() == b"model"


def test_a_model_of_another_digest_is_never_used(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin(monkeypatch, tmp_path, b"another model")
    with pytest.raises(ValueError, match=r"lid\.176\.ftz has SHA-256 .* is pinned"):
        find_model()
    monkeypatch.setattr(language, "WHEEL_SHA256", "0" * 64)
    with pytest.raises(ValueError, match=r"fake\.whl has SHA-256 .* but 0+ is pinned"):
        find_model()
    assert list(cache.iterdir()) == []


def test_without_a_network_the_file_and_the_remedy_are_named(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(ValueError, match=r"lid\.176\.ftz is not here.*give --lid-model PATH"):
        find_model()
    assert list(cache.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_named_with_the_remedy(
    cache: Path, tmp_path: Path
) -> None:
    cache.write_text("a file where the folder should be")
    with pytest.raises(ValueError, match=r"cannot be kept in .* set XDG_CACHE_HOME"):
        find_model()
