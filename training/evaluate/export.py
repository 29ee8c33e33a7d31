"""Export: a trained model as a folder that transformers loads without us.

In:      a PackedIdefics2 (adapters are merged into a copy), its tokenizer with the image tokens,
         and the shape, whose image sides the processor gets.
Out:     config, safetensors, tokenizer, processor and generation settings: what
         Idefics2ForConditionalGeneration, Idefics2Processor and AutoProcessor read. Torchvision is
         not needed. Greedy generation from it equals ours.
Refused: a tokenizer without the image tokens, or whose ids are not the model's; a folder that holds
         something, since transformers removes the weights of another model there: ValueError.

transformers' processor writes a space after an image that a word follows at once, and drops the
transparency of a picture, so that what it hides shows: lay such a picture on white first. It gives
its tokenizer `<end_of_utterance>`, which therefore must have been in it when the model was trained,
and leaves BOS to it, which is put there.
"""

from __future__ import annotations

import copy
import os
from pathlib import Path

from tokenizers.processors import TemplateProcessing
from transformers import (
    GenerationConfig,
    Idefics2ImageProcessorPil,
    Idefics2Processor,
    PreTrainedTokenizerBase,
)

from training.data.tokenizer import ADDED, FAKE, IMAGE
from training.fit.parallel import ALONE
from training.fit.prepare import open_trained
from training.model.idefics2 import PackedIdefics2
from training.model.lora import merged
from training.model.shapes import Shape


def export_run(run: Path, output: Path) -> int:
    """Export the last checkpoint of a run; its step."""
    check_empty(output)
    trained = open_trained(run, ALONE)
    export(trained.model, trained.recipe.loaded.tokenizer, trained.recipe.shape, output)
    return trained.step


def export(
    model: PackedIdefics2, tokenizer: PreTrainedTokenizerBase, shape: Shape, folder: Path
) -> None:
    """Write the folder, which is new or empty (`check_empty`)."""
    known = tokenizer.get_vocab()
    missing = [token for token in ADDED if token not in known]
    if missing:
        raise ValueError(
            f"the tokenizer lacks {', '.join(missing)}: export with the one that the model was "
            "trained with"
        )
    plain = merged(model)
    if known[IMAGE] != plain.config.image_token_id:
        raise ValueError(
            f"{IMAGE} is token {known[IMAGE]} of the tokenizer, but {plain.config.image_token_id} "
            "of the model: export with the tokenizer that the model was trained with"
        )
    images = Idefics2ImageProcessorPil(
        size={"shortest_edge": shape.shortest, "longest_edge": shape.longest},
        do_image_splitting=False,
    )
    processor = Idefics2Processor(images, _with_bos(tokenizer), image_seq_len=shape.image_tokens)
    plain.generation_config = GenerationConfig.from_dict(
        {
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.eos_token_id,
            "suppress_tokens": sorted((known[FAKE], known[IMAGE])),
        }
    )
    plain.save_pretrained(folder)
    processor.save_pretrained(folder)


def check_empty(folder: Path) -> None:
    """Raises ValueError for a folder that holds something, and for what is none."""
    if os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir())):
        raise ValueError(
            f"--output is {folder}, which is no empty folder, and an export would remove weights "
            "there: choose a new folder; to export there again, remove it first"
        )


def _with_bos(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """A copy that puts BOS before a prompt and nothing behind it, as documents begin here.

    The processor leaves that to its tokenizer, and many put nothing there (SmolLM2's, GPT-2's).
    """
    plain: PreTrainedTokenizerBase = copy.deepcopy(tokenizer)
    bos = str(plain.bos_token or plain.eos_token)
    token = plain.get_vocab()[bos]
    if plain("a").input_ids != [token, *plain("a", add_special_tokens=False).input_ids]:
        plain.backend_tokenizer.post_processor = TemplateProcessing(
            single=[bos, "$A"], pair=[bos, "$A", "$B"], special_tokens=[(bos, token)]
        )
    return plain
