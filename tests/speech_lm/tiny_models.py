"""Tiny random speech models, one per architecture, built from configs without any download."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import transformers as hf
from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import _get_feat_extract_output_lengths

from tests.speech_lm.tiny_gemma import gemma3n, gemma4
from tests.speech_lm.tiny_newer import apertus1p5, dots3_note, gemma4_unified, glmasr, musicflamingo, qwen3_asr
from tests.speech_lm.tiny_processor import AUDIO_TOKEN, TEMPLATE, HandProcessor, audio_id, make_tokenizer
from tests.speech_lm.tiny_sizes import TEXT, Tiny


def _qwen2_audio() -> Tiny:
    tokenizer = make_tokenizer(template=None)
    extractor = hf.WhisperFeatureExtractor(feature_size=16, chunk_length=4)
    processor = hf.Qwen2AudioProcessor(extractor, tokenizer)
    audio = {
        "model_type": "qwen2_audio_encoder",
        "num_mel_bins": 16,
        "d_model": 16,
        "encoder_layers": 1,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 16,
        "max_source_positions": 200,
    }
    config = hf.Qwen2AudioConfig(
        audio_config=audio, text_config={"model_type": "qwen2", **TEXT}, audio_token_index=audio_id(tokenizer)
    )
    return Tiny(hf.Qwen2AudioForConditionalGeneration(config), processor)


def _audio_flamingo3() -> Tiny:
    tokenizer = make_tokenizer()
    extractor = hf.WhisperFeatureExtractor(feature_size=16, chunk_length=4)
    processor = hf.AudioFlamingo3Processor(
        extractor, tokenizer, chat_template=TEMPLATE, audio_token=AUDIO_TOKEN, max_audio_len=8
    )
    audio = {
        "num_mel_bins": 16,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "max_source_positions": 200,
    }
    config = hf.AudioFlamingo3Config(
        audio_config=audio, text_config={"model_type": "qwen2", **TEXT}, audio_token_id=audio_id(tokenizer)
    )
    return Tiny(hf.AudioFlamingo3ForConditionalGeneration(config), processor)


def _voxtral() -> Tiny:
    def features(frames: int) -> tuple[dict[str, torch.Tensor], int]:
        # always the whole window, as the real one: 3000 frames give 375 positions; here 320 give 40
        return {"input_features": torch.randn(1, 16, 320)}, 40

    processor = HandProcessor(features)
    audio = {
        "num_mel_bins": 16,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_source_positions": 160,
    }
    config = hf.VoxtralConfig(
        audio_config=audio,
        text_config={"model_type": "llama", **TEXT, "head_dim": 8},
        audio_token_id=audio_id(processor.tokenizer),
    )
    return Tiny(hf.VoxtralForConditionalGeneration(config), processor)


def _qwen25_omni() -> Tiny:
    def features(frames: int) -> tuple[dict[str, torch.Tensor], int]:
        n = ((frames - 1) // 2 + 1 - 2) // 2 + 1
        mask = torch.ones(1, frames, dtype=torch.long)
        return {"input_features": torch.randn(1, 16, frames), "feature_attention_mask": mask}, n

    processor = HandProcessor(features)
    ids = processor.tokenizer.convert_tokens_to_ids
    audio = {
        "num_mel_bins": 16,
        "d_model": 16,
        "encoder_layers": 1,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 16,
        "max_source_positions": 200,
        "n_window": 100,
        "output_dim": 32,
    }
    vision = {"depth": 1, "hidden_size": 16, "num_heads": 2, "intermediate_size": 16, "out_hidden_size": 32}
    text = {
        **TEXT,
        "head_dim": 8,
        "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10_000.0},
    }
    config = hf.Qwen2_5OmniThinkerConfig(
        audio_config=audio,
        vision_config=vision,
        text_config=text,
        audio_token_index=audio_id(processor.tokenizer),
        audio_start_token_id=ids("<|audio_bos|>"),
        audio_end_token_id=ids("<|audio_eos|>"),
        image_token_index=318,
        vision_start_token_id=317,
        video_token_index=319,
    )
    return Tiny(hf.Qwen2_5OmniThinkerForConditionalGeneration(config), processor)


def _qwen3_omni() -> Tiny:
    def features(frames: int) -> tuple[dict[str, torch.Tensor], int]:
        mask = torch.ones(1, frames, dtype=torch.long)
        n = int(_get_feat_extract_output_lengths(torch.tensor(frames)))
        return {"input_features": torch.randn(1, 16, frames), "feature_attention_mask": mask}, n

    processor = HandProcessor(features)
    ids = processor.tokenizer.convert_tokens_to_ids
    audio = {
        "num_mel_bins": 16,
        "d_model": 16,
        "encoder_layers": 1,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 16,
        "max_source_positions": 200,
        "downsample_hidden_size": 8,
        "output_dim": 32,
    }
    vision = {"depth": 1, "hidden_size": 16, "num_heads": 2, "intermediate_size": 16, "out_hidden_size": 32}
    text = {
        **TEXT,
        "head_dim": 8,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
        "rope_parameters": {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 10_000.0},
    }
    config = hf.Qwen3OmniMoeThinkerConfig(
        audio_config=audio,
        vision_config={**vision, "deepstack_visual_indexes": [0]},
        text_config=text,
        audio_token_id=audio_id(processor.tokenizer),
        audio_start_token_id=ids("<|audio_bos|>"),
        audio_end_token_id=ids("<|audio_eos|>"),
        image_token_id=318,
        video_token_id=319,
        vision_start_token_id=317,
    )
    return Tiny(hf.Qwen3OmniMoeThinkerForConditionalGeneration(config), processor)


def _granite_speech(plus: bool = False) -> Tiny:
    """With `plus`, what the encoder's first layer gives is heard beside what its last one gives."""

    def features(frames: int) -> tuple[dict[str, torch.Tensor], int]:
        n = 3 * -(-frames // 15)
        mask = torch.ones(1, n, dtype=torch.bool)
        return {"input_features": torch.randn(1, frames, 16), "input_features_mask": mask}, n

    processor = HandProcessor(features)
    encoder = {
        "input_dim": 16,
        "num_layers": 2,
        "hidden_dim": 16,
        "feedforward_mult": 2,
        "num_heads": 2,
        "dim_head": 8,
        "output_dim": 8,
        "context_size": 20,
        "max_pos_emb": 32,
        "conv_kernel_size": 3,
        "conv_expansion_factor": 2,
    }
    projector = {
        "model_type": "blip_2_qformer",
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "encoder_hidden_size": 32 if plus else 16,
        "cross_attention_frequency": 1,
        "use_qformer_text_input": False,
    }
    config_class, model_class = (
        (hf.GraniteSpeechPlusConfig, hf.GraniteSpeechPlusForConditionalGeneration)
        if plus
        else (hf.GraniteSpeechConfig, hf.GraniteSpeechForConditionalGeneration)
    )
    config = config_class(
        encoder_config=encoder | ({"cat_hidden_layers": [0]} if plus else {}),
        projector_config=projector,
        text_config={
            "model_type": "granite",
            **TEXT,
            "embedding_multiplier": 12.0,
            "logits_scaling": 8.0,
            "residual_multiplier": 0.22,
            "attention_multiplier": 0.3,
        },
        audio_token_index=audio_id(processor.tokenizer),
        has_lora_adapter=False,
    )
    return Tiny(model_class(config), processor)


def _phi4_multimodal() -> Tiny:
    def features(frames: int) -> tuple[dict[str, torch.Tensor], int]:
        n = -(-frames // 8)
        return {"audio_input_features": torch.randn(1, frames, 16), "audio_embed_sizes": torch.tensor([n])}, n

    processor = HandProcessor(features)
    audio = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_blocks": 1,
        "num_attention_heads": 2,
        "input_size": 16,
        "nemo_conv_channels": 16,
        "ext_pw_out_channel": 16,
        "depthwise_separable_out_channel": 16,
        "audio_token_id": audio_id(processor.tokenizer),
    }
    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 16,
        "patch_size": 8,
        "crop_size": 16,
        "image_token_id": 318,
    }
    config = hf.Phi4MultimodalConfig(
        audio_config=audio,
        vision_config=vision,
        **{**TEXT, "original_max_position_embeddings": 512},
        sliding_window=None,
    )
    return Tiny(hf.Phi4MultimodalForCausalLM(config), processor)


