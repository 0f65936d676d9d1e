"""Checkpoint folders: what training changed, in safetensors, and `lslm.json`, which says how to put it back.

```
lslm.json                  schema, strategy, adapter shape, step, seed, facts; written last, so it marks completeness
adapter.safetensors        the speech adapter, float32; strategy "adapter" has nothing else
lora/adapter_config.json   strategy "lora": peft's own layout
lora/adapter_model.safetensors
model.safetensors          strategy "full": every weight of the language model
```
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from workflow_scripts.artifacts.files import atomic_path, read_json, write_text
from workflow_scripts.speech_lm.anatomy import causal_lm
from workflow_scripts.speech_lm.memory import require_backbone
from workflow_scripts.speech_lm.protocol import SpeechLMError
from workflow_scripts.speech_lm.trainable.adapters import Shape, new_adapter, shape_of
from workflow_scripts.speech_lm.trainable.lora import merge_lora
from workflow_scripts.speech_lm.trainable.lslm import LSLM
from workflow_scripts.speech_lm.transformers_folder import load_model

SCHEMA = {"name": "lslm", "version": 1}
STRATEGIES = ("adapter", "lora", "full")


@dataclass(frozen=True)
class CheckpointInfo:
    """Content of `lslm.json`: how the checkpoint was made. `facts` is whatever else training wants to keep."""

    strategy: str
    adapter: Shape
    step: int
    seed: int
    facts: dict[str, Any] = field(default_factory=dict)


def save_lslm(
    folder: Path,
    lslm: LSLM,
    *,
    step: int,
    seed: int,
    facts: Mapping[str, Any],
    dtype: torch.dtype | None = None,
    write: bool = True,
) -> CheckpointInfo:
    """Write a checkpoint folder; every file under a temporary name first, `lslm.json` last.

    The strategy is read off the model: "lora" if the language model is wrapped by peft, "adapter" if the adapter has
    gradients and the language model has none, else "full".
    `dtype` casts the full language model weights (None: as they are); adapter and LoRA are written in float32.
    A full model that is split over processes is gathered for it: all of them must call, one with `write`.
    """
    if lslm.adapter is None:
        raise ValueError("a model without a speech adapter is the backbone itself: there is nothing to save")
    strategy = _strategy_of(lslm)
    info = CheckpointInfo(strategy, lslm.adapter.shape, int(step), int(seed), dict(facts))
    folder = Path(folder)
    adapter = whole_tensors(lslm.adapter.state_dict(), dtype=torch.float32, keep=write)
    full = whole_tensors(_untied_state(lslm.language_model), dtype=dtype, keep=write) if strategy == "full" else {}
    if not write:
        return info
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lslm.json").unlink(missing_ok=True)
    _write_tensors(folder / "adapter.safetensors", adapter)
    if strategy == "lora":
        (folder / "lora").mkdir(exist_ok=True)
        config = lslm.language_model.peft_config["default"].to_dict()
        config.update(base_model_name_or_path=None, inference_mode=True)
        _write_json(folder / "lora" / "adapter_config.json", _jsonable(config))
        weights = get_peft_model_state_dict(lslm.language_model)
        _write_tensors(folder / "lora" / "adapter_model.safetensors", whole_tensors(weights, dtype=torch.float32))
    elif strategy == "full":
        _write_tensors(folder / "model.safetensors", full)
    _write_json(
        folder / "lslm.json",
        {
            "schema": SCHEMA,
            "strategy": strategy,
            "adapter": info.adapter.to_dict(),
            "step": info.step,
            "seed": info.seed,
            "facts": info.facts,
        },
    )
    return info


def _strategy_of(lslm: LSLM) -> str:
    if isinstance(lslm.language_model, PeftModel):
        return "lora"
    trained = [any(p.requires_grad for p in part.parameters()) for part in (lslm.adapter, lslm.language_model)]
    return "adapter" if trained == [True, False] else "full"


def read_info(folder: Path) -> CheckpointInfo:
    """Read and check `lslm.json`. Raises FileNotFoundError or SpeechLMError, naming file, field and remedy."""
    path = Path(folder) / "lslm.json"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: the checkpoint is incomplete; delete the folder and train again")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["schema"] != SCHEMA:
            raise SpeechLMError(f"{path}: schema {record['schema']} instead of {SCHEMA}; train this checkpoint again")
        if record["strategy"] not in STRATEGIES:
            raise SpeechLMError(f"{path}: strategy {record['strategy']!r} is not one of {', '.join(STRATEGIES)}")
        adapter = shape_of(record["adapter"])
        return CheckpointInfo(record["strategy"], adapter, record["step"], record["seed"], record["facts"])
    except (ValueError, KeyError, TypeError) as problem:
        raise SpeechLMError(f"{path} is damaged ({problem!r}); delete the folder and train again") from problem


def load_backbone(folder: Path, *, dtype: torch.dtype = torch.float32, allowed: Sequence[str] = ()) -> Any:
    """The causal language model of a local transformers folder, from safetensors, in eval mode.

    Attention is the fused kernel, except where the model caps attention logits (Gemma 2), which it cannot do.

    Args:
        allowed: patterns of tensors that the files may lack or have too many of.

    Raises:
        FileNotFoundError: there is no model. SpeechLMError: its weights do not fit into memory, or not into the model.
    """
    folder = Path(folder)
    if not (folder / "config.json").exists():
        raise FileNotFoundError(f"{folder}/config.json is missing: fetch the language model asset first")
    require_backbone(folder, dtype.itemsize, torch.device("cpu"), f"weights in {str(dtype).removeprefix('torch.')}")
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    capped = getattr(config.get_text_config(), "attn_logit_softcapping", None) is not None
    model = load_model(
        AutoModelForCausalLM,
        folder,
        name=folder.name,
        allowed=allowed,
        dtype=dtype,
        attn_implementation="eager" if capped else "sdpa",
    )
    return model.eval()


def load_lslm(
    folder: Path | None,
    backbone_folder: Path,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    merge: bool = True,
    trainable: bool = False,
) -> LSLM:
    """Backbone + checkpoint -> LSLM. `folder` None gives the untuned backbone without adapter.

    merge: fold LoRA into the weights (sum in float32, then cast to `dtype`): states, loss and generation all run on
    the same merged weights, about 10 ms a decode step faster than two more products per linear map. In float32 the
    logits equal the unmerged ones to rounding; in bfloat16 they differ by the rounding of one more weight matrix.
    trainable: keep LoRA unmerged and switch gradients on, to go on training (adapter and LoRA stay float32).
    """
    if folder is None:
        return LSLM(load_backbone(backbone_folder, dtype=dtype), None).to(device).eval().requires_grad_(False)
    folder = Path(folder)
    info = read_info(folder)
    backbone = load_backbone(backbone_folder, dtype=dtype)
    adapter = new_adapter(info.adapter)
    _load_exactly(adapter, _read_tensors(folder / "adapter.safetensors"), folder / "adapter.safetensors")
    language_model: nn.Module = backbone
    if info.strategy == "lora":
        language_model = _with_saved_lora(backbone, folder / "lora", trainable=trainable)
        if merge and not trainable:
            language_model = merge_lora(language_model)
    elif info.strategy == "full":
        path = folder / "model.safetensors"
        _load_exactly(backbone, _read_tensors(path), path, tied=_tied_names(backbone))
    if trainable:
        lslm = LSLM(language_model, adapter).to(device)
        if info.strategy != "lora":
            lslm.language_model.requires_grad_(info.strategy == "full")
        return lslm.train()
    return LSLM(language_model, adapter.to(dtype)).to(device).eval().requires_grad_(False)


def _with_saved_lora(backbone: nn.Module, folder: Path, *, trainable: bool) -> PeftModel:
    read_json(folder / "adapter_config.json", "the training step")  # peft's own error names no file
    config = LoraConfig.from_pretrained(folder)
    config.inference_mode = not trainable
    wrapped = get_peft_model(backbone, config, autocast_adapter_dtype=True)
    path = folder / "adapter_model.safetensors"
    weights = _read_tensors(path)
    expected = set(get_peft_model_state_dict(wrapped))
    if set(weights) != expected:
        raise SpeechLMError(f"{path} does not fit this backbone: {_difference(set(weights), expected)}")
    set_peft_model_state_dict(wrapped, weights)
    return wrapped.eval()


def _load_exactly(
    module: nn.Module, weights: Mapping[str, Any], path: Path, tied: frozenset[str] = frozenset()
) -> None:
    """Load with every name and shape accounted for; tied names may be missing."""
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items() if name not in tied}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items() if name not in tied}
    if found != expected:
        raise SpeechLMError(f"{path} does not fit this model: {_difference(set(found.items()), set(expected.items()))}")
    module.load_state_dict(dict(weights), strict=False)


def _difference(found: set[Any], expected: set[Any]) -> str:
    missing, surplus = sorted(expected - found, key=str)[:3], sorted(found - expected, key=str)[:3]
    return f"missing {missing}, not expected {surplus} (first three each); was it trained on another backbone?"


def _tied_names(model: nn.Module) -> frozenset[str]:
    """Names whose tensor is the same memory as an earlier name's (tied input and output embeddings)."""
    seen: set[tuple[int, tuple[int, ...]]] = set()
    tied = set()
    for name, tensor in causal_lm(model).state_dict().items():
        own = getattr(tensor, "_local_tensor", tensor)  # this process's part of one that is split
        key = (own.data_ptr(), tuple(tensor.shape))
        if own.numel() and key in seen:
            tied.add(name)
        seen.add(key)
    return frozenset(tied)


