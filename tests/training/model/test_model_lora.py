"""Adapters: where they land, what they move, how they are saved, loaded and merged."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import Idefics2ForConditionalGeneration, PreTrainedConfig

from tests.training.model.reference import packed
from tests.training.model.starts import CONFIGS, NEW, saved, shown, started
from training.model.idefics2 import PackedIdefics2
from training.model.lora import add_lora, load_trained, merged, save_trained, trained


@pytest.fixture
def language(tmp_path: Path) -> str:
    return saved(CONFIGS[0], tmp_path / "language")


def adapted(language: str, *, dora: bool = False, train_vision: bool = True) -> PackedIdefics2:
    model = started(language)
    add_lora(model, rank=2, alpha=4, dora=dora, new_tokens=NEW, seed=0, train_vision=train_vision)
    return model


@pytest.mark.parametrize("dora", [False, True])
def test_adapters_land_on_the_language_model_only(language: str, *, dora: bool) -> None:
    model = adapted(language, dora=dora, train_vision=False)
    names = list(trained(model))
    assert {name for name in names if "lora" in name} == {
        name for name in names if ".text_model.layers." in name
    }
    assert sum("lora_A" in name for name in names) == 2 * 7  # layers x linear layers
    connector = dict(model.idefics2.model.connector.named_parameters())
    assert sum(".connector." in name for name in names) == len(connector)
    assert not any(".vision_model." in name for name in names)
    assert any(".vision_model." in name for name in trained(adapted(language)))
    rest = [n for n in names if "lora" not in n and ".connector." not in n]
    assert rest == [
        "idefics2.model.text_model.embed_tokens.token_adapter.trainable_tokens_delta.default"
    ]


def stepped(model: PackedIdefics2) -> PackedIdefics2:
    optimizer = torch.optim.AdamW(trained(model).values(), lr=0.05)
    for seed in range(3):
        batch = packed(shown(seed))
        optimizer.zero_grad()
        losses = model(batch)
        torch.autograd.backward(losses.mean())
        optimizer.step()
    return model


@pytest.mark.parametrize("dora", [False, True])
def test_adapters_start_as_the_model_and_move_only_what_is_trained(
    language: str, *, dora: bool
) -> None:
    plain, model = started(language), adapted(language, dora=dora)
    batch = packed(shown(5))
    with torch.no_grad():
        assert (plain.logits(batch) - model.logits(batch)).abs().max() <= 1e-5
    frozen = {n: w.clone() for n, w in model.named_parameters() if not w.requires_grad}
    stepped(model)
    assert all(torch.equal(w, frozen[n]) for n, w in model.named_parameters() if n in frozen)
    with torch.no_grad():
        assert (plain.logits(batch) - model.logits(batch)).abs().max() > 0.1


@pytest.mark.parametrize("dora", [False, True])
def test_what_is_trained_is_saved_and_loaded_alone(
    language: str, tmp_path: Path, *, dora: bool
) -> None:
    model, fresh = stepped(adapted(language, dora=dora)), adapted(language, dora=dora)
    save_trained(model, tmp_path / "trained")
    load_trained(fresh, tmp_path / "trained")
    batch = packed(shown(5))
    assert torch.equal(model(batch), fresh(batch))
    other = adapted(language, train_vision=False)
    with pytest.raises(ValueError, match="is of another model"):
        load_trained(other, tmp_path / "trained")


@pytest.mark.parametrize("config", CONFIGS[:2], ids=["tied", "untied"])
@pytest.mark.parametrize("dora", [False, True])
def test_a_merged_model_is_a_plain_one_of_the_same_logits(
    config: PreTrainedConfig, tmp_path: Path, *, dora: bool
) -> None:
    model = stepped(adapted(saved(config, tmp_path / "language"), dora=dora))
    batch = packed(shown(5))
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    plain = merged(model)
    with torch.no_grad():
        expected = model.logits(batch)
        assert (PackedIdefics2(plain).logits(batch) - expected).abs().max() <= 1e-4
    assert all(torch.equal(w, before[n]) for n, w in model.state_dict().items())
    plain.save_pretrained(tmp_path / "merged")
    loaded = Idefics2ForConditionalGeneration.from_pretrained(tmp_path / "merged")
    assert not [name for name in loaded.state_dict() if "lora" in name or "adapter" in name]
    assert (PackedIdefics2(loaded).logits(batch) - expected).abs().max() <= 1e-4


@pytest.mark.parametrize("dora", [False, True])
def test_a_seed_draws_the_same_adapters_and_leaves_other_generators_alone(
    language: str, *, dora: bool
) -> None:
    """A run that was killed before its first checkpoint begins again as it did."""
    drawn: list[dict[str, torch.Tensor]] = []
    for seed in (3, 3, 4):
        model = started(language)
        torch.manual_seed(99 + len(drawn))
        before = torch.get_rng_state()
        add_lora(
            model, rank=2, alpha=4, dora=dora, new_tokens=NEW, seed=seed, train_vision=False
        )  # fmt: skip
        assert torch.equal(torch.get_rng_state(), before)
        drawn.append({name: one for name, one in trained(model).items() if "lora_A" in name})
    one, again, other = drawn
    assert one
    for name in one:
        assert torch.equal(one[name], again[name])
        assert not torch.equal(one[name], other[name])
