"""What is particular to single architectures of transformers; everything else treats all of them alike."""

from __future__ import annotations

from typing import Any

ALWAYS_PADDED = {"voxtral": 12.5, "gemma3n": 6.25}
"""Positions per second of models that give every clip the positions of the whole window, silence included."""

SPEECH_LORA = frozenset({"granite_speech", "granite_speech_plus", "phi4_multimodal"})
"""Models whose LoRA was trained for speech and is meant to be off for written queries."""

UNSCALED_LOGITS = frozenset({"granite_speech", "granite_speech_plus"})
"""Models whose own forward leaves out the division by `logits_scaling` that their language model was trained with
(transformers 5.23): greedy answers are the same, probabilities are not."""

UNSUPPORTED = {
    "voxtral_realtime": "it adds audio to text embeddings and has no written form of a query",
    "moshi": "it has no written form of a query",
}
"""Kinds of models that the processor-based family cannot serve, and why."""

_AUDIO_IDS = ("audio_token_id", "audio_token_index")


def audio_token_id(config: Any) -> int | None:
    """The id that stands for one audio position, by a model's config; None if it names none."""
    parts = [config, getattr(config, "thinker_config", None), getattr(config, "audio_config", None)]
    for part in parts:
        for name in _AUDIO_IDS:
            if (found := getattr(part, name, None)) is not None:
                return int(found)
    return None


def runs_from_embeddings(config: Any) -> bool:
    """Whether the decoder can be run alone, from input embeddings, with a cache of our own.

    Not so if layers take further inputs per position (Gemma 3n, 4), share keys and values, look back a window only,
    choose their keys (dots3-note), or keep another state than keys and values (Mamba hybrids).
    """
    text = config.get_text_config()
    if getattr(text, "hidden_size_per_layer_input", 0) or getattr(text, "num_kv_shared_layers", 0):
        return False
    kinds = getattr(text, "layer_types", None) or []
    return all(kind == "full_attention" for kind in kinds)


def active_stream(config: Any) -> int:
    """Which of several streams of hidden states a layer's maps read (Gemma 3n); 0 where there is one."""
    return int(getattr(config.get_text_config(), "altup_active_idx", 0))


def missing_divisor(config: Any) -> float:
    """By what a model's own logits are too large (`UNSCALED_LOGITS`); 1 for all others."""
    return float(config.get_text_config().logits_scaling) if config.model_type in UNSCALED_LOGITS else 1.0
