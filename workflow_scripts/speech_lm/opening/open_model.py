"""From a model's entry and the files of a job to a model that answers, with the facts that identify it."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from workflow_scripts.artifacts.asset_record import AssetRecord, read_asset_record
from workflow_scripts.artifacts.checkpoints import CheckpointIndex
from workflow_scripts.artifacts.files import sha256_text
from workflow_scripts.settings.families.base import FINAL
from workflow_scripts.settings.models import FAMILIES
from workflow_scripts.speech_lm.device import resolve_device, resolve_dtype
from workflow_scripts.speech_lm.memory import estimate_memory, require_memory
from workflow_scripts.speech_lm.opening.model_checks import check_model
from workflow_scripts.speech_lm.protocol import ModelFolders, SpeechLM


class Opener(Protocol):
    """What a family's `opener` names."""

    def __call__(
        self,
        folders: ModelFolders,
        entry: Mapping[str, Any],
        *,
        device: torch.device,
        dtype: torch.dtype,
        system_prompt: str | None,
    ) -> SpeechLM:
        """The model of an entry (`ModelSettings.opening`), unchecked."""
        ...


@dataclass(frozen=True)
class LoadedModel:
    """A model and its facts.

    Attributes:
        lm: the model.
        facts: model, checkpoint, weights_sha256, backbone and encoder with revisions, tokenizer_hash, template_hash,
            dtype, device: what files made with it record.
    """

    lm: SpeechLM
    facts: dict[str, str]


@dataclass(frozen=True)
class ModelSource:
    """The model that a step measures, not loaded yet.

    Attributes:
        weights: checkpoints.json of a training run, or asset.json of a model's weights.
        checkpoint: one of checkpoints.json, or `final`.
        entry: name, family and settings by which it is opened (`Plan.entry`).
        backbone, encoder, quantizer: asset.json of the parts that the family needs beside the weights.
        system_prompt: of every prompt, written or spoken.
    """

    weights: Path
    checkpoint: str
    entry: Mapping[str, Any]
    backbone: Path | None = None
    encoder: Path | None = None
    quantizer: Path | None = None
    system_prompt: str | None = None

    @classmethod
    def of_step(cls, step: Any) -> ModelSource:
        """From a rule's inputs `model`, `backbone`, `encoder` and `quantizer` and its params."""
        parts = {role: optional_path(step.input.get(role)) for role in ("backbone", "encoder", "quantizer")}
        params = step.params
        return cls(Path(step.input.model), params.checkpoint, params.entry, system_prompt=params.system_prompt, **parts)


def open_model(source: ModelSource) -> LoadedModel:
    """Load what a job measures. A model that was not trained here is checked before it is used.

    Raises:
        ArtifactError, FileNotFoundError, ValueError, SpeechLMError: files are missing, the model is not what its family
            expects, it cannot fit into memory, or a check fails.
    """
    entry, ours = source.entry, source.checkpoint != FINAL
    weights, size, facts = _checkpoint(source) if ours else _published(source.weights, entry)
    device = resolve_device("auto")
    dtype = resolve_dtype(entry.get("dtype", "auto"), device)
    placed = {"eight_bit": bool(entry.get("load_in_8bit")), "spread": bool(entry.get("device_map"))}
    require_memory(entry["name"], estimate_memory(size, dtype, device, **placed))
    parts = {"backbone": source.backbone, "quantizer": source.quantizer}
    folders = ModelFolders(weights, **{role: path.parent for role, path in parts.items() if path is not None})
    lm = load_model(folders, entry, device=device, dtype=dtype, system_prompt=source.system_prompt)
    if not ours:
        check_model(lm)
    return LoadedModel(lm, facts | _identity(lm, facts.get("template", "")))


def load_model(
    folders: ModelFolders,
    entry: Mapping[str, Any],
    *,
    device: torch.device,
    dtype: torch.dtype,
    system_prompt: str | None = None,
) -> SpeechLM:
    """The model of an entry by its family's opener, unchecked and without facts."""
    if not (place := FAMILIES[entry["family"]].opener):
        raise ValueError(f"{entry['name']}: family {entry['family']!r} has answers only, there is no model to open")
    module, _, function = place.partition(":")
    opener: Opener = getattr(importlib.import_module(module), function)
    return opener(folders, entry, device=device, dtype=dtype, system_prompt=system_prompt)


def _checkpoint(source: ModelSource) -> tuple[Path, int, dict[str, str]]:
    """Folder, parameters of the language model and facts of a checkpoint of a training run."""
    checkpoint = source.checkpoint
    if source.backbone is None or source.encoder is None:
        raise ValueError(f"{source.weights}: a trained checkpoint needs its backbone and its encoder")
    index = CheckpointIndex.read(source.weights)
    weights = {entry.name: entry.sha256 for entry in index.checkpoints}
    folder = index.folder(source.weights, checkpoint)
    language, speech = read_asset_record(source.backbone), read_asset_record(source.encoder, check_files=False)
    facts = {"model": index.model, "checkpoint": checkpoint, "weights_sha256": weights[checkpoint]}
    return folder, language.n_parameters or 0, facts | _origins(language, speech)


def _published(record_file: Path, entry: Mapping[str, Any]) -> tuple[Path, int, dict[str, str]]:
    """Folder, parameters and facts of a model whose weights are one asset."""
    record = read_asset_record(record_file)
    weights = {name: file.sha256 for name, file in record.files.items() if name.endswith(".safetensors")}
    facts = {
        "model": entry["name"],
        "checkpoint": FINAL,
        "weights_sha256": hashlib.sha256(str(sorted(weights.items())).encode()).hexdigest(),
        "family": entry["family"],
        "template": str(entry.get("prompt") or entry.get("template")),
    }
    return record_file.parent, record.n_parameters or 0, facts | _origins(record, record)


def _origins(backbone: AssetRecord, encoder: AssetRecord) -> dict[str, str]:
    facts = {}
    for role, record in (("backbone", backbone), ("encoder", encoder)):
        facts |= {role: record.name, f"{role}_revision": revision(record)}
    return facts


def revision(record: AssetRecord) -> str:
    """Where an asset came from, as exactly as its source says: commit, package versions or path."""
    source = record.source
    named = source.commit or source.revision
    if named is not None:
        return f"{source.hub}@{named}"
    return ",".join(source.packages) or source.path or source.kind


def _identity(lm: SpeechLM, template: str) -> dict[str, str]:
    """Hashes (16 hex digits) of the tokenizer's full definition and of the chat template; number format and device."""
    tokenizer, processor = lm.tokenizer, getattr(lm, "processor", None)
    fast = getattr(tokenizer, "backend_tokenizer", None)
    definition = fast.to_str() if fast is not None else str(sorted(tokenizer.get_vocab().items()))
    chat = getattr(processor, "chat_template", None) or getattr(tokenizer, "chat_template", None)
    return {
        "tokenizer_hash": sha256_text(definition)[:16],
        "template_hash": sha256_text(f"{chat}{template}")[:16],
        "dtype": str(lm.dtype).removeprefix("torch."),
        "device": lm.device.type,
    }


def optional_path(value: Any) -> Path | None:
    """An input that a rule may leave out (an empty list) as a path or None."""
    return Path(str(value)) if value else None