BUILDERS: dict[str, Callable[[], Tiny]] = {
    "qwen2_audio": _qwen2_audio,
    "audioflamingo3": _audio_flamingo3,
    "voxtral": _voxtral,
    "qwen2_5_omni_thinker": _qwen25_omni,
    "qwen3_omni_moe_thinker": _qwen3_omni,
    "granite_speech": _granite_speech,
    "granite_speech_plus": lambda: _granite_speech(plus=True),
    "musicflamingo": musicflamingo,
    "glmasr": glmasr,
    "qwen3_asr": qwen3_asr,
    "phi4_multimodal": _phi4_multimodal,
    "gemma4": gemma4,
    "gemma4_unified": gemma4_unified,
    "gemma3n": gemma3n,
    "dots3_note": dots3_note,
    "apertus1p5": apertus1p5,
}


POSITIONS = {  # of a clip of 1 s, by each model's own rule
    "qwen2_audio": 25,
    "audioflamingo3": 25,
    "voxtral": 13,
    "qwen2_5_omni_thinker": 25,
    "qwen3_omni_moe_thinker": 13,
    "granite_speech": 21,
    "granite_speech_plus": 21,
    "musicflamingo": 25,
    "glmasr": 12,
    "qwen3_asr": 13,
    "phi4_multimodal": 13,
    "gemma4": 25,
    "gemma4_unified": 25,
    "gemma3n": 7,
    "dots3_note": 13,
    "apertus1p5": 40,
}


