"""Tiny random models: built from configs in milliseconds, nothing is downloaded."""

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    Gemma2Config,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperModel,
)

from workflow_scripts.speech_lm.families.composite import CompositeSpeechLM
from workflow_scripts.speech_lm.protocol import Speech
from workflow_scripts.speech_lm.trainable.adapters import AdapterShape, SpeechAdapter
from workflow_scripts.speech_lm.trainable.lslm import LSLM

# Tiny products gain nothing from threads and lose much when tests run in parallel.
torch.set_num_threads(1)

CHAT_TEMPLATE = (
    "{% for m in messages %}{{ '<|start|>' + m['role'] + '\n' + m['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start|>assistant\n' }}{% endif %}"
)
SHARED = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "eos_token_id": None,
    "bos_token_id": None,
    "pad_token_id": None,
    "initializer_range": 0.4,  # large enough for answers that vary
}


LATENT = {
    "q_lora_rank": 12,
    "kv_lora_rank": 8,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 4,
    "v_head_dim": 8,
    "num_key_value_heads": 4,
}
MIXTURE = {
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
}
OTHERS = {
    "deepseek_v3": LATENT | MIXTURE,
    "glm4_moe_lite": LATENT | MIXTURE,
    "minicpm3": LATENT,
    "diffllama": {},
}
"""Models whose attention is not that of most: latent keys and values, differences of two attentions."""


def make_tokenizer():
    """Byte-level BPE with the two special tokens of the template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|start|>", "<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(["what is the water in the river", "the user and the assistant\n"], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>")
    fast.chat_template = CHAT_TEMPLATE
    return fast


def make_backbone(kind="llama", **changes):
    """A random causal language model in float32: llama, qwen2, gemma2 (soft caps, sliding window) or of `OTHERS`."""
    torch.manual_seed(0)
    if kind in OTHERS:
        config = AutoConfig.for_model(kind, **{**SHARED, **OTHERS[kind], **changes})
        return AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval()
    if kind == "llama":
        config = LlamaConfig(**{**SHARED, "tie_word_embeddings": True, **changes})
    elif kind == "qwen2":
        config = Qwen2Config(**{**SHARED, **changes})
    else:
        gemma = {"head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 128, **changes}
        config = Gemma2Config(**{**SHARED, "initializer_range": 0.1, **gemma})
    attention = "eager" if kind == "gemma2" else "sdpa"
    return AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()


def make_lm(kind="llama", *, adapter=True, **changes):
    """A composite model with a random adapter from 16-dimensional features."""
    backbone = make_backbone(kind, **changes)
    torch.manual_seed(1)
    shape = AdapterShape(d_encoder=16, d_hidden=24, d_model=32)
    lslm = LSLM(backbone, SpeechAdapter(shape) if adapter else None).eval().requires_grad_(False)
    return CompositeSpeechLM(lslm, make_tokenizer(), name=f"tiny-{kind}")


@pytest.fixture(scope="session")
def llama():
    return make_lm("llama")


@pytest.fixture(scope="session", params=["llama", "qwen2", "gemma2"])
def lm(request):
    return make_lm(request.param)


@pytest.fixture(scope="session")
def backbone_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("backbone")
    make_backbone("llama").save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def whisper_folder(tmp_path_factory):
    """A random Whisper with 2 encoder layers; 30 s limit as in the real one."""
    folder = tmp_path_factory.mktemp("whisper")
    torch.manual_seed(2)
    config = WhisperConfig(
        vocab_size=60,
        num_mel_bins=80,
        d_model=16,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    WhisperModel(config).save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=80).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def new_lm():
    """`make_lm`, for tests that change a model or need another config."""
    return make_lm


@pytest.fixture(scope="session")
def new_backbone():
    """`make_backbone`."""
    return make_backbone


@pytest.fixture(scope="session")
def tokenizer():
    return make_tokenizer()


@pytest.fixture(scope="session")
def queries_of():
    """Queries of different length, written and spoken, from one model."""

    def build(lm):
        generator = torch.Generator().manual_seed(3)
        texts = ["what is the water", "river?", "the user and the assistant in the river, what is it"]
        speech = [
            Speech(None, 16_000, frames / 50, torch.randn(frames, 16, generator=generator)) for frames in (7, 33, 60)
        ]
        return [lm.encode_text(text) for text in texts] + [lm.encode_speech(item) for item in speech]

    return build


@pytest.fixture(scope="session")
def new_tokenizer():
    """`make_tokenizer`, for tests that change the template."""
    return make_tokenizer
