"""Size of the tiny language models, and what a tiny model consists of."""

from dataclasses import dataclass
from typing import Any

TEXT = {
    "vocab_size": 320,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.4,  # large enough for answers that vary
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": 0,
}


@dataclass(frozen=True)
class Tiny:
    """A model with its processor."""

    model: Any
    processor: Any
