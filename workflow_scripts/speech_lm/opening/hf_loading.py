"""From a folder of a placeholder model to its `SpeechLM`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers

from workflow_scripts.speech_lm.architectures import runs_from_embeddings
from workflow_scripts.speech_lm.families.hf import HfSpeechLM
from workflow_scripts.speech_lm.families.whole_model import WholeModelSpeechLM
from workflow_scripts.speech_lm.opening.folder_checks import load_processor, model_class, read_config
from workflow_scripts.speech_lm.protocol import SpeechLMError


def load_hf(
    folder: Path,
    entry: Mapping[str, Any],
    *,
    device: torch.device,
    dtype: torch.dtype,
    system_prompt: str | None,
) -> HfSpeechLM:
    """A placeholder model, ready to measure; `entry` holds name and settings (`HfModel`)."""
    name, trusted = entry["name"], entry["trust_remote_code"]
    config = read_config(folder, name=name, trust_remote_code=trusted)
    processor = load_processor(folder, name=name, trust_remote_code=trusted)
    model = model_class(config, entry.get("class_name"), name).from_pretrained(
        folder, **placement(entry, dtype), use_safetensors=True, local_files_only=True, trust_remote_code=trusted
    )
    if entry.get("lora_subfolder"):
        model.load_adapter(str(folder), adapter_kwargs={"subfolder": entry["lora_subfolder"]})
    if not entry.get("device_map") and not entry.get("load_in_8bit"):
        model = model.to(device)
    kind = HfSpeechLM if runs_from_embeddings(model.config) else WholeModelSpeechLM
    return kind(
        model.eval().requires_grad_(False),
        processor,
        name=name,
        template=entry["template"],
        system_prompt=system_prompt,
        audio_token=entry.get("audio_token"),
        positions_per_second=entry.get("positions_per_second"),
        max_seconds=entry.get("max_seconds"),
        lora=entry["lora"],
    )


def placement(entry: Mapping[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """Keyword arguments of `from_pretrained` that decide number format and devices.

    Raises:
        SpeechLMError: 8-bit weights without CUDA or bitsandbytes.
    """
    options: dict[str, Any] = {"dtype": dtype}
    if entry.get("device_map"):
        options["device_map"] = entry["device_map"]
    if entry.get("load_in_8bit"):
        if not torch.cuda.is_available() or not transformers.utils.is_bitsandbytes_available():
            raise SpeechLMError(
                f"{entry['name']}: load_in_8bit needs a CUDA device and bitsandbytes; install it, or set load_in_8bit: "
                "false and dtype: bfloat16"
            )
        options["quantization_config"] = transformers.BitsAndBytesConfig(load_in_8bit=True)
        options.setdefault("device_map", "auto")
    return options
