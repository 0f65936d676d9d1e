"""Models behind a user-defined class: a `SpeechLM` that the user brings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from workflow_scripts.speech_lm.opening.folder_checks import import_class
from workflow_scripts.speech_lm.protocol import ModelFolders, SpeechLM, SpeechLMError


def check_adapter(folder: Path, entry: Mapping[str, Any]) -> None:
    """Check that the class can be imported. Raises SpeechLMError naming the key and what is missing."""
    import_class(entry["adapter"], f"models.{entry['name']}.adapter")


def open_adapter(
    folders: ModelFolders,
    entry: Mapping[str, Any],
    *,
    device: torch.device,
    dtype: torch.dtype,
    system_prompt: str | None,
) -> SpeechLM:
    """Call the class with the weights' folder and the entry's options (an `Opener`)."""
    key = f"models.{entry['name']}.adapter"
    lm = import_class(entry["adapter"], key)(
        folders.weights,
        name=entry["name"],
        device=device,
        dtype=dtype,
        system_prompt=system_prompt,
        **entry["options"],
    )
    if not isinstance(lm, SpeechLM):
        raise SpeechLMError(
            f"{key}: {entry['adapter']} gives a {type(lm).__name__}, which is no SpeechLM; derive it from "
            "workflow_scripts.speech_lm.protocol.SpeechLM or families.base.DecoderSpeechLM"
        )
    return lm
