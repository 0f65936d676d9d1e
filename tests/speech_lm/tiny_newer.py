"""Tiny models of architectures of 2026: Music Flamingo, GLM-ASR, Qwen3-ASR, Gemma 4 unified, dots3-note,
Apertus 1.5."""

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


def dots3_note() -> Tiny:
    """Latent attention: two layers that attend to the 16 keys an indexer chooses, one with a window; experts.

    Its own extractor, on noise of the clip's length.
    """
    extractor = hf.Dots3NoteFeatureExtractor(feature_size=MELS, chunk_length=4)

    def features(frames: int) -> tuple[dict[str, torch.Tensor], int]:
        found = dict(extractor(torch.randn(160 * frames).numpy(), sampling_rate=16_000))
        return found, int(found.pop("num_audio_tokens"))

    processor = HandProcessor(features)
    processor.feature_extractor = extractor
    latent = {"q_lora_rank": 12, "kv_lora_rank": 8, "head_dim": 8, "qk_nope_head_dim": 4, "v_head_dim": 8}
    text = {
        **TEXT,
        **latent,
        "qk_rope_head_dim": 4,
        "num_key_value_heads": 4,
        **{f"swa_{name}": size for name, size in latent.items()},
        "swa_num_attention_heads": 2,
        "swa_num_key_value_heads": 2,
        "sliding_window": 16,
        "index_topk": 16,
        "index_n_heads": 16,  # with few, several keys have a score of exactly 0, and their order is arbitrary
        "index_head_dim": 8,
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
        "shared_experts_intermediate_size": 16,
    }
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = hf.Dots3NoteConfig(
        audio_config={
            **small,
            "feature_size": MELS,
            "downsample_hidden_size": 8,
            "adapter_input_size": 16,
            "adapter_out_dim": 32,
        },
        vision_config={**small, "mlp_layer_types": ["dense"], "adapter_in_dim": 16, "adapter_out_dim": 32},
        text_config=text,
        audio_token_id=audio_id(processor.tokenizer),
        image_token_id=318,
        video_token_id=319,
    )
    return Tiny(hf.Dots3NoteForConditionalGeneration(config), processor)


def apertus1p5() -> Tiny:
    """Speech as audio tokens of the vocabulary, which the model finds itself; it never answers with them.

    Its own extractor, on noise of the clip's length at 24 kHz.
    """
    extractor = hf.WavTokenizerFeatureExtractor(normalize_audio=True)

    def features(frames: int) -> tuple[dict[str, torch.Tensor], int]:
        noise = torch.randn(240 * frames).numpy()
        found = dict(extractor(noise, sampling_rate=24_000, return_tensors="pt"))
        return found, extractor.get_num_audio_codes(len(noise))

    processor = HandProcessor(features)
    processor.feature_extractor = extractor
    codes, answered = 64, TEXT["vocab_size"]
    config = hf.Apertus1p5Config(
        audio_config={
            "model_type": "wavtokenizer_encoder",
            "num_filters": 2,
            "num_lstm_layers": 1,
            "hidden_size": 8,
            "codebook_dim": 8,
            "codebook_size": codes,
        },
        vision_config={"codebook_size": 4, "embed_dim": 4, "latent_channels": 4, "base_channels": 32},
        text_config={
            **TEXT,
            "vocab_size": answered + codes,
            "output_vocab_size": answered,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
        },
        audio_token_id=audio_id(processor.tokenizer),
        audio_token_offset=answered,
        image_token_id=318,
        image_token_offset=answered - 4,
    )
    model = hf.Apertus1p5ForConditionalGeneration(config)
    tokenizer = model.model.audio_tokenizer
    with torch.no_grad():
        for parameter in tokenizer.encoder.parameters():
            parameter.mul_(2)  # as they are made, what the encoder gives hardly depends on the sound
        tokenizer.quantizer.codebook.embed.copy_(tokenizer.encoder(0.2 * torch.randn(1, 1, 600 * codes))[0].T)
    return Tiny(model, processor)
