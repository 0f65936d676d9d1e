"""From folders to a `SpeechLM`."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoTokenizer

from workflow_scripts.speech_lm.device import resolve_device, resolve_dtype
from workflow_scripts.speech_lm.families.composite import CompositeSpeechLM
from workflow_scripts.speech_lm.trainable.checkpoint import load_lslm
from workflow_scripts.speech_lm.trainable.encoder import WhisperFeatures


def load_speech_lm(
    *,
    backbone: Path,
    checkpoint: Path | None,
    encoder: Path | None,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    system_prompt: str | None = None,
    window_seconds: float = 30.0,
    merge: bool = True,
    name: str | None = None,
) -> CompositeSpeechLM:
    """A composite model, ready to measure.

    backbone: transformers folder of the language model. checkpoint: folder written by `save_lslm`, None for the
    untuned backbone. encoder: Whisper folder for raw waveforms, None if features are cached. The other arguments are
    those of `resolve_device`, `resolve_dtype`, `ChatTemplate`, `WhisperFeatures` and `load_lslm`; `name` is what errors
    call the model (default: the folder's name).
    """
    device = resolve_device(device)
    dtype = resolve_dtype(dtype, device)
    lslm = load_lslm(checkpoint, backbone, dtype=dtype, device=device, merge=merge)
    tokenizer = AutoTokenizer.from_pretrained(backbone, local_files_only=True)
    features = None
    if encoder is not None:
        features = WhisperFeatures(encoder, device=device, dtype=dtype, window_seconds=window_seconds)
    label = name or Path(checkpoint or backbone).name
    return CompositeSpeechLM(lslm, tokenizer, name=label, system_prompt=system_prompt, encoder=features)
