"""LoRA: low-rank adapters on the language model; beside them only what is new is trained.

In:      a PackedIdefics2, a rank, and the tokens whose embeddings are new.
Out:     the same model, changed in place: its language model frozen but for adapters and the rows
         of the new tokens, connector and vision as they were. What is trained can be saved and
         loaded alone, or merged into a plain Idefics2 for export.
Refused: weights of another adapter: ValueError, naming the first that differs.

Sources: LoRA (arXiv 2106.09685), DoRA (2402.09353); Idefics2 (2405.02246, section 3.2) trains so
because the whole fully-autoregressive model diverges. Adapters go by exact names: bare ones
(`q_proj`) would land in vision and connector too. They are injected, not wrapped in a PeftModel, so
that the model's way through (idefics2.py) and its names stay.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import Idefics2ForConditionalGeneration

from training.model.idefics2 import PackedIdefics2, drawn_by

TEXT: Final = "model.text_model"
FILE: Final = "trained.safetensors"
DIGESTED: Final = 4096  # values of each weight


def add_lora(
    model: PackedIdefics2,
    *,
    rank: int,
    alpha: int,
    dora: bool,
    new_tokens: Sequence[int],
    seed: int,
    train_vision: bool,
) -> None:
    """Adapters on every linear layer of the language model, and its new tokens trainable.

    The same seed draws the same adapters.
    """
    idefics2 = model.idefics2
    layers = idefics2.get_submodule(f"{TEXT}.layers").named_modules(prefix=f"{TEXT}.layers")
    linear = [name for name, module in layers if isinstance(module, nn.Linear)]
    heads = () if idefics2.config.tie_word_embeddings else ("lm_head",)
    rows = {name: sorted(new_tokens) for name in (f"{TEXT}.embed_tokens", *heads)}
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        use_dora=dora,
        target_modules=linear,
        trainable_token_indices=rows if new_tokens else None,
    )
    with drawn_by(seed):
        inject_adapter_in_model(config, idefics2)
    idefics2.model.connector.requires_grad_(requires_grad=True)  # injection froze all
    idefics2.model.vision_model.requires_grad_(requires_grad=train_vision)


def trained(model: nn.Module) -> dict[str, Tensor]:
    """The weights that are trained, by name; each once where some are tied."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def base_digest(model: nn.Module) -> str:
    """Of the first values of each weight that is not trained, and so is in no checkpoint."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.named_parameters()):
        if not weight.requires_grad:
            digest.update(name.encode())
            digest.update(weight.detach().flatten()[:DIGESTED].float().cpu().numpy().tobytes())
    return digest.hexdigest()[:32]


def save_trained(model: PackedIdefics2, folder: Path) -> None:
    """Adapters, new tokens, connector and whatever else is trained."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: weight.detach().contiguous() for name, weight in trained(model).items()}
    save_file(weights, folder / FILE)


def load_trained(model: PackedIdefics2, folder: Path) -> None:
    """Put saved weights into a model that was made the same way."""
    own, saved = trained(model), load_file(folder / FILE)
    for name in sorted(own.keys() | saved.keys()):
        here = tuple(own[name].shape) if name in own else "not trained"
        there = tuple(saved[name].shape) if name in saved else "missing"
        if here != there:
            raise ValueError(
                f"{folder / FILE} is of another model: {name} is {there} there, {here} here; give "
                "the same --language-model, --vision-model and lora settings"
            )
    model.load_state_dict(saved, strict=False)


def merged(model: PackedIdefics2) -> Idefics2ForConditionalGeneration:
    """A copy without adapters whose weights hold them; the model itself where it has none."""
    adapters = (BaseTunerLayer, AuxiliaryTrainingWrapper)
    if not any(isinstance(module, adapters) for module in model.modules()):
        return model.idefics2
    plain = copy.deepcopy(model.idefics2)
    for name, module in list(plain.named_modules()):
        if isinstance(module, AuxiliaryTrainingWrapper):
            whole = module.unload_and_optionally_merge_module(
                merge=True, safe_merge=False, adapter_names=None
            )
            plain.set_submodule(name, whole)
        elif isinstance(module, BaseTunerLayer) and not name.endswith(".token_adapter"):
            module.merge()
            plain.set_submodule(name, module.get_base_layer())
    plain.tie_weights()
    return plain.requires_grad_(requires_grad=True)
