"""Tiny Gemmas: layers with further inputs per position, shared keys and values, windows, and (3n) several streams."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import transformers as hf

from tests.speech_lm.tiny_processor import HandProcessor, audio_id
from tests.speech_lm.tiny_sizes import TEXT, Tiny


def gemma4(**text: Any) -> Tiny:
    def features(frames: int) -> tuple[dict[str, torch.Tensor], int]:
        n = -(-frames // 4)
        mask = torch.ones(1, frames, dtype=torch.bool)
        return {"input_features": torch.randn(1, frames, 128), "input_features_mask": mask}, n

    processor = HandProcessor(features, mm_token_type_ids=True)
    audio = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "subsampling_conv_channels": [128, 4],
        "output_proj_dims": 16,
    }
    options = {
        **TEXT,
        "initializer_range": 0.1,
        "head_dim": 8,
        "global_head_dim": 8,
        "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
        "sliding_window": 64,
        "hidden_size_per_layer_input": 8,
        "vocab_size_per_layer_input": 320,
        "num_kv_shared_layers": 0,
        **text,
    }
    config = hf.Gemma4Config(
        audio_config=audio,
        vision_config=None,
        text_config=options,
        audio_token_id=audio_id(processor.tokenizer),
        image_token_id=318,
        video_token_id=319,
    )
    return Tiny(hf.Gemma4ForConditionalGeneration(config), processor)


def gemma3n() -> Tiny:
    positions = 40  # always, as the real one has 188

    def features(frames: int) -> tuple[dict[str, torch.Tensor], int]:
        mask = torch.ones(1, frames, dtype=torch.bool)
        return {"input_features": torch.randn(1, frames, 16), "input_features_mask": mask}, positions

    processor = HandProcessor(features)
    audio = {
        "input_feat_size": 16,
        "hidden_size": 16,
        "conf_num_attention_heads": 2,
        "conf_num_hidden_layers": 1,
        "sscp_conv_channel_size": (8, 4),
        "vocab_size": 8,
        "vocab_offset": 312,
    }
    text = {
        **TEXT,
        "initializer_range": 0.1,
        "head_dim": 8,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        "sliding_window": 64,
        "num_kv_shared_layers": 1,
        "hidden_size_per_layer_input": 8,
        "vocab_size_per_layer_input": 320,
        "laurel_rank": 4,
    }
    config = hf.Gemma3nConfig(
        audio_config=audio,
        vision_config={"hidden_size": 16, "vocab_size": 8, "vocab_offset": 304},
        text_config=text,
        audio_soft_tokens_per_image=positions,
        audio_token_id=audio_id(processor.tokenizer),
        image_token_id=305,
    )
    with _without_vision():
        return Tiny(hf.Gemma3nForConditionalGeneration(config), processor)


@contextmanager
def _without_vision() -> Iterator[None]:
    """Gemma 3n's eyes are a model of timm, which is not installed; nothing is seen here."""
    from transformers.models.gemma3n import modeling_gemma3n as module

    auto = module.AutoModel

    class Auto:
        @staticmethod
        def from_config(config: Any, **options: Any) -> Any:
            blind = config.model_type == "gemma3n_vision"
            return torch.nn.Identity() if blind else auto.from_config(config, **options)

    module.AutoModel = Auto
    try:
        yield
    finally:
        module.AutoModel = auto
