"""Models, their LoRA and tokenizers out of a transformers folder: every tensor placed, no code of the folder run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model, set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from transformers import AutoTokenizer
from transformers.conversion_mapping import get_model_conversion_mapping

from workflow_scripts.artifacts.files import read_json
from workflow_scripts.speech_lm.protocol import SpeechLMError

LORA_CONFIG, LORA_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder, by transformers' own classes."""
    return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def load_model(
    kind: Any,
    folder: Path,
    *,
    name: str,
    allowed: Sequence[str] = (),
    lora_subfolder: str | None = None,
    trust_remote_code: bool = False,
    **options: Any,
) -> Any:
    """The model of class `kind` in a folder, from safetensors, with the LoRA that lies beside it switched on.

    Args:
        name: what errors call the model.
        allowed: patterns of tensors that may be missing in the files, or left over.
        lora_subfolder: where its LoRA lies, if not beside it.

    Raises:
        SpeechLMError: a tensor is missing, left over or of another shape, of the LoRA too; names the first.
    """
    model, loading = kind.from_pretrained(
        folder,
        use_safetensors=True,
        local_files_only=True,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # named below; transformers' own error does not
        trust_remote_code=trust_remote_code,
        adapter_kwargs={"subfolder": "none"},  # where a LoRA is found, only its tensors are reported, not the model's
        **options,
    )
    # Tied tensors are listed as missing by some versions although they are filled.
    tied = set(getattr(model, "all_tied_weights_keys", None) or ())
    missing, surplus = set(loading["missing_keys"]) - tied, loading["unexpected_keys"]
    _refuse_misfits(f"{name}: {folder}", missing, surplus, loading["mismatched_keys"], allowed, type(model).__name__)
    if lora_subfolder or (folder / LORA_CONFIG).is_file():
        _load_lora(model, folder / (lora_subfolder or ""), name, allowed)
    return model


def _load_lora(model: nn.Module, folder: Path, name: str, allowed: Sequence[str]) -> None:
    """Put a LoRA into a model's layers, by peft.

    Not by transformers' `load_adapter`: it leaves out in silence what the file lacks, and asks for peft 0.22.
    """
    kind = read_json(folder / LORA_CONFIG, "the fetch step").get("peft_type")
    if kind != "LORA":
        raise SpeechLMError(f"{name}: {folder / LORA_CONFIG} has peft_type {kind!r}; only LORA is supported")
    config = LoraConfig.from_pretrained(folder)
    config.inference_mode = True
    inject_adapter_in_model(config, model)
    path = folder / LORA_WEIGHTS
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as problem:
        raise SpeechLMError(f"{name}: {path} cannot be read ({problem}); fetch the model again") from problem
    found = {_name_in_model(tensor, model): value for tensor, value in tensors.items()}
    places = {place: tuple(value.shape) for place, value in get_peft_model_state_dict(model).items()}
    shapes = {tensor: tuple(value.shape) for tensor, value in found.items()}
    mismatched = [
        (one, shapes[one], places[one]) for one in sorted(shapes.keys() & places) if shapes[one] != places[one]
    ]
    missing, surplus = places.keys() - shapes, shapes.keys() - places
    _refuse_misfits(f"{name}: {path}", missing, surplus, mismatched, allowed, type(model).__name__)
    set_peft_model_state_dict(model, found)


def _name_in_model(tensor: str, model: nn.Module) -> str:
    """Where a tensor of a LoRA's file belongs: without peft's prefix, renamed as transformers renames the model's."""
    tensor = tensor.removeprefix("base_model.model.")
    for renaming in get_model_conversion_mapping(model):
        tensor, _ = renaming.rename_source_key(tensor)
    return tensor


def _refuse_misfits(
    what: str,
    missing: Iterable[str],
    surplus: Iterable[str],
    mismatched: Iterable[tuple[str, Any, Any]],
    allowed: Sequence[str],
    kind: str,
) -> None:
    wrong = None
    if (tensor := _first(missing, allowed)) is not None:
        wrong = f"has no tensor {tensor} of"
    elif (tensor := _first(surplus, allowed)) is not None:
        wrong = f"has a tensor {tensor} without a place in"
    elif misfit := min(mismatched, default=None):
        tensor, found, expected = misfit
        wrong = f"has a tensor {tensor} of shape {tuple(found)}, not {tuple(expected)}, as in"
    if wrong is not None:
        raise SpeechLMError(
            f"{what} {wrong} {kind}: weights and class do not belong together; fetch all files of the model or name "
            "another `class`; what may be missing or left over can be allowed in `allowed_tensors`"
        )


def _first(names: Iterable[str], allowed: Sequence[str]) -> str | None:
    return next((name for name in sorted(names) if not any(fnmatch(name, pattern) for pattern in allowed)), None)
