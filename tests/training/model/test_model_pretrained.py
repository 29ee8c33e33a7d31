"""Starts from pretrained weights, of language and of vision."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    Idefics2ForConditionalGeneration,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    Qwen2Config,
    SiglipConfig,
    SiglipModel,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from tests.training.model.reference import MINI, VOCABULARY, document, packed, perturbed, theirs
from tests.training.model.starts import CONFIGS, NEW, NEW_IDS, SIZES, saved, shown, started
from training.config import load
from training.model.idefics2 import PackedIdefics2
from training.model.pretrained import load_vision, pretrained
from training.recipe import FitOptions, shape_of


@pytest.fixture
def language(tmp_path: Path) -> str:
    return saved(CONFIGS[0], tmp_path / "language")


@pytest.mark.parametrize("config", CONFIGS, ids=["llama", "llama untied", "mistral", "qwen2"])
@torch.no_grad()
def test_text_is_read_as_the_language_model_reads_it(
    config: PreTrainedConfig, tmp_path: Path
) -> None:
    source = saved(config, tmp_path)
    model, text = started(source), document(1, words=12)
    expected = AutoModelForCausalLM.from_pretrained(source)(torch.tensor([text.tokens])).logits[0]
    batch = packed(document(2), text)
    ours = model.logits(batch)[-len(text.tokens) :, :VOCABULARY]
    assert (ours - expected).abs().max() <= 1e-5


@pytest.mark.parametrize("config", CONFIGS[:2], ids=["tied", "untied"])
@torch.no_grad()
def test_new_tokens_start_at_the_mean_of_the_old(config: PreTrainedConfig, tmp_path: Path) -> None:
    model = started(saved(config, tmp_path)).idefics2
    for weight in (model.model.text_model.embed_tokens.weight, model.lm_head.weight):
        assert weight.shape[0] == VOCABULARY + 2
        for token in NEW:
            torch.testing.assert_close(weight[token], weight[:VOCABULARY].mean(0))
    tied = model.lm_head.weight is model.model.text_model.embed_tokens.weight
    assert tied == model.config.tie_word_embeddings == config.tie_word_embeddings


@torch.no_grad()
def test_a_pretrained_start_is_an_idefics2_that_transformers_runs_and_loads(
    language: str, tmp_path: Path
) -> None:
    model = started(language)
    batch = packed(shown(1))
    ours = model.logits(batch)
    assert (ours - theirs(model, [shown(1)])).abs().max() <= 1e-5
    model.idefics2.save_pretrained(tmp_path / "idefics2")
    loaded = Idefics2ForConditionalGeneration.from_pretrained(tmp_path / "idefics2")
    assert torch.equal(PackedIdefics2(loaded).logits(batch), ours)


def siglip(folder: Path, *, patch: int = 14, whole: bool = False) -> str:
    torch.manual_seed(0)
    vision = SiglipVisionConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=6 * patch,
        patch_size=patch,
    )
    if whole:
        text = {"hidden_size": 32, "num_hidden_layers": 1, "vocab_size": 9, "projection_size": 32}
        text |= {"num_attention_heads": 2, "intermediate_size": 32}
        SiglipModel(SiglipConfig(text_config=text, vision_config=vision.to_dict())).save_pretrained(
            folder
        )
    else:
        SiglipVisionModel(vision).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("whole", [False, True])
@torch.no_grad()
def test_a_siglip_sees_through_us_as_by_itself(
    tmp_path: Path, language: str, *, whole: bool
) -> None:
    source = siglip(tmp_path / "vision", whole=whole)
    model = started(language, source)
    picture = document(1, grids=[(6, 6)]).pictures[0]
    pixels = torch.from_numpy(picture).permute(2, 0, 1)[None] / 127.5 - 1
    if whole:
        expected = SiglipModel.from_pretrained(source).vision_model(pixels).last_hidden_state
    else:
        expected = SiglipVisionModel.from_pretrained(source)(pixels).last_hidden_state
    model.idefics2.set_attn_implementation("sdpa")
    everywhere = torch.ones(1, 6, 6, dtype=torch.bool)
    ours = model.idefics2.model.vision_model(pixels, everywhere).last_hidden_state
    assert (ours - expected).abs().max() <= 1e-5


@torch.no_grad()
def test_vision_is_taken_from_an_idefics2(tmp_path: Path) -> None:
    model = perturbed(torch.float32).idefics2
    model.save_pretrained(tmp_path)
    vision = load_vision(str(tmp_path), MINI.table)
    expected = model.model.vision_model.state_dict()
    assert all(torch.equal(one, expected[name]) for name, one in vision.state_dict().items())


@torch.no_grad()
def test_a_position_table_is_interpolated_to_the_shape(tmp_path: Path) -> None:
    source = siglip(tmp_path)
    own, wider = load_vision(source, 6), load_vision(source, 9)
    small = own.embeddings.position_embedding.weight.view(6, 6, -1)
    large = wider.embeddings.position_embedding.weight.view(9, 9, -1)
    assert wider.embeddings.num_patches_per_side == 9
    # every second place of 3 in the wider table lies in the middle of a place of 2 in the own
    expected = torch.nn.functional.interpolate(
        small.permute(2, 0, 1)[None], size=(9, 9), mode="bicubic"
    )[0].permute(1, 2, 0)
    torch.testing.assert_close(large, expected)
    assert (large.mean((0, 1)) - small.mean((0, 1))).abs().max() < 0.1 * small.abs().max()


def test_what_cannot_start_is_refused(tmp_path: Path, language: str) -> None:
    with pytest.raises(ValueError, match="which cannot be read"):
        started(str(tmp_path / "nothing"))
    with pytest.raises(ValueError, match="has patches of 16 pixels"):
        started(language, siglip(tmp_path / "16", patch=16))
    with pytest.raises(ValueError, match="is a llama: choose a SigLIP or an Idefics2"):
        started(language, language)
    settings = {"vocabulary": VOCABULARY + 2, "new_tokens": NEW[1:], "seed": 0}
    with pytest.raises(ValueError, match=f"token {NEW[0]} is none of those added here"):
        pretrained(language, None, MINI, ids=NEW_IDS, **settings)  # type: ignore[arg-type]


def test_another_family_is_refused(tmp_path: Path) -> None:
    source = saved(GPT2Config(n_embd=32, n_layer=1, n_head=2, vocab_size=VOCABULARY), tmp_path)
    with pytest.raises(ValueError, match="is a gpt2: choose one of the families"):
        started(source)


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        (LlamaConfig(**SIZES, max_position_embeddings=96), 96),
        (MistralConfig(**SIZES, max_position_embeddings=96, sliding_window=64), 64),
        (MistralConfig(**SIZES, max_position_embeddings=96, sliding_window=None), 96),
        (Qwen2Config(**SIZES, max_position_embeddings=96, sliding_window=64), 96),
        (
            Qwen2Config(
                **SIZES, max_position_embeddings=96, sliding_window=64, use_sliding_window=True,
                max_window_layers=1,
            ),
            64,
        ),
    ],
    ids=["llama", "mistral", "mistral without", "qwen2 that does not use it", "qwen2"],
)  # fmt: skip
def test_a_sequence_that_is_longer_than_the_model_sees_is_refused_before_weights_are_read(
    config: PreTrainedConfig, limit: int, tmp_path: Path
) -> None:
    config.save_pretrained(tmp_path)
    fits, longer = (
        FitOptions(
            shards=(), language_model=str(tmp_path),
            config=load("tiny", [f"data.sequence_length={length}"]),
        )
        for length in (limit, limit + 1)
    )  # fmt: skip
    assert shape_of(fits).sequence_length == limit
    with pytest.raises(ValueError, match=f"sequence_length is {limit + 1} tokens.*at most {limit}"):
        shape_of(longer)


@pytest.mark.parametrize(("name", "limit"), [("tiny", 32_768), ("idefics2-8b", 4096)])
def test_a_sequence_that_is_longer_than_a_shape_sees_is_refused(name: str, limit: int) -> None:
    asked = FitOptions(shards=(), config=load(name, [f"data.sequence_length={limit + 1}"]))
    with pytest.raises(ValueError, match=f"choose at most {limit}$"):
        shape_of(asked)


def test_weights_that_are_missing_or_cut_short_are_told_and_never_drawn(language: str) -> None:
    path = Path(language) / "model.safetensors"
    whole, weights = path.read_bytes(), load_file(path)
    for name in ("model.norm.weight", "model.layers.1.mlp.up_proj.weight"):
        save_file({key: one for key, one in weights.items() if key != name}, path, {"format": "pt"})
        with pytest.raises(ValueError, match=rf"lacks \d weights, .*{name}"):
            started(language)
    path.write_bytes(whole[:2000])
    with pytest.raises(ValueError, match=r"--language-model is .*cannot be read"):
        started(language)
    path.write_bytes(whole)
    assert started(language)


def test_a_vision_model_that_is_cut_short_is_told(language: str, tmp_path: Path) -> None:
    folder = Path(siglip(tmp_path / "siglip"))
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"--vision-model is .*cannot be read"):
        started(language, str(folder))