def build(name: str, seed: int = 0) -> Tiny:
    """The tiny model of an architecture, in float32 and eval mode; random models must not stop by chance."""
    torch.manual_seed(seed)
    tiny = BUILDERS[name]()
    tiny.model.eval().requires_grad_(False)
    if tiny.model.generation_config is not None:
        tiny.model.generation_config.eos_token_id = None
    return tiny


class FrameUnits:
    """A stand-in for a speech quantizer: the unit of a frame of 20 ms is given by its loudness."""

    rate = 50.0

    def __call__(self, waveform: np.ndarray) -> np.ndarray:
        frames = waveform[: len(waveform) // 320 * 320].reshape(-1, 320)
        return np.minimum((np.abs(frames).mean(axis=1) * 400).astype(np.int64), 7)


UNITS = ("<|im_start|>", "<|im_end|>", "<|pad|>", "<|begin|>", "<|end|>", *(f"<|audio_{k}|>" for k in range(8)))


def speech_lm(name: str, template: str = "native") -> Any:
    """The `SpeechLM` of an architecture, or of a family on a tiny Llama."""
    from workflow_scripts.speech_lm.architectures import runs_from_embeddings
    from workflow_scripts.speech_lm.families.hf import HfSpeechLM
    from workflow_scripts.speech_lm.families.whole_model import WholeModelSpeechLM

    if name in ON_LLAMA:
        return ON_LLAMA[name][0]()
    tiny = build(name)
    kind = HfSpeechLM if runs_from_embeddings(tiny.model.config) else WholeModelSpeechLM
    return kind(tiny.model, tiny.processor, name=f"tiny-{name}", template=template)


class FrameFeatures:
    """A stand-in for a Whisper encoder: 50 frames a second of fixed random projections of the samples."""

    def encode(self, waveforms: Any, *, rate: int) -> list[torch.Tensor]:
        projection = torch.randn(320, 16, generator=torch.Generator().manual_seed(4))
        return [torch.from_numpy(w[: len(w) // 320 * 320].reshape(-1, 320)) @ projection for w in waveforms]


def _units() -> Any:
    from workflow_scripts.speech_lm.families.units import UnitsSpeechLM

    torch.manual_seed(0)
    llama = hf.AutoModelForCausalLM.from_config(hf.LlamaConfig(**TEXT)).eval().requires_grad_(False)
    options = {"unit_token": "<|audio_{}|>", "begin": "<|begin|>", "end": "<|end|>", "merge_repeats": False}
    return UnitsSpeechLM(llama, make_tokenizer(UNITS), FrameUnits(), name="tiny-units", **options)


def _composite() -> Any:
    from workflow_scripts.speech_lm.families.composite import CompositeSpeechLM
    from workflow_scripts.speech_lm.trainable.adapters import AdapterShape, SpeechAdapter
    from workflow_scripts.speech_lm.trainable.lslm import LSLM

    torch.manual_seed(0)
    llama = hf.AutoModelForCausalLM.from_config(hf.LlamaConfig(**TEXT))
    adapter = SpeechAdapter(AdapterShape(d_encoder=16, d_hidden=24, d_model=32))
    lslm = LSLM(llama, adapter).eval().requires_grad_(False)
    plain = TEMPLATE.split("{% if m['content'] is string %}")[0] + "{{ m['content'] + '<|im_end|>\n' }}{% endfor %}"
    tokenizer = make_tokenizer(template=plain + "{{ '<|im_start|>assistant\n' }}")
    return CompositeSpeechLM(lslm, tokenizer, name="tiny-composite", encoder=FrameFeatures())


ON_LLAMA: dict[str, tuple[Callable[[], Any], int]] = {
    "units": (_units, 50),
    "composite": (_composite, 10),
}
"""Families on a tiny Llama: what makes the model, called `tiny-<name>`, and its positions of a clip of 1 s."""
POSITIONS |= {name: positions for name, (_, positions) in ON_LLAMA.items()}
FAMILIES = (*BUILDERS, *ON_LLAMA)
