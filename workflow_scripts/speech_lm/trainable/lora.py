"""Low-rank adapters on the language model: attach for training, merge for measuring."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from torch import nn


@dataclass(frozen=True)
class LoraSettings:
    """Rank r, scale alpha (the update is alpha/r * B A), dropout on its input, names of the linear maps it goes on."""

    r: int = 8
    alpha: float = 16
    dropout: float = 0.0
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def attach_lora(language_model: nn.Module, settings: LoraSettings, *, seed: int) -> PeftModel:
    """Wrap the model; only LoRA is trainable, in float32. B starts at zero, so the model's function is unchanged.

    A is drawn from `seed`; torch's global generator is left as it was.
    """
    config = LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=list(settings.targets),
        bias="none",
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return get_peft_model(language_model, config, autocast_adapter_dtype=True)


def merge_lora(wrapped: PeftModel) -> nn.Module:
    """Fold every low-rank update into its weight and give back the plain model.

    The sum is taken in float32 and then cast to the weight's dtype, so that a bfloat16 model is rounded once.
    """
    with torch.no_grad():
        for module in wrapped.modules():
            if not isinstance(module, LoraLayer):
                continue
            weight = module.get_base_layer().weight
            for adapter in module.active_adapters:
                down = module.lora_A[adapter].weight.float()
                up = module.lora_B[adapter].weight.float()
                weight.copy_((weight.float() + module.scaling[adapter] * (up @ down)).to(weight.dtype))
    return wrapped.unload()
