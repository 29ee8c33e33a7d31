"""Any fast tokenizer, with the image tokens; a small one trained here is the same each time."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from tests.training.shards import prose, word_tokenizer
from training.data.tokenizer import ADDED, END, FAKE, IMAGE, extended, load, train_bpe

TEXTS = [prose(200, seed=seed) for seed in range(4)]


def test_the_image_tokens_are_added_once() -> None:
    tokenizer = word_tokenizer("<s>", "</s>", bos_token="<s>", eos_token="</s>")
    before = len(tokenizer)
    loaded = extended(tokenizer, "words")
    assert loaded.added == tuple(range(before, before + len(ADDED)))
    assert loaded.vocabulary == before + len(ADDED)
    ids = loaded.tokenizer.convert_tokens_to_ids([FAKE, IMAGE])
    assert [loaded.special.fake, loaded.special.image] == ids
    again = extended(loaded.tokenizer, "words")
    assert again.added == ()
    assert again.digest == loaded.digest


def test_special_tokens_that_a_tokenizer_has_stay_special() -> None:
    tokenizer = word_tokenizer("</s>", "<tool>", eos_token="</s>", extra_special_tokens=["<tool>"])  # type: ignore[arg-type]
    loaded = extended(tokenizer, "words")
    assert set(loaded.tokenizer.all_special_tokens) == {"</s>", "<tool>", *ADDED}


def test_a_saved_tokenizer_has_the_same_digest_and_ids(tmp_path: Path) -> None:
    loaded = extended(word_tokenizer("<s>", "</s>", bos_token="<s>", eos_token="</s>"), "words")
    loaded.tokenizer.save_pretrained(tmp_path)
    again = load(str(tmp_path))
    assert (again.digest, again.special, again.added) == (loaded.digest, loaded.special, ())


def test_truncation_and_padding_of_a_saved_tokenizer_do_not_cut_documents(tmp_path: Path) -> None:
    tokenizer = word_tokenizer("</s>", eos_token="</s>")
    plain = extended(tokenizer, "words")
    tokenizer.backend_tokenizer.enable_truncation(5)
    tokenizer.backend_tokenizer.enable_padding(length=50)
    cutting = extended(tokenizer, "words")
    assert cutting.digest == plain.digest
    assert len(cutting.encoder.ids([TEXTS[0], "sea"])[0]) == 200
    assert len(cutting.encoder.ids([TEXTS[0], "sea"])[1]) == 1


def test_a_tokenizer_without_end_of_sequence_is_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match=r"0 end-of-sequence tokens.*set eos_token"):
        extended(word_tokenizer("<s>", bos_token="<s>"), "words")


def test_without_a_beginning_of_sequence_its_end_stands_there() -> None:
    loaded = extended(word_tokenizer("</s>", eos_token="</s>"), "words")
    assert loaded.special.bos == loaded.special.eos == 0


@pytest.mark.parametrize("name", ["", "folder"])
def test_what_is_no_tokenizer_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be read .*give a folder with tokenizer\.json"):
        load(str(tmp_path / name))


def test_a_trained_tokenizer_is_the_same_each_time_and_another_for_other_texts(
    tmp_path: Path,
) -> None:
    first, second, other = (
        train_bpe(texts, 700, tmp_path / name)
        for name, texts in (("a", TEXTS), ("b", TEXTS), ("c", TEXTS[:1]))
    )
    files = [sorted(path.name for path in (tmp_path / name).iterdir()) for name in "ab"]
    assert files[0] == files[1]
    for name in files[0]:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert first.digest == second.digest != other.digest


def test_a_trained_tokenizer_spells_any_text_and_starts_a_prompt_with_bos(tmp_path: Path) -> None:
    loaded = train_bpe(TEXTS, 600, tmp_path)
    text = "The sea, naïve 日本 \x00\n\n\t🙂 <b>"
    (ids,) = loaded.encoder.ids([text])
    assert loaded.tokenizer.decode(ids) == text
    assert loaded.encoder.size_of(ids) == len(text.encode())
    by_name = AutoTokenizer.from_pretrained(tmp_path)
    assert by_name(text).input_ids == [loaded.special.bos, *ids]
    assert by_name.convert_tokens_to_ids(END) is not None
    assert loaded.added == ()
    assert loaded.vocabulary <= 600


@pytest.mark.parametrize("word", ["acgt", "a", "7", "_-", "!?", " ", "\n", "日", "a1_"])
def test_a_word_without_end_takes_no_time_to_train_on(tmp_path: Path, word: str) -> None:
    """A genome, a base64 of 8 MB: the trainer's time is the square of a word's length."""
    plain = train_bpe([*TEXTS, "the sea"], 600, tmp_path / "plain")
    long = train_bpe([*TEXTS, f"the {word * 4_000_000} sea"], 600, tmp_path / "long")
    assert long.digest == plain.digest


def test_words_of_999_characters_are_trained_on(tmp_path: Path) -> None:
    plain, long = (
        train_bpe([*TEXTS, f"the {'qz' * 500}"[:length]], 600, tmp_path / str(length))
        for length in (4, 4 + 999)
    )
    assert plain.digest != long.digest


def test_a_vocabulary_that_bytes_would_fill_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="vocabulary is 511 tokens: choose at least 512"):
        train_bpe(TEXTS, 511, tmp_path)


@pytest.mark.parametrize("token", ["<image>", "<fake_token_around_image>"])
def test_a_tokenizer_whose_words_have_an_image_token_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match=f"has {token} among its words.*give another"):
        extended(word_tokenizer("</s>", token, eos_token="</s>"), "words")
