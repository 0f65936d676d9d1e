"""A placeholder model's folder: config, class and processor, read without its weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import transformers

from workflow_scripts.artifacts.files import read_json
from workflow_scripts.speech_lm.architectures import UNSUPPORTED, audio_token_id, runs_from_embeddings
from workflow_scripts.speech_lm.families.voxtral_processor import TEKKEN, VoxtralFiles
from workflow_scripts.speech_lm.opening.folder_checks import FolderFacts
from workflow_scripts.speech_lm.protocol import SpeechLMError

PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")
NEEDED_BY_PROCESSORS = {
    "torchvision": "torchvision",
    "torchaudio": "torchaudio",
    "mistral_common": "mistral-common",
    "mistral-common": "mistral-common",
    "librosa": "librosa",
    "timm": "timm",
}


def check_hf_folder(folder: Path, entry: Mapping[str, Any]) -> FolderFacts:
    """Check config and processor of a placeholder model, without its weights.

    Args:
        entry: name and settings (`HfModel`) of the model.

    Raises:
        SpeechLMError: no speech language model, a text-only checkpoint, no processor, no placeholder, or remote code
            without permission; with the remedy.
    """
    name = entry["name"]
    config = read_config(folder, name=name, trust_remote_code=entry["trust_remote_code"])
    if (reason := UNSUPPORTED.get(config.model_type)) is not None:
        raise SpeechLMError(
            f"{name}: model_type {config.model_type!r} is not supported by family hf: {reason}; write an adapter class "
            "(family: adapter)"
        )
    if audio_token_id(config) is None and not entry.get("audio_token"):
        _refuse_kind(name, config)
    model_class(config, entry.get("class_name"), name)
    processor = load_processor(folder, name=name, trust_remote_code=entry["trust_remote_code"])
    return FolderFacts(entry.get("max_seconds") or window_seconds(processor), runs_from_embeddings(config))


def _refuse_kind(name: str, config: Any) -> None:
    kind = config.model_type
    if getattr(config, "is_encoder_decoder", False):
        raise SpeechLMError(
            f"{name}: model_type {kind!r} is an encoder-decoder model: speech never stands in its decoder's "
            "sequence, so it is no speech language model in the sense of this study"
        )
    if kind in transformers.models.auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise SpeechLMError(
            f"{name}: model_type {kind!r} is a text-only language model; under family hf a model must hear by "
            "itself. To "
            "train one of your own on it, make it the `backbone` of a composite model; if speech enters as vocabulary "
            "ids, use family units"
        )
    raise SpeechLMError(
        f"{name}: model_type {kind!r} is no speech language model: its config names no audio placeholder "
        "(audio_token_id); set audio_token if it has one, else write an adapter class (family: adapter)"
    )


def read_config(folder: Path, *, name: str, trust_remote_code: bool) -> Any:
    """The transformers config of a folder.

    Raises:
        SpeechLMError: it is missing or of an unknown kind, or needs remote code that the entry does not allow.
    """
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise SpeechLMError(f"{name}: {path} is missing; a transformers model folder needs it")
    raw = read_json(path, "the fetch step")
    kind = raw.get("model_type")
    native = kind in transformers.models.auto.configuration_auto.CONFIG_MAPPING
    if raw.get("auto_map") and not native and not trust_remote_code:
        raise SpeechLMError(
            f"{name}: model_type {kind!r} is none of transformers {transformers.__version__}; the folder brings code "
            f"of its own ({', '.join(sorted(raw['auto_map']))}), which is not run. Read that code, then set "
            f"models.{name}.trust_remote_code: true, or write an adapter class (family: adapter)"
        )
    if not native and not raw.get("auto_map"):
        raise SpeechLMError(
            f"{name}: model_type {kind!r} is unknown to transformers {transformers.__version__}; update "
            "transformers, or write an adapter class (family: adapter)"
        )
    return transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=trust_remote_code)


def model_class(config: Any, class_name: str | None, name: str) -> Any:
    """The class to load: the one named, else the config's own, else the multimodal auto class."""
    architectures = [class_name] if class_name else list(getattr(config, "architectures", None) or [])
    for architecture in architectures:
        if (found := getattr(transformers, architecture, None)) is not None:
            return found
    if class_name:
        raise SpeechLMError(f"{name}: transformers {transformers.__version__} has no class {class_name!r}")
    return transformers.AutoModelForMultimodalLM


def load_processor(folder: Path, *, name: str, trust_remote_code: bool = False) -> Any:
    """The processor of a folder: tokenizer and feature extractor together.

    Raises:
        SpeechLMError: its files are missing, or a package that it needs is not installed.
    """
    folder = Path(folder)
    if (folder / TEKKEN).is_file() and (folder / "preprocessor_config.json").is_file():
        return VoxtralFiles.from_folder(folder)
    if not any((folder / file).is_file() for file in PROCESSOR_FILES):
        raise SpeechLMError(
            f"{name}: {folder} has no processor ({' or '.join(PROCESSOR_FILES)}), so audio cannot be prepared; "
            "complete `files` of the source, or copy them from the original model"
        )
    try:
        processor = transformers.AutoProcessor.from_pretrained(
            folder, local_files_only=True, trust_remote_code=trust_remote_code
        )
    except Exception as error:
        # transformers raises ImportError, OSError, ValueError and more for missing parts.
        package = next((pip for word, pip in NEEDED_BY_PROCESSORS.items() if word in str(error)), None)
        remedy = f"install {package}" if package else "fetch all files of the model again"
        raise SpeechLMError(f"{name}: the processor in {folder} cannot be loaded ({error}); {remedy}") from error
    if getattr(processor, "feature_extractor", None) is None or getattr(processor, "tokenizer", None) is None:
        raise SpeechLMError(
            f"{name}: {type(processor).__name__} of {folder} has no feature extractor; preprocessor_config.json is "
            "missing or the model does not take audio"
        )
    return processor


def window_seconds(processor: Any) -> float | None:
    """Longest audio that a processor takes without cutting it; None if it names no limit."""
    longest = getattr(processor, "max_audio_len", None)
    if longest is None:
        longest = getattr(getattr(processor, "feature_extractor", None), "chunk_length", None)
    return None if longest is None else float(longest)
