"""An exported folder is all that transformers needs to generate what we generate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoProcessor,
    Idefics2ForConditionalGeneration,
    Idefics2Processor,
    PreTrainedTokenizerFast,
)

from tests.training.model.reference import (
    BOS,
    EOS,
    FAKE,
    IMAGE,
    MINI,
    PAD,
    VOCABULARY,
    Document,
    packed,
    perturbed,
)
from training.evaluate.export import export
from training.evaluate.generate import continuation

SPECIAL = ["<pad>", "<s>", "</s>", "<fake_token_around_image>", "<image>", "<end_of_utterance>"]
WORDS = [f"w{number}" for number in range(VOCABULARY - len(SPECIAL))]
ENOUGH = replace(MINI, shortest=42)


def tokenizer(special: list[str] = SPECIAL) -> PreTrainedTokenizerFast:
    """A word a token, BOS in front."""
    names = [*special, *WORDS]
    inner = Tokenizer(models.WordLevel({name: place for place, name in enumerate(names)}, "w0"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", BOS)]
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=inner,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        extra_special_tokens=special[3:],
    )


def test_what_is_exported_generates_what_ours_does(tmp_path: Path) -> None:
    model, draw = perturbed(torch.float32), np.random.default_rng(3)
    pictures = [draw.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((56, 70), (84, 42))]
    text = "w3 w9<image><image>w4 w5<image>\n\nw7"
    block = [FAKE, *[IMAGE] * 4]
    word = len(SPECIAL)
    tokens = [BOS, word + 3, word + 9, *block, *block, FAKE, word + 4, word + 5, *block, FAKE]
    given = Document(tokens=[*tokens, word + 7], pictures=[*pictures, pictures[0]])
    ours = continuation(model, packed(given), length=12, eos=EOS, suppressed=(FAKE, IMAGE))

    export(model, tokenizer(), ENOUGH, tmp_path)
    processor = AutoProcessor.from_pretrained(tmp_path)  # type: ignore[no-untyped-call]
    assert isinstance(processor, Idefics2Processor)
    images = [Image.fromarray(picture) for picture in given.pictures]
    inputs = processor(text=text, images=[images], return_tensors="pt")
    assert inputs["input_ids"][0].tolist() == given.tokens
    loaded = Idefics2ForConditionalGeneration.from_pretrained(tmp_path)
    whole = loaded.generate(**inputs, max_new_tokens=12)
    assert len(set(ours)) > 2
    theirs = whole[0, len(given.tokens) :].tolist()
    assert ours == (theirs[: theirs.index(EOS)] if EOS in theirs else theirs)
    assert loaded.generation_config.pad_token_id == PAD + 2


def test_an_exported_processor_resizes_as_the_shape_says(tmp_path: Path) -> None:
    export(perturbed(torch.float32), tokenizer(), ENOUGH, tmp_path)
    processor = AutoProcessor.from_pretrained(tmp_path)  # type: ignore[no-untyped-call]
    wide = Image.new("RGB", (300, 30), (9, 9, 9))
    pixels = processor(text="<image>", images=[[wide]], return_tensors="pt")["pixel_values"]
    assert tuple(pixels.shape[-2:]) == (42, 84)


def test_a_tokenizer_that_is_not_the_models_is_refused(tmp_path: Path) -> None:
    model = perturbed(torch.float32)
    with pytest.raises(ValueError, match="the tokenizer lacks <end_of_utterance>"):
        export(model, tokenizer(SPECIAL[:-1]), ENOUGH, tmp_path)
    swapped = [*SPECIAL[:3], SPECIAL[4], SPECIAL[3], SPECIAL[5]]
    with pytest.raises(ValueError, match="<image> is token 3 of the tokenizer, but 4 of the model"):
        export(model, tokenizer(swapped), ENOUGH, tmp_path)
    assert not any(tmp_path.iterdir())


def test_an_exported_folder_holds_no_name_of_ours(tmp_path: Path) -> None:
    export(perturbed(torch.float32), tokenizer(), ENOUGH, tmp_path)
    told = [path.read_text() for path in tmp_path.iterdir() if path.suffix == ".json"]
    assert told
    assert not any("interloom" in text for text in told)


@pytest.mark.parametrize("bos", ["<s>", None], ids=["own BOS", "EOS in its place"])
def test_a_tokenizer_that_puts_nothing_before_a_prompt_is_exported_with_bos(
    tmp_path: Path, bos: str | None
) -> None:
    """As those of SmolLM2 and GPT-2: trained is with BOS in front, or EOS where there is none."""
    plain = tokenizer()
    plain.backend_tokenizer.post_processor = processors.ByteLevel()
    plain.bos_token = bos
    export(perturbed(torch.float32), plain, ENOUGH, tmp_path)
    exported = AutoProcessor.from_pretrained(tmp_path).tokenizer  # type: ignore[no-untyped-call]
    word = len(SPECIAL)
    assert exported("w3 w9").input_ids == [EOS if bos is None else BOS, word + 3, word + 9]
    assert plain("w3 w9").input_ids == [word + 3, word + 9]
