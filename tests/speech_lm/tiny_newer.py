"""Tiny models of architectures of 2026: Music Flamingo, GLM-ASR, Qwen3-ASR, Gemma 4 unified."""

from types import SimpleNamespace

import torch
import transformers as hf

from tests.speech_lm.tiny_processor import HandProcessor, audio_id
from tests.speech_lm.tiny_sizes import TEXT, Tiny

MELS = 16


def _mel(frames: int, width: int) -> dict[str, torch.Tensor]:
    """Random features, padded with zeros to `width` frames, and their mask."""
    features = torch.zeros(1, MELS, width)
    features[:, :, :frames] = torch.randn(1, MELS, frames)
    return {"input_features": features, "input_features_mask": (torch.arange(width) < frames).long()[None]}


def musicflamingo() -> Tiny:
    processor = HandProcessor(lambda frames: (_mel(frames, 400), ((frames - 1) // 2 - 1) // 2 + 1))
    audio = {
        "model_type": "audioflamingo3_encoder",
        "num_mel_bins": MELS,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "max_source_positions": 200,
    }
    ids = processor.tokenizer.convert_tokens_to_ids
    config = hf.MusicFlamingoConfig(
        audio_config=audio,
        text_config={"model_type": "qwen2", **TEXT},
        audio_token_id=audio_id(processor.tokenizer),
        audio_bos_token_id=ids("<|audio_bos|>"),
        audio_eos_token_id=ids("<|audio_eos|>"),
        partial_rotary_factor=0.5,
    )
    return Tiny(hf.MusicFlamingoForConditionalGeneration(config), processor)


def glmasr() -> Tiny:
    processor = HandProcessor(lambda frames: (_mel(frames, -(-frames // 8) * 8), -(-frames // 2) // 4))
    audio = {
        "model_type": "glmasr_encoder",
        "num_mel_bins": MELS,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    }
    config = hf.GlmAsrConfig(
        audio_config=audio,
        text_config={"model_type": "llama", **TEXT, "head_dim": 8},
        audio_token_id=audio_id(processor.tokenizer),
        tie_word_embeddings=False,
    )
    return Tiny(hf.GlmAsrForConditionalGeneration(config), processor)


def qwen3_asr() -> Tiny:
    """Its extractor pads clips of less than half a second to it, and counts the padding."""

    def features(frames: int) -> tuple[dict[str, torch.Tensor], int]:
        frames = max(frames, 50)
        return _mel(frames, -(-frames // 100) * 100), frames // 100 * 13 + -(-(frames % 100) // 8)

    processor = HandProcessor(features)
    processor.feature_extractor = SimpleNamespace(min_length=8000)
    audio = {
        "num_mel_bins": MELS,
        "d_model": 16,
        "encoder_layers": 1,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 16,
        "downsample_hidden_size": 8,
        "output_dim": 32,
    }
    config = hf.Qwen3ASRConfig(
        audio_config={"model_type": "qwen3_asr_encoder", **audio},
        text_config={"model_type": "qwen3", **TEXT, "head_dim": 8},
        audio_token_id=audio_id(processor.tokenizer),
        pad_token_id=0,
        eos_token_id=(1,),
        tie_word_embeddings=False,
    )
    return Tiny(hf.Qwen3ASRForConditionalGeneration(config), processor)


def gemma4_unified() -> Tiny:
    def features(frames: int) -> tuple[dict[str, torch.Tensor], int]:
        n = -(-frames // 4)
        return {"input_features": torch.randn(1, n, 640), "input_features_mask": torch.ones(1, n, dtype=torch.bool)}, n

    processor = HandProcessor(features, mm_token_type_ids=True)
    text = {
        **TEXT,
        "initializer_range": 0.1,
        "head_dim": 8,
        "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
        "sliding_window": 64,
    }
    config = hf.Gemma4UnifiedConfig(
        audio_config={},
        vision_config=None,
        text_config=text,
        audio_token_id=audio_id(processor.tokenizer),
        image_token_id=318,
        video_token_id=319,
    )
    return Tiny(hf.Gemma4UnifiedForConditionalGeneration(config), processor)