def _untied_state(model: nn.Module) -> dict[str, torch.Tensor]:
    tied = _tied_names(model)
    return {name: tensor for name, tensor in causal_lm(model).state_dict().items() if name not in tied}


def _read_tensors(path: Path) -> dict[str, torch.Tensor]:
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: the checkpoint is incomplete; delete the folder and train again")
    try:
        return load_file(path)
    except SafetensorError as problem:
        raise SpeechLMError(f"{path} is damaged ({problem}); delete the checkpoint and train again") from problem


def whole_tensors(
    tensors: Mapping[str, torch.Tensor], *, dtype: torch.dtype | None = None, keep: bool = True
) -> dict[str, torch.Tensor]:
    """Plain tensors on the CPU, floating ones in `dtype`; those split over processes (DTensor) gathered one by one.

    Where some are split, every process must call it; those without `keep` get nothing.
    """
    plain = {}
    for name, tensor in tensors.items():
        whole = tensor.detach()
        whole = whole.full_tensor() if hasattr(whole, "full_tensor") else whole
        if keep:
            plain[name] = whole.to("cpu", dtype if whole.is_floating_point() else None).contiguous()
    return plain


def _write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    with atomic_path(path) as temporary:
        save_file(dict(tensors), temporary, metadata={"format": "pt"})


def _write_json(path: Path, record: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(record, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def _jsonable(value: Any) -> Any:
    """peft's config as JSON: sets become sorted lists, enums their values."""
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(_jsonable(item) for item in value)
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    return getattr(value, "value", value)
