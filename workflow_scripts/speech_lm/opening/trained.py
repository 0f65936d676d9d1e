"""One checkpoint of a trained model, opened for measuring: its `SpeechLM` and the facts that identify it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.asset_record import AssetRecord, read_asset_record
from workflow_scripts.artifacts.checkpoints import CheckpointIndex
from workflow_scripts.artifacts.files import sha256_text
from workflow_scripts.speech_lm.opening.loading import load_speech_lm
from workflow_scripts.speech_lm.protocol import SpeechLM


@dataclass(frozen=True)
class TrainedLM:
    """A loaded checkpoint.

    Attributes:
        lm: the model.
        facts: model, checkpoint, weights_sha256, backbone and encoder with revisions, tokenizer_hash, template_hash,
            dtype, device: what files made with it record.
    """

    lm: SpeechLM
    facts: dict[str, str]


def open_trained(
    model: Path, checkpoint: str, *, backbone: Path, encoder: Path, system_prompt: str | None
) -> TrainedLM:
    """Load checkpoint `checkpoint` of the run whose `checkpoints.json` is `model`.

    Args:
        backbone, encoder: asset.json of the language model and of the speech encoder. The encoder itself is not loaded:
            speech arrives as cached features.

    Raises:
        ArtifactError, FileNotFoundError, ValueError: a file is missing or damaged, or the run has no such checkpoint.
    """
    index = CheckpointIndex.read(model)
    folder = index.folder(model, checkpoint)
    records = {"backbone": read_asset_record(backbone), "encoder": read_asset_record(encoder, check_files=False)}
    lm = load_speech_lm(
        backbone=backbone.parent,
        checkpoint=folder,
        encoder=None,
        system_prompt=system_prompt,
        name=f"{index.model}/{checkpoint}",
    )
    weights = {entry.name: entry.sha256 for entry in index.checkpoints}
    facts = {"model": index.model, "checkpoint": checkpoint, "weights_sha256": weights[checkpoint]}
    for role, record in records.items():
        facts |= {role: record.name, f"{role}_revision": revision(record)}
    return TrainedLM(lm, facts | _identity(lm))


def revision(record: AssetRecord) -> str:
    """Where an asset came from, as exactly as its source says: commit, package versions or path."""
    source = record.source
    named = source.commit or source.revision
    if named is not None:
        return f"{source.hub}@{named}"
    return ",".join(source.packages) or source.path or source.kind


def _identity(lm: SpeechLM) -> dict[str, str]:
    """Hashes (16 hex digits) of the tokenizer's full definition and of the chat template; number format and device."""
    tokenizer: Any = lm.tokenizer
    return {
        "tokenizer_hash": sha256_text(tokenizer.backend_tokenizer.to_str())[:16],
        "template_hash": sha256_text(tokenizer.chat_template)[:16],
        "dtype": str(lm.dtype).removeprefix("torch."),
        "device": lm.device.type,
    }
