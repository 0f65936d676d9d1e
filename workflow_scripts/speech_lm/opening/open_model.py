"""The model of a job, opened for measuring: a checkpoint trained here, or a public model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workflow_scripts.speech_lm.opening.trained import TrainedLM, open_trained


def open_model(
    model: Path,
    checkpoint: str,
    *,
    backbone: Path | None,
    encoder: Path | None,
    system_prompt: str | None,
    public: Mapping[str, Any] | None = None,
    quantizer: Path | None = None,
) -> TrainedLM:
    """Load what a job measures.

    Args:
        model: checkpoints.json of a training run, or asset.json of a public model's weights.
        backbone, encoder: asset.json of the parts of a trained model; None for a public one.
        public: name and settings of a public model, None for a trained one.
        quantizer: asset.json of what turns audio into units, for models that need one.

    Raises:
        ArtifactError, FileNotFoundError, ValueError, SpeechLMError: files are missing, or the model cannot be used.
    """
    if public is None:
        if backbone is None or encoder is None:
            raise ValueError(f"{model}: a trained checkpoint needs its backbone and its encoder")
        return open_trained(model, checkpoint, backbone=backbone, encoder=encoder, system_prompt=system_prompt)
    # Imported here: loading third-party families costs seconds that trained checkpoints need not pay.
    from workflow_scripts.speech_lm.opening.public import open_public

    return open_public(model, public, system_prompt=system_prompt, quantizer=quantizer)


def optional_path(value: Any) -> Path | None:
    """An input that a rule may leave out (an empty list) as a path or None."""
    return Path(str(value)) if value else None
