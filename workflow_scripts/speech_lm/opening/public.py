"""Models that are not trained here: from a config entry and the folder of its weights to a checked `SpeechLM`."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from workflow_scripts.artifacts.asset_record import AssetRecord, read_asset_record
from workflow_scripts.artifacts.files import sha256_text
from workflow_scripts.settings.models import FINAL
from workflow_scripts.speech_lm.device import resolve_device, resolve_dtype
from workflow_scripts.speech_lm.families.speech_units import load_quantizer
from workflow_scripts.speech_lm.families.units import UnitsSpeechLM
from workflow_scripts.speech_lm.memory import estimate_memory, require_memory
from workflow_scripts.speech_lm.opening.folder_checks import import_class
from workflow_scripts.speech_lm.opening.hf_loading import load_hf
from workflow_scripts.speech_lm.opening.speech_checks import check_speech_lm
from workflow_scripts.speech_lm.opening.trained import TrainedLM, revision
from workflow_scripts.speech_lm.protocol import SpeechLM, SpeechLMError
from workflow_scripts.speech_lm.trainable.checkpoint import load_backbone

logger = logging.getLogger(__name__)


def open_public(
    weights: Path, entry: Mapping[str, Any], *, system_prompt: str | None, quantizer: Path | None = None
) -> TrainedLM:
    """Load a public model and check that it does what the measurements rely on.

    Args:
        weights: asset.json of its weights.
        entry: name and settings of the model (`Plan.public`).
        quantizer: asset.json of the units' quantizer, if it is an asset.

    Raises:
        SpeechLMError: the folder is not what the family expects, it cannot fit, or a check fails.
    """
    record = read_asset_record(weights)
    device = resolve_device("auto")
    dtype = resolve_dtype(entry["dtype"], device)
    estimate = estimate_memory(
        record.n_parameters or 0, dtype, device, eight_bit=entry["load_in_8bit"], spread=bool(entry["device_map"])
    )
    require_memory(entry["name"], estimate)
    lm = load_public(
        Path(weights).parent, entry, device=device, dtype=dtype, system_prompt=system_prompt, quantizer=quantizer
    )
    check_speech_lm(lm)
    return TrainedLM(lm, public_facts(lm, record, entry))


def load_public(
    folder: Path,
    entry: Mapping[str, Any],
    *,
    device: torch.device,
    dtype: torch.dtype,
    system_prompt: str | None,
    quantizer: Path | None = None,
) -> SpeechLM:
    """The `SpeechLM` of an entry, unchecked; arguments as in `open_public`."""
    if entry["family"] == "hf":
        return load_hf(folder, entry, device=device, dtype=dtype, system_prompt=system_prompt)
    if entry["family"] == "units":
        return _load_units(folder, entry, device, dtype, system_prompt, quantizer)
    adapter = import_class(entry["adapter"], f"models.{entry['name']}.adapter")
    lm = adapter(
        folder, name=entry["name"], device=device, dtype=dtype, system_prompt=system_prompt, **entry["options"]
    )
    if not isinstance(lm, SpeechLM):
        raise SpeechLMError(
            f"models.{entry['name']}.adapter: {entry['adapter']} gives a {type(lm).__name__}, which is no SpeechLM; "
            "derive it from workflow_scripts.speech_lm.protocol.SpeechLM or base.DecoderSpeechLM"
        )
    return lm


def _load_units(
    folder: Path,
    entry: Mapping[str, Any],
    device: torch.device,
    dtype: torch.dtype,
    system_prompt: str | None,
    quantizer: Path | None,
) -> UnitsSpeechLM:
    if quantizer is not None:
        units = load_quantizer(Path(quantizer).parent, entry["quantizer_layer"], device)
    else:
        units = import_class(entry["quantizer"], f"models.{entry['name']}.quantizer")(device=device)
    model = load_backbone(folder, dtype=dtype).to(device).requires_grad_(False)
    names = ("unit_token", "begin", "end", "prompt", "merge_repeats", "max_seconds")
    return UnitsSpeechLM(
        model,
        AutoTokenizer.from_pretrained(folder, local_files_only=True),
        units,
        name=entry["name"],
        system_prompt=system_prompt,
        **{key: entry[key] for key in names},
    )


def public_facts(lm: SpeechLM, record: AssetRecord, entry: Mapping[str, Any]) -> dict[str, str]:
    """What files made with a public model record; the same names as for a trained checkpoint."""
    weights = {name: file.sha256 for name, file in record.files.items() if name.endswith(".safetensors")}
    tokenizer = lm.tokenizer
    fast = getattr(tokenizer, "backend_tokenizer", None)
    template = getattr(getattr(lm, "processor", None), "chat_template", None) or getattr(
        tokenizer, "chat_template", None
    )
    own = entry.get("prompt") or entry.get("template")
    return {
        "model": entry["name"],
        "checkpoint": FINAL,
        "weights_sha256": hashlib.sha256(str(sorted(weights.items())).encode()).hexdigest(),
        "backbone": record.name,
        "backbone_revision": revision(record),
        "encoder": record.name,
        "encoder_revision": revision(record),
        "family": entry["family"],
        "template": str(own),
        "tokenizer_hash": sha256_text(
            fast.to_str() if fast is not None else str(sorted(tokenizer.get_vocab().items()))
        )[:16],
        "template_hash": sha256_text(f"{template}{own}")[:16],
        "dtype": str(lm.dtype).removeprefix("torch."),
        "device": lm.device.type,
    }
