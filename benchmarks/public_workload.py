"""A random model with the shape of Qwen2-Audio and about 0.3 billion parameters, and noise for it to hear."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
    Qwen2AudioProcessor,
    WhisperFeatureExtractor,
)

from benchmarks.workload import LONGEST_SECONDS, SECONDS_PER_WORD
from workflow_scripts.artifacts.questions import Question
from workflow_scripts.artifacts.utterances import UTTERANCES, Utterance
from workflow_scripts.speech_lm.device import resolve_dtype
from workflow_scripts.speech_lm.families.hf import HfSpeechLM
from workflow_scripts.speech_lm.protocol import SAMPLE_RATE
from workflow_scripts.speech_lm.shard_queries import AudioFiles

SPECIAL = ("<|im_start|>", "<|im_end|>", "<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>")
TEXT = {
    "model_type": "qwen2",
    "vocab_size": 20_000,
    "hidden_size": 1024,
    "intermediate_size": 2816,
    "num_hidden_layers": 16,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "max_position_embeddings": 2048,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
AUDIO = {
    "model_type": "qwen2_audio_encoder",
    "num_mel_bins": 128,
    "d_model": 512,
    "encoder_layers": 6,
    "encoder_attention_heads": 8,
    "encoder_ffn_dim": 2048,
    "max_source_positions": 1500,
}


def open_random_qwen2_audio(dtype: str, seed: int) -> HfSpeechLM:
    """The model on the CPU behind its processor; speed does not depend on what weights say.

    Args:
        dtype: as in `resolve_dtype` (auto, float32, bfloat16).
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*SPECIAL, *alphabet])}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(list(SPECIAL))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|im_end|>")
    processor = Qwen2AudioProcessor(WhisperFeatureExtractor(feature_size=AUDIO["num_mel_bins"]), tokenizer)
    placeholder = tokenizer.convert_tokens_to_ids("<|AUDIO|>")
    torch.manual_seed(seed)
    config = Qwen2AudioConfig(audio_config=AUDIO, text_config=TEXT, audio_token_index=placeholder)
    resolved = resolve_dtype(dtype, torch.device("cpu"))
    model = Qwen2AudioForConditionalGeneration(config).to(resolved).eval().requires_grad_(False)
    return HfSpeechLM(model, processor, name="qwen2-audio-0.3b")


def draw_audio(folder: Path, questions: Sequence[Question], seed: int) -> AudioFiles:
    """Write and open noise as long as the questions would last when spoken."""
    rng = np.random.default_rng(seed)
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    rows = []
    for question in questions:
        n = round(min(SECONDS_PER_WORD * len(question.spoken.split()), LONGEST_SECONDS) * SAMPLE_RATE)
        audio = f"audio/{question.id}.flac"
        soundfile.write(folder / audio, 0.05 * rng.standard_normal(n).clip(-4, 4), SAMPLE_RATE)
        row = {"id": question.id, "audio": audio, "sha256": None, "seconds": n / SAMPLE_RATE, "transcript": ""}
        rows.append(Utterance(**row, sample_rate=SAMPLE_RATE, wer=0.0, kept=True, attempts=1))
    UTTERANCES.write(folder / "manifest.jsonl", rows, {})
    return AudioFiles(folder / "manifest.jsonl")
