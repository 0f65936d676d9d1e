"""How large a model is, and how much main memory a job with it takes: counted from config.json, nothing is loaded.

Rules book by these numbers, a training is refused by them, and `benchmarks/memory.py` sets them beside the peak of real
processes. Bytes throughout; 1 MB = 10^6 bytes. The constants are ours, read off measured peaks (docs/performance.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

PROCESS = 450_000_000
"""Python with torch and transformers, before anything is loaded."""
CUDA = 2_000_000_000
"""What CUDA's libraries and context take of main memory (an assumption: there was no GPU)."""
TOWER = 1.15
"""Parameters of a model with a speech tower over those of its language model (ours; Qwen2-Audio: 1.08)."""
TRAINED_BYTES = 16
"""Per trained parameter: weight, gradient and AdamW's two moments, in float32."""
LAYER_TEMPORARIES = 8
"""Tensors of a layer's width that are alive at once while it runs without gradients."""
SAVED_WIDTHS, SAVED_INNER = 16, 5
"""Tensors of a layer's two widths that its backward pass needs."""
ATTENTION_COPIES = 6
"""Attention matrices of a layer that its backward pass needs: weights in both formats."""
LOGIT_COPIES = 4
"""Float32 rows of the vocabulary alive at once when a loss is differentiated."""


@dataclass(frozen=True)
class ModelSize:
    """Shape of a language model, or of a speech encoder with its decoder.

    Attributes:
        parameters: numbers in all weight matrices; norms and biases, under 1 %, are left out.
        d, inner: width of the states, and of the middle of the feed-forward part.
        layers: of the part that runs (an encoder's own).
        heads: attention heads of a layer.
        kv: numbers that a layer keeps per position: keys and values.
        vocab: tokens.
    """

    parameters: int
    d: int
    inner: int
    layers: int
    heads: int
    kv: int
    vocab: int


def model_size(config: Mapping[str, Any]) -> ModelSize | None:
    """The size that a config.json describes, in the keys of Llama's or Whisper's; None for any other.

    A model with several parts counts as its language model (`text_config`), and `TOWER` for the rest.
    """
    try:
        if "text_config" in config:
            size = _decoder_size(config["text_config"])
            return replace(size, parameters=int(TOWER * size.parameters))
        return _encoder_size(config) if "encoder_layers" in config else _decoder_size(config)
    except (KeyError, TypeError, ZeroDivisionError):
        return None


def _decoder_size(config: Mapping[str, Any]) -> ModelSize:
    d, inner, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    heads, vocab = config["num_attention_heads"], config["vocab_size"]
    head = config.get("head_dim") or d // heads
    kv = 2 * (config.get("num_key_value_heads") or heads) * head
    layer = 2 * d * heads * head + d * kv + 3 * d * inner
    tables = 1 if config.get("tie_word_embeddings", True) else 2
    return ModelSize(layers * layer + tables * vocab * d, d, inner, layers, heads, kv, vocab)


def _encoder_size(config: Mapping[str, Any]) -> ModelSize:
    d, layers, inner = config["d_model"], config["encoder_layers"], config["encoder_ffn_dim"]
    encoder = layers * (4 * d * d + 2 * d * inner) + 3 * d * (config["num_mel_bins"] + d)
    decoder = config["decoder_layers"] * (8 * d * d + 2 * d * config["decoder_ffn_dim"]) + config["vocab_size"] * d
    return ModelSize(
        encoder + decoder, d, inner, layers, config["encoder_attention_heads"], 2 * d, config["vocab_size"]
    )


# --- bytes that a job takes ------------------------------------------------------------------------------------------


def loading_bytes(size: ModelSize, number: int) -> int:
    """Main memory of a job whose model is on a GPU: the weights pass through it."""
    return PROCESS + CUDA + size.parameters * number


def answering_bytes(size: ModelSize, positions: int, number: int) -> int:
    """Greedy answers: weights, once more while they are laid out for decoding, and the cache of one batch.

    Args:
        positions: of all questions of a batch, prompts and answers. number: bytes of one number.
    """
    passing = positions * (LAYER_TEMPORARIES * size.d + 2 * size.inner) * number
    return PROCESS + 2 * size.parameters * number + positions * size.layers * size.kv * number + passing


def reading_bytes(size: ModelSize, positions: int, number: int) -> int:
    """One pass over a batch of `positions`, whose states of every layer are kept until they are written."""
    passing = positions * (LAYER_TEMPORARIES * size.d + 2 * size.inner) * number
    return PROCESS + size.parameters * number + passing + positions * (size.layers + 1) * size.d * number


def encoding_bytes(size: ModelSize, frames: int, number: int) -> int:
    """One pass of a speech encoder over a batch of `frames`, with its decoder loaded beside it."""
    return PROCESS + size.parameters * number + frames * (LAYER_TEMPORARIES * size.d + 2 * size.inner) * number


def transcribing_bytes(size: ModelSize, frames: int, number: int) -> int:
    """The same with its decoder running: keys and values of every frame, in as many layers as the encoder has."""
    return encoding_bytes(size, frames, number) + frames * size.layers * size.kv * number


def converting_bytes(size: ModelSize) -> int:
    """A model turned into another format: its weights in bfloat16, and one table of embeddings in float32."""
    return PROCESS + 2 * size.parameters + 4 * size.vocab * size.d


def training_bytes(
    size: ModelSize, samples: int, length: int, answer: int, number: int, *, full: bool, share: int = 1
) -> int:
    """A step of training: weights and what they are trained with, and what one micro-batch's backward pass needs.

    Args:
        samples: of a micro-batch. length: positions of the longest. answer: those of them that have a loss.
        full: all weights are trained, else the language model is frozen. share: processes that split a full training.
    """
    weights = int(size.parameters * (max(TRAINED_BYTES / share, 4) if full else number))
    attention = ATTENTION_COPIES * size.heads * length
    layer = (SAVED_WIDTHS * size.d + SAVED_INNER * size.inner + attention) * number
    return PROCESS + weights + samples * (length * size.layers * layer + answer * LOGIT_COPIES * 4 * size.vocab)


def warm_up_bytes(size: ModelSize, positions: int, number: int) -> int:
    """CTC of an adapter against the language model's embeddings: weights as stored, embeddings again in float32."""
    return PROCESS + size.parameters * number + 4 * size.vocab * size.d + positions * (LAYER_TEMPORARIES * size.d * 4)
