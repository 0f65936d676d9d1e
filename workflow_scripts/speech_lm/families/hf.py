"""Placeholder models whose decoder runs on input embeddings, in right-padded batches.

The model merges text and audio itself. What its decoder is given is caught and run like any other query, with the
hooks, cache and losses of the base class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import transformers

from workflow_scripts.speech_lm.architectures import runs_from_embeddings
from workflow_scripts.speech_lm.families.base import DecoderSpeechLM
from workflow_scripts.speech_lm.families.hf_folder import load_processor, model_class, read_config
from workflow_scripts.speech_lm.families.placeholder import PlaceholderSpeechLM
from workflow_scripts.speech_lm.families.whole_model import WholeModelSpeechLM
from workflow_scripts.speech_lm.protocol import Edit, ModelFolders, Query, SpeechLMError
from workflow_scripts.speech_lm.transformers_folder import load_model


class HfSpeechLM(PlaceholderSpeechLM, DecoderSpeechLM):
    """A placeholder model as a `SpeechLM`; arguments as in `PlaceholderSpeechLM`."""

    def prepare(self, queries: Sequence[Query], edits: Sequence[Sequence[Edit]] | None) -> None:
        """As in the base class; sets the LoRA's state for the form of the queries."""
        super().prepare(queries, edits)
        forms = {query.form for query in queries}
        if len(forms) > 1 and self.lora == "speech" and self.has_lora:
            raise SpeechLMError(f"{self.name}: its LoRA is for speech only; run written and spoken queries apart")
        for form in forms:
            self.use_lora(form)


def open_hf(
    folders: ModelFolders,
    entry: Mapping[str, Any],
    *,
    device: torch.device,
    dtype: torch.dtype,
    system_prompt: str | None,
) -> PlaceholderSpeechLM:
    """A transformers folder with its processor (an `Opener`); models that only run as a whole are served as such."""
    folder, name, trusted = folders.weights, entry["name"], entry["trust_remote_code"]
    config = read_config(folder, name=name, trust_remote_code=trusted)
    processor = load_processor(folder, name=name, trust_remote_code=trusted)
    model = load_model(
        model_class(config, entry.get("class_name"), name),
        folder,
        name=name,
        allowed=entry["allowed_tensors"],
        lora_subfolder=entry.get("lora_subfolder"),
        trust_remote_code=trusted,
        **placement(entry, dtype),
    )
    if not entry.get("device_map") and not entry.get("load_in_8bit"):
        model = model.to(device)
    return speech_lm_of(model)(
        model.eval().requires_grad_(False),
        processor,
        name=name,
        system_prompt=system_prompt,
        **{key: entry[key] for key in ("template", "audio_token", "positions_per_second", "max_seconds", "lora")},
    )


def speech_lm_of(model: Any) -> type[PlaceholderSpeechLM]:
    """The class that serves a placeholder model of transformers."""
    return HfSpeechLM if runs_from_embeddings(model.config) else WholeModelSpeechLM


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
