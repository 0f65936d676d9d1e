"""GLM-4-Voice's published language model as transformers' own `Glm`, with a fast tokenizer.

    python -m workflow_scripts.speech_lm.converters.convert_glm4_voice <glm-4-voice-9b> <target folder>

The target is the `path` of a units model; its quantizer is the published speech tokenizer as it is
(`glm4_voice_units`); studies/public_models.yaml has the entry that names both.

Source: layout of the ChatGLM family (github.com/THUDM/GLM-4), of which transformers' `Glm` is the port.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import GlmConfig, GlmForCausalLM, PreTrainedTokenizerFast

from workflow_scripts.speech_lm.converters.tiktoken_file import read_ranks, tokenizer_of_ranks
from workflow_scripts.speech_lm.protocol import SpeechLMError
from workflow_scripts.speech_lm.torch_files import fill, read_published, read_published_config

LEFT_OUT = ("transformer.rotary_pos_emb.",)
LAYER = r"transformer\.encoder\.layers\.(\d+)\."
NAMES = (
    (r"transformer\.embedding\.word_embeddings\.weight", "model.embed_tokens.weight"),
    (r"transformer\.encoder\.final_layernorm\.weight", "model.norm.weight"),
    (r"transformer\.output_layer\.weight", "lm_head.weight"),
    (LAYER + r"(input_layernorm|post_attention_layernorm)\.weight", r"model.layers.\1.\2.weight"),
    (LAYER + r"self_attention\.dense\.weight", r"model.layers.\1.self_attn.o_proj.weight"),
    (LAYER + r"mlp\.dense_h_to_4h\.weight", r"model.layers.\1.mlp.gate_up_proj.weight"),
    (LAYER + r"mlp\.dense_4h_to_h\.weight", r"model.layers.\1.mlp.down_proj.weight"),
)
"""The original's name -> transformers' name, where nothing is split."""
ATTENTION = LAYER + r"self_attention\.query_key_value\.(weight|bias)"
FIXED = {
    "rmsnorm": True,
    "post_layer_norm": True,
    "apply_residual_connection_post_layernorm": False,
    "add_bias_linear": False,
}
"""Variants of the original that `Glm` does not know must have these values."""
AUDIO = "<|audio_0|>"


def convert_glm4_voice(source: Path, target: Path) -> Path:
    """Write config, weights and tokenizer to `target`.

    Raises:
        SpeechLMError: the folder is not a ChatGLM's, or its tokenizer has no audio tokens.
    """
    source, target = Path(source), Path(target)
    config = read_published_config(source)
    glm_config = _config(config, source)
    tokenizer = _tokenizer(source, glm_config.vocab_size)
    with torch.device("meta"):
        model = GlmForCausalLM(glm_config)
    fill(model, _renamed(read_published(source, LEFT_OUT), glm_config, source), source)
    model.config.architectures = [type(model).__name__]
    model.eval().save_pretrained(target)
    tokenizer.save_pretrained(target)
    return target


def _config(config: Mapping[str, Any], source: Path) -> GlmConfig:
    if "padded_vocab_size" not in config or "multi_query_group_num" not in config:
        raise SpeechLMError(f"{source}: its config has no padded_vocab_size, so it is no ChatGLM")
    for name, value in FIXED.items():
        if config.get(name, value) != value:
            raise SpeechLMError(f"{source}: {name} is {config[name]}, transformers' Glm has {value}")
    heads = int(config["num_attention_heads"])
    end = config.get("eos_token_id")
    return GlmConfig(
        vocab_size=config["padded_vocab_size"],
        hidden_size=config["hidden_size"],
        intermediate_size=config["ffn_hidden_size"],
        num_hidden_layers=config["num_layers"],
        num_attention_heads=heads,
        num_key_value_heads=config["multi_query_group_num"] if config.get("multi_query_attention") else heads,
        head_dim=config["kv_channels"],
        max_position_embeddings=config["seq_length"],
        rms_norm_eps=config["layernorm_epsilon"],
        attention_bias=bool(config.get("add_qkv_bias")),
        tie_word_embeddings=bool(config.get("tie_word_embeddings")),
        rope_parameters={
            "rope_type": "default",
            "rope_theta": 10_000.0 * config.get("rope_ratio", 1),
            "partial_rotary_factor": 0.5,
        },
        pad_token_id=config.get("pad_token_id"),
        **({} if end is None else {"eos_token_id": end}),
    )


def _renamed(tensors: Mapping[str, Tensor], config: GlmConfig, source: Path) -> dict[str, Tensor]:
    """Tensors by the new names; queries, keys and values, stacked in the original, are split."""
    sizes = [config.num_attention_heads * config.head_dim, *[config.num_key_value_heads * config.head_dim] * 2]
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if (match := re.fullmatch(ATTENTION, name)) is not None:
            if tensor.shape[0] != sum(sizes):
                raise SpeechLMError(f"{source}: {name} has {tensor.shape[0]} rows, heads and groups need {sum(sizes)}")
            for part, piece in zip("qkv", tensor.split(sizes)):
                found[f"model.layers.{match[1]}.self_attn.{part}_proj.{match[2]}"] = piece.contiguous()
            continue
        new = next((m.expand(ours) for theirs, ours in NAMES if (m := re.fullmatch(theirs, name))), None)
        if new is None:
            raise SpeechLMError(f"{source}: tensor {name} is not of a ChatGLM language model")
        found[new] = tensor
    return found


def _tokenizer(source: Path, rows: int) -> PreTrainedTokenizerFast:
    """From tokenizer.model (ranks of byte sequences) and the added tokens of tokenizer_config.json."""
    path, settings = source / "tokenizer.model", source / "tokenizer_config.json"
    if not path.is_file() or not settings.is_file():
        raise SpeechLMError(f"{source}: tokenizer.model and tokenizer_config.json are needed")
    options = json.loads(settings.read_text(encoding="utf-8"))
    added = {int(number): one["content"] for number, one in options.get("added_tokens_decoder", {}).items()}
    if AUDIO not in added.values():
        raise SpeechLMError(f"{settings}: added_tokens_decoder has no {AUDIO}, so it is not GLM-4-Voice's tokenizer")
    if max(added) >= rows:
        raise SpeechLMError(f"{settings}: token {max(added)} is beyond the model's {rows} embeddings")
    end, pad = (options.get(name) or "<|endoftext|>" for name in ("eos_token", "pad_token"))
    known = set(added.values())
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer_of_ranks(read_ranks(path), added, source=path),
        eos_token=end if end in known else None,
        pad_token=pad if pad in known else None,
        clean_up_tokenization_spaces=False,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    options = parser.parse_args()
    print(convert_glm4_voice(options.source, options.target))
