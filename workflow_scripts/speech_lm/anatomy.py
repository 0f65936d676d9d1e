"""Where the parts of a causal language model are: decoder stack, layers, final norm, vocabulary product.

Paths differ between architectures and between versions of transformers; nothing else in this package knows them.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from workflow_scripts.speech_lm.protocol import SpeechLMError

_FINAL_NORM_NAMES = ("norm", "final_layernorm", "norm_f", "final_layer_norm", "ln_f")


def causal_lm(model: nn.Module) -> Any:
    """The transformers model inside a peft wrapper (peft puts LoRA into its layers in place), or the model itself."""
    unwrap = getattr(model, "get_base_model", None)
    return unwrap() if callable(unwrap) else model


def decoder_of(model: nn.Module) -> Any:
    """The stack of decoder layers with embeddings before and the final norm after it."""
    inner = causal_lm(model)
    decoder = inner.get_decoder()
    if not hasattr(decoder, "layers") and hasattr(decoder, "get_decoder"):  # a language model inside a whole one
        decoder = decoder.get_decoder()
    if decoder is None or not hasattr(decoder, "layers"):
        raise SpeechLMError(
            f"{type(inner).__name__}: get_decoder() gives no module with `layers`; write an adapter class"
        )
    return decoder


def final_norm_of(model: nn.Module) -> nn.Module:
    """The norm between the last decoder layer and the vocabulary product."""
    decoder = decoder_of(model)
    for name in _FINAL_NORM_NAMES:
        norm = getattr(decoder, name, None)
        if isinstance(norm, nn.Module):
            return norm
    raise SpeechLMError(f"{type(decoder).__name__} has no final norm called {', '.join(_FINAL_NORM_NAMES)}")


def vocabulary_logits(model: nn.Module, hidden: Tensor) -> Tensor:
    """(..., d) states after the final norm -> (..., V) logits in the model's format, with its scaling and soft cap.

    Same as the model's forward, but the caller chooses the positions. `check_decoder` compares it with the forward.
    """
    return scaled_logits(model, causal_lm(model).get_output_embeddings()(hidden))


def scaled_logits(model: nn.Module, logits: Tensor) -> Tensor:
    """The product with the vocabulary (..., V) under the model's own scaling and soft cap; the order stays the same."""
    config = causal_lm(model).config.get_text_config()
    if (divisor := getattr(config, "logits_scaling", None)) is not None:  # Granite
        logits = logits / divisor
    if (factor := getattr(config, "logit_scale", None)) is not None:  # Cohere
        logits = logits * factor
    if (cap := getattr(config, "final_logit_softcapping", None)) is not None:  # Gemma
        logits = cap * (logits / cap).tanh()
    return logits


def sliding_window_of(model: nn.Module) -> int | None:
    """Positions a sliding-window layer looks back, None if every layer sees everything before it."""
    config = causal_lm(model).config.get_text_config()
    window = getattr(config, "sliding_window", None)
    layer_types = getattr(config, "layer_types", None)
    if window is None or getattr(config, "use_sliding_window", True) is False:
        return None
    if layer_types is not None and not any(kind != "full_attention" for kind in layer_types):
        return None
    return int(window)
