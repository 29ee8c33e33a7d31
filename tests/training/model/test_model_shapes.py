"""Shapes: what they hold, what they refuse, and that a seed makes the same model."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from transformers import Idefics2ForConditionalGeneration

from tests.training.model.reference import IDS, MINI, VOCABULARY, document, packed, perturbed
from training.model.idefics2 import PackedIdefics2, build
from training.model.shapes import SHAPES, idefics2_config


def millions(module: nn.Module) -> float:
    return sum(weight.numel() for weight in module.parameters()) / 1e6


def test_idefics2_8b_has_the_parameters_of_the_paper() -> None:
    config = idefics2_config(
        SHAPES["idefics2-8b"], vocabulary=32_003, bos=1, eos=2, pad=0, image_token=32_001
    )
    with torch.device("meta"):
        model = Idefics2ForConditionalGeneration(config)
    assert millions(model.model.vision_model) == pytest.approx(417.8, abs=0.05)
    assert millions(model.model.connector) == pytest.approx(743.2, abs=0.05)
    assert millions(model) == pytest.approx(8403, abs=1)


@pytest.mark.parametrize(("name", "low", "high"), [("tiny", 1, 10), ("small", 100, 200)])
def test_the_other_shapes_are_as_large_as_they_say(name: str, low: float, high: float) -> None:
    config = idefics2_config(SHAPES[name], vocabulary=4096, **IDS)
    with torch.device("meta"):
        model = Idefics2ForConditionalGeneration(config)
    assert low < millions(model) < high


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_says_its_visual_tokens_and_the_side_of_its_position_table(name: str) -> None:
    shape = SHAPES[name]
    config = idefics2_config(shape, vocabulary=4096, **IDS)
    assert config.perceiver_config.resampler_n_latents == shape.image_tokens  # type: ignore[union-attr]
    assert config.vision_config.image_size == 14 * shape.table  # type: ignore[union-attr]
    assert shape.longest // 14 <= shape.table


def test_the_table_of_the_paper_has_70_places_a_side() -> None:
    assert (SHAPES["idefics2-8b"].table, SHAPES["idefics2-8b"].image_tokens) == (70, 64)


def test_images_that_have_more_patches_than_places_are_refused() -> None:
    assert replace(MINI, longest=6 * 14 + 13).longest == 97  # the last 13 pixels are no patch
    with pytest.raises(ValueError, match="longest is 98 pixels, 7 patches a side"):
        replace(MINI, longest=7 * 14)


@pytest.mark.parametrize("shortest", [13, 85])
def test_the_shortest_side_lies_between_a_patch_and_the_longest(shortest: int) -> None:
    assert replace(MINI, shortest=84).shortest == 84
    with pytest.raises(ValueError, match=f"shortest is {shortest} pixels"):
        replace(MINI, shortest=shortest)


def test_sizes_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match=r"text\.width is 50, which 2 x text\.heads = 8"):
        replace(MINI.text, width=50)
    with pytest.raises(ValueError, match=r"perceiver\.heads is 4, .* = 3 must divide"):
        replace(MINI.perceiver, kv_heads=3)


def test_a_seed_gives_the_same_weights_and_leaves_other_generators_alone() -> None:
    before = torch.get_rng_state()
    first, again, other = (
        build(MINI, vocabulary=VOCABULARY, **IDS, seed=seed).state_dict() for seed in (1, 1, 2)
    )
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(weight, again[name]) for name, weight in first.items())
    assert any(not torch.equal(weight, other[name]) for name, weight in first.items())


def test_latents_of_a_new_model_differ_from_each_other() -> None:
    model = build(MINI, vocabulary=VOCABULARY, **IDS, seed=0)
    latents = model.idefics2.model.connector.perceiver_resampler.latents
    assert torch.pdist(latents / latents.std()).min() > 1
    visual = model.visual(packed(document(1, grids=[(2, 2)])))
    assert torch.pdist(visual).min() > 0.1


def test_a_padding_token_that_is_also_the_end_still_learns() -> None:
    ids = {**IDS, "pad": IDS["eos"]}
    model = build(MINI, vocabulary=VOCABULARY, **ids, seed=0)
    embedding = model.idefics2.model.text_model.embed_tokens
    assert embedding.padding_idx is None
    assert embedding.weight[IDS["eos"]].any()


@torch.no_grad()
def test_a_saved_model_loads_as_transformers_and_as_ours(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("saved")
    model, batch = perturbed(torch.float32), packed(document(1, grids=[(3, 3)]))
    model.idefics2.save_pretrained(folder)
    loaded = Idefics2ForConditionalGeneration.from_pretrained(folder)
    assert loaded.config._attn_implementation == "sdpa"
    assert loaded.state_dict().keys() == model.idefics2.state_dict().keys()
    assert torch.equal(PackedIdefics2(loaded).logits(batch), model.logits(batch))
