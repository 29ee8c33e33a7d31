"""Options: by name, from a file, one by one; what does not fit is told with the nearest key."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.config import CONFIGS, load


@pytest.mark.parametrize("name", CONFIGS)
def test_a_named_configuration_is_what_it_says(name: str) -> None:
    assert load(name) == CONFIGS[name]


def test_settings_go_over_the_named_configuration() -> None:
    config = load("tiny", ["data.rows=3", "optimizer.betas=0.8,0.99", "run.deterministic=true"])
    assert (config.data.rows, config.optimizer.betas) == (3, (0.8, 0.99))
    assert config.run.deterministic
    assert config.data.window == CONFIGS["tiny"].data.window


def test_a_file_changes_what_it_names_of_its_base(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('base = "tiny"\n[data]\nrows = 5\n')
    config = load(str(path), ["data.seed=9"])
    assert (config.shape, config.data.rows, config.data.seed) == ("tiny", 5, 9)
    assert config.optimizer == CONFIGS["tiny"].optimizer


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("data.row=4", "did you mean data.rows?"),
        ("rows=4", "did you mean data.rows?"),
        ("optimizer.learning_rat=1", "did you mean optimizer.learning_rate?"),
        ("data.rows", "write it as key=value"),
        ("data.rows=0", "data.rows = '0'"),
        ("data.rows=many", "data.rows = 'many'"),
        ("run.precision=int8", "run.precision = 'int8'"),
        ("optimizer.final=1.01", "optimizer.final"),
    ],
)
def test_a_setting_that_does_not_fit_is_told_with_its_remedy(setting: str, told: str) -> None:
    with pytest.raises(ValueError, match=r"config|--set") as error:
        load("tiny", [setting])
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[data]\nrosw = 5\n", "did you mean data.rows?"),
        ("[dta]\nrows = 5\n", "'dta.rows'"),
        ('base = "tyni"\n', "choose one of tiny"),
        ("rows = = 5\n", "not TOML"),
    ],
)
def test_a_file_that_does_not_fit_is_told(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"mine\.toml") as error:
        load(str(path))
    assert told in str(error.value)


def test_a_name_that_does_not_exist_is_told_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="choose tiny, small, idefics2-8b") as error:
        load("idefics-8b")
    assert "did you mean idefics2-8b?" in str(error.value)
